"""Files of other tools: how they are opened, what their names say, which of their rows are taken."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import re
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from stores_fixtures import FUTURE, PAIR, PERP
from zvt_crypto.domain.errors import BadInput, BadTime
from zvt_crypto.domain.imports import Hole, Rejected
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.domain.market import Funding, Kline, MarkPrice, Trade
from zvt_crypto.domain.time import EARLIEST_NS, INTERVALS, LATEST_NUMBER_NS, Interval, is_aligned, next_ns, parse_time
from zvt_crypto.stores.imports.arrays import ArrayReader
from zvt_crypto.stores.imports.bars import KlineJudge
from zvt_crypto.stores.imports.delimited import LINE_MOST, CsvReader
from zvt_crypto.stores.imports.files import plan_files
from zvt_crypto.stores.imports.layouts import ImportOptions, source_of
from zvt_crypto.stores.imports.reading import NUMBER
from zvt_crypto.stores.imports.seen import SeenBars, bar_numbers, closes_ns, on_grid, open_of
from zvt_crypto.stores.imports.times import TimeRule, to_ns
from zvt_crypto.stores.imports.wrapped import check_whole, members_of

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures" / "imports"
TABLE = Instruments([PAIR, PERP, FUTURE])
NOW = parse_time("2026-01-01")
D24, D25 = parse_time("2024-08-08"), parse_time("2025-01-01")
MINUTE = 60_000_000_000


def taken(
    path: Path, options: ImportOptions, now_ns: int = NOW, table: Instruments = TABLE
) -> tuple[list[object], list[Rejected], list[Hole]]:
    """All rows, rejections and holes of what a path holds; nothing may fail."""
    plan = plan_files([path], options, table, now_ns)
    assert plan.failed == []
    rows: list[object] = []
    rejected: list[Rejected] = []
    holes: list[Hole] = []
    for one in plan.series:
        for source in one.sources:
            for batch in one.series.batches(source):
                rows += batch.rows
                rejected += batch.rejected
                assert batch.read == len(batch.rows) + batch.repeated + len(batch.rejected)
        holes += one.series.holes()
    return rows, rejected, holes


def kline(open_ns: int, interval: str = "1h", instrument: str = PAIR.id, **more: object) -> Kline:
    values = {"open": 100.0, "high": 103.0, "low": 99.0, "close": 101.0, "volume": 2.0, "turnover": None, "trades": None} | more
    return Kline(instrument, Interval(interval), open_ns, final=True, source="import", **values)  # type: ignore[arg-type]


# ── freqtrade ──


@pytest.mark.parametrize(
    ("file", "interval"),
    [("BTC_USDT-1h.feather", "1h"), ("BTC_USDT-1d.parquet", "1d"), ("BTC_USDT-5m.json.gz", "5m"), ("BTC_USDT-15m.json", "15m")],
)
def test_freqtrade_bars_come_out_of_every_form(file: str, interval: str) -> None:
    rows, rejected, holes = taken(FIXTURES / "freqtrade/binance" / file, ImportOptions("freqtrade"))
    second = next_ns(Interval(interval), D24)
    assert rows == [kline(D24, interval), kline(second, interval, open=101.0, high=102.0, low=100.0, close=102.0, volume=1.0)]
    assert (rejected, holes) == ([], [])


def test_freqtrade_months_are_called_mo() -> None:
    rows, _, _ = taken(FIXTURES / "freqtrade/binance/BTC_USDT-1Mo.feather", ImportOptions("freqtrade"))
    assert rows == [kline(parse_time("2024-08"), "1M")]


def test_freqtrade_futures_marks_and_funding_are_of_the_perpetual() -> None:
    folder = FIXTURES / "freqtrade/binance/futures"
    hour = 60 * MINUTE
    rows, _, _ = taken(folder / "BTC_USDT_USDT-1h-futures.feather", ImportOptions("freqtrade"))
    assert rows[0] == kline(D24, "1h", PERP.id)
    rows, _, _ = taken(folder / "BTC_USDT_USDT-1h-mark.feather", ImportOptions("freqtrade"))
    assert rows == [MarkPrice(PERP.id, D24 + hour, 101.0, None, None, None), MarkPrice(PERP.id, D24 + 2 * hour, 102.0, None, None, None)]
    rows, _, _ = taken(folder / "BTC_USDT_USDT-8h-funding_rate.feather", ImportOptions("freqtrade"))
    assert rows == [Funding(PERP.id, D24, 0.0001), Funding(PERP.id, D24 + 8 * hour, -0.00002)]


def test_freqtrade_trades_of_binance_are_aggregated_ones() -> None:
    path = FIXTURES / "freqtrade/binance/BTC_USDT-trades.feather"
    rows, _, _ = taken(path, ImportOptions("freqtrade"))
    ms = 1_000_000
    assert rows == [
        Trade(PAIR.id, "agg", "9001", 100.0, 1.0, "buy", D24 + ms),
        Trade(PAIR.id, "agg", "9002", 101.0, 0.5, "sell", D24 + 2 * ms),
    ]
    rows, _, _ = taken(path, ImportOptions("freqtrade", stream="trade"))
    assert [row.stream for row in rows if isinstance(row, Trade)] == ["trade", "trade"]


@pytest.mark.data
def test_a_real_folder_of_freqtrade_agrees_with_itself(recorded: Path, tmp_path: Path) -> None:
    folder = tmp_path / "binance"
    folder.mkdir()
    for name in ("XRP_ETH-1m.feather", "XRP_ETH-trades.json.gz"):
        shutil.copy(recorded / "freqtrade/tests/testdata" / name, folder)
    xrp = msgspec.structs.replace(PAIR, id="cryptopair_binance_xrpeth", native_symbol="XRPETH", base_asset="XRP", quote_asset="ETH")
    rows, rejected, _ = taken(folder, ImportOptions("freqtrade"), table=Instruments([xrp]))
    assert rejected == []
    bars = {row.open_ns: (row.open, row.high, row.low, row.close) for row in rows if isinstance(row, Kline)}
    minutes: dict[int, list[float]] = {}
    for row in rows:
        if isinstance(row, Trade):
            minutes.setdefault(row.event_ns // MINUTE * MINUTE, []).append(row.price)
    # Every minute of the one file is what the trades of the other make of it.
    assert bars == {open_ns: (prices[0], max(prices), min(prices), prices[-1]) for open_ns, prices in minutes.items()}
    assert len(bars) == 2469


# ── Binance Vision ──


@pytest.mark.parametrize(
    ("file", "start", "instrument"),
    [
        ("spot/BTCUSDT-1m-2024-08-08.zip", D24, PAIR.id),  # milliseconds, no header
        ("spot/BTCUSDT-1m-2025-01-01.zip", D25, PAIR.id),  # microseconds
        ("um/BTCUSDT-1m-2025-01-01.zip", D25, PERP.id),  # milliseconds and a header
    ],
)
def test_klines_of_binance_vision_have_turnover_and_counts(file: str, start: int, instrument: str) -> None:
    rows, rejected, holes = taken(FIXTURES / "vision" / file, ImportOptions("binance-vision"))
    assert rows == [
        kline(start, "1m", instrument, turnover=202.0, trades=3),
        kline(start + MINUTE, "1m", instrument, open=101.0, high=102.0, low=100.0, close=102.0, volume=1.0, turnover=101.5, trades=2),
        kline(start + 2 * MINUTE, "1m", instrument, open=102.0, high=102.0, low=102.0, close=102.0, volume=0.0, turnover=0.0, trades=0),
    ]
    assert (rejected, holes) == ([], [])


def test_trades_of_both_markets_and_their_missing_ids() -> None:
    us = 1000
    rows, _, holes = taken(FIXTURES / "vision/spot/BTCUSDT-trades-2025-01-01.zip", ImportOptions("binance-vision"))
    assert rows == [
        Trade(PAIR.id, "trade", "7001", 100.1, 0.5, "sell", D25 + 12345 * us),
        Trade(PAIR.id, "trade", "7002", 100.2, 0.25, "buy", D25 + 12346 * us),
        Trade(PAIR.id, "trade", "7005", 100.3, 1.0, "buy", D25 + 99999 * us),
    ]
    assert holes == [Hole(D25 + 12346 * us, D25 + 99999 * us, 2)]
    rows, _, holes = taken(FIXTURES / "vision/um/BTCUSDT-aggTrades-2025-01-01.csv", ImportOptions("binance-vision"))
    assert rows[0] == Trade(PERP.id, "agg", "41", 100.1, 0.5, "sell", D25 + 7_000_000)
    assert holes == []


def test_marks_and_funding_of_binance_vision() -> None:
    rows, _, _ = taken(FIXTURES / "vision/um/markPriceKlines", ImportOptions("binance-vision"))
    assert rows == [MarkPrice(PERP.id, D25 + 60 * MINUTE, 101.5, None, None, None)]
    rows, _, _ = taken(FIXTURES / "vision/um/BTCUSDT-fundingRate-2025-01.zip", ImportOptions("binance-vision"))
    assert rows == [Funding(PERP.id, D25 + 1_000_000, 0.0001), Funding(PERP.id, D25 + 480 * MINUTE, -0.00002)]


def test_mark_prices_in_the_place_of_klines_are_refused(tmp_path: Path) -> None:
    shutil.copy(FIXTURES / "vision/um/markPriceKlines/BTCUSDT-1h-2025-01-01.zip", tmp_path)
    rows, rejected, _ = taken(tmp_path, ImportOptions("binance-vision", market="usdm"))
    assert rows == []
    assert [(one.row, one.value, one.reason) for one in rejected] == [
        (2, "3600", "trades without a volume: are these mark or index prices?")
    ]


def test_a_whole_folder_is_one_series_an_instrument_and_noun() -> None:
    plan = plan_files([FIXTURES / "vision"], ImportOptions("binance-vision"), TABLE, NOW)
    assert [(one.series.instrument, one.series.noun, one.series.stream, len(one.sources)) for one in plan.series] == [
        (PAIR.id, "klines", "trade", 2),
        (PAIR.id, "trades", "trade", 1),
        (PERP.id, "funding", "trade", 1),
        (PERP.id, "klines", "trade", 1),
        (PERP.id, "mark", "trade", 1),
        (PERP.id, "trades", "agg", 1),
    ]
    _, _, holes = taken(FIXTURES / "vision/spot", ImportOptions("binance-vision"))
    assert holes[0] == Hole(D24 + 3 * MINUTE, D25, 210_237)  # 146 days of 1,440 minutes, without three


def test_a_file_that_differs_from_its_checksum_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name in ("BTCUSDT-1m-2025-01-01.zip", "BTCUSDT-1m-2025-01-01.zip.CHECKSUM"):
        shutil.copy(FIXTURES / "vision/spot" / name, tmp_path)
    path = tmp_path / "BTCUSDT-1m-2025-01-01.zip"
    assert check_whole(path)
    beside = path.with_name(path.name + ".CHECKSUM")
    beside.write_text("0" * 64 + f"  {path.name}\n")
    with pytest.raises(BadInput, match=r"BTCUSDT-1m-2025-01-01\.zip: its SHA-256 is [0-9a-f]{64}, but .*CHECKSUM says 0000"):
        check_whole(path)
    beside.write_text("gone")
    with pytest.raises(BadInput, match="'gone' is no SHA-256"):
        check_whole(path)


def test_without_a_checksum_beside_it_an_archive_must_agree_with_its_own(tmp_path: Path) -> None:
    path = tmp_path / "BTCUSDT-1m-2025-01-01.zip"
    whole = (FIXTURES / "vision/spot" / path.name).read_bytes()
    path.write_bytes(whole)
    assert not check_whole(path)
    for damaged in (whole[:60] + b"\x00" + whole[61:], whole[:-30], b"nothing", b""):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match=str(path)):
            check_whole(path)
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress(b"time,open\n" * 1000)[:-9])
    with pytest.raises(BadInput, match=r"a\.csv\.gz: is damaged"):
        check_whole(packed)


# ── generic ──


def generic(text: str, folder: Path, name: str = "bars.csv", **more: object) -> tuple[list[object], list[Rejected], list[Hole]]:
    path = folder / name
    path.write_text(text)
    options = {"symbol": "BTC/USDT", "exchange": "binance", "interval": Interval.MIN_1} | more
    return taken(path, ImportOptions("generic", **options))  # type: ignore[arg-type]


def test_every_fault_of_a_row_is_told_with_its_line_and_value() -> None:
    columns = {"time": "ts", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "vol"}
    options = ImportOptions("generic", symbol=PAIR.id, interval=Interval.MIN_1, columns=columns)
    rows, rejected, holes = taken(FIXTURES / "generic/every-fault.csv", options)
    assert rows == [kline(D24, "1m"), kline(D24 + 3 * MINUTE, "1m")]
    assert sorted((one.row, one.value, one.reason) for one in rejected) == [
        (4, "2024-08-08T00:00:00.000Z", "this bar came before, with other values"),
        (5, "2024-08-08T00:01:30Z", "is no open of 1m"),
        (6, "yesterday", "time is not a time, or has no zone (--utc)"),
        (7, "", "time is missing"),
        (8, "1999-01-01T00:00:00Z", "time is before 2009, when nothing was traded"),
        (9, "2199-01-01T00:00:00Z", "opens later than now"),
        (10, "many", "open is not a number"),
        (11, "98", "high is below low"),
        (12, "NaN", "open is not a finite number"),
        (13, "-2", "volume is below zero"),
        (14, "104", "close is not between low and high"),
        (15, "0", "low is not above zero"),
        (16, "inf", "high is not a finite number"),
        (17, "", "volume is missing"),
        (18, "2024-08-08T00:02:00Z,100,103,99", "4 columns, not 6"),
        (20, "2024-08-08 00:04:00", "time is not a time, or has no zone (--utc)"),
    ]
    assert holes == [Hole(D24 + MINUTE, D24 + 3 * MINUTE, 2)]
    rows, _, _ = taken(
        FIXTURES / "generic/every-fault.csv",
        ImportOptions("generic", symbol=PAIR.id, interval=Interval.MIN_1, columns=columns, time=TimeRule(naive_is_utc=True)),
    )
    assert rows[-1] == kline(D24 + 4 * MINUTE, "1m")


def test_a_bar_that_still_forms_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("time,open,high,low,close,volume\n2024-08-08T00:00:00Z,100,103,99,101,2\n2024-08-08T00:01:00Z,100,103,99,101,2\n")
    options = ImportOptions("generic", symbol=PAIR.id, interval=Interval.MIN_1)
    rows, rejected, _ = taken(path, options, D24 + 2 * MINUTE - 1)
    assert rows == [kline(D24, "1m")]
    assert [(one.row, one.reason) for one in rejected] == [(3, "is still forming: it closes later than now")]
    assert len(taken(path, options, D24 + 2 * MINUTE)[0]) == 2


def test_columns_may_be_counted_where_there_is_no_header(tmp_path: Path) -> None:
    text = "BTC;1723075200;100;99;103;101;2\nBTC;1723075260;100;99;103;101;2\n"
    columns = {"time": "2", "open": "3", "low": "4", "high": "5", "close": "6", "volume": "7"}
    rows, rejected, _ = generic(text.replace("BTC", "1"), tmp_path, columns=columns)
    assert rows == [kline(D24, "1m"), kline(D24 + MINUTE, "1m")]
    assert rejected == []


def test_common_headers_need_no_mapping_and_extra_columns_are_ignored(tmp_path: Path) -> None:
    text = 'Timestamp,Open,High,Low,Close,Volume,Quote Volume,Count,Comment\n1723075200000,100,103,99,101,2,202,3,"a,b"\n'
    rows, _, _ = generic(text, tmp_path)
    assert rows == [kline(D24, "1m", turnover=202.0, trades=3)]


def test_turnover_and_counts_may_be_absent_but_not_wrong(tmp_path: Path) -> None:
    head = "time,open,high,low,close,volume,turnover,trades\n"
    lines = [
        "1723075200,100,103,99,101,2,,",
        "1723075260,100,103,99,101,2,x,1",
        "1723075320,100,103,99,101,2,1,1.5",
        "1723075380,1,1,1,1,2,-1,1",
    ]
    rows, rejected, _ = generic(head + "\n".join(lines) + "\n", tmp_path)
    assert rows == [kline(D24, "1m")]
    assert [(one.row, one.value, one.reason) for one in rejected] == [
        (3, "x", "turnover is not a number"),
        (4, "1.5", "trades is not a count"),
        (5, "-1", "turnover is below zero"),
    ]


def test_trades_of_any_table(tmp_path: Path) -> None:
    text = "time,id,price,qty,side\n1723075200001,a1,100,1,Buy\n1723075200002,a2,101,0.5,S\n1723075200001,a1,100,1,buy\n1723075200001,a1,100,2,buy\n"
    text += "1723075200003,,100,1,buy\n1723075200003,a3,0,1,buy\n1723075200003,a4,1,1,hold\n"
    rows, rejected, _ = generic(text, tmp_path, what="trades", stream="trade", interval=None)
    ms = 1_000_000
    assert rows == [
        Trade(PAIR.id, "trade", "a1", 100.0, 1.0, "buy", D24 + ms),
        Trade(PAIR.id, "trade", "a2", 101.0, 0.5, "sell", D24 + 2 * ms),
    ]
    assert [(one.row, one.value, one.reason) for one in rejected] == [
        (6, "", "has no id of the exchange, by which trades are told apart"),
        (7, "0", "price is not above zero"),
        (8, "hold", "side is neither buy nor sell"),
        (5, "a1", "this id came before, with other values"),
    ]


def test_columns_of_other_types_are_numbers_only_where_they_say_one(tmp_path: Path) -> None:
    path = tmp_path / "trades.parquet"
    ids, prices = [1.0, None, 2.0**60], pl.Series(["100", "101", "x"], dtype=pl.Categorical)
    frame = pl.DataFrame({"time": [1723075200001] * 3, "id": ids, "price": prices, "qty": [1, 1, 1], "is_buyer_maker": [True, False, None]})
    frame.write_parquet(path)
    options = ImportOptions("generic", symbol=PAIR.id, what="trades", stream="trade")
    rows, rejected, _ = taken(path, options)
    assert rows == [Trade(PAIR.id, "trade", "1", 100.0, 1.0, "sell", D24 + 1_000_000)]
    assert [(one.row, one.reason) for one in rejected] == [(n, "has no id of the exchange, by which trades are told apart") for n in (2, 3)]
    frame.with_columns(pl.lit("9" * 129).alias("id")).write_parquet(path)
    assert {one.reason for one in taken(path, options)[1]} == {"has an id of more than 128 characters"}
    frame.with_columns(pl.lit(["1"]).alias("id")).write_parquet(path)
    with pytest.raises(BadInput, match=r"trades\.parquet: column 'id' is of type List"):
        taken(path, options)


@pytest.mark.parametrize(
    ("text", "more", "said"),
    [
        ("time,open,high,low,close\n", {}, "volume is missing: no column is named so"),
        (
            "time,o,h,l,c,v\n1,1,1,1,1,1\n",
            {"columns": {"open": "first"}},
            r"open is missing: no column 'first' \(it has 'time, o, h, l, c, v'\)",
        ),
        ("time,price,qty,side\n", {"what": "trades", "stream": "trade"}, "trade_id is missing: .* are not taken without"),
        ("a\n", {"symbol": None}, "say which instrument this is with --symbol"),
        ("a\n", {"interval": None}, "say how long its bars are with --interval"),
        ("a\n", {"what": "trades"}, "binance has two kinds of trade ids"),
        ("a\n", {"symbol": "DOGE/USDT"}, "unknown symbol 'DOGE/USDT'.*pairs sync"),
    ],
)
def test_a_file_that_cannot_be_taken_says_why(text: str, more: dict[str, object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(text)
    given = {"symbol": "BTC/USDT", "exchange": "binance", "interval": Interval.MIN_1} | more
    plan = plan_files([path], ImportOptions("generic", **given), TABLE, NOW)  # type: ignore[arg-type]
    if plan.failed:
        told = plan.failed[0][1]
    else:
        with pytest.raises(BadInput) as caught:
            list(plan.series[0].series.batches(plan.series[0].sources[0]))
        told = str(caught.value)
    assert re.search(said, told)
    assert str(path) in told


@pytest.mark.parametrize(
    ("name", "form", "said"),
    [
        ("BTC_USDT-1h.feather", "freqtrade", "say which with --exchange"),
        ("binance/BTC_USDT-3m.feather", "freqtrade", "unknown interval '3m'"),
        ("binance/BTC_USDT_USDT-1h-index.feather", "freqtrade", "candles of the kind 'index'"),
        ("binance/notes.csv", "freqtrade", "is no name of freqtrade's"),
        ("BTCUSDT.zip", "binance-vision", "is no name of Binance Vision's"),
        ("spot/BTCUSDT-3d-2024-08.zip", "binance-vision", "unknown interval '3d'"),
        ("cm/BTCUSD_PERP-1m-2024-08.zip", "binance-vision", "other than spot and USD-M"),
        ("um/indexPriceKlines/BTCUSDT-1m-2024-08.zip", "binance-vision", "indexPriceKlines are not stored"),
        ("BTCUSDT-1m-2024-08.zip", "binance-vision", "names a pair and a perp: say --market"),
        ("spot/DOGEUSDT-1m-2024-08.zip", "binance-vision", "no pair 'DOGEUSDT' of binance is stored.*pairs sync"),
        ("bars.xlsx", "generic", "ends in none of"),
    ],
)
def test_names_that_say_nothing_are_refused(name: str, form: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("x")
    plan = plan_files([path], ImportOptions(form), TABLE, NOW)  # type: ignore[arg-type]
    assert plan.series == []
    assert plan.failed[0][0] == path
    assert re.search(said, plan.failed[0][1])


def test_names_tell_dated_contracts_and_markets() -> None:
    options = ImportOptions("freqtrade", exchange="okx")
    assert source_of(Path("BTC_USDT_USDT-261225-1h-futures.feather"), options).symbol == "BTC/USDT:USDT-261225"
    assert source_of(Path("1000PEPE_USDT_USDT-1h-futures.feather"), options).kind == "perp"
    vision = ImportOptions("binance-vision")
    assert source_of(Path("cm/data/spot/\u5e01\u5b89USDT-1m-2026-08.zip"), vision).symbol == "\u5e01\u5b89USDT"
    assert source_of(Path("um/BTCUSDT_261225-1mo-2026-08.zip"), vision).kind == "future"
    assert source_of(Path("um/BTCUSDT_261225-1mo-2026-08.zip"), vision).interval is Interval.MONTH_1


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("binance/BTC_USDT-1h-mark.feather", ImportOptions("freqtrade"), "is a pair, and has no mark"),
        (
            "binance/BTC_USDT_USDT-1h-futures.feather",
            ImportOptions("freqtrade", symbol=PAIR.id),
            "holds a perp, and cryptopair_binance_btcusdt is none",
        ),
        ("trades.csv", ImportOptions("generic", symbol=PAIR.id, what="trades"), "binance has two kinds of trade ids"),
    ],
)
def test_what_an_instrument_does_not_have_is_refused(name: str, options: ImportOptions, said: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    assert said in plan_files([path], options, TABLE, NOW).failed[0][1]


def test_one_symbol_is_not_given_to_files_of_several(tmp_path: Path) -> None:
    for name in ("BTC_USDT-1h.feather", "BTC_USDT-5m.feather", "ETH_USDT-1h.feather"):
        (tmp_path / name).write_text("x")
    plan = plan_files([tmp_path], ImportOptions("freqtrade", exchange="binance", symbol="BTCUSDT"), TABLE, NOW)
    assert len(plan.series) == 2
    ((path, reason),) = plan.failed
    assert path.name == "ETH_USDT-1h.feather"
    assert "--symbol names one instrument, and " in reason


def test_contracts_whose_volume_is_not_told_are_refused() -> None:
    sized = msgspec.structs.replace(PERP, contract_size=Decimal("0.01"))
    path = FIXTURES / "freqtrade/binance/futures/BTC_USDT_USDT-1h-futures.feather"
    plan = plan_files([path], ImportOptions("freqtrade"), Instruments([sized]), NOW)
    assert "a contract of cryptoperp_binance_btcusdt is 0.01" in plan.failed[0][1]


def test_paths_that_are_not_there_are_refused_at_once(tmp_path: Path) -> None:
    for path, said in ((tmp_path / "none.csv", "is not there"), (tmp_path, "holds no file of rows")):
        with pytest.raises(BadInput, match=said):
            plan_files([path], ImportOptions("freqtrade"), TABLE, NOW)


# ── readers ──


def opened(text: bytes) -> Callable[[], io.BytesIO]:
    return lambda: io.BytesIO(text)


def test_a_csv_is_read_in_batches_with_its_line_numbers() -> None:
    text = b"\xef\xbb\xbfa,b\r\n" + b"".join(b"%d,x\r\n" % n for n in range(7)) + b"\r\n8,y"
    batches = list(CsvReader("f", opened(text)).batches(3))
    assert [batch.frame.height for batch in batches] == [3, 3, 2]
    assert batches[2].frame.rows() == [(8, "6", "x"), (10, "8", "y")]
    assert batches[0].frame.columns == [NUMBER, "a", "b"]


def test_a_line_without_end_is_cut_and_told() -> None:
    text = b"a,b\n1,2\n" + b'"' * (3 * LINE_MOST) + b"\n3,4\n" + b"z" * LINE_MOST
    (batch,) = CsvReader("f", opened(text)).batches(100)
    assert batch.frame.rows() == [(2, "1", "2"), (4, "3", "4")]
    assert [(one.number, one.reason) for one in batch.broken] == [
        (3, "line longer than 65536 characters"),
        (5, "line longer than 65536 characters"),
    ]


def test_a_quote_without_its_partner_takes_no_other_line_in() -> None:
    (batch,) = CsvReader("f", opened(b'a,b\n1,"2\n"3,4\n"5",6\n"7,8",9\n')).batches(100)
    assert batch.frame.rows() == [(4, "5", "6"), (5, "7,8", "9")]
    assert [(one.number, one.value, one.reason) for one in batch.broken] == [
        (2, '1,"2', "1 columns, not 2"),
        (3, '"3,4', "1 columns, not 2"),
    ]


@pytest.mark.parametrize("text", [b"", b"\n\n", b"\x00\xff\xfe"])
def test_what_is_no_table_has_no_rows(text: bytes) -> None:
    assert sum(batch.frame.height for batch in CsvReader("f", opened(text)).batches(10)) == 0


def test_rows_of_json_are_read_one_by_one() -> None:
    text = json.dumps([[1, "a[]", None], [2.5, 'b"]', "c"]]).encode()
    (batch,) = ArrayReader("f", opened(text), ("n", "s", "z")).batches(10)
    assert batch.frame.rows() == [(1, "1", "a[]", None), (2, "2.5", 'b"]', "c")]
    (batch,) = ArrayReader("f", opened(b"[[1,2,3],[1,2],[NaN,1,1],[4,5,6]]"), ("a", "b", "c")).batches(10)
    assert [(one.number, one.value, one.reason) for one in batch.broken] == [
        (2, "[1,2]", "2 columns, not 3"),
        (3, "[NaN,1,1]", "is not JSON"),
    ]
    assert batch.frame[NUMBER].to_list() == [1, 4]
    assert [b.frame.height for b in ArrayReader("f", opened(b"[[1],[2],[3]]"), ("a",)).batches(2)] == [2, 1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1}', "begins with '{"),
        (b"[[1,2],[3", "ends in the middle, with '\\[3'"),
        (b"[[1,2]", "ends in the middle"),
        (b"[" + b"1" * 3_000_000, "is no row of an array"),
    ],
)
def test_json_that_is_no_array_of_rows_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        list(ArrayReader("f", opened(text), ("a", "b")).batches(10))


@pytest.mark.parametrize("name", ["BTC_USDT-1h.feather", "BTC_USDT-1d.parquet"])
def test_damaged_tables_are_refused_by_name(name: str, tmp_path: Path) -> None:
    whole = (FIXTURES / "freqtrade/binance" / name).read_bytes()
    folder = tmp_path / "binance"
    folder.mkdir()
    path = folder / name
    for damaged in (whole[: len(whole) // 2], b"", b"x" * 100):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match=name):
            taken(path, ImportOptions("freqtrade"))


def test_a_table_inside_an_archive_is_read_too(tmp_path: Path) -> None:
    inner = FIXTURES / "freqtrade/binance/BTC_USDT-1d.parquet"
    with zipfile.ZipFile(tmp_path / "bars.zip", "w") as archive:
        archive.write(inner, "a.parquet")
        archive.writestr("__MACOSX/._a.parquet", "what a desktop left")
    with gzip.open(tmp_path / "bars.parquet.gz", "wb") as file:
        file.write(inner.read_bytes())
    for name in ("bars.zip", "bars.parquet.gz"):
        rows, _, _ = taken(tmp_path / name, ImportOptions("generic", symbol=PAIR.id, interval=Interval.DAY_1))
        assert rows[0] == kline(D24, "1d")


def test_archives_of_nothing_or_of_other_things_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bars.zip"
    with zipfile.ZipFile(path, "w"):
        pass
    with pytest.raises(BadInput, match="holds no file"):
        members_of(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.exe", "x")
    with pytest.raises(BadInput, match=r"bars\.zip:a\.exe: files of the kind '\.exe' are not read"):
        taken(path, ImportOptions("generic", symbol=PAIR.id, interval=Interval.DAY_1))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    def peak(minutes: int) -> int:
        path = tmp_path / f"{minutes}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("bars.csv", "w") as file:
            file.write(b"time,open,high,low,close,volume\n")
            file.writelines(b"%d,100,103,99,101,2\n" % (1577836800 + 60 * n) for n in range(minutes))
        options = ImportOptions("generic", symbol=PAIR.id, interval=Interval.MIN_1)
        plan = plan_files([path], options, TABLE, NOW)
        tracemalloc.start()
        try:
            count = sum(len(batch.rows) for batch in plan.series[0].series.batches(plan.series[0].sources[0], 2000))
            assert count == minutes
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(40_000) < 1.2 * peak(20_000)


CELLS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["1", "-1", "1e999", "nan", "1723075200", "2024-08-08", '"', "0x10", "١", "1_0"]),
    st.floats().map(str),
)


@given(st.lists(st.lists(CELLS, min_size=6, max_size=6), max_size=12))
def test_whatever_cells_hold_every_line_is_taken_or_told(lines: list[list[str]]) -> None:
    text = "time,open,high,low,close,volume\n" + "".join(f"{','.join(line)}\n" for line in lines)
    judge = KlineJudge(PAIR.id, Interval.MIN_1, NOW)
    for batch in CsvReader("f", opened(text.encode("utf-8", "replace"))).batches(5):
        frame = batch.frame.with_columns(to_ns(batch.frame["time"], TimeRule()).alias("ns"))
        judged = judge.judge(frame, "f")
        assert len(judged.rows) + judged.repeated + len(judged.rejected) == frame.height
        assert all(0 < row.low <= min(row.open, row.close) <= max(row.open, row.close) <= row.high < float("inf") for row in judged.rows)


@example(b"#,a\n1,2", 3)
@example(b"\0row,a\n1,2", 3)
@given(st.binary(max_size=200), st.integers(1, 5))
def test_no_bytes_upset_a_reader(data: bytes, size: int) -> None:
    for reader in (CsvReader("f", opened(data)), ArrayReader("f", opened(b"[" + data), ("a", "b"))):
        told = "f: "
        try:
            for batch in reader.batches(size):
                assert batch.frame.height + len(batch.broken) <= size
        except BadInput as error:
            told = str(error)
        assert told.startswith("f: ")


# ── times and the grid ──


@given(
    at_ns=st.integers(EARLIEST_NS // 1_000_000_000 + 1, LATEST_NUMBER_NS // 1_000_000_000 - 1).map(lambda s: s * 1_000_000_000),
    unit=st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]),
)
def test_numbers_are_the_time_that_parse_time_says(at_ns: int, unit: int) -> None:
    number = at_ns // unit
    assert to_ns(pl.Series("t", [number]), TimeRule()).to_list() == [parse_time(number)]
    assert to_ns(pl.Series("t", [f" {number}"]), TimeRule()).to_list() == [parse_time(number)]


@given(st.text(max_size=24))
def test_text_is_a_time_only_where_parse_time_says_so(text: str) -> None:
    try:
        expected = parse_time(text.strip()) if not text.strip().isdigit() else None
    except BadTime:
        expected = None
    if not text.strip().isdigit() and "." not in text:
        assert to_ns(pl.Series("t", [text]), TimeRule()).to_list() == [expected]


def test_times_of_every_type() -> None:
    utc = dt.UTC
    moment = dt.datetime(2024, 8, 8, tzinfo=utc)
    assert to_ns(pl.Series("t", [moment, dt.datetime(9999, 1, 1, tzinfo=utc), None]), TimeRule()).to_list() == [D24, None, None]
    assert to_ns(pl.Series("t", [dt.date(2024, 8, 8)]), TimeRule()).to_list() == [D24]
    assert to_ns(pl.Series("t", [dt.datetime(2024, 8, 8)]), TimeRule(naive_is_utc=True)).to_list() == [D24]  # noqa: DTZ001
    assert to_ns(pl.Series("t", [1723075200.25, 1723075200000.0, float("nan")]), TimeRule()).to_list() == [D24 + 250_000_000, D24, None]
    assert to_ns(pl.Series("t", ["1723075200.25", "1723075200000.0", "1.5"]), TimeRule()).to_list() == [D24 + 250_000_000, D24, None]
    assert to_ns(pl.Series("t", [1723075200, -1]), TimeRule("s")).to_list() == [D24, None]
    assert to_ns(pl.Series("t", [1723075200.0, 0.5]), TimeRule("ms")).to_list() == [1723075200 * 1_000_000, None]
    with pytest.raises(BadInput, match="times without a zone: say --utc"):
        to_ns(pl.Series("t", [dt.datetime(2024, 8, 8)]), TimeRule())  # noqa: DTZ001
    with pytest.raises(BadInput, match="holds no times"):
        to_ns(pl.Series("t", [True]), TimeRule())


@given(interval=st.sampled_from(INTERVALS), at_ns=st.integers(EARLIEST_NS, LATEST_NUMBER_NS))
def test_the_grid_of_many_is_the_grid_of_one(interval: Interval, at_ns: int) -> None:
    open_ns = next_ns(interval, at_ns)
    both = np.array([at_ns, open_ns], np.int64)
    assert on_grid(interval, both).tolist() == [is_aligned(interval, at_ns), True]
    assert closes_ns(interval, both[1:]).tolist() == [next_ns(interval, open_ns)]
    (number, after) = bar_numbers(interval, np.array([open_ns, next_ns(interval, open_ns)], np.int64)).tolist()
    assert (after - number, open_of(interval, number)) == (1, open_ns)


@given(st.lists(st.tuples(st.integers(0, 9000), st.integers(0, 3)), max_size=60), st.integers(1, 60))
def test_bars_that_came_before_are_known_in_any_order(given_: list[tuple[int, int]], size: int) -> None:
    seen = SeenBars(Interval.MIN_1)
    held: dict[int, int] = {}
    for start in range(0, len(given_), size):
        part = given_[start : start + size]
        new, same = seen.add(np.array([D24 + n * MINUTE for n, _ in part], np.int64), np.array([v for _, v in part], np.uint64))
        expected = []
        for number, value in part:
            first = held.setdefault(number, max(value, 1)) if number not in held else None
            expected.append((first is not None, first is None and held[number] == max(value, 1)))
        assert list(zip(new.tolist(), same.tolist(), strict=True)) == expected
    missing = sum(hole.missing for hole in seen.holes())
    assert missing == (max(held) - min(held) + 1 - len(held) if held else 0)
