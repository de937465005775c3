"""What the services note, as lines for the person who runs a command and waits."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from zvt_crypto.cli.out import note
from zvt_crypto.telemetry.redact import redact_text

# Event → what is said of it; an event that is not here is nothing to be told on the way.
SAID: Mapping[str, str] = {
    "venue_waits": "{reason}; asked again in {wait_s:g} s",
    "rate_budget_waits": "{bucket} is closed: waiting {wait_s:g} s for the exchange's rate limit",
    "gap_not_healed": "a gap of {channel} of {instrument} stays open: {reason}",
    "listing_doubted": "{missing} of {known} instruments are not in {exchange}'s list: it is doubted, and nothing is delisted",
    "delisted": "{instrument} is delisted: the exchange lists it no more",
    "listed_again": "{instrument} is listed again: {reason}",
    "relisted": "{instrument} is new: {before}, of the same name, was delisted",
    "kept_delisted": "{instrument} stays delisted: {reason}; `pairs update --status active` undoes that",
}
AGAIN_S = 60.0


class Teller:
    """ports.Observer for commands: one line a note, on stderr or wherever `say` writes. The same reason is said once a minute."""

    def __init__(self, say: Callable[[str], None] = note, now_s: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._now_s = now_s
        self._said: tuple[object, float] = (None, 0.0)

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Nobody reads counters of a command."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Nor gauges."""

    def note(self, level: str, event: str, **fields: object) -> None:
        """Say it, where it is something to be told."""
        text, said = SAID.get(event), (event, fields.get("reason"), fields.get("instrument"), fields.get("bucket"))
        if text is None or (said == self._said[0] and self._now_s() - self._said[1] < AGAIN_S):
            return
        self._said = said, self._now_s()
        self._say(redact_text(" ".join(text.format(**fields).split())))
