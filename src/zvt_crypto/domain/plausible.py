"""What an exchange may say of time: an event cannot be of a time that has not come. The past is no reason for doubt, since recordings are
replayed; a moment ahead is none either, since clocks differ."""

from __future__ import annotations

from collections.abc import Sequence

from zvt_crypto.domain.errors import Malformed
from zvt_crypto.domain.events import MarketEvent
from zvt_crypto.domain.market import Kline, Ticker, Trade
from zvt_crypto.domain.time import MAX_NS, NS_PER_MINUTE, NS_PER_S, to_rfc3339

# Exchanges' clocks differ by milliseconds, machines that nobody sets by minutes. What is further ahead is a wrong number.
AHEAD_MOST_NS = 10 * NS_PER_MINUTE
# Frames do not overtake one another by this much: what reached us so much later is newer, whatever its time says.
OVERTAKES_MOST_NS = 10 * NS_PER_S


def is_plausible(event: MarketEvent, recv_ns: int) -> bool:
    """Whether an event received at `recv_ns` (our clock) is of a time that has come; of a kline, its open too."""
    until_ns = recv_ns + AHEAD_MOST_NS
    return event.event_ns <= until_ns and (type(event) is not Kline or event.open_ns <= until_ns)


def too_early(exchange: str, event: MarketEvent, recv_ns: int) -> Malformed:
    """The error of an event that `is_plausible` refuses."""
    at_ns = max(event.event_ns, event.open_ns) if isinstance(event, Kline) else event.event_ns
    what, ours = type(event).__name__.lower(), to_rfc3339(recv_ns)
    at = to_rfc3339(at_ns) if at_ns < MAX_NS else f"{at_ns} ns"
    ahead_s = (at_ns - recv_ns) // NS_PER_S
    return Malformed(f"{exchange} {what} of {event.instrument} at {at}: {ahead_s} s ahead of our clock, which says {ours}")


def is_newer(event: Trade | Ticker, held: Trade | Ticker) -> bool:
    """Whether `event` tells more of now than `held`: by the exchange's time, or because it reached us so much later that this time
    cannot be believed."""
    if event.event_ns >= held.event_ns:
        return True
    return event.recv_ns - held.recv_ns > OVERTAKES_MOST_NS  # of a fetched one (0) nobody knows when it came: the stream goes before


def check_answer(exchange: str, trades: Sequence[Trade], now_ns: int) -> None:
    """Trades that an exchange answered. Raises Malformed where one is of a time that has not come."""
    for trade in trades:
        if not is_plausible(trade, now_ns):
            raise too_early(exchange, trade, now_ns)
