"""The one place where every error is caught: parts are started, restarted with growing waits, and given up with a reason."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from zvt_crypto.domain.errors import BadInput, GaveUp, ZvtCryptoError
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.ports import Clock, Observer
from zvt_crypto.services.backoff import Backoff

MOST_RESTARTS = 12  # in a row, without a stable time between them: about five minutes


class Supervisor:
    """Runs parts side by side. A part is a coroutine function that runs until it is cancelled, or returns when its work is done.

    A part that fails is begun again; only an error that a new start cannot mend (BadInput: a wrong setting, an unknown symbol), or
    too many failures in a row, ends everything with GaveUp.
    """

    def __init__(
        self, clock: Clock, observer: Observer, rng: random.Random, *, most_restarts: int = MOST_RESTARTS, stable_s: float = 60.0
    ) -> None:
        self._clock = clock
        self._observer = observer
        self._rng = rng
        self._most_restarts = most_restarts
        self._stable_s = stable_s

    async def run(self, parts: dict[str, Callable[[], Awaitable[None]]]) -> None:
        """All parts, until they have returned. Raises GaveUp for the first that cannot go on; the others are cancelled."""
        tasks = [asyncio.create_task(self.keep(name, part), name=name) for name, part in parts.items()]
        try:
            for task in asyncio.as_completed(tasks):
                await task
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def keep(self, name: str, part: Callable[[], Awaitable[None]]) -> None:
        """One part, begun again as often as needed. Raises GaveUp."""
        backoff = Backoff(self._rng, first_s=0.5, most_s=60.0, stable_s=self._stable_s)
        while True:
            began_ns = self._clock.now_ns()
            try:
                await part()
                return
            except Exception as error:
                hopeless = find_error(error, BadInput) or find_error(error, GaveUp)
                if self._clock.now_ns() - began_ns >= self._stable_s * NS_PER_S:
                    backoff.reset()
                reason = explained(hopeless or error)
                self._observer.count("restarts", part=name)
                self._observer.note("error", "part_failed", part=name, reason=reason, failures=backoff.failures + 1)
                if hopeless is not None or backoff.failures >= self._most_restarts:
                    raise GaveUp(f"{name} cannot go on: {reason}") from error
            await self._clock.sleep(backoff.next_s())


def find_error(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """The first of that kind, in a group or alone."""
    if isinstance(error, kind):
        return error
    if isinstance(error, BaseExceptionGroup):
        return next((found for e in error.exceptions if (found := find_error(e, kind)) is not None), None)
    return None


def explained(error: BaseException) -> str:
    """What happened, in a line: of a group, its first error. Errors of ours say all in their words; of others the kind is told, too."""
    if isinstance(error, BaseExceptionGroup):
        return explained(error.exceptions[0])
    if isinstance(error, ZvtCryptoError) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
