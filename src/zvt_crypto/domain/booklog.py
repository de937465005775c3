"""A piece of an order book in full."""

from __future__ import annotations

import msgspec


class BookSegment(msgspec.Struct, frozen=True):
    """Answers for the instants [start_ns, until_ns). `data`: the events, as msgpack, compressed; `digest`: of `data`."""

    instrument: str
    start_ns: int
    until_ns: int
    first_id: int
    last_id: int
    events: int
    form: int
    digest: bytes
    data: bytes
