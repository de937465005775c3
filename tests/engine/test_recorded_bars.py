"""Klines made of recorded trades and of shorter klines, held against the exchange's own; every exception is explained."""

from __future__ import annotations

import gzip
import json
import re
import sqlite3
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from engine.engine_recordings import FIXTURES, INSTRUMENT, Row, agg_trades, bare_klines, csv_rows, exchange_klines, row_of
from zvt_crypto.domain.market import Kline, Trade
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S, Interval, floor_ns, to_rfc3339
from zvt_crypto.engine.bars import klines_from_trades, roll_up

LONGER = [Interval.MIN_5, Interval.MIN_15, Interval.MIN_30, Interval.HOUR_1, Interval.HOUR_4]


def unequal(made: Iterable[Kline], theirs: Iterable[Row]) -> set[str]:
    """Opens of the exchange's klines that ours does not equal in every price and the volume, or that we do not have."""
    ours = {kline.open_ns: row_of(kline) for kline in made}
    return {to_rfc3339(row[0])[:16] for row in theirs if ours.get(row[0]) != row}


# ── Trades → minutes → five minutes (Binance XRP/ETH, aggregate trades) ───────────────────────────────────────────────


def bars_of_trades(trades: list[Trade], minutes: list[Row], fives: list[Row]) -> tuple[int, int]:
    """How many of the exchange's bars equal ours; and what it leaves out (minutes without trades) is flat in ours."""
    # The recording begins at 00:00:11, with the first trade of the day: both begin there.
    made = klines_from_trades(trades, complete_from_ns=floor_ns(Interval.MIN_1, trades[0].event_ns))
    longer = roll_up(made, Interval.MIN_5)
    assert unequal(made, minutes) == set()
    assert unequal(longer, fives) == set()
    known = {row[0] for row in minutes}
    for before, kline in pairwise(made):
        assert kline.open_ns - before.open_ns == 60 * NS_PER_S
        if kline.open_ns not in known and kline.final:
            assert row_of(kline)[1:] == (before.close,) * 4 + (0.0,)
    assert [kline.final for kline in made] == [True] * (len(made) - 1) + [False]
    return len(minutes), len(fives)


def test_excerpt_of_trades_makes_the_exchanges_bars() -> None:
    minutes, fives = (csv_rows(FIXTURES / f"xrpeth_{name}.csv", NS_PER_MS) for name in ("1m", "5m"))
    trades = agg_trades(FIXTURES / "xrpeth_trades.json.gz")
    last = trades[-1].event_ns
    closed = [
        [row for row in rows if row[0] < floor_ns(interval, last)]
        for rows, interval in ((minutes, Interval.MIN_1), (fives, Interval.MIN_5))
    ]
    assert bars_of_trades(trades, *closed) == (262, 62)


@pytest.mark.data
def test_trades_make_all_of_the_exchanges_bars(recorded: Path) -> None:
    folder = recorded / "freqtrade/tests/testdata"
    rows = [
        list(pl.read_ipc(folder / f"XRP_ETH-{name}.feather").with_columns(pl.col("date").dt.epoch("ns")).iter_rows())
        for name in ("1m", "5m")
    ]
    assert bars_of_trades(agg_trades(folder / "XRP_ETH-trades.json.gz"), *rows) == (2469, 706)


# ── Minutes → longer (Binance SOLUSDT over the halt of 2023-03-24) ────────────────────────────────────────────────────
# Spot trading stood still from 11:28 and officially resumed at 14:00; the minutes 12:40 to 13:59 nevertheless hold trades, at other
# prices. The klines of 15m to 1h that were open at 12:39:46 end there (their close_time says so) and never took those trades in; the
# 4h one went on at 14:00 without them. Ours hold every minute, so exactly these differ.
HALT_SPLIT: dict[Interval, set[str]] = {
    Interval.MIN_5: set(),
    Interval.MIN_15: {"2023-03-24T12:30"},
    Interval.MIN_30: {"2023-03-24T12:30"},
    Interval.HOUR_1: {"2023-03-24T12:00"},
    Interval.HOUR_4: {"2023-03-24T12:00"},
}


def check_solusdt(paths: dict[Interval, Path]) -> int:
    minutes = exchange_klines(paths[Interval.MIN_1], Interval.MIN_1)
    compared = 0
    for interval in LONGER:
        made = roll_up(minutes, interval)
        theirs = exchange_klines(paths[interval], interval)
        assert unequal(made, map(row_of, theirs)) == HALT_SPLIT[interval]
        assert all(kline.final for kline in made)
        ours = {kline.open_ns: (kline.turnover, kline.trades) for kline in made}
        torn = {kline.open_ns for kline in theirs if ours[kline.open_ns] != (kline.turnover, kline.trades)}
        assert {to_rfc3339(at)[:16] for at in torn} == HALT_SPLIT[interval]
        compared += len(theirs)
    return compared


def test_excerpt_of_minutes_rolls_up_to_the_exchanges_own_but_around_its_halt() -> None:
    paths = {i: FIXTURES / f"solusdt_{i}.csv" for i in (Interval.MIN_1, *LONGER)}
    assert check_solusdt(paths) == 96 + 32 + 16 + 8 + 2


@pytest.mark.data
def test_nine_days_of_minutes_roll_up_to_the_exchanges_own_but_around_its_halt(recorded: Path) -> None:
    folder = recorded / "gapless_crypto_data/2.0.1/gapless_crypto_data/sample_data"
    paths = {i: folder / f"binance_spot_SOLUSDT-{i}_20230320-20230328_0.0y.csv" for i in (Interval.MIN_1, *LONGER)}
    assert check_solusdt(paths) == 9 * (288 + 96 + 48 + 24 + 6)


def test_the_exchanges_four_hours_over_the_halt_lack_exactly_the_minutes_before_it_officially_resumed() -> None:
    minutes = exchange_klines(FIXTURES / "solusdt_1m.csv", Interval.MIN_1)
    theirs = exchange_klines(FIXTURES / "solusdt_4h.csv", Interval.HOUR_4)[-1]
    begin, end = (f"2023-03-24T{at}" for at in ("12:40", "14:00"))
    rest = [k for k in minutes if k.open_ns >= theirs.open_ns and not begin <= to_rfc3339(k.open_ns)[:16] < end]
    assert sum(k.trades or 0 for k in rest) == theirs.trades
    assert round(sum(k.volume for k in rest), 2) == theirs.volume


# ── Minutes → hours, days → weeks and months (Binance BTC/USDT) ───────────────────────────────────────────────────────
# The recording was made while everything formed: the newest span of each interval was open, and the minutes begin and end amid
# spans (and lack 10:12). Those are exactly the ones that we do not call final.
AMID: dict[Interval, set[str]] = {
    Interval.MIN_5: {"2018-04-28T01:50", "2018-04-28T10:10"},
    Interval.MIN_15: {"2018-04-28T01:45", "2018-04-28T10:00"},
    Interval.MIN_30: {"2018-04-28T01:30", "2018-04-28T10:00"},
    Interval.HOUR_1: {"2018-04-28T01:00", "2018-04-28T10:00"},
    Interval.HOUR_4: {"2018-04-28T00:00", "2018-04-28T08:00"},
    Interval.WEEK_1: {"2018-04-23T00:00"},
    Interval.MONTH_1: {"2018-04-01T00:00"},
}


def check_btcusdt(short: list[Row], base: Interval, longer: list[Row], interval: Interval) -> int:
    """Equal klines. Days are since the listing (2017-08-17), amid a week and a month that are whole all the same."""
    complete = 0 if base is Interval.DAY_1 else None
    made = roll_up(bare_klines(short, base), interval, complete_from_ns=complete)
    theirs = [row for row in longer if row[0] >= floor_ns(interval, short[0][0])]
    differing = unequal(made, theirs)
    not_final = {to_rfc3339(kline.open_ns)[:16] for kline in made if not kline.final}
    assert differing == AMID[interval]
    assert not_final == AMID[interval]
    return len(theirs) - len(differing)


@pytest.mark.parametrize("interval, equal", [(Interval.WEEK_1, 36), (Interval.MONTH_1, 8)])
def test_days_since_the_listing_roll_up_to_the_exchanges_weeks_and_months(interval: Interval, equal: int) -> None:
    days, longer = (csv_rows(FIXTURES / f"btcusdt_{name}.csv", NS_PER_S) for name in ("1d", interval.slug))
    assert check_btcusdt(days, Interval.DAY_1, longer, interval) == equal


@pytest.mark.data
@pytest.mark.parametrize(
    "interval, base, equal",
    [
        (Interval.MIN_5, Interval.MIN_1, 99),
        (Interval.MIN_15, Interval.MIN_1, 32),
        (Interval.MIN_30, Interval.MIN_1, 16),
        (Interval.HOUR_1, Interval.MIN_1, 8),
        (Interval.HOUR_4, Interval.MIN_1, 1),
        (Interval.WEEK_1, Interval.DAY_1, 36),
        (Interval.MONTH_1, Interval.DAY_1, 8),
    ],
)
def test_longer_klines_equal_the_exchanges_own_where_they_are_final(recorded: Path, interval: Interval, base: Interval, equal: int) -> None:
    file = next((recorded / "octobot/tests/static").glob("*586017*.data"))
    short, longer = (collected(file, each) for each in (base, interval))
    assert check_btcusdt(short, base, longer, interval) == equal


def collected(file: Path, interval: Interval) -> list[Row]:
    """Candles of one interval in a collector's database, ascending."""
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as database:
        candles = database.execute("SELECT DISTINCT candle FROM ohlcv WHERE time_frame = ?", (str(interval),)).fetchall()
    rows = sorted(json.loads(candle) for (candle,) in candles)
    return [(int(row[0]) * NS_PER_S, *row[1:6]) for row in rows]  # type: ignore[misc]


# ── The exchange's kline frames against the trades that they name (f..L) ──────────────────────────────────────────────


def frames(lines: Iterable[str]) -> tuple[list[dict[str, Any]], dict[str, list[dict[str, Any]]]]:
    """(klines, aggregate trades by symbol) of combined stream frames."""
    klines: list[dict[str, Any]] = []
    trades: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        found = re.search(r"\{.*\}", line)
        data = json.loads(found[0]).get("data", {}) if found and '"stream"' in line else {}
        if data.get("e") == "kline":
            klines.append(data["k"])
        elif data.get("e") == "aggTrade":
            trades.setdefault(data["s"], []).append(data)
    return klines, trades


def kline_of_its_trades(kline: dict[str, Any], trades: list[dict[str, Any]]) -> Kline | None:
    """Ours from the trades f to L, or None where the recording does not hold them all."""
    mine = [t for t in trades if kline["f"] <= t["f"] and t["l"] <= kline["L"]]
    if sum(t["l"] - t["f"] + 1 for t in mine) != kline["L"] - kline["f"] + 1:
        return None
    made = klines_from_trades(Trade(INSTRUMENT, "agg", str(t["a"]), float(t["p"]), float(t["q"]), "buy", t["T"] * NS_PER_MS) for t in mine)
    return made[0] if len(made) == 1 else None


def check_frames(lines: Iterable[str]) -> int:
    klines, trades = frames(lines)
    equal = 0
    for kline in klines:
        made = kline_of_its_trades(kline, trades[kline["s"]])
        if made is not None:
            theirs = (kline["t"] * NS_PER_MS, *(float(kline[name]) for name in "ohlcvq"))
            assert (*row_of(made), made.turnover) == theirs
            equal += 1
    return equal


def test_excerpt_of_kline_frames_equals_the_trades_that_they_name() -> None:
    with (FIXTURES / "dotusdt_frames.jsonl").open() as file:
        assert check_frames(file) >= 10


@pytest.mark.data
def test_kline_frames_equal_the_trades_that_they_name(recorded: Path) -> None:
    with (recorded / "cryptofeed/legacy_2021-04-04/BINANCE-ee25be.0").open() as file:
        assert check_frames(file) == 51


# ── How contiguous recorded trade ids are ─────────────────────────────────────────────────────────────────────────────


@pytest.mark.data
@pytest.mark.parametrize("file", ["spot/btcusdt_20240808.gz", "usdm/ethusdt_20240808.gz"])
def test_recorded_trade_ids_are_contiguous_so_that_both_judgements_make_the_same_minutes(recorded: Path, file: str) -> None:
    trades = []
    with gzip.open(recorded / "hftbacktest/examples" / file) as lines:
        for line in lines:
            if b"@trade" in line:
                t = json.loads(line.partition(b" ")[2])["data"]
                assert t.get("X", "MARKET") == "MARKET"
                trades.append(Trade(INSTRUMENT, "trade", str(t["t"]), float(t["p"]), float(t["q"]), "buy", t["T"] * NS_PER_MS))
    made = klines_from_trades(trades, continuity="dense")
    assert made == klines_from_trades(trades, continuity="increasing")
    assert [kline.final for kline in made] == [False] + [True] * (len(made) - 2) + [False]
    assert sum(kline.trades or 0 for kline in made) == len(trades)
