"""Other tools read what is exported as one table, and every value is what the store holds."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import duckdb
import polars as pl
import pytest
from typer.testing import CliRunner

from stores_fixtures import KNOWN, PAIR, PERP, bar, trade
from zvt_crypto.cli.main import app
from zvt_crypto.domain.errors import BadInput
from zvt_crypto.domain.market import Funding
from zvt_crypto.domain.time import NS_PER_DAY, Interval, parse_time
from zvt_crypto.stores.files.frames import kline_frame, trade_frame
from zvt_crypto.stores.postgres import migrate, open_store

FIRST = parse_time("2023-12-30")
MINUTES = [
    bar(0, open_ns=FIRST + n * NS_PER_DAY, close=100.0 + n / 64, instrument=name, turnover=None if n % 9 else 5.5)
    for name in (PAIR.id, PERP.id)
    for n in range(40)
]
HOURS = [bar(0, interval=Interval.HOUR_1, open_ns=FIRST + n * NS_PER_DAY) for n in range(5)]
MONTHS = [bar(0, interval=Interval.MONTH_1, open_ns=parse_time(month)) for month in ("2023-12-01", "2024-01-01")]
TRADES = [trade(n, event_ns=FIRST + n * NS_PER_DAY // 3 + 7, stream="agg" if n % 2 else "trade") for n in range(10)]
FUNDING = [Funding(PERP.id, FIRST + n * NS_PER_DAY, n / 10_000, None if n else 42_000.5) for n in range(4)]


async def fill(url: str) -> None:
    await migrate(url)
    store = await open_store(url)
    await store.instruments.save([PAIR, PERP], KNOWN)
    await store.klines.upsert(MINUTES + HOURS + MONTHS, KNOWN)
    await store.trades.append(TRADES, KNOWN)
    await store.facts.save_funding(FUNDING, KNOWN)
    await store.close()


@pytest.fixture
def filled(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ZVT_CRYPTO__DATABASE__URL", database_url)
    asyncio.run(fill(database_url))
    return database_url


def export(*arguments: str) -> dict:
    done = CliRunner().invoke(app, ["export", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_duckdb_and_polars_read_a_partitioned_folder_as_one_table(filled, tmp_path):
    told = export(PAIR.id, PERP.id, "--what", "klines,trades,funding", "-i", "1m,1h,1M", "--to", str(tmp_path))
    rows = {(e["entity_id"], e["what"], e["interval"]): (e["rows"], e["files"]) for e in told["exported"]}
    assert rows[PAIR.id, "klines", "1m"] == (40, 3)
    assert rows[PAIR.id, "klines", "1M"] == (2, 2)
    assert rows[PERP.id, "funding", None] == (4, 2)
    assert rows[PAIR.id, "trades", None] == (10, 4)
    assert rows[PERP.id, "trades", None] == rows[PAIR.id, "funding", None] == (0, 0)

    frame = pl.scan_parquet(tmp_path / "klines/**/*.parquet", hive_partitioning=True).filter(pl.col("interval") == "1m").collect()
    want = kline_frame(MINUTES).sort("entity_id", "timestamp")
    assert frame.sort("entity_id", "timestamp").select(want.columns).equals(want)

    at = duckdb.sql(
        f"SELECT * FROM read_parquet('{tmp_path}/klines/**/*.parquet', hive_partitioning=true) WHERE interval = '1m' AND year = 2024"
    )
    got = at.order("entity_id, timestamp").project("epoch_ns(timestamp), entity_id, close, turnover, trades, final, source").fetchall()
    want_rows = [
        (k.open_ns, k.instrument, k.close, k.turnover, k.trades, k.final, k.source) for k in MINUTES if k.open_ns >= parse_time("2024")
    ]
    assert got == sorted(want_rows, key=lambda row: (row[1], row[0]))

    deals = duckdb.sql(f"SELECT * FROM read_parquet('{tmp_path}/trades/**/*.parquet', hive_partitioning=true) ORDER BY timestamp")
    assert deals.project("trade_id, stream, date").fetchall()[0][:2] == (TRADES[0].trade_id, TRADES[0].stream)
    read = pl.scan_parquet(tmp_path / "trades/**/*.parquet", hive_partitioning=True).collect().sort("timestamp")
    assert read.select(trade_frame([]).columns).equals(trade_frame(TRADES))
    paid = pl.scan_parquet(tmp_path / "funding/**/*.parquet", hive_partitioning=True).collect().sort("timestamp")
    assert paid["rate"].to_list() == [f.rate for f in FUNDING]
    assert paid["mark_price"].to_list() == [f.mark_price for f in FUNDING]


def test_a_range_is_cut_where_it_is_asked_and_a_second_export_replaces_the_first(filled, tmp_path):
    asked = (PAIR.id, "--what", "klines,trades", "--to", str(tmp_path), "--start", "2023-12-31", "--end", "2024-01-02")
    first = export(*asked)
    assert [e["rows"] for e in first["exported"]] == [2, 6]
    before = sorted(tmp_path.rglob("*.parquet"))
    assert export(*asked) == first
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == before


def test_files_go_whose_rows_have_gone_and_nobody_elses(filled, tmp_path):
    asked = (PAIR.id, PERP.id, "--what", "klines,trades,funding", "-i", "1m,1h,1M", "--to", str(tmp_path))
    export(*asked)
    hours = tmp_path / f"klines/interval=1h/entity_id={PAIR.id}"
    ours = [hours / "notes.parquet", hours / "year=2024/mine.parquet", hours / "year=2024/2024-13.parquet"]
    for path in ours:
        path.write_text("not an export's")

    async def lose() -> None:
        sql = await asyncpg.connect(filled)
        await sql.execute("""
            DELETE FROM kline_1m WHERE instrument_id = 1 AND open_time < '2024-02-01';
            DELETE FROM kline_1h;
            DELETE FROM kline_1mon WHERE open_time < '2024-01-01';
            ALTER TABLE trade DISABLE TRIGGER keeps_rows;
            DELETE FROM trade WHERE event_time < '2023-12-31';
            DELETE FROM funding""")
        await sql.close()

    asyncio.run(lose())
    cut = export(PAIR.id, "-i", "1m", "--to", str(tmp_path), "--start", "2024-01-05", "--end", "2024-01-06")
    assert [(e["rows"], e["files"], e["removed"]) for e in cut["exported"]] == [(0, 0, 1)]
    told = export(*asked)["exported"]
    gone = {(e["entity_id"], e["what"], e["interval"]): e["removed"] for e in told if e["removed"]}
    assert gone == {
        (PAIR.id, "klines", "1m"): 1,
        (PAIR.id, "klines", "1h"): 2,
        (PAIR.id, "klines", "1M"): 1,
        (PAIR.id, "trades", None): 1,
        (PERP.id, "funding", None): 2,
    }
    assert all(path.exists() for path in ours)
    left = pl.concat([pl.read_parquet(path) for path in tmp_path.glob(f"klines/interval=1m/entity_id={PAIR.id}/*/*.parquet")])
    assert left["timestamp"].min() == datetime(2024, 2, 1, tzinfo=UTC)
    assert not list(tmp_path.rglob("funding.parquet"))
    again = CliRunner().invoke(app, ["export", PAIR.id, "-i", "1h", "--to", str(tmp_path)], catch_exceptions=False)
    assert "removed" not in again.stdout


def test_what_cannot_be_meant_is_refused_by_name(filled, tmp_path):
    (tmp_path / "file").write_text("")
    for arguments, said in (
        (["--what", "books", "--to", str(tmp_path)], "what 'books'"),
        (["-i", "7m", "--to", str(tmp_path)], "interval '7m'"),
        (["--to", str(tmp_path / "file")], "cannot be written"),
    ):
        with pytest.raises(BadInput, match=said):
            CliRunner().invoke(app, ["export", PAIR.id, *arguments], catch_exceptions=False)


def test_nothing_stored_is_told(filled, tmp_path: Path):
    done = CliRunner().invoke(app, ["export", PAIR.id, "-i", "4h", "--to", str(tmp_path)], catch_exceptions=False)
    assert "0 rows in 0 files" in done.stdout
    assert "none of this is stored here" in done.stderr
