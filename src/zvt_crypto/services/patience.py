"""Ask a venue again as its own answers say, until it answers or patience ends."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from zvt_crypto.domain.errors import Malformed, Refused, Throttled, VenueError
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.ports import Clock
from zvt_crypto.services.backoff import Backoff

T = TypeVar("T")
_LEAST_WAIT_S = 0.05


async def patiently(
    call: Callable[[], Awaitable[T]],
    clock: Clock,
    rng: random.Random,
    patience_s: float,
    *,
    malformed_tries: int | None = None,
    tell: Callable[[VenueError, float], None] | None = None,
) -> T:
    """The answer to a read. Refusals are raised at once; anything else is asked again until `patience_s` are over, then raised.

    `malformed_tries`: after so many answers that cannot be read, the last is raised (None: they are asked for as patiently as all else).
    `tell` hears of each error and of the seconds that are waited for it.
    """
    until_ns = clock.now_ns() + int(patience_s * NS_PER_S)
    backoff = Backoff(rng, first_s=0.25, most_s=10.0)
    malformed = 0
    while True:
        try:
            return await call()
        except Refused:
            raise
        except VenueError as error:
            wait_s = backoff.next_s()
            if isinstance(error, Throttled):
                wait_s = max(error.wait_ms / 1_000, _LEAST_WAIT_S)
            malformed += isinstance(error, Malformed)
            if malformed_tries is not None and malformed >= malformed_tries:
                raise
            if clock.now_ns() + int(wait_s * NS_PER_S) > until_ns:
                raise
            if tell is not None:
                tell(error, wait_s)
            await clock.sleep(wait_s)
