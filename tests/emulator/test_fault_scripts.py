"""Scripts of faults: what is read, what happens at its time, what is refused with its value."""

from __future__ import annotations

import json

import pytest
from emulator_kit import START_MS, START_NS, Desk, market_desk

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.emulator.binance.dialect import BinanceDialect, OpenRefused
from zvt_crypto.emulator.capture import Capture
from zvt_crypto.emulator.replay import ReplayWorld
from zvt_crypto.emulator.script import KINDS, read_script, set_up


def scripted(text: str, **market: object) -> Desk:
    desk = market_desk(**market)  # type: ignore[arg-type]
    set_up(read_script(text), desk.dialect, START_NS)
    return desk


def one(kind: str, at: str = "5s", **keys: object) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in {"at": at, "kind": kind, **keys}.items()]
    return "[[fault]]\n" + "\n".join(lines) + "\n"


def listen(desk: Desk, stream: str = "btcusdt@trade"):
    return desk.open(f"/ws/{stream}")


def heard(desk: Desk, session, seconds: float, step: float = 0.1) -> list[tuple[float, bytes]]:
    """(seconds since the start, frame) as they come out."""
    out = []
    for _ in range(round(seconds / step)):
        desk.wait(step)
        out += [((desk.now_ns - START_NS) / 1e9, frame) for frame in session.outbox]
        session.outbox.clear()
    return out


def ids(frames: list[tuple[float, bytes]]) -> list[int]:
    return [json.loads(frame)["t"] for _, frame in frames]


def test_a_dropped_frame_is_missing_and_only_it() -> None:
    desk = scripted(one("drop", times=2), events_per_s=20.0)
    found = ids(heard(desk, listen(desk), 15))
    missing = set(range(found[0], found[-1] + 1)) - set(found)
    assert len(missing) == 2
    assert desk.dialect.faults.dropped == 2


def test_a_delayed_frame_comes_late_a_doubled_one_twice_and_a_reordered_one_after_the_next() -> None:
    late = ids(heard(desk := scripted(one("delay", by="3s"), events_per_s=20.0), listen(desk), 15))
    assert sorted(late) == list(range(min(late), max(late) + 1))
    assert late != sorted(late)
    twice = ids(heard(desk := scripted(one("duplicate"), events_per_s=20.0), listen(desk), 15))
    assert len(twice) - len(set(twice)) == 1
    swapped = ids(heard(desk := scripted(one("reorder"), events_per_s=20.0), listen(desk), 15))
    assert sorted(swapped) == list(range(min(swapped), max(swapped) + 1))
    wrong = [index for index, number in enumerate(swapped) if number != min(swapped) + index]
    assert len(wrong) == 2
    assert wrong[1] == wrong[0] + 1


@pytest.mark.parametrize("kind", ["corrupt", "truncate"])
def test_a_broken_frame_is_no_json_any_more(kind: str) -> None:
    desk = scripted(one(kind, match="BTCUSDT"), events_per_s=20.0)
    broken = []
    for _, frame in heard(desk, listen(desk), 15):
        try:
            json.loads(frame)
        except ValueError:
            broken.append(frame)
    assert len(broken) == 1


@pytest.mark.parametrize(("kind", "code"), [("cut", 1006), ("close", 4001), ("day_over", 1001)])
def test_connections_end_with_their_code(kind: str, code: int) -> None:
    desk = scripted(one(kind, **({"code": 4001, "reason": "bye"} if kind == "close" else {})))
    session = listen(desk)
    desk.wait(4)
    assert session.closing is None
    desk.wait(2)
    assert session.closing is not None
    assert session.closing.code == code


def test_a_stall_lets_nothing_through_and_heartbeats_only_lets_answers_through() -> None:
    desk = scripted(one("heartbeats_only", **{"for": "5s"}), events_per_s=20.0)
    session = listen(desk)
    times = [at for at, _ in heard(desk, session, 20)]
    assert not [at for at in times if 5.0 < at <= 10.0]
    assert [at for at in times if at > 10.0]
    desk = scripted(one("heartbeats_only", **{"for": "5s"}))
    session = listen(desk)
    desk.wait(6)
    assert desk.say(session, {"method": "LIST_SUBSCRIPTIONS", "id": 1}) == [{"result": ["btcusdt@trade"], "id": 1}]
    desk = scripted(one("stall", **{"for": "5s"}))
    desk.wait(6)
    assert desk.dialect.faults.stalled
    desk.wait(5)
    assert not desk.dialect.faults.stalled


def test_a_refused_connection_and_http_answers_of_every_kind() -> None:
    desk = scripted(one("refuse", **{"for": "3s"}) + one("http", at="20s", status=429, times=1, retry_after="none", path="/api/v3/time"))
    desk.wait(5.5)
    with pytest.raises(OpenRefused):
        listen(desk)
    desk.wait(4)
    listen(desk)
    desk.wait(11)
    status, headers, _ = desk.http("/api/v3/time")
    assert (status, "Retry-After" in headers) == (429, False)
    assert desk.http("/api/v3/time")[0] == 200
    desk = scripted(one("http", status=502, body="html") + one("http", status=418, retry_after=90))
    desk.wait(6)
    assert desk.http("/api/v3/time")[2].startswith(b"<html>")
    assert desk.http("/api/v3/time")[1]["Retry-After"] == "90"


def test_limits_are_halved_at_run_time_and_stated_so() -> None:
    desk = scripted(one("limits", factor=0.5))
    before = desk.get("/api/v3/exchangeInfo")["rateLimits"][0]["limit"]
    desk.wait(6)
    assert desk.get("/api/v3/exchangeInfo")["rateLimits"][0]["limit"] == before // 2


def test_a_skewed_clock_is_the_carriers_affair() -> None:
    desk = scripted(one("clock_skew", by="-2s"))
    desk.wait(6)
    assert desk.dialect.faults.skew_ns == -2_000_000_000


def test_a_closing_kline_comes_late_and_a_revised_one_comes_again_and_stays() -> None:
    desk = scripted(one("late_klines", at="1s", by="7s") + one("revise_kline", at="90s"), events_per_s=20.0)
    session = listen(desk, "btcusdt@kline_1m")
    frames = [(at, json.loads(frame)["k"]) for at, frame in heard(desk, session, 100)]
    closed = [(at, k) for at, k in frames if k["x"]]
    assert [round(at) for at, _ in closed] == [67, 90]
    first, second = (k for _, k in closed)
    assert first["t"] == second["t"]
    assert float(second["v"]) > float(first["v"])
    (row,) = desk.get("/api/v3/klines", f"symbol=BTCUSDT&interval=1m&startTime={START_MS}&limit=1")
    assert (row[0], row[5]) == (second["t"], second["v"])


def test_a_listing_a_delisting_and_a_finer_tick_show_in_exchange_info() -> None:
    text = one("list", base="NEW") + one("delist", symbol="SOLUSDT") + one("finer_tick", symbol="ETHUSDT", factor=10)
    desk = scripted(text)
    session = listen(desk, "solusdt@trade")
    desk.wait(6)
    listed = {s["symbol"]: s for s in desk.get("/api/v3/exchangeInfo")["symbols"]}
    assert "NEWUSDT" in listed
    assert "SOLUSDT" not in listed
    assert listed["ETHUSDT"]["filters"][0]["tickSize"] == "0.00100000"
    session.outbox.clear()
    desk.wait(60)
    assert not session.outbox
    assert desk.get("/api/v3/klines", "symbol=NEWUSDT&interval=1m")
    assert desk.get("/api/v3/depth", "symbol=NEWUSDT&limit=5")["bids"]


def test_a_replay_has_no_listings_to_change() -> None:
    replay = BinanceDialect(ReplayWorld(Capture([], [], [])))
    with pytest.raises(BadInput, match="delist needs a market"):
        set_up(read_script(one("delist", symbol="BTCUSDT")), replay, START_NS)


def test_what_is_repeated_happens_again() -> None:
    desk = scripted(one("http", every="10s", status=503, times=1))
    answers = []
    for _ in range(30):
        desk.wait(1)
        answers.append(desk.http("/api/v3/time")[0])
    assert answers.count(503) == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[fault]", "not TOML"),
        ("[fault]\nkind='cut'", "entries only"),
        ("[other]\nx=1", "other"),
        (one("explode"), "explode"),
        (one("drop", at="soon"), "soon"),
        (one("drop", at="-5s"), "-5s"),
        (one("drop", times=0), "times '0'"),
        (one("drop", times="many"), "many"),
        (one("drop", factor=2), "factor"),
        (one("cut", every="0s"), "every"),
        (one("http", status=200), "status '200'"),
        (one("http", retry_after="later"), "later"),
        (one("limits", factor=0), "factor '0'"),
        (one("refuse", what="udp"), "unknown what 'udp': known are ws, rest, all"),
        (one("tls", what=1), "unknown what '1'"),
        (one("tls", times=2), "tls takes for, what, not 'times'"),
        (one("cut", exchange="kraken"), "fault 1: unknown exchange 'kraken': known are binance, bybit, okx, coinbase"),
        (one("cut", exchange=["okx"]), "unknown exchange"),
        ("[[fault]]\nkind = ['cut']", "unknown kind"),
        (one("tls", what=["ws"]), "unknown what"),
        ("fault = [1]", "fault 1 is not a table"),
    ],
)
def test_a_wrong_script_is_refused_with_the_value(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_script(text)


def test_every_kind_is_in_the_guide() -> None:
    from pathlib import Path

    page = (Path(__file__).resolve().parents[2] / "docs/how-to/emulator.md").read_text("utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []
