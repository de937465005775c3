"""The past, from the venue into the store: resumable, because what is stored already says what is missing.

Every write is idempotent, so a backfill that was killed is simply begun again. What the venue itself does not have (before the
listing, its own outages) is reported, not invented.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

import msgspec

from zvt_crypto.domain.errors import BadInput, Malformed, Refused, VenueError
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Funding, Gap, Kline, MarkPrice, Trade, TradeStream
from zvt_crypto.domain.time import (
    EARLIEST_NS,
    MAX_NS,
    NS_PER_DAY,
    NS_PER_MINUTE,
    Interval,
    count_opens,
    floor_ns,
    next_ns,
    parse_interval,
    parse_time,
)
from zvt_crypto.engine.roll import ROLL_BASE
from zvt_crypto.ports import Clock, ExchangeConnector, Observer, Store
from zvt_crypto.services.continuity import plausible_ids
from zvt_crypto.services.mend import rerolled
from zvt_crypto.services.patience import patiently
from zvt_crypto.services.tradeflow import REST
from zvt_crypto.services.traderun import TradeRun

T = TypeVar("T")

# Called with (done, total, rows written so far). `total` may become smaller once the listing is found; None where nobody can know.
Progress = Callable[[int, int | None, int], None]


class BackfillReport(msgspec.Struct, frozen=True):
    """What was done. `rows`: fetched and stored now. `absent`: ranges [start_ns, end_ns) that the venue does not have."""

    instrument: str
    noun: str
    rows: int
    absent: list[tuple[int, int]] = []
    is_cut: bool = False  # it ended early, because there was more than one pass may take

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing in the range."""
        return not self.absent and not self.is_cut


class BackfillOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`patience_s`: how long a venue that does not answer is asked again. `heal_rows`: of one gap, before the others have their turn."""

    batch_rows: int = 5_000
    read_rows: int = 20_000
    patience_s: float = 600.0
    malformed_tries: int = 4  # a page of words instead of data, for example, does not become data by waiting long
    of_recording: bool = False  # the venue plays one: where its ids rise, what it answers by time is all there is
    heal_rows: int = 100_000  # a hundred pages of a thousand: some minutes of a venue's budget


_FUNDING_LEAD_NS = 2 * NS_PER_DAY  # no venue settles less often than once a day


_LEFT = {"book": "nobody has books of the past"}


def _untold(_gap: Gap, _reason: str) -> None:
    return


def _silent(_done: int, _total: int | None, _rows: int) -> None:
    return


class Backfill:
    """One exchange. Needs the connector's instruments, and that they are stored. Raises VenueError when patience ends, StoreError."""

    def __init__(
        self,
        connector: ExchangeConnector,
        store: Store,
        clock: Clock,
        observer: Observer,
        options: BackfillOptions | None = None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self._connector = connector
        self._store = store
        self._clock = clock
        self._observer = observer
        self._options = options or BackfillOptions()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret

    # ── klines ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def klines(
        self,
        symbol: str,
        interval: Interval | str = "1m",
        since: object = None,
        until: object = None,
        progress: Progress = _silent,
        most_rows: int | None = None,
    ) -> BackfillReport:
        """Final klines with opens in [since, until); without `since` from the listing, without `until` up to now (the venue's).

        `most_rows`: end early after so many (None: no bound).
        """
        name, length = self._resolve(symbol).id, parse_interval(interval)
        start_ns = parse_time(since) if since is not None else 0
        # The kline that forms now cannot be had: a hole there would be none.
        end_ns = min(parse_time(until) if until is not None else MAX_NS, floor_ns(length, await self._venue_time()))
        rows = 0
        absent: list[tuple[int, int]] = []
        done, total = 0, count_opens(length, start_ns, end_ns)
        for hole in await self._store.klines.missing(name, length, start_ns, end_ns):
            at_ns = hole[0]
            while at_ns < hole[1]:
                page = await self._kline_page(name, length, at_ns, hole[1])
                first_ns = page[0].open_ns if page else hole[1]
                if first_ns > at_ns:
                    absent.append((at_ns, first_ns))
                    done += count_opens(length, at_ns, first_ns)
                    if since is None and at_ns == 0:  # the venue's first kline is the listing: nothing is missing before
                        absent.clear()
                        total, done = total - done, 0
                if not page:
                    break
                written = await self._store.klines.upsert(page, self._clock.now_ns())
                if written.changed and length is Interval.MIN_1:
                    await self._reroll(name, page[0].open_ns, page[-1].open_ns + 1)
                rows += len(page)
                done += len(page)
                absent += _jumps(page, length)
                progress(min(done, total), total, rows)
                at_ns = next_ns(length, page[-1].open_ns)
                if most_rows is not None and rows >= most_rows:
                    return BackfillReport(name, f"kline {length}", rows, absent, is_cut=True)
        progress(total, total, rows)
        return BackfillReport(name, f"kline {length}", rows, absent)

    async def _reroll(self, name: str, start_ns: int, end_ns: int) -> None:
        """Minutes have changed: longer klines that were made of them, shorter ones first, since weeks and months are made of days."""
        for longer in ROLL_BASE:
            stored = await self._store.klines.read(name, longer, floor_ns(longer, start_ns), end_ns)
            opens = {kline.open_ns for kline in stored if kline.final}
            made = [k for k in await rerolled(self._store, name, longer, start_ns, end_ns) if k.open_ns in opens]
            await self._store.klines.upsert(made, self._clock.now_ns())

    async def _kline_page(self, name: str, length: Interval, start_ns: int, end_ns: int) -> list[Kline]:
        limit, since_ns = self._options.batch_rows, max(start_ns, EARLIEST_NS)
        rows = await self._ask(lambda: self._connector.fetch_kdata(name, length, since=since_ns, until=end_ns, limit=limit))
        return [row for row in rows if row.final and start_ns <= row.open_ns < end_ns]

    # ── trades ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def trades(self, symbol: str, since: object, until: object = None, progress: Progress = _silent) -> BackfillReport:
        """Trades with times in [since, until) of the stream that is followed live. Progress counts milliseconds of the range."""
        name = self._resolve(symbol).id
        start_ns = parse_time(since)
        end_ns = parse_time(until) if until is not None else await self._venue_time()
        return await self._trades(name, self._connector.trade_stream(name), start_ns, end_ns, progress)

    async def _trades(self, name: str, stream: TradeStream, start_ns: int, end_ns: int, progress: Progress) -> BackfillReport:
        run = self._run(name, stream, start_ns, end_ns)
        await self._fill(run, name, stream, start_ns, end_ns, progress)
        progress(run.total_ms, run.total_ms, run.rows)
        return BackfillReport(name, stream, run.rows, run.absent)

    async def _fill(self, run: TradeRun, name: str, stream: TradeStream, start_ns: int, end_ns: int, progress: Progress) -> None:
        if self._connector.trade_continuity(name, stream) == "dense":
            first: list[Trade] = await self._ask(
                lambda: self._connector.fetch_trades(name, since=start_ns, until=end_ns, stream=stream, limit=1)
            )
            if first:
                await run.fill(int(first[0].trade_id), progress)
        else:
            await run.fetch_span(progress)

    # ── facts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def funding(self, symbol: str, since: object = None, until: object = None, progress: Progress = _silent) -> BackfillReport:
        """Settled funding. The venue answers whole histories quickly, so all of the range is asked for."""
        name = self._resolve(symbol).id
        rows: list[Funding] = await self._ask(lambda: self._connector.fetch_funding(name, since=since, until=until))
        for part in _parts(rows, self._options.batch_rows):
            await self._store.facts.save_funding(part, self._clock.now_ns())
        progress(len(rows), len(rows), len(rows))
        return BackfillReport(name, "funding", len(rows))

    async def mark(
        self, symbol: str, since: object, until: object = None, progress: Progress = _silent, most_rows: int | None = None
    ) -> BackfillReport:
        """Mark and index prices, one a minute, day by day; days that are stored whole are not asked for again.

        `most_rows`: end early after so many (None: no bound).
        """
        name = self._resolve(symbol).id
        start_ns = floor_ns(Interval.MIN_1, parse_time(since))
        end_ns = parse_time(until) if until is not None else await self._venue_time()
        rows, at_ns = 0, start_ns
        while at_ns < end_ns:
            until_ns = min(end_ns, floor_ns(Interval.DAY_1, at_ns) + NS_PER_DAY)
            if not await self._has_marks(name, at_ns, until_ns):
                day: list[MarkPrice] = await self._ask(lambda a=at_ns, b=until_ns: self._connector.fetch_mark_kdata(name, a, b))  # type: ignore[misc]
                await self._store.facts.save_mark(day, self._clock.now_ns())
                rows += len(day)
            at_ns = until_ns
            progress((at_ns - start_ns) // NS_PER_MINUTE, (end_ns - start_ns) // NS_PER_MINUTE, rows)
            if most_rows is not None and rows >= most_rows:
                return BackfillReport(name, "mark", rows, is_cut=at_ns < end_ns)
        return BackfillReport(name, "mark", rows)

    async def _has_marks(self, name: str, start_ns: int, end_ns: int) -> bool:
        stored = await self._store.facts.read_mark(name, start_ns, end_ns)
        return len({row.event_ns // NS_PER_MINUTE for row in stored}) >= (end_ns - start_ns) // NS_PER_MINUTE

    # ── gaps ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def heal(self, *, only: Collection[str] | None = None, tell: Callable[[Gap, str], None] = _untold) -> int:
        """Fetch what open gaps of this exchange miss: trades, klines, mark prices and funding (nobody has books of the past). Returns how
        many gaps were closed; the others stay open.

        Of each gap so much that all have their turn; a venue that does not answer ends the pass. only: gaps of these instruments.
        tell: hears of each gap that was tried, and why it is open still ("" where it is not).
        """
        closed = 0
        for gap in await self._store.facts.read_gaps(open_only=True):
            instrument = self._connector.instruments.get(gap.instrument)
            if instrument is None or instrument.exchange != self._connector.exchange or (only is not None and gap.instrument not in only):
                continue
            try:
                healed = await self._heal(gap)
            except (VenueError, BadInput) as error:
                self._observer.note("warning", "gap_not_healed", instrument=gap.instrument, channel=gap.channel, reason=str(error))
                tell(gap, str(error))
                if isinstance(error, Refused | Malformed | BadInput):
                    continue
                return closed
            tell(gap, "" if healed else _LEFT.get(gap.channel, "the exchange does not have all of it, or not in one pass"))
            if healed:
                await self._store.facts.save_gaps([msgspec.structs.replace(gap, filled_from=REST)], self._clock.now_ns())
                closed += 1
        return closed

    async def _heal(self, gap: Gap) -> bool:
        if gap.channel == "kline":
            lengths = list(Interval) if gap.interval is None else [gap.interval]
            most = self._options.heal_rows
            reports = [await self.klines(gap.instrument, i, gap.start_ns, gap.end_ns, most_rows=most) for i in lengths if _spans(i, gap)]
            return all(report.is_complete for report in reports)
        if gap.channel == "trade" or gap.channel == "agg":
            return await self._heal_trades(gap, gap.channel)
        if gap.channel == "funding":
            return await self._heal_funding(gap)
        return gap.channel == "mark" and await self._heal_marks(gap)

    async def _heal_funding(self, gap: Gap) -> bool:
        """The venue's history is whole where it reaches back to a settlement before the gap."""
        rows: list[Funding] = await self._ask(
            lambda: self._connector.fetch_funding(gap.instrument, since=max(0, gap.start_ns - _FUNDING_LEAD_NS), until=gap.end_ns)
        )
        await self._store.facts.save_funding(rows, self._clock.now_ns())
        return any(row.event_ns <= gap.start_ns for row in rows)

    async def _heal_marks(self, gap: Gap) -> bool:
        """Whole where each minute has a row."""
        start_ns, end_ns = (
            floor_ns(Interval.MIN_1, gap.start_ns),
            floor_ns(Interval.MIN_1, max(gap.start_ns, gap.end_ns - 1)) + NS_PER_MINUTE,
        )
        await self.mark(gap.instrument, start_ns, end_ns, most_rows=self._options.heal_rows)
        return await self._has_marks(gap.instrument, start_ns, end_ns)

    async def _heal_trades(self, gap: Gap, stream: TradeStream) -> bool:
        first_id = gap.first_id if self._connector.trade_continuity(gap.instrument, stream) == "dense" else None
        if first_id is not None and gap.last_id is not None:
            if gap.last_id - first_id < plausible_ids(gap.end_ns - gap.start_ns):
                return await self._heal_ids(gap, stream, first_id, gap.last_id)
            # No market makes so many trades in that time: one of the ids was wrong, and what the time holds is all that can be missing.
            run = self._run(gap.instrument, stream, gap.start_ns, gap.end_ns + 1, self._options.heal_rows)
            await self._fill(run, gap.instrument, stream, gap.start_ns, gap.end_ns + 1, _silent)
            return not run.absent and not run.is_cut
        if gap.end_ns <= gap.start_ns:
            return False
        if first_id is None:
            return await self._heal_span(gap, stream)
        run = self._run(gap.instrument, stream, gap.start_ns, gap.end_ns, self._options.heal_rows)
        await run.fill(first_id, _silent)
        return not run.absent and not run.is_cut

    async def _heal_ids(self, gap: Gap, stream: TradeStream, first_id: int, last_id: int) -> bool:
        """A gap of known ids. Where there are more than one pass takes, the gap becomes two: what was filled, and the rest."""
        run = self._run(gap.instrument, stream, gap.start_ns, gap.end_ns, self._options.heal_rows)
        next_id = await run.fetch_ids(first_id, last_id)
        if next_id <= last_id:
            await self._divide(gap, run, next_id)
            return False
        return not run.absent

    async def _heal_span(self, gap: Gap, stream: TradeStream) -> bool:
        """A gap of trades without ids: what the venue has of it is stored, and the gap becomes what it has not."""
        run = self._run(gap.instrument, stream, gap.start_ns, gap.end_ns, self._options.heal_rows)
        await self._fill(run, gap.instrument, stream, gap.start_ns, gap.end_ns, _silent)
        if run.is_cut and gap.start_ns < run.at_ns < gap.end_ns:
            await self._divide(gap, run, None)
            return False
        if run.absent and run.absent[-1][1] < gap.end_ns:
            await self._store.facts.save_gaps([msgspec.structs.replace(gap, end_ns=run.absent[-1][1])], self._clock.now_ns())
        return not run.absent

    async def _divide(self, gap: Gap, run: TradeRun, next_id: int | None) -> None:
        """The part that a run came through, filled unless something of it is absent, and the part that is left to the next pass."""
        before_id = None if next_id is None else next_id - 1
        done = msgspec.structs.replace(gap, end_ns=run.at_ns, last_id=before_id, filled_from=None if run.absent else REST)
        left = msgspec.structs.replace(gap, start_ns=run.at_ns, first_id=next_id)
        await self._store.facts.save_gaps([left, done], self._clock.now_ns())

    # ── shared ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _resolve(self, symbol: str) -> Instrument:
        return self._connector.instruments.resolve(symbol, self._connector.exchange)

    def _run(self, name: str, stream: TradeStream, start_ns: int, end_ns: int, most_rows: int | None = None) -> TradeRun:
        rows = self._options.read_rows
        is_whole = self._options.of_recording and self._connector.trade_continuity(name, stream) == "increasing"
        asked = (self._connector, self._store, self._clock, self._ask)
        return TradeRun(*asked, name, stream, start_ns, end_ns, rows, most_rows, is_whole=is_whole)

    async def _venue_time(self) -> int:
        return await self._ask(self._connector.fetch_server_time)

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        options = self._options
        return await patiently(
            call, self._clock, self._rng, options.patience_s, malformed_tries=options.malformed_tries, tell=self._tell_wait
        )

    def _tell_wait(self, error: VenueError, wait_s: float) -> None:
        """At once: somebody may sit and wait."""
        self._observer.note("warning", "venue_waits", reason=str(error), wait_s=round(wait_s, 1))


def _jumps(page: Sequence[Kline], length: Interval) -> list[tuple[int, int]]:
    """The holes inside an answer: the venue's own."""
    pairs = ((next_ns(length, a.open_ns), b.open_ns) for a, b in pairwise(page))
    return [(start, end) for start, end in pairs if start < end]


def _parts(rows: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (rows[at : at + most] for at in range(0, len(rows), most))


def _spans(length: Interval, gap: Gap) -> bool:
    """Whether a whole kline of that length lies in the gap."""
    return count_opens(length, gap.start_ns, gap.end_ns) > 0
