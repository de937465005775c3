"""Reads recordings with the standard library alone, so that what tests compare with does not pass through our own parsers."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from zvt_crypto.domain.market import BookDelta, BookSnapshot, Kline, Level, Trade
from zvt_crypto.domain.time import Interval

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "engine"
BestRow = tuple[float, float, float, float]
Row = tuple[int, float, float, float, float, float]  # open_ns, open, high, low, close, volume
INSTRUMENT = "cryptopair_binance_test"


def levels(pairs: Iterable[tuple[str, str]]) -> list[Level]:
    return [(float(price), float(size)) for price, size in pairs]


def depth_recording(*paths: Path) -> tuple[list[BookDelta | BookSnapshot], dict[int, BestRow]]:
    """Depth messages and snapshots in order of receipt, and the exchange's own best bid and ask by update id."""
    messages: list[BookDelta | BookSnapshot] = []
    quotes: dict[int, BestRow] = {}
    for line in _lines(paths):
        stamp, _, raw = line.partition(b" ")
        recv_ns = int(stamp)
        if b"@bookTicker" in raw:
            d = json.loads(raw)["data"]
            quotes[d["u"]] = (float(d["b"]), float(d["B"]), float(d["a"]), float(d["A"]))
        elif b"@depth" in raw:
            messages.append(_delta(json.loads(raw)["data"], recv_ns))
        elif b"lastUpdateId" in raw:
            d = json.loads(raw)
            messages.append(BookSnapshot(INSTRUMENT, d["lastUpdateId"], levels(d["bids"]), levels(d["asks"]), 0, recv_ns))
    return messages, quotes


def _delta(d: dict[str, Any], recv_ns: int) -> BookDelta:
    return BookDelta(INSTRUMENT, d["U"], d["u"], d.get("pu"), levels(d["b"]), levels(d["a"]), d["E"] * 1_000_000, recv_ns)


def _lines(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        with gzip.open(path) as file:
            yield from file


def depth_rows(path: Path) -> list[BookDelta]:
    """Depth messages of a CSV with one level a row: rows of the same update ids, one after another, are one message."""
    made: list[BookDelta] = []
    with path.open() as file:
        for row in csv.DictReader(file):
            first, last = int(row["FirstUpdateId"]), int(row["FinalUpdateId"])
            event_ns, recv_ns = int(row["EventTime"]) * 1_000, int(row["TimestampOfReceive"]) * 1_000
            if not made or (made[-1].first_id, made[-1].last_id) != (first, last):
                made.append(BookDelta(INSTRUMENT, first, last, None, [], [], event_ns, recv_ns))
            side = made[-1].asks if row["IsAsk"] == "1" else made[-1].bids
            side.append((float(row["Price"]), float(row["Quantity"])))
    return made


def agg_trades(path: Path) -> list[Trade]:
    """Rows [ms, id, type, side, price, quantity, cost]."""
    with gzip.open(path) as file:
        rows = json.load(file)
    return [Trade(INSTRUMENT, "agg", row[1], row[4], row[5], row[3], row[0] * 1_000_000) for row in rows]


def exchange_klines(path: Path, interval: Interval) -> list[Kline]:
    """Rows with a date, turnover and number of trades, `#` comments above."""
    with path.open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    return [_kline(row, interval) for row in rows]


def _kline(row: dict[str, str], interval: Interval) -> Kline:
    opened = dt.datetime.fromisoformat(row["date"]).replace(tzinfo=dt.UTC)
    prices = [float(row[name]) for name in ("open", "high", "low", "close", "volume", "quote_asset_volume")]
    trades = int(float(row["number_of_trades"]))
    open_ns = int(opened.timestamp()) * 1_000_000_000
    return Kline(INSTRUMENT, interval, open_ns, *prices[:5], turnover=prices[5], trades=trades, final=True, source="venue")


def bare_klines(rows: Iterable[Row], interval: Interval) -> list[Kline]:
    """Klines of rows without turnover and trades."""
    return [Kline(INSTRUMENT, interval, *row, turnover=None, trades=None, final=True, source="venue") for row in rows]


def csv_rows(path: Path, unit_ns: int) -> list[Row]:
    """Rows of six numbers, the first the open in units of `unit_ns`."""
    with path.open() as file:
        return [(int(r[0]) * unit_ns, *map(float, r[1:6])) for r in list(csv.reader(file))[1:]]  # type: ignore[misc]


def row_of(kline: Kline) -> Row:
    return kline.open_ns, kline.open, kline.high, kline.low, kline.close, kline.volume
