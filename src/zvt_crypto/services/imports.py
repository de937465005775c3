"""Files into the store: batch by batch, the next one read while this one is written. What is stored already stays as it is.

Running it again does the rest: every write is idempotent, and one that was cut left whole batches or nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import cast

import msgspec

from zvt_crypto.domain.imports import ImportBatch, ImportedRow, ImportNoun, Rejected
from zvt_crypto.domain.market import Funding, Kline, MarkPrice, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_MS, Interval
from zvt_crypto.ports import Clock, Store, Written

# Exchanges stamp a settlement with some ms of delay, and not each of their doors with the same: what is closer is one payment.
SAME_FUNDING_NS = NS_PER_MINUTE
# How far from a batch of trades its ids are looked for: a day of a busy market is millions of rows, and would be read for every batch.
NEAR_NS = NS_PER_MINUTE


class SeriesReport(msgspec.Struct):
    """What became of the rows of a series. `known`: stored already, or told otherwise by the exchange itself, whose word stays."""

    instrument: str
    noun: ImportNoun
    interval: Interval | None = None
    stream: str | None = None
    files: int = 0
    read: int = 0
    new: int = 0
    changed: int = 0
    known: int = 0
    repeated: int = 0
    rejected: int = 0
    first_ns: int | None = None
    last_ns: int | None = None

    @property
    def sound(self) -> int:
        """Rows that were taken from files."""
        return self.read - self.repeated - self.rejected


class Importer:
    """Writes batches of one series after the other. `store` None: reads and reports only."""

    def __init__(self, store: Store | None, clock: Clock, reject: Callable[[Sequence[Rejected]], None]) -> None:
        self._store = store
        self._clock = clock
        self._reject = reject

    async def run(self, batches: Iterator[ImportBatch], report: SeriesReport, tell: Callable[[SeriesReport], None]) -> None:
        """All of a file. Raises BadInput where it cannot be read on (what came before is stored), StoreError."""
        waiting: asyncio.Task[ImportBatch | None] = asyncio.create_task(asyncio.to_thread(next, batches, None))
        try:
            while (batch := await waiting) is not None:
                waiting = asyncio.create_task(asyncio.to_thread(next, batches, None))
                await self._take(batch, report)
                tell(report)
        finally:
            await asyncio.gather(waiting, return_exceptions=True)  # the thread holds the file open
        report.files += 1

    async def _take(self, batch: ImportBatch, report: SeriesReport) -> None:
        written, refused = await self._write(batch) if batch.rows and self._store else (Written(0), [])
        rejected = [*batch.rejected, *refused]
        if rejected:
            self._reject(sorted(rejected, key=lambda one: one.row))
        report.read += batch.read
        report.repeated += batch.repeated
        report.rejected += len(rejected)
        report.new += written.inserted
        report.changed += written.changed
        report.known += written.known - len(refused)
        times = [_time_of(row) for row in batch.rows]
        if times:
            report.first_ns = min(times) if report.first_ns is None else min(report.first_ns, *times)
            report.last_ns = max(times) if report.last_ns is None else max(report.last_ns, *times)

    async def _write(self, batch: ImportBatch) -> tuple[Written, list[Rejected]]:
        assert self._store is not None
        now_ns = self._clock.now_ns()
        match batch.rows[0]:
            case Kline():
                return await self._store.klines.upsert(cast("Sequence[Kline]", batch.rows), now_ns), []
            case Trade():
                return await self._write_trades(batch, cast("Sequence[Trade]", batch.rows), now_ns)
            case MarkPrice():
                return await self._store.facts.save_mark(cast("Sequence[MarkPrice]", batch.rows), now_ns), []
            case Funding():
                return await self._write_funding(batch, cast("Sequence[Funding]", batch.rows), now_ns)

    async def _write_trades(self, batch: ImportBatch, trades: Sequence[Trade], now_ns: int) -> tuple[Written, list[Rejected]]:
        """Known ids are compared with what is stored, which stays."""
        assert self._store is not None
        held = await self._find_stored(trades)
        refused: list[Rejected] = []
        taken: list[Trade] = []
        for number, trade in zip(batch.numbers, trades, strict=True):
            reason = _contradiction(trade, held.get(trade.trade_id, ()))
            if reason is None:
                taken.append(trade)
            else:
                refused.append(Rejected(batch.file, number, trade.trade_id, reason))
        written = await self._store.trades.append(taken, now_ns)
        return Written(written.inserted, written.changed, written.known + len(refused)), refused

    async def _find_stored(self, trades: Sequence[Trade]) -> dict[str, list[Trade]]:
        """By id: those of the ids of a batch that are stored at its times, or within a minute of them."""
        assert self._store is not None
        held: dict[str, list[Trade]] = {t.trade_id: [] for t in trades}
        for low_ns, high_ns in _runs(sorted(t.event_ns for t in trades)):
            stored = await self._store.trades.read(trades[0].instrument, low_ns - NEAR_NS, high_ns + NEAR_NS, stream=trades[0].stream)
            for one in stored:
                if one.trade_id in held:
                    held[one.trade_id].append(one)
        return held

    async def _write_funding(self, batch: ImportBatch, rates: Sequence[Funding], now_ns: int) -> tuple[Written, list[Rejected]]:
        """One that lies beside a stored one is that one."""
        assert self._store is not None
        start_ns, end_ns = min(r.event_ns for r in rates) - SAME_FUNDING_NS, max(r.event_ns for r in rates) + SAME_FUNDING_NS + 1
        stored = {r.event_ns // SAME_FUNDING_NS: r for r in await self._store.facts.read_funding(rates[0].instrument, start_ns, end_ns)}
        refused: list[Rejected] = []
        fresh: list[Funding] = []
        for number, rate in zip(batch.numbers, rates, strict=True):
            minute = rate.event_ns // SAME_FUNDING_NS
            near = next((stored[m] for m in (minute, minute - 1, minute + 1) if m in stored), None)
            if near is None:
                fresh.append(rate)
            elif near.rate != rate.rate:
                refused.append(Rejected(batch.file, number, str(rate.rate), "the stored rate of this time is another"))
        written = await self._store.facts.save_funding(fresh, now_ns) if fresh else Written(0)
        return Written(written.inserted, written.changed, written.known + len(rates) - len(fresh)), refused


def _runs(times_ns: list[int]) -> Iterator[tuple[int, int]]:
    """(first, last) of times that lie close together: what lies between scattered ones is not read. At most some 100."""
    widest_ns = max(2 * NEAR_NS, (times_ns[-1] - times_ns[0]) // 100)
    first = last = times_ns[0]
    for at_ns in times_ns:
        if at_ns - last > widest_ns:
            yield first, last
            first = at_ns
        last = at_ns
    yield first, last


def _contradiction(trade: Trade, stored: Sequence[Trade]) -> str | None:
    """Why a trade cannot be what is stored under its id; None where it can, or where nothing is."""
    if not stored:
        return None
    same = next((one for one in stored if one.event_ns // NS_PER_MS == trade.event_ns // NS_PER_MS), None)
    if same is None:
        return "this id is stored at another time"
    if (same.price, same.quantity, same.side) != (trade.price, trade.quantity, trade.side):
        return "the stored trade of this id has other values"
    return None


def _time_of(row: ImportedRow) -> int:
    return row.open_ns if isinstance(row, Kline) else row.event_ns
