"""A recording of OKX, understood: instruments by the recorded answers or inferred, books by the snapshots in the stream."""

from __future__ import annotations

import contextlib
import re

import msgspec

from zvt_crypto.emulator.capture import Capture
from zvt_crypto.emulator.frames import Frame
from zvt_crypto.emulator.model import E8, Listing, Market, read_e8
from zvt_crypto.emulator.okx.recorded import RecordedInstrument

_TS = re.compile(rb'"ts":"(\d{13})"')


class _Row(msgspec.Struct):
    instId: str = ""  # noqa: N815 - the wire's names
    baseCcy: str = ""  # noqa: N815
    quoteCcy: str = ""  # noqa: N815
    tickSz: str = ""  # noqa: N815
    lotSz: str = ""  # noqa: N815
    ctVal: str = ""  # noqa: N815
    ctMult: str = ""  # noqa: N815
    ctType: str = ""  # noqa: N815


class _Answer(msgspec.Struct):
    data: list[_Row]


class OkxReading:
    """reading.Reading. A listing's symbol is the instId. Sizes are base where the instruments were recorded, else as on the wire."""

    def __init__(self, capture: Capture) -> None:
        self._bodies: dict[tuple[Market, str], bytes] = {}
        rows: dict[str, _Row] = {}
        for answer in capture.answers:
            if answer.path.startswith("public/instruments"):
                with contextlib.suppress(msgspec.MsgspecError):  # a refusal was recorded: then the instruments are inferred
                    rows |= {row.instId: row for row in msgspec.json.decode(answer.body, type=_Answer).data}
                    self._bodies.setdefault((answer.market, answer.path), answer.body)
        self.listings: dict[Market, dict[str, Listing]] = {"spot": {}, "usdm": {}}
        self._snapshots: set[tuple[Market, str]] = set()
        self._books: set[tuple[Market, str]] = set()
        for frame in capture.frames:
            if frame.symbol not in self.listings[frame.market]:
                self.listings[frame.market][frame.symbol] = _listing(frame, rows.get(frame.symbol, _Row()))
            if frame.stream.endswith("@depth"):
                self._books.add((frame.market, frame.symbol))
                if b'"action":"snapshot"' in frame.payload:
                    self._snapshots.add((frame.market, frame.symbol))

    def state(self, market: Market, symbol: str) -> RecordedInstrument:
        """Reading.state."""
        return RecordedInstrument(self.listings[market][symbol])

    def event_ms(self, frame: Frame) -> int:
        """Reading.event_ms."""
        found = _TS.findall(frame.payload)
        return int(found[-1]) if found else 0

    def recorded(self, market: Market, path: str) -> bytes | None:
        """World.recorded."""
        return self._bodies.get((market, path))

    def partial_books(self) -> list[str]:
        """Reading.partial_books."""
        return sorted(f"{market} {symbol}" for market, symbol in self._books - self._snapshots)


def _listing(frame: Frame, row: _Row) -> Listing:
    base, quote, *rest = frame.symbol.split("-")
    tick, lot = read_e8(row.tickSz or "0.00000001"), read_e8(row.lotSz or "0.00000001")
    value = read_e8(row.ctVal or "0") * read_e8(row.ctMult or "1") // E8
    inverse = value if row.ctType == "inverse" else 0
    if rest and quote == "USD" and not row.ctType:
        inverse = (100 if base == "BTC" else 10) * E8  # dollars, as all of them are
    unit = value if row.ctType == "linear" else 0
    return Listing(
        frame.market,
        frame.symbol,
        row.baseCcy or base,
        row.quoteCcy or quote,
        tick or 1,
        (lot * unit // E8 if unit else lot) or 1,
        E8,
        frame.recv_ns,
        inverse,
        unit,
    )
