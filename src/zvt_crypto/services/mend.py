"""Longer klines made anew of stored shorter ones: those of which we saw a part, and those whose parts were corrected since."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

from zvt_crypto.domain.errors import StoreUnavailable
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import Interval, floor_ns, next_ns
from zvt_crypto.engine.roll import ROLL_BASE, roll_up
from zvt_crypto.ports import Clock, Observer, Store

Span = tuple[str, Interval, int]  # instrument, interval, open
_TURN_S = 3.0  # the recorder has stored a minute by then; each further look waits twice as long as the one before
_TRIES = 8  # the last one after 13 minutes: what a backfill mends later is its own to roll
_LOOKS = 5  # at one that is served already: a recorder that is 45 s behind is awaited
_MOST = 10_000


async def rerolled(store: Store, instrument: str, length: Interval, start_ns: int, end_ns: int) -> list[Kline]:
    """The whole klines of that length that touch [start_ns, end_ns), rolled from the stored ones; those that are served so are left out."""
    first_ns, last_ns = floor_ns(length, start_ns), next_ns(length, end_ns - 1)
    parts = await store.klines.read(instrument, ROLL_BASE[length], first_ns, last_ns)
    served = {kline.open_ns: kline for kline in await store.klines.read(instrument, length, first_ns, last_ns)}
    made = roll_up([part for part in parts if part.final], length)
    return [kline for kline in made if kline.final and not _says_same(kline, served.get(kline.open_ns))]


class Mender:
    """`publish` is given each kline that was made anew. A venue's own is not replaced by it: the store keeps what differs as a revision."""

    def __init__(self, store: Store, clock: Clock, observer: Observer, publish: Callable[[Kline], None]) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._publish = publish
        self._torn: dict[Span, int] = {}  # how often each was looked at
        self._doubted: dict[Span, int] = {}

    def tear(self, span: Span) -> None:
        """A part of it did not come from our trades. The venue's own closes that; it may be a moment, or a backfill, behind."""
        if len(self._torn) < _MOST:
            self._torn[span] = 0

    def doubt(self, span: Span) -> None:
        """It was made of parts that have changed since."""
        if len(self._doubted) < _MOST:
            self._doubted[span] = 0

    async def run(self) -> None:
        """Until cancelled."""
        for turn in count(1):
            await self._clock.sleep(_TURN_S)
            await self._look(self._torn, turn, _TRIES)
            await self._look(self._doubted, turn, _LOOKS)

    async def _look(self, spans: dict[Span, int], turn: int, most: int) -> None:
        for span in [span for span, tries in spans.items() if turn % 2**tries == 0]:
            instrument, length, open_ns = span
            try:
                made = await rerolled(self._store, instrument, length, open_ns, open_ns + 1)
            except StoreUnavailable as error:
                self._observer.note("warning", "bars_wait", instrument=instrument, reason=str(error))
                return
            spans[span] += 1
            if made or spans[span] > most:
                del spans[span]
            for kline in made:
                self._publish(kline)


def _says_same(a: Kline, b: Kline | None) -> bool:
    if b is None or not b.final:
        return False
    return (a.open, a.high, a.low, a.close, a.volume, a.turnover, a.trades) == (
        b.open,
        b.high,
        b.low,
        b.close,
        b.volume,
        b.turnover,
        b.trades,
    )
