"""What the services note, as lines for the person who runs a command and waits."""

from __future__ import annotations

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


class Teller:
    """ports.Observer for commands: one line a note, on stderr or wherever `say` writes."""

    def __init__(self, say: Callable[[str], None] = note) -> None:
        self.say = say

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Nobody reads counters of a command."""

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Nor gauges."""

    def note(self, level: str, event: str, **fields: object) -> None:
        """Say it, where it is something to be told."""
        text = SAID.get(event)
        if text is not None:
            self.say(redact_text(" ".join(text.format(**fields).split())))
