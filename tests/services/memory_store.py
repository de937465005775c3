"""A store in memory that may be told to fail: the same answers as PostgreSQL's, for what the services ask (tests compare the two)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from zvt_crypto.domain.errors import ConstraintViolated, StoreUnavailable
from zvt_crypto.domain.instrument import CryptoAsset, Instrument, Instruments, TradingStatus
from zvt_crypto.domain.market import BookSnapshot, Funding, Gap, Kline, MarkPrice, Trade
from zvt_crypto.domain.time import NS_PER_S, Interval, floor_ns, next_ns
from zvt_crypto.ports import Due, LateMinute, Written
from zvt_crypto.stores.precedence import replaces


def _place(minute: LateMinute) -> tuple[str, str, int]:
    return minute.instrument, minute.stream, minute.open_ns


class NothingDue:
    async def list(self, limit: int) -> list[Due]:
        return []

    async def clear(self, done: Sequence[Due]) -> None:
        return


class MemoryStore:
    """`is_down`: every call raises StoreUnavailable. `wrong`: trade ids that break a constraint."""

    def __init__(self) -> None:
        self.is_down = False
        self.wrong: set[str] = set()
        self.calls = 0
        self.instruments = self.klines = self.trades = self.facts = self  # the nouns share this object; their methods differ in name
        self.table: dict[str, Instrument] = {}
        self.tellers: dict[str, str] = {}
        self.assets: dict[str, CryptoAsset] = {}
        self.bars: dict[tuple[str, Interval, int], Kline] = {}
        self.ticks: dict[tuple[str, str, str], Trade] = {}
        self.tardy: dict[tuple[str, str, int], LateMinute] = {}
        self.tally = 0
        self.paid: dict[tuple[str, int], Funding] = {}
        self.marks: dict[tuple[str, int], MarkPrice] = {}
        self.gaps: dict[tuple[object, ...], Gap] = {}
        self.books: dict[tuple[str, int, int], BookSnapshot] = {}

    @property
    def due(self) -> NothingDue:
        """Days to roll are marked by the database alone."""
        return NothingDue()

    def check(self) -> None:
        self.calls += 1
        if self.is_down:
            raise StoreUnavailable("the store is down")

    async def ping(self) -> None:
        self.check()

    async def close(self) -> None:
        return

    # instruments

    async def load(self, exchange: str | None = None) -> Instruments:
        self.check()
        return Instruments(i for i in self.table.values() if exchange in (None, i.exchange))

    async def save(self, instruments: Iterable[Instrument], known_at_ns: int) -> Written:
        self.check()
        fresh = [i for i in instruments if self.table.get(i.id) != i]
        new = sum(1 for i in fresh if i.id not in self.table)
        self.table.update({i.id: i for i in fresh})
        return Written(new, len(fresh) - new)

    async def delist(self, entity_id: str, at_ns: int, by: str = "venue") -> None:
        self.check()
        self.tellers[entity_id] = by
        self.table[entity_id] = msgspec.structs.replace(self.table[entity_id], status=TradingStatus.DELISTED, delisted_ns=at_ns)

    async def delisted_by(self, entity_id: str) -> str | None:
        self.check()
        return self.tellers.get(entity_id)

    async def save_assets(self, assets: Iterable[CryptoAsset], known_at_ns: int, source: str) -> Written:
        self.check()
        self.assets.update({a.id: a for a in assets})
        return Written(len(self.assets))

    # klines

    async def upsert(self, klines: Sequence[Kline], known_at_ns: int) -> Written:
        self.check()
        inserted = changed = 0
        for kline in klines:
            key = (kline.instrument, kline.interval, kline.open_ns)
            held = self.bars.get(key)
            if held is None or replaces(kline, held):
                inserted, changed = inserted + (held is None), changed + (held not in (None, kline))
                self.bars[key] = kline
        return Written(inserted, changed, len(klines) - inserted - changed)

    async def bounds(self, instrument: str, interval: Interval) -> tuple[int, int] | None:
        self.check()
        opens = self._opens(instrument, interval)
        return (opens[0], opens[-1]) if opens else None

    async def missing(self, instrument: str, interval: Interval, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        self.check()
        opens = [o for o in self._opens(instrument, interval) if start_ns <= o < end_ns]
        edges = [start_ns, *(next_ns(interval, o) for o in opens)]
        return [(a, b) for a, b in zip(edges, [*opens, end_ns], strict=True) if a < b]

    def _opens(self, instrument: str, interval: Interval) -> list[int]:
        return sorted(k.open_ns for k in self.bars.values() if (k.instrument, k.interval, k.final) == (instrument, interval, True))

    # trades

    async def append(self, trades: Sequence[Trade], known_at_ns: int) -> Written:
        self.check()
        for trade in trades:
            if trade.trade_id in self.wrong:
                raise ConstraintViolated(f"trade {trade.trade_id} is wrong")
        fresh = {(t.instrument, t.stream, t.trade_id): t for t in trades}
        new = {key: t for key, t in fresh.items() if key not in self.ticks}
        self.ticks.update(new)
        for t in new.values():
            open_ns = floor_ns(Interval.MIN_1, t.event_ns)
            if known_at_ns > open_ns + 65 * NS_PER_S:
                self.tally += 1
                self.tardy[t.instrument, t.stream, open_ns] = LateMinute(t.instrument, t.stream, open_ns, self.tally)
        return Written(len(new), 0, len(trades) - len(new))

    async def late(self, exchange: str, limit: int, after: LateMinute | None = None) -> list[LateMinute]:
        self.check()
        rows = sorted((m for m in self.tardy.values() if m.instrument.split("_")[1] == exchange), key=_place)
        return [m for m in rows if after is None or _place(m) > _place(after)][:limit]

    async def remade(self, done: Sequence[LateMinute]) -> None:
        self.check()
        self.tardy = {key: m for key, m in self.tardy.items() if m not in done}

    async def last(self, instrument: str, stream: str) -> Trade | None:
        self.check()
        rows = self._trades(instrument, stream)
        return rows[-1] if rows else None

    def _trades(self, instrument: str, stream: str | None) -> list[Trade]:
        rows = [t for t in self.ticks.values() if t.instrument == instrument and stream in (None, t.stream)]
        return sorted(rows, key=lambda t: (t.event_ns, len(t.trade_id), t.trade_id))

    # both: told apart by what they are asked for

    async def read(self, instrument: str, *args: object, **named: object) -> list:  # type: ignore[type-arg]
        self.check()
        if args and isinstance(args[0], Interval):
            interval, rest = args[0], args[1:]
            rows: list = [k for k in self.bars.values() if (k.instrument, k.interval) == (instrument, interval)]  # type: ignore[type-arg]
            rows.sort(key=lambda k: k.open_ns)
            return _cut(rows, lambda k: k.open_ns, *rest, **named)
        stream = named.pop("stream", None)
        return _cut(self._trades(instrument, stream), lambda t: t.event_ns, *args, **named)  # type: ignore[arg-type]

    # facts

    async def save_funding(self, rows: Sequence[Funding], known_at_ns: int) -> Written:
        self.check()
        self.paid.update({(r.instrument, r.event_ns): r for r in rows})
        return Written(len(rows))

    async def read_funding(self, instrument: str, start_ns: int | None = None, end_ns: int | None = None) -> list[Funding]:
        self.check()
        rows = sorted((f for f in self.paid.values() if f.instrument == instrument), key=lambda f: f.event_ns)
        return _cut(rows, lambda f: f.event_ns, start_ns, end_ns)

    async def save_mark(self, rows: Sequence[MarkPrice], known_at_ns: int) -> Written:
        self.check()
        self.marks.update({(r.instrument, r.event_ns): r for r in rows})
        return Written(len(rows))

    async def read_mark(
        self, instrument: str, start_ns: int | None = None, end_ns: int | None = None, limit: int | None = None
    ) -> list[MarkPrice]:
        self.check()
        return _cut(
            sorted((m for m in self.marks.values() if m.instrument == instrument), key=lambda m: m.event_ns),
            lambda m: m.event_ns,
            start_ns,
            end_ns,
            limit,
        )

    async def save_books(self, books: Sequence[BookSnapshot], known_at_ns: int) -> None:
        self.check()
        for book in books:
            kept = msgspec.structs.replace(book, recv_ns=0)
            self.books.setdefault((book.instrument, book.event_ns, book.last_id), kept)

    async def read_books(self, instrument: str, start_ns: int | None = None, end_ns: int | None = None) -> list[BookSnapshot]:
        self.check()
        rows = sorted((b for b in self.books.values() if b.instrument == instrument), key=lambda b: b.event_ns)
        return _cut(rows, lambda b: b.event_ns, start_ns, end_ns)

    async def save_gaps(self, gaps: Sequence[Gap], known_at_ns: int) -> None:
        self.check()
        for gap in gaps:
            self.gaps[gap.instrument, gap.channel, gap.interval, gap.start_ns, gap.first_id] = gap

    async def read_gaps(self, instrument: str | None = None, open_only: bool = False) -> list[Gap]:
        self.check()
        return [g for g in self.gaps.values() if instrument in (None, g.instrument) and not (open_only and g.filled_from is not None)]


def _cut(rows, at, start_ns=None, end_ns=None, limit=None):  # type: ignore[no-untyped-def]
    rows = [r for r in rows if (start_ns is None or at(r) >= start_ns) and (end_ns is None or at(r) < end_ns)]
    if limit is None:
        return rows
    return rows[:limit] if start_ns is not None else rows[max(0, len(rows) - limit) :]
