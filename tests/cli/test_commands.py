"""The commands, on a real database and an emulated exchange."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cli_parts import FIXTURES, ZVT_CRYPTO, Said, clean_env, emulated

from zvt_crypto.domain.errors import BadInput, OutOfRange, StoreUnavailable, UnknownExchange
from zvt_crypto.domain.market import Gap, Trade
from zvt_crypto.domain.time import NS_PER_S, Interval
from zvt_crypto.stores.postgres import open_store
from zvt_crypto.stores.postgres.errors import mapped
from zvt_crypto.venues import VENUES

Zvt = Callable[..., Said]


def test_importing_and_help_load_nothing_heavy() -> None:
    heavy = "sorted({'polars', 'numpy', 'fastapi', 'sqlalchemy', 'asyncpg', 'aiohttp', 'pydantic'} & set(sys.modules))"
    code = f"import sys, zvt_crypto; import zvt_crypto.cli.main; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_there_when_they_are_used() -> None:
    code = "import zvt_crypto; print([n for n in dir(zvt_crypto) if getattr(zvt_crypto, n, None) is None])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    import zvt_crypto

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        zvt_crypto.nothing  # noqa: B018


def test_sync_then_list_show_and_search(wired: Zvt) -> None:
    assert "new" in wired("pairs", "sync").out
    again = wired("pairs", "sync", "--json").json
    assert (again["instruments"]["inserted"], again["instruments"]["changed"]) == (0, 0)
    listed = wired("pairs", "--json", "--exchange", "binance").json
    assert listed["count"] == len(listed["pairs"]) >= 5
    perps = wired("pairs", "list", "--kind", "perp", "--status", "active", "--json").json["pairs"]
    assert {p["id"] for p in perps} == {"cryptoperp_binance_btcusdt", "cryptoperp_binance_ethusdt"}
    assert "cryptopair_binance_btcusdt" in wired("pairs").out
    assert wired("pairs", "show", "BTC/USDT", "--json").json["tick"] == "0.01"
    assert "valid_from" in wired("pairs", "show", "btcusdt").out
    assert wired("assets", "search", "bitcoin", "--json").json["count"] == 1
    assert "Ethereum" in wired("assets").out
    assert wired("assets", "show", "crypto_binance_btc", "--json").json["max_supply"] == "21000000"


def test_an_instrument_lives_on_the_command_line(wired: Zvt) -> None:
    made = wired("pairs", "add", "ABCUSDT", "-e", "binance", "--base", "abc", "--quote", "usdt", "--tick", "0.01", "--lot", "0.1")
    assert made.out.strip() == "cryptopair_binance_abcusdt"
    assert wired("pairs", "update", "ABCUSDT", "--status", "suspended").code == 0
    assert wired("pairs", "delist", "ABCUSDT").code == 0
    assert wired("pairs", "list", "--status", "delisted", "--json").json["pairs"][0]["native_symbol"] == "ABCUSDT"
    assert wired("assets", "add", "ABC", "-e", "binance", "--name", "Alphabet", "--max-supply", "1000", "--source", "paper").code == 0
    assert wired("assets", "search", "alphabet", "--json").json["results"][0]["max_supply"] == "1000"


def test_backfill_writes_what_is_missing_and_nothing_twice(wired: Zvt) -> None:
    first = wired("backfill", "-s", "BTCUSDT,BTC/USDT:USDT", "-i", "1h", "--json").json
    assert first["rows"] > 1_000
    assert all(report["complete"] for report in first["reports"])
    assert "0 rows written" in wired("backfill", "-s", "BTCUSDT", "-i", "1h").out

    rows = list(csv.DictReader(io.StringIO(wired("kdata", "btcusdt", "-e", "binance", "-i", "1h", "-f", "csv").out)))
    assert len(rows) == first["reports"][0]["rows"]
    newest = wired("kdata", "cryptopair_binance_btcusdt", "-i", "1h", "-n", "2", "--json").json
    assert newest["count"] == 2
    assert [row["timestamp"] for row in newest["data"]] == [row["timestamp"] for row in rows[-2:]]
    assert float(newest["data"][-1]["close"]) == float(rows[-1]["close"])
    assert "timestamp" in wired("kdata", "btcusdt", "-e", "binance", "-i", "1h", "-n", "2").out


def test_kdata_writes_files(wired: Zvt, tmp_path: Path) -> None:
    wired("backfill", "-s", "ETHUSDT", "-i", "1d", "--json")
    table = tmp_path / "eth.parquet"
    assert wired("kdata", "ETHUSDT", "-e", "binance", "-i", "1d", "-f", "parquet", "-o", str(table)).code == 0
    assert pl.read_parquet(table)["final"].all()
    assert wired("kdata", "ETHUSDT", "-e", "binance", "-i", "1d", "-f", "csv", "-o", str(tmp_path / "eth.csv")).code == 0
    assert (tmp_path / "eth.csv").read_text().startswith("timestamp,")


def test_funding_marks_trades_and_gaps_are_fetched_too(wired: Zvt) -> None:
    import time

    recent = str(int(time.time()) - 120)
    assert "funding" in wired("backfill", "-s", "BTC/USDT:USDT", "--what", "funding").out
    assert wired("backfill", "-s", "BTC/USDT:USDT", "--what", "mark", "--start", str(int(time.time()) - 600)).code == 0
    assert wired("backfill", "-s", "BTCUSDT", "--what", "trades", "--start", recent, "--json").json["rows"] > 0
    assert "0 gaps healed" in wired("backfill", "-s", "BTCUSDT", "--what", "gaps").out


def test_record_data_refuses_a_range_that_cannot_be_had(wired: Zvt) -> None:
    import zvt_crypto
    from zvt_crypto.domain.errors import BadTime

    for start, end, said in (
        ("2099-01-01", None, "start '2099-01-01' is in the future"),
        ("2024-02", "2024-01", "start '2024-02' is not before end '2024-01'"),
        (None, 1999, "end '1999' is before 2009"),
    ):
        with pytest.raises(BadTime, match=said):
            zvt_crypto.record_data("BTCUSDT", "1d", start, end, exchange="binance")


def test_weeks_are_fetched_since_the_listing_and_since_any_early_day(wired: Zvt) -> None:
    rows = wired("backfill", "-s", "BTCUSDT", "-i", "1w", "--json").json["rows"]
    assert rows > 4
    again = wired("backfill", "-s", "BTCUSDT", "-i", "1w", "--start", "1971-01-01", "--end", "2101-01-01", "--json")
    assert (again.code, again.json["rows"]) == (0, 0)
    every = wired("kdata", "BTCUSDT", "-e", "binance", "-i", "1w", "--json").json["data"]
    month = every[1]["timestamp"][:7]
    since = wired("kdata", "BTCUSDT", "-e", "binance", "-i", "1w", "--start", month, "--json").json["data"]
    assert [row["timestamp"] for row in since] == [row["timestamp"] for row in every if row["timestamp"] >= month]


def test_record_and_query_from_python(wired: Zvt) -> None:
    import zvt_crypto

    assert zvt_crypto.record_data("BTCUSDT", interval="4h", exchange="binance")["cryptopair_binance_btcusdt"] > 300
    frame = zvt_crypto.query_data("BTC-USDT", interval="4h", exchange="binance", limit=10)
    assert frame.shape == (10, 12)
    assert frame["timestamp"].is_sorted()
    as_pandas = zvt_crypto.query_data("BTCUSDT", "4h", exchange="binance", limit=3, frame="pandas", columns=["timestamp", "close"])
    assert list(as_pandas.columns) == ["close"]
    assert as_pandas.index.name == "timestamp"
    assert zvt_crypto.SYMBOL_MAPPINGS["binance"]["BTCUSDT"] == "btcusdt"
    assert len(zvt_crypto.SYMBOL_MAPPINGS) == 4
    with pytest.raises(zvt_crypto.BadInput, match="'volatility'"):
        zvt_crypto.query_data("BTCUSDT", "4h", exchange="binance", columns=["volatility"])
    with pytest.raises(zvt_crypto.BadInput, match="'duck'"):
        zvt_crypto.query_data("BTCUSDT", "4h", exchange="binance", frame="duck")  # type: ignore[call-overload]


def test_a_delisting_of_the_users_outlives_a_sync_and_a_week_later_the_name_is_another_instrument(wired: Zvt) -> None:
    wired("pairs", "sync")
    wired("pairs", "delist", "cryptopair_binance_ethusdt")
    said = wired("pairs", "sync")
    assert "note: cryptopair_binance_ethusdt stays delisted: binance lists it, but a user delisted it" in said.err
    assert wired("pairs", "show", "cryptopair_binance_ethusdt", "--json").json["status"] == "delisted"
    wired("pairs", "update", "cryptopair_binance_ethusdt", "--status", "active")
    assert "ethusdt" not in wired("pairs", "sync").err

    wired("pairs", "delist", "cryptopair_binance_btcusdt", "--at", str(int(datetime.now(UTC).timestamp()) - 8 * 86_400))
    assert (
        "cryptopair_binance_btcusdt_btcusdt is new: cryptopair_binance_btcusdt, of the same name, was delisted"
        in wired("pairs", "sync").err
    )
    assert wired("pairs", "show", "BTC/USDT", "-e", "binance", "--json").json["id"] == "cryptopair_binance_btcusdt_btcusdt"
    assert wired("pairs", "show", "cryptopair_binance_btcusdt", "--json").json["status"] == "delisted"
    assert wired("backfill", "-s", "BTCUSDT", "-i", "1d", "--json").json["reports"][0]["entity_id"] == "cryptopair_binance_btcusdt_btcusdt"


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        ("status = 418\nretry_after = 2\ntimes = 1", 0, r"note: .*418.*; asked again in [12](\.\d)? s"),
        ('status = 502\nbody = "html"\ntimes = 2', 0, r"note: .*502.*; asked again in 1 s"),
    ],
)
def test_a_backfill_says_at_once_why_it_waits(
    zvt: Zvt, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, code: int, said: str
) -> None:
    script = tmp_path / "faults.toml"
    script.write_text(f'[[fault]]\nat = "0s"\nkind = "http"\npath = "/api/v3/klines"\n{fault}\n')
    with emulated("market", "--seed", "5", "--rate", "50", "--faults", str(script)) as place:
        for name, value in (("DATABASE__URL", database_url), ("BINANCE__REST", place["rest_url"]), ("BINANCE__WS", place["ws_url"])):
            monkeypatch.setenv(f"ZVT_CRYPTO__{name}", value)
        done = zvt("backfill", "-s", "BTCUSDT", "-i", "1d")
    assert (done.code, re.search(said, done.err) is not None) == (code, True), done.err


WRONG_ARGUMENTS: list[tuple[Any, dict[str, Any], type[Exception], str]] = [
    (None, {}, BadInput, "symbols 'None' is neither a name nor a list of names"),
    (5, {}, BadInput, "symbols '5'"),
    ([], {}, BadInput, "no symbol was given"),
    (["BTCUSDT", None], {}, BadInput, "symbol 'None' is no name"),
    ("BTCUSDT", {"limit": "5"}, BadInput, "limit '5' is not an integer"),
    ("BTCUSDT", {"limit": True}, BadInput, "limit 'True' is not an integer"),
    ("BTCUSDT", {"limit": 1.5}, BadInput, "limit '1.5' is not an integer"),
    ("BTCUSDT", {"limit": 0}, OutOfRange, "limit '0' is out of range: 1 to"),
    ("BTCUSDT", {"exchange": 7}, UnknownExchange, "unknown exchange '7'"),
    ("BTCUSDT", {"columns": "close"}, BadInput, r"not one: \['close'\]"),
]


def test_arguments_of_another_kind_are_refused_by_name_and_value(wired: Zvt) -> None:
    import zvt_crypto

    wired("pairs", "sync")
    for symbols, wrong, error, said in WRONG_ARGUMENTS:
        with pytest.raises(error, match=said):
            zvt_crypto.query_data(symbols, **wrong)
        if not wrong:
            with pytest.raises(error, match=said):
                zvt_crypto.record_data(symbols)


def test_symbols_may_come_from_any_iterable(wired: Zvt) -> None:
    import zvt_crypto

    wired("pairs", "sync")
    assert zvt_crypto.query_data((name for name in ("BTCUSDT", "ETHUSDT")), "1d", exchange="binance").is_empty()  # type: ignore[arg-type]


def test_the_schema_goes_down_and_up(wired: Zvt) -> None:
    assert wired("db", "status", "--json").json["current"] is True
    assert "kline_1m" in wired("db", "status").out
    assert "none" in wired("db", "downgrade", "base").out
    assert wired("db", "status", "--json").json["revision"] is None
    assert wired("db", "upgrade").code == 0
    assert wired("db", "status", "--json").json["current"] is True


def test_doctor_finds_all_well_and_says_so(wired: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZVT_CRYPTO__API__PORT", "0")
    monkeypatch.setenv("ZVT_CRYPTO__WS__PORT", "0")
    found = wired("doctor", "--json").json
    assert found["ok"]
    assert {f["name"]: f["state"] for f in found["findings"]} | {"disk": "ok"} == dict.fromkeys(
        ("python", "disk", "database", "api port", "ws port", "binance spot", "binance usdm"), "ok"
    )
    assert "left out" in wired("doctor", "--offline").out


def test_doctor_names_what_is_wrong(zvt: Zvt, monkeypatch: pytest.MonkeyPatch, exchange: dict[str, str]) -> None:
    taken = exchange["rest_url"].rpartition(":")[2]
    monkeypatch.setenv("ZVT_CRYPTO__API__PORT", taken)
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__URL", "postgresql://me:hunter2@127.0.0.1:9/x")
    monkeypatch.setenv("ZVT_CRYPTO__BINANCE__REST", "http://127.0.0.1:9")
    monkeypatch.setenv("ZVT_CRYPTO__BINANCE__WS", "ws://127.0.0.1:9")
    said = zvt("doctor")
    assert said.code == 1
    assert f"127.0.0.1:{taken}: Address already in use" in said.out
    assert sum(line.startswith("fail") for line in said.out.splitlines()) == 3
    assert "hunter2" not in said.out + said.err


def test_an_address_that_is_not_ours_is_said_by_doctor_the_emulator_and_the_platform(wired: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    said = wired("emulator", "--host", "nobody.invalid")
    assert (said.code, "cannot listen on 'nobody.invalid'" in said.err) == (2, True)
    assert wired("emulator", "--host", "192.0.2.1").code == 2
    monkeypatch.setenv("ZVT_CRYPTO__API__HOST", "192.0.2.1")
    doctor = wired("doctor", "--offline")
    assert (doctor.code, "fail api port      cannot listen on 192.0.2.1 port 8000: no interface" in doctor.out) == (1, True)
    up = wired("up", "--seconds", "1", "--ws-port", "0")
    assert (up.code, "cannot listen on 192.0.2.1 port 8000: no interface" in up.err) == (2, True)


def test_doctor_looks_at_the_exchanges_that_are_followed_or_named(wired: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    with emulated("market", "--exchange", "okx") as okx:
        monkeypatch.setenv("ZVT_CRYPTO__OKX__REST", okx["rest_url"])
        monkeypatch.setenv("ZVT_CRYPTO__OKX__WS", okx["ws_url"])
        named = wired("doctor", "--exchange", "okx,binance", "--json").json["findings"]
        assert {f["name"]: f["state"] for f in named if "clock" in f["said"]} == {"okx": "ok", "binance spot": "ok", "binance usdm": "ok"}
    monkeypatch.setenv("ZVT_CRYPTO__INGEST__EXCHANGES", "okx")
    away = wired("doctor")
    assert away.code == 1
    assert re.search(r"^fail okx .*: 127\.0\.0\.1:\d+ refuses the connection$", away.out, re.MULTILINE)
    assert "binance" not in away.out


def test_tables_end_where_their_words_end_when_nobody_looks(wired: Zvt) -> None:
    wired("pairs", "add", "ABCUSDT", "-e", "binance", "--base", "abc", "--quote", "usdt")
    lines = (wired("pairs", "show", "ABCUSDT").out + wired("kdata", "ABCUSDT").out).splitlines()
    assert "exchange            binance" in lines
    assert [line for line in lines if line != line.rstrip()] == []


def test_a_file_has_the_form_that_its_ending_says_unless_another_is_given(wired: Zvt, tmp_path: Path) -> None:
    wired("backfill", "-s", "BTCUSDT", "-i", "1d")
    for name, options in (
        ("a.csv", ()),
        ("a.json", ()),
        ("a.parquet", ()),
        ("a.txt", ()),
        ("b.txt", ("-f", "csv")),
        ("c.json", ("--json",)),
    ):
        assert wired("kdata", "BTCUSDT", "-e", "binance", "-i", "1d", "-n", "3", "-o", str(tmp_path / name), *options).code == 0
    assert (tmp_path / "a.csv").read_text().startswith("timestamp,")
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.txt").read_text()
    assert (tmp_path / "a.json").read_text() == (tmp_path / "c.json").read_text()
    assert json.loads((tmp_path / "a.json").read_text())["count"] == pl.read_parquet(tmp_path / "a.parquet").height == 3
    assert (tmp_path / "a.txt").read_text().startswith("timestamp  ")


def test_a_file_that_cannot_be_written_is_named(wired: Zvt) -> None:
    wired("pairs", "add", "ABCUSDT", "-e", "binance", "--base", "abc", "--quote", "usdt")
    for form in ("csv", "parquet"):
        said = wired("kdata", "ABCUSDT", "-f", form, "-o", "/proc/x.table")
        assert (said.code, "output '/proc/x.table' cannot be written: " in said.err) == (2, True), said.err


def test_up_at_an_exchange_that_is_away_says_so_whatever_is_stored(wired: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    wired("pairs", "add", "ABCUSDT", "-e", "binance", "--base", "abc", "--quote", "usdt")
    monkeypatch.setenv("ZVT_CRYPTO__BINANCE__REST", "http://127.0.0.1:1")
    monkeypatch.setenv("ZVT_CRYPTO__BINANCE__WS", "ws://127.0.0.1:1")
    monkeypatch.setattr("zvt_crypto.cli.commands.up.FIRST_S", 5.0)
    said = wired("up", "-s", "BTCUSDT", "--seconds", "1", "--api-port", "0", "--ws-port", "0")
    assert said.code == 3
    assert "binance could not be reached: http://127.0.0.1:1/" in said.err.splitlines()[-1]
    assert "unknown symbol" not in said.err


def test_a_database_that_cannot_be_reached_is_named_without_its_password(zvt: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__URL", "postgresql://u:hunter2@127.0.0.1:1/x")
    for command in (("kdata", "BTCUSDT"), ("db", "status"), ("db", "upgrade"), ("pairs",), ("backfill", "-s", "BTCUSDT")):
        said = zvt(*command)
        assert (said.code, "cannot reach the database at 127.0.0.1:1/x: connection refused" in said.err) == (4, True), said.err
        assert "hunter2" not in said.err


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["kdata", "btcusdt", "-i", "7m"], 2, "unknown interval '7m'"),
        (["kdata", "btcusdt", "-e", "mtgox"], 2, "unknown exchange 'mtgox'"),
        (["kdata", "btcusdt", "--start", "yesterday"], 2, "'yesterday'"),
        (["kdata", "btcusdt", "--start", "2024-02-01", "--end", "2024-01-01"], 2, "'2024-02-01' is not before end '2024-01-01'"),
        (["kdata", "btcusdt", "--start", "202405"], 2, "time '202405' is no epoch number"),
        (["coverage", "--start", "7"], 2, "time '7' is no epoch number"),
        (["pairs", "delist", "btcusdt", "--at", "12"], 2, "time '12' is no epoch number"),
        (["kdata", "btcusdt", "-f", "parquet"], 2, "--output"),
        (["kdata", "btcusdt", "-f", "csv", "-o", "/nowhere/at/all.csv"], 2, "'/nowhere/at'"),
        (["kdata", "btcusdt", "-n", "0"], 2, "limit '0' is out of range"),
        (["kdata"], 2, "Missing argument"),
        (["backfill", "--what", "dreams"], 2, "'dreams'"),
        (["backfill", "--what", "trades"], 2, "need a start"),
        (["backfill", "--start", "2099-01-01"], 2, "start '2099-01-01' is in the future: it is 20"),
        (["backfill", "--start", "2024-05", "--end", "2024"], 2, "start '2024-05' is not before end '2024'"),
        (["backfill", "--end", "2001"], 2, "end '2001' is before 2009"),
        (["backfill", "--what", "gaps", "--start", "2024"], 2, "gaps have times of their own: start '2024'"),
        (["backfill", "-s", ","], 2, "no symbol was given: ','"),
        (["up", "-s", ""], 2, "no symbol was given"),
        (["up", "-e", ","], 2, "no exchange was given: ','"),
        (["up", "--api-port", "99999"], 2, "'99999' is out of range: 0 to 65535"),
        (["up", "--ws-port", "abc"], 2, "'abc' is not a whole number"),
        (["up", "--seconds", "abc"], 2, "'abc' is not a number"),
        (["kdata", "btcusdt", "--limit", "1_0"], 2, "'1_0' is not a whole number"),
        (["kdata", "btcusdt", "--json", "-f", "csv"], 2, "--json and --format csv ask for two forms"),
        (["kdata", "btcusdt", "-o", "/proc/x.csv", "-f", "csv"], 2, "unknown symbol 'btcusdt'"),
        (["emulator", "--rest-port", "70000"], 2, "'70000' is out of range"),
        (["emulator", "--rate", "fast"], 2, "'fast' is not a number"),
        (["demo", "--seed", "x"], 2, "'x' is not a whole number"),
        (["doctor", "-e", "mtgox"], 2, "unknown exchange 'mtgox'"),
        (["up", "--seconds", "-3"], 2, "seconds -3 is not a positive number"),
        (["demo", "--seconds", "nan"], 2, "seconds nan is not a positive number"),
        (["kdata", "btcusdt", "-o", "/tmp"], 2, "output '/tmp' is a folder"),
        (["kdata", "NOPE"], 2, "unknown symbol 'NOPE'; `zvt-crypto pairs` lists what is stored"),
        (["db", "upgrade", "--revision", "nope"], 2, "schema revision 'nope'"),
        (["db", "downgrade", "+5"], 2, "schema revision '+5'"),
        (["assets", "search", " "], 2, "text ' ' is nothing to search for"),
        (["assets", "import", "/tmp"], 2, "file '/tmp' is a folder"),
        (["show-config", "--config", "/tmp"], 2, "settings file /tmp is a folder"),
        (["pairs", "list", "--kind", "house"], 2, "'house'"),
        (["pairs", "add", "x;drop", "-e", "binance", "--base", "x", "--quote", "y"], 2, "native symbol 'x;drop'"),
        (["pairs", "add", "XY", "-e", "binance", "--base", "x", "--quote", "y", "--lot", "0"], 2, "lot '0' is not a positive number"),
        (["pairs", "add", "XY", "-e", "binance", "--base", "x", "--quote", "y", "--tick", "nan"], 2, "tick 'nan'"),
        (["pairs", "list", "--status", "asleep"], 2, "'asleep'"),
        (["assets", "add", "X", "-e", "binance", "--max-supply", "many", "--source", "me"], 2, "'many'"),
        (["assets", "add", "X", "-e", "binance", "--market-cap", "-1", "--source", "me"], 2, "'-1'"),
        (["assets", "show", "crypto_binance_nope"], 2, "crypto_binance_nope"),
        (["assets", "import", "/nowhere.csv"], 2, "/nowhere.csv"),
        (["replay", "/nowhere.gz"], 2, "'/nowhere.gz'"),
        (["replay", "/tmp"], 2, "capture '/tmp' is a folder: name the files"),
        (["emulator", "replay", "/tmp"], 2, "capture '/tmp' is a folder: name the files"),
        (["emulator", "replay"], 2, "which capture"),
        (["emulator", "market", "file.gz"], 2, "'file.gz'"),
        (["emulator", "market", "-s", "DOGEBTC"], 2, "'DOGEBTC'"),
        (["emulator", "-e", "mtgox"], 2, "'mtgox'"),
        (["emulator", "market", "--rate", "1e9"], 2, "1000000000"),
        (["show-config", "--config", "/nowhere.toml"], 2, "/nowhere.toml"),
        (["fly"], 2, "fly"),
    ],
)
def test_bad_input_is_one_line_that_names_the_value(wired: Zvt, arguments: list[str], code: int, named: str) -> None:
    said = wired(*arguments)
    assert said.code == code
    assert named in said.err
    assert "Traceback" not in said.err


def test_a_database_that_is_away_is_a_store_error(zvt: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__URL", "postgresql://me:hunter2@127.0.0.1:9/x")
    for command in (("kdata", "btcusdt"), ("db", "status"), ("db", "upgrade"), ("db", "downgrade", "base")):
        said = zvt(*command)
        assert (said.code, "store_unavailable" in said.err, "hunter2" in said.err) == (4, True, False)
        assert re.fullmatch(r"error: cannot (reach|change) the database.*: connection refused \[store_unavailable\]\n", said.err)
    assert "at 127.0.0.1:9/x: connection" in zvt("db", "status").err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (TimeoutError(), "cannot do it: no answer in time"),
        (ConnectionRefusedError(111, "Connection refused"), "cannot do it: connection refused"),
        (ConnectionResetError("lost"), "cannot do it: lost"),
        (OSError(), "cannot do it: OSError"),
    ],
)
def test_why_there_is_no_connection_is_told_in_words(error: OSError, said: str) -> None:
    with pytest.raises(StoreUnavailable, match=f"^{said}$"), mapped("do it"):
        raise error


def test_an_exchange_that_is_away_is_a_venue_error(wired: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZVT_CRYPTO__BINANCE__REST", "http://127.0.0.1:9")
    said = wired("pairs", "sync")
    assert (said.code, "venue_unreachable" in said.err) == (3, True)


def test_an_exchange_that_this_build_leaves_out_is_told(wired: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zvt_crypto.venues.VENUES", {"binance": VENUES["binance"]})
    said = wired("backfill", "-e", "okx")
    assert (said.code, "'okx' is known, but not in this build; it has binance [unsupported]" in said.err) == (2, True)


def test_half_an_address_of_an_exchange_is_refused(wired: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ZVT_CRYPTO__BINANCE__WS")
    assert "binance.ws is missing" in wired("pairs", "sync").err
    monkeypatch.setenv("ZVT_CRYPTO__BINANCE__WS", "http://here")
    assert "ws(s)://" in wired("pairs", "sync").err


@pytest.mark.parametrize("command", [["pairs"], ["pairs", "list", "--kind", "perp"], ["assets"], ["assets", "search", "bitcoin"]])
def test_an_empty_table_says_how_to_fill_it(wired: Zvt, command: list[str]) -> None:
    said = wired(*command)
    assert (said.code, len(said.out.splitlines())) == (0, 1)
    assert "note: no such" in said.err
    assert "pairs sync" in said.err
    assert wired(*command, "--json").err == ""


def test_klines_that_are_not_stored_say_how_to_get_them(wired: Zvt) -> None:
    wired("pairs", "add", "ABCUSDT", "-e", "binance", "--base", "abc", "--quote", "usdt")
    assert "no 1h klines of abcusdt are stored here; `zvt-crypto backfill`" in wired("kdata", "abcusdt", "-i", "1h").err
    assert wired("kdata", "abcusdt", "-f", "csv").err == ""


def test_pairs_alone_takes_what_its_list_takes(wired: Zvt) -> None:
    for arguments in (["ABCUSDT"], ["ABCUSDT", "--perp"]):
        wired("pairs", "add", *arguments, "-e", "binance", "--base", "abc", "--quote", "usdt")
    found = wired("pairs", "--kind", "perp", "--status", "active", "--json").json["pairs"]
    assert [pair["id"] for pair in found] == ["cryptoperp_binance_abcusdt"]


def test_a_table_of_assets_that_is_no_text_is_named(wired: Zvt, tmp_path: Path) -> None:
    (tmp_path / "assets.csv").write_bytes(b"\xff\xfe\x00")
    said = wired("assets", "import", str(tmp_path / "assets.csv"))
    assert (said.code, said.err) == (2, "error: asset table 'assets.csv' is not text in UTF-8 [bad_input]\n")


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "zvt_crypto", "--version"], capture_output=True, text=True, check=True)
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", done.stdout)


def test_no_summary_of_a_command_is_cut_off() -> None:
    for group in ((), ("pairs",), ("assets",), ("db",)):
        env = clean_env(COLUMNS="80")
        told = subprocess.run([ZVT_CRYPTO, *group, "--help"], capture_output=True, text=True, check=True, env=env).stdout
        assert [line for line in told.splitlines() if line.endswith("...") and not line.startswith("Usage")] == []


def test_debug_shows_the_traceback(wired: Zvt) -> None:
    assert "Traceback" in wired("--debug", "kdata", "NOPE").err


def test_version_and_settings_are_printed(zvt: Zvt, monkeypatch: pytest.MonkeyPatch) -> None:
    assert zvt("--version").out == zvt("version").out
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__URL", "postgresql://me:hunter2@db/x")
    assert "hunter2" not in zvt("show-config").out + zvt("show-config", "--redact", "--json").out
    assert "hunter2" in zvt("show-config", "--no-redact").out
    assert "ZVT_CRYPTO__API__PORT" in zvt("show-config").out


def test_a_capture_that_is_none_is_named(zvt: Zvt, tmp_path: Path) -> None:
    torn = tmp_path / "torn.gz"
    torn.write_bytes((FIXTURES / "hftbacktest_spot_btcusdt.gz").read_bytes()[:2000])
    said = zvt("replay", str(torn))
    assert said.code == 2
    assert "torn.gz" in said.err
    assert "bad_capture" in said.err


def test_output_that_nobody_reads_to_the_end_is_no_error(tmp_path: Path) -> None:
    env = clean_env(ZVT_CRYPTO__DATA_DIR=str(tmp_path))
    done = subprocess.run(f"{ZVT_CRYPTO} show-config | true", shell=True, env=env, capture_output=True, text=True)
    assert "Traceback" not in done.stderr


def test_venues_are_shown_side_by_side_and_one_by_one(zvt: Zvt) -> None:
    from zvt_crypto.venues import CAPABILITIES

    side = zvt("venues").out
    assert all(f"{name} {market}" in side for name in CAPABILITIES for market in ("spot", "perp"))
    assert "aggregated trades" in zvt("venues", "binance").out
    assert zvt("venues", "--json").json["binance"]["spot"]["mark"]["how"] == "missing"
    assert "| `klines.1M` | yes | yes |" in zvt("venues", "binance", "--markdown").out
    refused = zvt("venues", "kraken")
    assert refused.code == 2
    assert "kraken" in refused.err


def test_coverage_shows_what_is_stored_and_what_is_missing(wired: Zvt) -> None:
    wired("pairs", "sync")
    for start, end in (("2h", "1h"), ("30m", "20m")):
        times = [f"{datetime.now(UTC) - _ago(text):%Y-%m-%dT%H:%M:00Z}" for text in (start, end)]
        assert wired("backfill", "-s", "btcusdt", "--start", times[0], "--end", times[1]).code == 0
    told = wired("coverage", "btcusdt", "--json").json
    (minutes,) = told["coverage"]
    assert (minutes["stream"], minutes["rows"], minutes["sources"], minutes["whole"]) == ("kline 1m", 70, {"venue": 70}, False)
    assert len(minutes["missing"]) == 1
    shown = wired("coverage", "--interval", "1m", "--differences").out
    assert "missing  cryptopair_binance_btcusdt  kline 1m" in shown
    assert wired("coverage", "nonsense").code == 2


def test_coverage_says_where_each_open_gap_lies(wired: Zvt, database_url: str) -> None:
    wired("pairs", "sync")
    pair, at_ns = "cryptopair_binance_btcusdt", 1_700_000_000_000_000_000
    minute = Gap(pair, "kline", at_ns, at_ns + 60 * NS_PER_S, None, None, "dropped", None, interval=Interval.MIN_1)
    trades = [Gap(pair, "trade", at_ns + n * NS_PER_S, at_ns + (n + 1) * NS_PER_S, n, n + 4, "lost", None) for n in range(1, 56)]
    others = [
        Gap(pair, "book", at_ns, at_ns + NS_PER_S, None, None, "resync", None),
        Gap(pair, "mark", at_ns, at_ns + NS_PER_S, None, None, "cut", "rest"),
    ]

    async def save() -> None:
        store = await open_store(database_url)
        try:
            await store.facts.save_gaps([minute, *trades, *others], at_ns)
        finally:
            await store.close()

    asyncio.run(save())
    told = wired("coverage", "btcusdt", "-e", "binance", "--json").json
    assert (len(told["gaps_open"]), told["gaps_open_more"]) == (50, 7)
    newest = {"start": "2023-11-14T22:14:15.000Z", "end": "2023-11-14T22:14:16.000Z", "first_id": 55, "last_id": 59, "reason": "lost"}
    assert told["gaps_open"][-1] == {"instrument": pair, "channel": "trade", "interval": None} | newest
    shown = wired("coverage", "btcusdt", "-e", "binance").out
    assert f"gap open  {pair}  trade  2023-11-14T22:14:15.000Z to 2023-11-14T22:14:16.000Z  ids 55 to 59  lost\n" in shown
    assert "… and 7 older open gaps" in shown
    early = wired("coverage", "btcusdt", "-e", "binance", "--end", "2023-11-14T22:13:21Z").out
    lines = [line for line in early.splitlines() if line.startswith("gap open")]
    span = "2023-11-14T22:13:20.000Z to 2023-11-14T22:1"
    assert sorted(lines) == [f"gap open  {pair}  book  {span}3:21.000Z  resync", f"gap open  {pair}  kline 1m  {span}4:20.000Z  dropped"]


def test_coverage_of_an_outage_that_has_not_ended_says_from_when_on_nothing_is_known(wired: Zvt, database_url: str) -> None:
    wired("pairs", "sync")
    pair, at_ns = "cryptopair_binance_btcusdt", 1_700_000_040_000_000_000  # 22:14:00

    async def save() -> None:
        store = await open_store(database_url)
        try:
            await store.trades.append([Trade(pair, "trade", str(n), 60_000.0, 0.1, "buy", at_ns + n * NS_PER_S) for n in (5, 17)], at_ns)
        finally:
            await store.close()

    asyncio.run(save())
    asked = ("coverage", "btcusdt", "-e", "binance", "--start", "2023-11-14T22:14:00Z", "--end", "2023-11-14T22:17:30Z")
    minutes, trades = wired(*asked, "--json").json["coverage"]
    hole = {"start": "2023-11-14T22:14:00.000Z", "end": "2023-11-14T22:17:30.000Z"}
    assert (minutes["stream"], minutes["rows"], minutes["missing"], minutes["whole"]) == ("kline 1m", 0, [hole], False)
    first, last = "2023-11-14T22:14:05.000Z", "2023-11-14T22:14:17.000Z"
    assert trades["unknown"] == [{"start": hole["start"], "end": first}, {"start": last, "end": hole["end"]}]
    assert (trades["stream"], trades["missing"], trades["gaps_open"], trades["whole"]) == ("trade", [], 0, False)
    shown = wired(*asked).out
    doubt = "the market was silent, or nobody listened"
    assert f"not known  {pair}  trade  {last} to {hole['end']}  after the last that is stored: {doubt}\n" in shown
    assert f"not known  {pair}  trade  {hole['start']} to {first}  before the first that is stored: {doubt}\n" in shown
    later = wired(*asked[:4], "--start", "2023-11-14T23:00:00Z", "--end", "2023-11-14T23:01:00Z").out
    assert "2023-11-14T23:00:00.000Z to 2023-11-14T23:01:00.000Z  nothing is stored: no trades, or nobody listened\n" in later
    asked_by_name = wired(*asked, "-i", "1h", "--start", "2023-11-14T22:00:00Z", "--end", "2023-11-15T00:00:00Z", "--json").json["coverage"]
    assert [(one["stream"], len(one["missing"])) for one in asked_by_name] == [("kline 1h", 1)]


def _ago(text: str) -> timedelta:
    return timedelta(minutes=int(text[:-1]) * (60 if text.endswith("h") else 1))


def test_a_market_that_is_not_served_here_is_left_out_and_said(wired: Zvt, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Futures are blocked, spot is not: what could be read is stored, exit status 0, and what is missing is told."""
    script = tmp_path / "blocked.toml"
    script.write_text('[[fault]]\nat = "0s"\nkind = "http"\nstatus = 451\ntimes = 2\npath = "/fapi/v1/exchangeInfo"\n')
    with emulated("market", "--seed", "5", "--faults", str(script)) as place:
        monkeypatch.setenv("ZVT_CRYPTO__BINANCE__REST", place["rest_url"])
        monkeypatch.setenv("ZVT_CRYPTO__BINANCE__WS", place["ws_url"])
        said, whole = wired("pairs", "sync", "--json"), wired("pairs", "sync")
        again = wired("pairs", "sync", "--json")
    assert (said.code, whole.code, again.code) == (0, 0, 0)
    assert list(said.json["left_out"]) == ["usdm"]
    assert "451" in said.json["left_out"]["usdm"]
    assert said.json["instruments"]["inserted"] > 0
    assert "left out: usdm: " in whole.out
    assert again.json["left_out"] == {}
    assert again.json["instruments"]["inserted"] > 0  # the futures
