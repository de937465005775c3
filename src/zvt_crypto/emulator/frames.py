"""What a recording is made of: lines, frames as received, and the REST answers that were recorded beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import msgspec

from zvt_crypto.emulator.model import Market


class Frame(NamedTuple):
    """A frame as received. `stream` is canonical: symbol and channel without a speed (`btcusdt@depth`)."""

    recv_ns: int
    market: Market
    symbol: str
    stream: str
    payload: bytes
    enveloped: bool

    def raw(self) -> bytes:
        """The payload without its envelope: the recorded bytes of `data`."""
        return data_of(self.payload) if self.enveloped else self.payload


class RestAnswer(NamedTuple):
    """A recorded REST answer, and how many frames had come before it."""

    at: int
    market: Market
    path: str
    symbol: str
    body: bytes


class Line(NamedTuple):
    """One recorded thing before anybody looked into it. `address`: of its connection, `url`: of its request; empty where unknown."""

    recv_ns: int
    address: str
    url: str
    payload: bytes


class Placer(Protocol):
    """What the lines of one exchange are. Made of all the lines of a file."""

    def __init__(self, lines: Sequence[Line]) -> None: ...

    def frame(self, line: Line) -> Frame | None:
        """Market data of a line without a url; None for what is none."""
        ...

    def answer(self, line: Line, at: int, symbols: set[tuple[Market, str]]) -> RestAnswer | None:
        """A recorded answer that came after `at` frames; `symbols`: those of the file's frames."""
        ...


class Envelope(msgspec.Struct):
    """Binance's wrapping of a combined stream; what has none decodes as well."""

    stream: str = ""
    data: msgspec.Raw = msgspec.Raw(b"")


ENVELOPES = msgspec.json.Decoder(Envelope)


def data_of(enveloped: bytes) -> bytes:
    """The recorded bytes of `data` in an envelope."""
    return bytes(ENVELOPES.decode(enveloped).data)
