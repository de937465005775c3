"""Commands that take several exchanges do each of them, in order; one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_parts import Said, emulated

Zvt = Callable[..., Said]
FREE = ("--api-port", "0", "--ws-port", "0")
AWAY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def okx() -> Iterator[dict[str, str]]:
    with emulated("market", "--exchange", "okx", "--seed", "5") as place:
        yield place


@pytest.fixture
def both(wired: Zvt, okx: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Zvt:
    """Binance and OKX are there; Bybit is away."""
    for name, place in (("OKX", okx), ("BYBIT", {"rest_url": AWAY, "ws_url": "ws://127.0.0.1:9"})):
        monkeypatch.setenv(f"ZVT_CRYPTO__{name}__REST", place["rest_url"])
        monkeypatch.setenv(f"ZVT_CRYPTO__{name}__WS", place["ws_url"])
    return wired


def test_a_sync_reads_each_exchange_and_tells_of_each(both: Zvt) -> None:
    said = both("pairs", "sync", "-e", "okx,BINANCE,okx")
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert [line.split(" new")[0].rsplit(" ", 1)[0] for line in lines] == [
        "okx instruments:", "okx assets:", "binance instruments:", "binance assets:",
    ]  # fmt: skip
    stored = both("pairs", "--json").json["pairs"]
    assert {pair["exchange"] for pair in stored} == {"okx", "binance"}

    told = both("pairs", "sync", "-e", "okx,binance", "--json").json
    assert list(told["exchanges"]) == ["okx", "binance"]
    assert told["instruments"] == {"inserted": 0, "changed": 0, "known": len(stored)}
    assert told["exchanges"]["okx"]["instruments"]["known"] == sum(pair["exchange"] == "okx" for pair in stored)
    assert told["failed"] == []


def test_an_exchange_that_fails_is_told_and_does_not_stop_the_others(both: Zvt) -> None:
    said = both("pairs", "sync", "-e", "okx,bybit,binance", "--json")
    assert said.code == 3
    assert list(said.json["exchanges"]) == ["okx", "binance"]
    (failed,) = said.json["failed"]
    assert (failed["exchange"], failed["code"]) == ("bybit", "venue_unreachable")
    assert "\nerror: bybit: " in said.err
    assert said.err.endswith("[venue_unreachable]\n")


@pytest.mark.parametrize(
    "command", [["pairs", "sync"], ["backfill"], ["doctor"], ["up", "--seconds", "1"], ["assets", "import", "pyproject.toml"]]
)
def test_an_unknown_exchange_is_named_before_anything_is_started(both: Zvt, command: list[str]) -> None:
    said = both(*command, "-e", "binance,nope")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: unknown exchange 'nope': known are binance, bybit, okx, coinbase")
    assert both("pairs", "--json").json["count"] == 0


def test_a_backfill_fetches_from_each_exchange(both: Zvt) -> None:
    done = both("backfill", "-e", "bybit,okx,binance", "-s", "BTC/USDT", "-i", "1d", "--json")
    assert done.code == 3
    assert [(row["exchange"], row["entity_id"]) for row in done.json["reports"]] == [
        ("okx", "cryptopair_okx_btcusdt"), ("binance", "cryptopair_binance_btcusdt"),
    ]  # fmt: skip
    assert done.json["rows"] == sum(row["rows"] for row in done.json["reports"])
    assert min(row["rows"] for row in done.json["reports"]) > 10
    assert [one["exchange"] for one in done.json["failed"]] == ["bybit"]

    again = both("backfill", "-e", "okx,binance", "-s", "BTC/USDT", "-i", "1d")
    assert again.code == 0, again.err
    assert again.out.splitlines() == [f"cryptopair_{name}_btcusdt kline 1d: 0 rows written" for name in ("okx", "binance")]
    healed = both("backfill", "-e", "okx,binance", "-s", "BTC/USDT", "--what", "gaps")
    assert healed.out.splitlines() == ["okx: 0 gaps healed", "binance: 0 gaps healed"]


def test_a_symbol_that_one_exchange_does_not_list_is_told_of_that_one(both: Zvt) -> None:
    said = both("backfill", "-e", "okx,binance", "-s", "ETH-USDT-SWAP", "-i", "1d")
    assert said.code == 2
    assert "cryptoperp_okx_ethusdt" in said.out
    assert said.err.startswith("error: binance: unknown symbol 'ETH-USDT-SWAP'")


def test_what_no_exchange_can_be_asked_is_said_once(both: Zvt) -> None:
    said = both("backfill", "-e", "okx,binance", "--what", "dreams")
    assert (said.code, said.err.count("'dreams'")) == (2, 1)


def test_names_of_assets_are_imported_for_each_exchange(both: Zvt, tmp_path: Path) -> None:
    both("pairs", "sync", "-e", "okx,binance")
    table = tmp_path / "names.csv"
    table.write_text("symbol,full_name,max_supply,source,as_of\nBTC,Bit Coin,21000000,paper,2026-01-02\n")
    said = both("assets", "import", str(table), "-e", "okx,binance")
    assert said.code == 0, said.err
    assert [line.split(":")[0] for line in said.out.splitlines()] == ["okx assets", "binance assets"]
    names = {asset["id"]: asset["full_name"] for asset in both("assets", "--json").json["assets"]}
    assert names["crypto_okx_btc"] == names["crypto_binance_btc"] == "Bit Coin"


def test_a_database_that_is_away_is_said_once(both: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__URL", "postgresql://me@127.0.0.1:9/x")
    said = both("pairs", "sync", "-e", "okx,binance")
    assert (said.code, said.out, said.err.count("error: ")) == (4, "", 1)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["pairs", "-e", "okx", "sync"], "--exchange"),
        (["pairs", "--json", "list"], "--json"),
        (["assets", "-e", "okx", "list"], "--exchange"),
    ],
)
def test_an_option_that_would_be_ignored_is_refused(zvt: Zvt, command: list[str], option: str) -> None:
    said = zvt(*command)
    assert (said.code, f"{option} belongs after '{command[-1]}', not before it" in said.err) == (2, True), said.err


@pytest.mark.parametrize(
    "command", [["coverage"], ["pairs"], ["pairs", "list"], ["assets"], ["kdata", "BTCUSDT"], ["pairs", "show", "BTCUSDT"]]
)
def test_a_command_that_takes_one_exchange_refuses_several(wired: Zvt, command: list[str]) -> None:
    said = wired(*command, "-e", "binance,okx")
    assert (said.code, said.out, "unknown exchange 'binance,okx'" in said.err) == (2, "", True)


def test_an_exchange_that_lists_none_of_the_symbols_is_told_and_the_others_are_recorded(both: Zvt) -> None:
    said = both("up", "-e", "binance,okx", "-s", "ETH-USDT-SWAP", "--seconds", "2", *FREE)
    assert said.code == 0, said.err
    assert "stopped: " in said.out
    assert "nothing_listed" in said.err
    assert "binance lists none of ETH-USDT-SWAP" in said.err
    rows = both("coverage", "-e", "okx", "--json")
    assert "cryptoperp_okx_ethusdt" in rows.out


def test_symbols_that_no_exchange_lists_are_refused(both: Zvt) -> None:
    said = both("up", "-e", "binance,okx", "-s", "NOPE/USDT", "--seconds", "20", *FREE)
    assert said.code != 0
    assert "lists none of NOPE/USDT" in said.err.splitlines()[-1]
