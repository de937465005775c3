"""Longer klines follow their minutes: imports, backfills, late and corrected minutes, whoever wrote them and whenever.

What is followed live is rolled as it comes (services/bars.py). Everything else is marked in the store, day by day, in the transaction
that changed it; here the marked days are rolled anew from 5m to 1M, so that a restart forgets nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zvt_crypto.domain.errors import ConstraintViolated, StoreUnavailable
from zvt_crypto.domain.market import Kline
from zvt_crypto.domain.time import NS_PER_DAY
from zvt_crypto.engine.roll import ROLL_BASE
from zvt_crypto.ports import Clock, Due, Observer, Store
from zvt_crypto.services.mend import rerolled

_LISTED = 1_000  # days a look
_RUN_DAYS = 31  # rolled at once: 45,000 minutes in memory
_BATCH = 5_000


class Rollups:
    """`catch_up` does what is due; `run` does so every `every_s`."""

    def __init__(self, store: Store, clock: Clock, observer: Observer, *, every_s: float = 60.0) -> None:
        self._store = store
        self._clock = clock
        self._observer = observer
        self._every_s = every_s

    async def run(self) -> None:
        """Until cancelled. What the store does not answer now is due later, too."""
        while True:
            await self._clock.sleep(self._every_s)
            try:
                await self.catch_up()
            except StoreUnavailable as error:
                self._observer.note("warning", "rollups_wait", reason=str(error))

    async def catch_up(self) -> int:
        """Roll all days that are due. Returns how many longer klines were made or corrected. Raises StoreError."""
        made = 0
        while due := await self._store.due.list(_LISTED):
            for run in _runs(due):
                made += await self.refresh(run[0].instrument, run[0].day_ns, run[-1].day_ns + NS_PER_DAY)
                await self._store.due.clear(run)
        return made

    async def refresh(self, instrument: str, start_ns: int, end_ns: int) -> int:
        """Make every longer kline that touches [start_ns, end_ns) what its stored parts say, shorter ones first, since weeks and months
        are made of days. Only whole ones; what a venue told is not replaced, and what differs from it is kept as a revision."""
        count = 0
        for longer in ROLL_BASE:
            made = await rerolled(self._store, instrument, longer, start_ns, end_ns)
            for at in range(0, len(made), _BATCH):
                count += await self._put(made[at : at + _BATCH])
        if count:
            self._observer.count("klines_rolled", count, instrument=instrument)
        return count

    async def _put(self, klines: list[Kline]) -> int:
        """All but those that the store refuses for what their parts say: they are named."""
        try:
            await self._store.klines.upsert(klines, self._clock.now_ns())
        except ConstraintViolated as error:
            if len(klines) == 1:
                self._observer.note("error", "rollup_refused", kline=repr(klines[0]), reason=str(error))
                return 0
            middle = len(klines) // 2
            return await self._put(klines[:middle]) + await self._put(klines[middle:])
        return len(klines)


def _runs(due: Sequence[Due]) -> Iterator[list[Due]]:
    """Days of one instrument that follow one another, not too many at once."""
    run: list[Due] = []
    for each in due:
        if run and (each.instrument != run[0].instrument or each.day_ns != run[-1].day_ns + NS_PER_DAY or len(run) == _RUN_DAYS):
            yield run
            run = []
        run.append(each)
    if run:
        yield run
