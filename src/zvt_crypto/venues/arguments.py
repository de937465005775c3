"""What a caller may give a connector: checked the same way for every exchange, before anything is sent. Raises BadInput, OutOfRange."""

from __future__ import annotations

from typing import get_args

from zvt_crypto.domain.errors import BadInput, OutOfRange, shown
from zvt_crypto.domain.market import TradeStream

STREAMS: tuple[TradeStream, ...] = get_args(TradeStream)
IDS_MOST = 2**63 - 1


def check_whole(name: str, value: object, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadInput(f"{name} {shown(value)} is not a whole number")
    if not low <= value <= high:
        raise OutOfRange(name, value, low, high)
    return value


def check_depth(depth: object, most: int) -> int:
    """Levels a side."""
    return check_whole("depth", depth, 1, most)


def check_ids(from_id: object, to_id: object, most: int = IDS_MOST) -> None:
    """Trade ids that are numbers, or None."""
    for name, value in (("from_id", from_id), ("to_id", to_id)):
        if value is not None:
            check_whole(name, value, 0, most)


def check_stream(stream: object) -> None:
    """One of the two id spaces of trades, or None."""
    if stream is not None and stream not in STREAMS:
        raise BadInput(f"stream {shown(stream)} is none of {', '.join(STREAMS)}")
