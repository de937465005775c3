"""Logs: one line an event, nothing that breaks a line, no secrets."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from zvt_crypto.telemetry.logs import make_logger, setup_logs
from zvt_crypto.telemetry.redact import MOST_DEPTH, MOST_ITEMS, MOST_TEXT, redact, redact_text

CANARY = "c4n4ry-5ecr3t"


@pytest.fixture
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_in_utc_with_its_fields() -> None:
    stream = io.StringIO()
    make_logger(stream, part="rest").info("started", port=8000)
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["port"], line["part"]) == ("started", "info", 8000, "rest")
    assert str(line["timestamp"]).endswith("Z")


def test_levels_below_the_chosen_one_are_silent() -> None:
    stream = io.StringIO()
    logger = make_logger(stream, "warning")
    logger.info("no")
    logger.warning("yes")
    assert [line["event"] for line in lines(stream)] == ["yes"]


@pytest.mark.parametrize("evil", ["a\nb", "a\r\nb", "\x1b[31mred", "a\u2028b", "a\x00b", "a\x85b"])
def test_no_value_can_begin_a_line_of_its_own_or_colour_a_terminal(evil: str) -> None:
    stream = io.StringIO()
    make_logger(stream).info(evil, name=evil)
    text = stream.getvalue()
    assert text.count("\n") == 1
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text)["name"] == evil


def test_a_huge_value_is_cut() -> None:
    stream = io.StringIO()
    make_logger(stream).info("x", body="y" * 1_000_000)
    assert len(stream.getvalue()) < MOST_TEXT + 500


@pytest.mark.parametrize(
    "name",
    ["secret", "api_key", "apiKey", "API-KEY", "password", "passphrase", "access_token", "Authorization", "cookie", "signature", "dsn"],
)
def test_fields_that_sound_like_secrets_are_emptied_at_any_depth(name: str) -> None:
    stream = io.StringIO()
    make_logger(stream).info("x", **{name: CANARY}, nested={"list": [{name: CANARY}]})
    assert CANARY not in stream.getvalue()
    assert "[redacted]" in stream.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        f"postgresql://user:{CANARY}@host:5432/db",
        f"postgresql://{CANARY}@host/db",
        f"postgresql://user:{CANARY}@{CANARY}@host/db",  # a password with an @ in it
        f"postgresql://host/db?sslpassword={CANARY}",
        f"GET /order?symbol=BTCUSDT&signature={CANARY}&x=1",
        f"https://x/y?api_key={CANARY}",
        f"Authorization: Bearer {CANARY}",
        f"password={CANARY}",
        f'password="{CANARY} {CANARY}"',
        f"listen_token: {CANARY}",
    ],
)
def test_credentials_in_text_are_taken_out(text: str) -> None:
    assert CANARY not in redact_text(text)


def test_what_is_no_secret_stays() -> None:
    text = "trade 5 of cryptopair_binance_btcusdt at https://data-api.binance.vision/api/v3/klines?symbol=BTCUSDT&limit=2"
    assert redact_text(text) == text
    assert redact({"price": 1.5, "ok": True, "none": None, "n": 3}) == {"price": 1.5, "ok": True, "none": None, "n": 3}


def test_deep_and_wide_values_are_bounded() -> None:
    deep: object = "x"
    for _ in range(50):
        deep = [deep]
    assert json.dumps(redact(deep)).count("[") == MOST_DEPTH
    assert len(redact(list(range(10_000)))) == MOST_ITEMS  # type: ignore[arg-type]
    assert redact(object) == "<class 'object'>"


def test_what_libraries_log_comes_out_the_same_way(restored_logging: None) -> None:
    stream = io.StringIO()
    ours = setup_logs("info", stream)
    logging.getLogger("some.library").warning("connected to %s", f"redis://:{CANARY}@host")
    logging.getLogger("picows.server").info("New connection accepted")
    try:
        raise ValueError(f"password={CANARY}\nsecond line")
    except ValueError:
        logging.getLogger("some.library").exception("failed")
    ours.info("ready")
    library, failed, ready = lines(stream)
    assert (library["level"], library["logger"]) == ("warning", "some.library")
    assert "ValueError" in str(failed["exception"])
    assert ready["event"] == "ready"
    assert CANARY not in stream.getvalue()
