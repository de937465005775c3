"""A range of past trades, from the venue into the store, without asking again for what is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from zvt_crypto.domain.market import Trade, TradeStream
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.ports import Clock, ExchangeConnector, Store
from zvt_crypto.services.reach import reaches_back

Ask = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
PAGE_ROWS = 5_000


class TradeRun:
    """Trades of one id space with times in [start_ns, end_ns). `absent`: parts of that range (or of the ids asked for) that the venue
    has not, or does not show to be whole."""

    def __init__(
        self,
        connector: ExchangeConnector,
        store: Store,
        clock: Clock,
        ask: Ask,
        name: str,
        stream: TradeStream,
        start_ns: int,
        end_ns: int,
        read_rows: int,
    ) -> None:
        self.rows = 0
        self.absent: list[tuple[int, int]] = []
        self.total_ms = max(0, end_ns - start_ns) // NS_PER_MS
        self._connector = connector
        self._store = store
        self._clock = clock
        self._ask = ask
        self._name = name
        self._stream: TradeStream = stream
        self._start_ns = start_ns
        self._end_ns = end_ns
        self._read_rows = read_rows
        self._at_ns = start_ns  # the time of the newest trade looked at

    async def fill(self, first_id: int, progress: Callable[[int, int | None, int], None]) -> None:
        """Ids that rise by one, from `first_id` on: what the store holds is walked through, what it misses is fetched."""
        next_id, read_from_ns = first_id, self._start_ns
        while True:
            stored = await self._store.trades.read(self._name, read_from_ns, self._end_ns, limit=self._read_rows, stream=self._stream)
            for trade in sorted(stored, key=number_of):
                number = number_of(trade)
                if number > next_id:
                    await self.fetch_ids(next_id, number - 1)
                if number >= next_id:
                    next_id, self._at_ns = number + 1, trade.event_ns
            progress(self._done_ms(), self.total_ms, self.rows)
            if len(stored) < self._read_rows or stored[-1].event_ns == read_from_ns:
                break
            read_from_ns = stored[-1].event_ns
        await self.fetch_all(next_id, progress)

    async def fetch_ids(self, first_id: int, last_id: int) -> None:
        """Ids first..last inclusive. What is not in the answers is absent."""
        while first_id <= last_id:
            upto = min(last_id, first_id + PAGE_ROWS - 1)
            page = await self._fetch_ids(first_id, upto)
            await self._keep(page)
            for trade in page:
                number = number_of(trade)
                if number > first_id:
                    self.absent.append((self._at_ns, trade.event_ns))
                first_id, self._at_ns = number + 1, trade.event_ns
            if first_id <= upto:
                self.absent.append((self._at_ns, self._at_ns))
            first_id = upto + 1

    async def fetch_span(self, progress: Callable[[int, int | None, int], None]) -> None:
        """By time, where ids show nothing. What the store holds is asked for again: it does not tell what lies in between."""
        known = {t.trade_id for t in await self._store.trades.read(self._name, self._start_ns, self._start_ns + 1, stream=self._stream)}
        rows, at_ns, seen = PAGE_ROWS, self._start_ns, frozenset[str]()
        first: Trade | None = None
        reaches = False
        while True:
            page = sorted(await self._fetch(since=at_ns, until=self._end_ns, limit=rows), key=time_of)
            fresh = [trade for trade in page if trade.trade_id not in seen]
            await self._keep(fresh)
            if first is None and page:
                first = page[0]
                reaches = any(trade.trade_id in known for trade in page)
            if len(page) < rows:
                break
            rows = rows if fresh else rows * 2  # more than a page of one instant
            at_ns = self._at_ns = page[-1].event_ns
            seen = frozenset(trade.trade_id for trade in page if trade.event_ns == at_ns)
            progress(self._done_ms(), self.total_ms, self.rows)
        if not reaches and not await reaches_back(self._fetch, self._start_ns, PAGE_ROWS):
            self.absent.append((self._start_ns, self._end_ns if first is None else first.event_ns + 1))

    async def fetch_all(self, first_id: int, progress: Callable[[int, int | None, int], None]) -> None:
        """From `first_id` on, until the end of the range or of what the venue has."""
        while True:
            page = await self._fetch_ids(first_id, None)
            inside = [trade for trade in page if trade.event_ns < self._end_ns]
            if page and number_of(page[0]) > first_id:
                self.absent.append((self._at_ns, min(page[0].event_ns, self._end_ns)))
            await self._keep(inside)
            if len(inside) < len(page) or not page:
                return
            first_id, self._at_ns = number_of(page[-1]) + 1, page[-1].event_ns
            progress(self._done_ms(), self.total_ms, self.rows)

    async def _fetch(
        self, *, since: int | None = None, until: int | None = None, from_id: int | None = None, to_id: int | None = None, limit: int
    ) -> list[Trade]:
        rows: list[Trade] = await self._ask(
            lambda: self._connector.fetch_trades(
                self._name, since, until=until, stream=self._stream, from_id=from_id, to_id=to_id, limit=limit
            )
        )
        return rows

    async def _fetch_ids(self, first_id: int, last_id: int | None) -> list[Trade]:
        """A page, by id, from `first_id` on."""
        rows = await self._fetch(from_id=first_id, to_id=last_id, limit=PAGE_ROWS)
        return sorted((t for t in rows if number_of(t) >= first_id and (last_id is None or number_of(t) <= last_id)), key=number_of)

    async def _keep(self, trades: list[Trade]) -> None:
        if trades:
            await self._store.trades.append(trades, self._clock.now_ns())
            self.rows += len(trades)

    def _done_ms(self) -> int:
        return min(self.total_ms, max(0, self._at_ns - self._start_ns) // NS_PER_MS)


def number_of(trade: Trade) -> int:
    """The id as the integer it is where ids have an order."""
    return int(trade.trade_id)


def time_of(trade: Trade) -> int:
    """When it was, ns."""
    return trade.event_ns
