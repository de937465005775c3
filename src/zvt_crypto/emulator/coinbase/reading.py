"""A recording of Coinbase, understood: products by the recorded listings or inferred, books by the snapshots in the stream."""

from __future__ import annotations

import contextlib
import re

import msgspec

from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.emulator.capture import Capture
from zvt_crypto.emulator.coinbase.feed_recorded import moment_ns
from zvt_crypto.emulator.coinbase.recorded import RecordedProduct
from zvt_crypto.emulator.frames import Frame
from zvt_crypto.emulator.model import E8, Listing, Market, read_e8

_TIMESTAMP = re.compile(rb'"time(?:stamp)?"\s*:\s*"([^"]{20,40})"')
_SNAPSHOT = re.compile(rb'"type"\s*:\s*"snapshot"')


class _Row(msgspec.Struct):
    product_id: str = ""
    base_currency_id: str = ""
    quote_currency_id: str = ""
    price_increment: str = ""
    base_increment: str = ""


class _Answer(msgspec.Struct):
    products: list[_Row]


class _FeedRow(msgspec.Struct):
    """Exchange's."""

    id: str
    base_currency: str = ""
    quote_currency: str = ""
    quote_increment: str = ""
    base_increment: str = ""

    def row(self) -> _Row:
        """As Advanced names it."""
        return _Row(self.id, self.base_currency, self.quote_currency, self.quote_increment, self.base_increment)


class CoinbaseReading:
    """reading.Reading. A listing's symbol is the product id."""

    def __init__(self, capture: Capture) -> None:
        self._bodies: dict[tuple[Market, str], bytes] = {}
        rows: dict[str, _Row] = {}
        for answer in capture.answers:
            with contextlib.suppress(msgspec.MsgspecError):  # a refusal was recorded: then the products are inferred
                if answer.path == "products":
                    rows = {one.id: one.row() for one in msgspec.json.decode(answer.body, type=list[_FeedRow])} | rows
                else:
                    rows |= {row.product_id: row for row in msgspec.json.decode(answer.body, type=_Answer).products}
                self._bodies.setdefault((answer.market, answer.path), answer.body)
        self.listings: dict[Market, dict[str, Listing]] = {"spot": {}, "usdm": {}}
        self._snapshots: set[tuple[Market, str]] = set()
        self._books: dict[tuple[Market, str], set[str]] = {}  # the channels that a product's book was recorded on
        for frame in capture.frames:
            if frame.symbol not in self.listings[frame.market]:
                self.listings[frame.market][frame.symbol] = _listing(frame, rows.get(frame.symbol, _Row()))
            if frame.stream.endswith(("@depth", "@feed_depth")):
                self._books.setdefault((frame.market, frame.symbol), set()).add(frame.stream.partition("@")[2])
                if _SNAPSHOT.search(frame.payload, 0, 300) or _SNAPSHOT.search(frame.payload, max(0, len(frame.payload) - 100)):
                    self._snapshots.add((frame.market, frame.symbol))

    def state(self, market: Market, symbol: str) -> RecordedProduct:
        """Reading.state."""
        return RecordedProduct("depth" if "depth" in self._books.get((market, symbol), ()) else "feed_depth")

    def event_ms(self, frame: Frame) -> int:
        """Reading.event_ms."""
        found = _TIMESTAMP.search(frame.payload)
        return moment_ns(found[1].decode()) // NS_PER_MS if found else 0

    def recorded(self, market: Market, path: str) -> bytes | None:
        """World.recorded."""
        return self._bodies.get((market, path))

    def partial_books(self) -> list[str]:
        """Reading.partial_books."""
        return sorted(f"{market} {symbol}" for market, symbol in self._books.keys() - self._snapshots)


def _listing(frame: Frame, row: _Row) -> Listing:
    base, quote, *_ = frame.symbol.split("-")
    tick, lot = read_e8(row.price_increment or "0.00000001"), read_e8(row.base_increment or "0.00000001")
    return Listing(
        frame.market, frame.symbol, row.base_currency_id or base, row.quote_currency_id or quote, tick or 1, lot or 1, E8, frame.recv_ns
    )
