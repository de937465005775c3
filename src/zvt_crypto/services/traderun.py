"""A range of past trades, from the venue into the store, without asking again for what is stored."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from zvt_crypto.domain.market import Trade, TradeStream
from zvt_crypto.domain.plausible import check_answer
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.ports import Clock, ExchangeConnector, Store
from zvt_crypto.services.continuity import plausible_ids
from zvt_crypto.services.reach import reaches_back

Ask = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]
PAGE_ROWS = 5_000


class TradeRun:
    """Trades of one id space with times in [start_ns, end_ns). `absent`: parts of that range (or of the ids asked for) that the venue
    has not, or does not show to be whole; those that touch are one. is_whole: the venue is known to have nothing else, since it is a
    recording. After `most_rows` (None: no bound) it ends early, and `at_ns` is how
    far it came."""

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
        most_rows: int | None = None,
        *,
        is_whole: bool = False,
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
        self._most_rows = most_rows
        self._is_whole = is_whole
        self.at_ns = start_ns  # the time of the newest trade looked at

    @property
    def is_cut(self) -> bool:
        """Whether it ended, or must end, early."""
        return self._most_rows is not None and self.rows >= self._most_rows

    async def fill(self, first_id: int, progress: Callable[[int, int | None, int], None]) -> None:
        """Ids that rise by one, from `first_id` on: what the store holds is walked through, what it misses is fetched."""
        next_id, read_from_ns = first_id, self._start_ns
        while True:
            stored = await self._store.trades.read(self._name, read_from_ns, self._end_ns, limit=self._read_rows, stream=self._stream)
            for trade in sorted(stored, key=number_of):
                number = number_of(trade)
                if number - next_id > plausible_ids(trade.event_ns - self.at_ns):
                    continue  # it was stored before such ids were doubted: nothing lies between
                if number > next_id:
                    await self.fetch_ids(next_id, number - 1)
                    if self.is_cut:
                        break
                if number >= next_id:
                    next_id, self.at_ns = number + 1, trade.event_ns
            progress(self._done_ms(), self.total_ms, self.rows)
            if self.is_cut:
                return
            if len(stored) < self._read_rows or stored[-1].event_ns == read_from_ns:
                break
            read_from_ns = stored[-1].event_ns
        await self.fetch_all(next_id, progress)

    async def fetch_ids(self, first_id: int, last_id: int) -> int:
        """Ids first..last inclusive; what is not in the answers is absent. Gives the id after the last one that was looked at.

        Where an answer ends early, the venue is asked where it goes on: a hole of any size costs two questions.
        """
        while first_id <= last_id and not self.is_cut:
            upto = min(last_id, first_id + PAGE_ROWS - 1)
            first_id = await self._take_ids(first_id, await self._fetch_ids(first_id, upto))
            if first_id > upto:
                continue
            following = await self._fetch_ids(first_id, None, 1)
            if not following or number_of(following[0]) > last_id:
                self._lack(self.at_ns)
                return last_id + 1
            first_id = await self._take_ids(first_id, following)
        return first_id

    async def _take_ids(self, first_id: int, page: list[Trade]) -> int:
        """Keep trades from `first_id` on. Gives the id after them."""
        await self._keep(page)
        for trade in page:
            if number_of(trade) > first_id:
                self._lack(trade.event_ns)
            first_id, self.at_ns = number_of(trade) + 1, trade.event_ns
        return first_id

    def _lack(self, until_ns: int) -> None:
        """What lies between the newest trade looked at and that time is absent."""
        if self.absent and self.absent[-1][1] >= self.at_ns:
            self.absent[-1] = (self.absent[-1][0], max(until_ns, self.absent[-1][1]))
        else:
            self.absent.append((self.at_ns, until_ns))

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
            at_ns = self.at_ns = page[-1].event_ns
            if self.is_cut:
                break
            seen = frozenset(trade.trade_id for trade in page if trade.event_ns == at_ns)
            progress(self._done_ms(), self.total_ms, self.rows)
        if not reaches and not self._is_whole and not await reaches_back(self._fetch, self._start_ns, PAGE_ROWS):
            self.absent.append((self._start_ns, self._end_ns if first is None else first.event_ns + 1))

    async def fetch_all(self, first_id: int, progress: Callable[[int, int | None, int], None]) -> None:
        """From `first_id` on, until the end of the range or of what the venue has."""
        while True:
            page = await self._fetch_ids(first_id, None)
            inside = [trade for trade in page if trade.event_ns < self._end_ns]
            if page and number_of(page[0]) > first_id:
                self._lack(min(page[0].event_ns, self._end_ns))
            await self._keep(inside)
            if len(inside) < len(page) or not page or self.is_cut:
                return
            first_id, self.at_ns = number_of(page[-1]) + 1, page[-1].event_ns
            progress(self._done_ms(), self.total_ms, self.rows)

    async def _fetch(
        self, *, since: int | None = None, until: int | None = None, from_id: int | None = None, to_id: int | None = None, limit: int
    ) -> list[Trade]:
        rows: list[Trade] = await self._ask(
            lambda: self._connector.fetch_trades(
                self._name, since, until=until, stream=self._stream, from_id=from_id, to_id=to_id, limit=limit
            )
        )
        check_answer(self._connector.exchange, rows, self._clock.now_ns())
        return rows

    async def _fetch_ids(self, first_id: int, last_id: int | None, most: int = PAGE_ROWS) -> list[Trade]:
        """A page, by id, from `first_id` on."""
        rows = await self._fetch(from_id=first_id, to_id=last_id, limit=most)
        return sorted((t for t in rows if number_of(t) >= first_id and (last_id is None or number_of(t) <= last_id)), key=number_of)

    async def _keep(self, trades: list[Trade]) -> None:
        if trades:
            await self._store.trades.append(trades, self._clock.now_ns())
            self.rows += len(trades)

    def _done_ms(self) -> int:
        return min(self.total_ms, max(0, self.at_ns - self._start_ns) // NS_PER_MS)


def number_of(trade: Trade) -> int:
    """The id as the integer it is where ids have an order."""
    return int(trade.trade_id)


def time_of(trade: Trade) -> int:
    """When it was, ns."""
    return trade.event_ns
