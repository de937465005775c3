"""`zvt-crypto import`: what is stored, what is told, and that a run which was killed is finished by the next."""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import asyncpg
import msgspec
import pytest
from cli_parts import ZVT_CRYPTO, Said, clean_env

from stores_fixtures import MINUTE, PAIR, PERP, START
from zvt_crypto.domain.market import Funding, Kline, MarkPrice, Trade
from zvt_crypto.domain.time import Interval, parse_time
from zvt_crypto.stores.postgres import PostgresStore, open_store

Zvt = Callable[..., Said]
T = TypeVar("T")
FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "imports"
D24, D25 = parse_time("2024-08-08"), parse_time("2025-01-01")
MS = 1_000_000
GENERIC = ("--format", "generic", "--symbol", PAIR.id, "--interval", "1m")


def stored(url: str, work: Callable[[PostgresStore], Awaitable[T]]) -> T:
    async def go() -> T:
        store = await open_store(url)
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(go())


@pytest.fixture
def listed(zvt: Zvt, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Zvt:
    """Commands on a database that knows the pair and the perpetual."""
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__URL", database_url)
    stored(database_url, lambda store: store.instruments.save([PAIR, PERP], START))
    return zvt


def bars(url: str, instrument: str = PAIR.id, interval: Interval = Interval.MIN_1) -> list[Kline]:
    return stored(url, lambda store: store.klines.read(instrument, interval))


def write_bars(path: Path, lines: list[str]) -> str:
    path.write_text("time,open,high,low,close,volume\n" + "".join(f"{line}\n" for line in lines))
    return str(path)


def test_a_folder_of_freqtrade_is_stored_and_a_second_run_changes_nothing(listed: Zvt, database_url: str) -> None:
    command = ("import", str(FIXTURES / "freqtrade"), "--format", "freqtrade", "--json")
    first = listed(*command)
    assert first.code == 0, first.err
    assert {(s["instrument"], s["noun"], s["interval"]): (s["rows"], s["new"]) for s in first.json["series"]} == {
        (PAIR.id, "klines", "5m"): (2, 2),
        (PAIR.id, "klines", "15m"): (2, 2),
        (PAIR.id, "klines", "1h"): (2, 2),
        (PAIR.id, "klines", "1d"): (2, 2),
        (PAIR.id, "klines", "1M"): (1, 1),
        (PAIR.id, "agg", ""): (2, 2),
        (PERP.id, "klines", "1h"): (2, 2),
        (PERP.id, "mark", "1h"): (2, 2),
        (PERP.id, "funding", ""): (2, 2),
    }
    again = listed(*command)
    assert again.code == 0
    assert [(s["new"], s["changed"], s["known"] == s["rows"]) for s in again.json["series"]] == [(0, 0, True)] * 9
    assert {(bar.source, bar.final) for bar in bars(database_url, PERP.id, Interval.HOUR_1)} == {("import", True)}


def test_binance_vision_is_stored_in_every_noun(listed: Zvt, database_url: str) -> None:
    said = listed("import", str(FIXTURES / "vision"), "--format", "binance-vision")
    assert said.code == 0, said.err
    assert f"hole: {PAIR.id} 1m 2024-08-08T00:03:00.000Z to 2025-01-01T00:00:00.000Z, 210237 bars" in said.out
    assert f"hole: {PAIR.id} trade 2025-01-01T00:00:00.012Z to 2025-01-01T00:00:00.099Z, 2 trades" in said.out
    assert "imported: 17 rows" in said.out
    assert [bar.open_ns for bar in bars(database_url)] == [d + n * MINUTE for d in (D24, D25) for n in range(3)]

    async def rest(store: PostgresStore) -> tuple[object, ...]:
        trades = await store.trades.read(PAIR.id)
        funding, marks = await store.facts.read_funding(PERP.id), await store.facts.read_mark(PERP.id)
        return [t.trade_id for t in trades], funding, marks

    ids, funding, marks = stored(database_url, rest)
    assert ids == ["7001", "7002", "7005"]
    assert funding == [Funding(PERP.id, D25 + 1_000_000, 0.0001), Funding(PERP.id, D25 + 480 * MINUTE, -0.00002)]
    assert marks == [MarkPrice(PERP.id, D25 + 60 * MINUTE, 101.5, None, None, None)]


def test_rejected_rows_are_counted_shown_and_written_down(listed: Zvt, tmp_path: Path) -> None:
    report = tmp_path / "deep" / "rejected.csv"
    path = FIXTURES / "generic" / "every-fault.csv"
    columns = "time=ts,open=o,high=h,low=l,close=c,volume=vol"
    said = listed("import", str(path), *GENERIC, "--columns", columns, "--rejects", str(report))
    assert said.code == 1
    assert f"rejected: 2 rows, time is not a time, or has no zone (--utc); first {path} row 6, 'yesterday'" in said.out
    assert "and 3 more reasons" in said.out
    assert f"every rejected row is in {report}" in said.err
    with report.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["file", "row", "value", "reason"]
    assert len(rows) == 1 + 16
    assert rows[-2:] == [
        [str(path), "18", "2024-08-08T00:02:00Z,100,103,99", "4 columns, not 6"],
        [str(path), "20", "2024-08-08 00:04:00", "time is not a time, or has no zone (--utc)"],
    ]


def test_a_report_lies_in_the_data_folder_if_nobody_says_where_and_only_if_there_is_one(listed: Zvt, tmp_path: Path) -> None:
    good = write_bars(tmp_path / "good.csv", ["2024-08-08,100,103,99,101,2"])
    assert listed("import", good, *GENERIC).code == 0
    assert not (tmp_path / "data" / "imports").exists()
    bad = write_bars(tmp_path / "bad.csv", ["2024-08-08,100,103,99,101,-2"])
    said = listed("import", bad, *GENERIC, "--json")
    assert said.code == 1
    assert Path(said.json["report"]).parent == tmp_path / "data" / "imports"
    assert said.json["reasons"] == {"volume is below zero": 1}


def test_a_dry_run_writes_nothing(listed: Zvt, database_url: str) -> None:
    said = listed("import", str(FIXTURES / "vision" / "spot"), "--format", "binance-vision", "--dry-run")
    assert said.code == 0
    assert "read, nothing written: 9 rows" in said.out
    assert bars(database_url) == []


def test_what_the_exchange_says_stays_and_what_we_made_ourselves_goes(listed: Zvt, database_url: str, tmp_path: Path) -> None:
    ours = Kline(PAIR.id, Interval.MIN_1, D24, 1.0, 1.0, 1.0, 1.0, 1.0, None, None, True, "venue")
    minutes = [msgspec.structs.replace(ours, open_ns=D24 + n * MINUTE, source=s) for n, s in enumerate(("venue", "trades", "derived"))]
    stored(database_url, lambda store: store.klines.upsert(minutes, START))
    path = write_bars(tmp_path / "bars.csv", [f"2024-08-08T00:0{n}:00Z,100,103,99,101,2" for n in range(3)])
    said = listed("import", path, *GENERIC, "--json").json
    (series,) = said["series"]
    assert (series["new"], series["changed"], series["known"]) == (0, 2, 1)
    assert [(bar.source, bar.close) for bar in bars(database_url)] == [("venue", 1.0), ("import", 101.0), ("import", 101.0)]
    # The exchange's own word replaces an import, whenever it comes.
    stored(
        database_url, lambda store: store.klines.upsert([msgspec.structs.replace(minutes[1], source="venue", close=1.0)], START + MINUTE)
    )
    assert listed("import", path, *GENERIC, "--json").json["series"][0]["changed"] == 0
    assert [bar.source for bar in bars(database_url)] == ["venue", "venue", "import"]


def test_a_stored_trade_stays_and_one_that_contradicts_it_is_told(listed: Zvt, database_url: str, tmp_path: Path) -> None:
    known = Trade(PAIR.id, "trade", "5", 100.0, 1.0, "buy", D24)
    stored(database_url, lambda store: store.trades.append([known], START))
    path = tmp_path / "trades.csv"
    path.write_text("time,id,price,qty,side\n2024-08-08,5,100,9,buy\n2024-08-08T00:00:01Z,6,100,1,sell\n")
    command = ("import", str(path), "--format", "generic", "--symbol", PAIR.id, "--what", "trades", "--stream", "trade", "--json")
    said = listed(*command)
    assert said.code == 1
    (series,) = said.json["series"]
    assert (series["noun"], series["new"], series["known"], series["rejected"]) == ("trade", 1, 0, 1)
    assert said.json["reasons"] == {"the stored trade of this id has other values": 1}
    assert stored(database_url, lambda store: store.trades.read(PAIR.id))[0] == known


@pytest.mark.parametrize("live_first", [True, False])
def test_a_file_in_microseconds_adds_nothing_to_what_was_recorded_live(listed: Zvt, database_url: str, live_first: bool) -> None:
    path = FIXTURES / "vision" / "spot" / "BTCUSDT-trades-2025-01-01.zip"
    command = ("import", str(path), "--format", "binance-vision", "--json")
    live = [
        Trade(PAIR.id, "trade", "7001", 100.1, 0.5, "sell", D25 + 12 * MS),
        Trade(PAIR.id, "trade", "7002", 100.2, 0.25, "buy", D25 + 12 * MS),
        Trade(PAIR.id, "trade", "7005", 100.3, 1.0, "buy", D25 + 99 * MS),
    ]
    if live_first:
        stored(database_url, lambda store: store.recording.record(live, START))
        (series,) = listed(*command).json["series"]
        assert (series["new"], series["known"], series["rejected"]) == (0, 3, 0)
    else:
        assert listed(*command).json["series"][0]["new"] == 3
        stored(database_url, lambda store: store.recording.record(live, START))
    trades = stored(database_url, lambda store: store.trades.read(PAIR.id))
    assert [t.trade_id for t in trades] == ["7001", "7002", "7005"]
    assert sum(t.quantity for t in trades) == 1.75
    assert (trades[0].event_ns % MS == 0) is live_first, "what came first stays"


def test_an_id_that_is_stored_at_another_time_is_told_and_not_taken(listed: Zvt, database_url: str, tmp_path: Path) -> None:
    there = [Trade(PAIR.id, "trade", name, 100.0, 1.0, "buy", D24 + at) for name, at in (("5", 0), ("9", 86_400_000 * MS))]
    stored(database_url, lambda store: store.trades.append(there, START))
    path = tmp_path / "trades.csv"
    path.write_text(
        "time,id,price,qty,side\n"
        "2024-08-08T00:00:59Z,5,100,1,buy\n"  # 59 s after the stored one
        "2024-08-08T00:01:00Z,6,100,1,sell\n"
        "2024-08-08T23:59:59.999Z,9,100,1,buy\n"  # 1 ms before the stored one
    )
    said = listed("import", str(path), "--format", "generic", "--symbol", PAIR.id, "--what", "trades", "--stream", "trade", "--json")
    (series,) = said.json["series"]
    assert (said.code, series["new"], series["known"], series["rejected"]) == (1, 1, 0, 2)
    assert said.json["reasons"] == {"this id is stored at another time": 2}
    assert [t.trade_id for t in stored(database_url, lambda store: store.trades.read(PAIR.id))] == ["5", "6", "9"]


def test_funding_that_lies_beside_a_stored_one_is_that_one(listed: Zvt, database_url: str) -> None:
    near, other = Funding(PERP.id, D24 + 7_000_000, 0.0001), Funding(PERP.id, D24 + 480 * MINUTE - 1_000_000, 0.5)
    stored(database_url, lambda store: store.facts.save_funding([near, other], START))
    folder = FIXTURES / "freqtrade" / "binance" / "futures"
    said = listed("import", str(folder / "BTC_USDT_USDT-8h-funding_rate.feather"), "--format", "freqtrade", "--json")
    assert said.code == 1
    assert said.json["reasons"] == {"the stored rate of this time is another": 1}
    assert stored(database_url, lambda store: store.facts.read_funding(PERP.id)) == [near, other]


def test_a_file_that_fails_does_not_stop_the_others(listed: Zvt, tmp_path: Path) -> None:
    folder = tmp_path / "spot"
    shutil.copytree(FIXTURES / "vision" / "spot", folder)
    (folder / "BTCUSDT-1m-2024-08-08.zip").write_bytes(b"broken")
    (folder / "LTCUSDT-1m-2024-08-08.csv").write_text("")
    said = listed("import", str(folder), "--format", "binance-vision", "--json")
    assert said.code == 1
    assert [series["rows"] for series in said.json["series"]] == [3, 3]
    assert [Path(one["file"]).name for one in said.json["failed"]] == ["LTCUSDT-1m-2024-08-08.csv", "BTCUSDT-1m-2024-08-08.zip"]
    assert "no pair 'LTCUSDT' of binance is stored" in said.err
    assert "CHECKSUM says" in said.err


def test_the_status_is_2_where_nothing_could_be_read(listed: Zvt, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("a,b\n1,2\n")
    said = listed("import", str(path), *GENERIC)
    assert said.code == 2
    assert f"error: {path}: time is missing: no column is named so (it has 'a, b'); say which with --columns time=…" in said.err
    assert listed("import", str(tmp_path / "none.csv"), *GENERIC).code == 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--format", "excel"), "--format 'excel' is none of freqtrade, binance-vision, generic"),
        (("--format", "generic", "--market", "cm"), "--market 'cm' is none of spot, usdm"),
        (("--format", "generic", "--time-unit", "h"), "--time-unit 'h' is none of auto, s, ms, us, ns"),
        (("--format", "generic", "--what", "books"), "--what 'books' is none of klines, trades"),
        (("--format", "generic", "--stream", "x"), "--stream 'x' is none of trade, agg"),
        (("--format", "generic", "--columns", "time"), "--columns 'time' is not NAME=COLUMN"),
        (("--format", "generic", "--columns", "mood=a"), "--columns 'mood' is none of time, open"),
        (("--format", "freqtrade", "--interval", "1m"), "--interval is for --format generic"),
        (("--format", "generic", "--interval", "2m"), "unknown interval '2m'"),
        (("--format", "generic", "--exchange", "mtgox"), "unknown exchange 'mtgox'"),
    ],
)
def test_wrong_options_are_refused_by_name(listed: Zvt, more: tuple[str, ...], said: str, tmp_path: Path) -> None:
    answer = listed("import", str(tmp_path), *more)
    assert answer.code == 2
    assert said in answer.err


@pytest.mark.slow
def test_an_import_that_was_killed_is_finished_by_the_next(listed: Zvt, database_url: str, tmp_path: Path) -> None:
    count = 150_000
    path = write_bars(tmp_path / "bars.csv", [f"{D24 // 1_000_000_000 - 60 * n},100,103,99,{99 + n % 5},2" for n in range(count)])
    env = clean_env(ZVT_CRYPTO__DATABASE__URL=database_url, ZVT_CRYPTO__DATA_DIR=str(tmp_path / "data"))
    command = [ZVT_CRYPTO, "import", path, *GENERIC]

    def rows() -> int:
        async def go() -> int:
            connection = await asyncpg.connect(database_url)
            try:
                return int(await connection.fetchval("SELECT count(*) FROM kline_1m"))
            finally:
                await connection.close()

        return asyncio.run(go())

    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not rows() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
    before = rows()
    assert 0 < before < count
    assert before % 50_000 == 0  # whole batches or nothing
    (series,) = listed("import", path, *GENERIC, "--json").json["series"]
    assert (series["new"], series["known"], series["changed"]) == (count - before, before, 0)
    assert rows() == count
