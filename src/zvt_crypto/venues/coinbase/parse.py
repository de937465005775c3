"""Coinbase's frames → events. Pure: the time of receipt is an argument, and what is strange comes back as data (`Drift`).

A frame is told by a few bytes of its channel, then decoded once by the typed decoder of its kind. A frame that is not written as the
venue writes it (other spacing, other order) takes a slower way to the same result. Answers by REST are read in `answers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from zvt_crypto.domain.errors import BadTime, Malformed, shown
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Kline, Level, Side, Ticker, Trade
from zvt_crypto.domain.time import FIXED_NS, NS_PER_S
from zvt_crypto.venues.coinbase import spec, wire
from zvt_crypto.venues.coinbase.moment import moment_reader
from zvt_crypto.venues.coinbase.product import Product
from zvt_crypto.venues.decode import BROKEN, excerpt
from zvt_crypto.venues.parsed import Broken, Drift, Parsed, Reply

# Both APIs name the maker's side; ours is the taker's.
TAKER: dict[str, Side] = {"BUY": "sell", "SELL": "buy", "buy": "sell", "sell": "buy"}
# What an error message says when the connection is to blame and not what was asked for: a new one may do.
_PASSING = re.compile(r"slow|rate limit|too many|timeout|internal|unavailable|shut", re.IGNORECASE)
_SEQUENCE = re.compile(rb'"sequence_num"\s*:\s*(\d{1,19})')
# `{"channel":"market`: so far a frame's head tells its kind.
_HEAD = 18

Frame = tuple[int | None, list[Parsed]]  # its number on the connection, None where it has none; what it holds


class FrameParser:
    """Frames of one connection. `products` is the venue's product id → product; `wanted` the product ids that are asked for on each of
    the venue's channels; `tickers` and `quotes` the entity ids whose tickers and best quotes are wanted: both come in one message."""

    def __init__(
        self,
        products: Mapping[str, Product],
        wanted: Mapping[str, frozenset[str]] | None = None,
        *,
        tickers: frozenset[str] = frozenset(),
        quotes: frozenset[str] = frozenset(),
    ) -> None:
        self._products, self._wanted, self._tickers, self._quotes = products, wanted or {}, tickers, quotes
        self._pairs = {native: product.instrument for native, product in products.items() if product.is_dense and product.size == 1.0}
        self._moment = moment_reader()
        kinds: tuple[tuple[type, Callable[[Any, int], list[Parsed]], tuple[str, ...]], ...] = (
            (wire.TradesWire, self._trades, ("market_trades",)),
            (wire.BookWire, self._books, (spec.L2_DATA, "level2")),
            (wire.TickerWire, self._ticker, ("ticker", "ticker_batch")),
            (wire.CandlesWire, self._candles, ("candles",)),
            (wire.HeartbeatWire, _nothing, (spec.HEARTBEATS,)),
            (wire.SubscriptionsWire, self._subscriptions, ("subscriptions",)),
        )
        self._named: dict[str, tuple[Callable[[bytes], Any], Callable[[Any, int], list[Parsed]]]] = {}
        for struct, convert, names in kinds:
            for name in names:
                self._named[name] = (msgspec.json.Decoder(struct, strict=False).decode, convert)
        self._kinds = {f'{{"channel":"{name}"'.encode()[:_HEAD]: found for name, found in self._named.items()}
        self._loose = msgspec.json.Decoder(wire.LooseWire, strict=False).decode

    def read(self, payload: bytes, recv_ns: int) -> Frame:
        """A frame. Raises Malformed."""
        try:
            kind = self._kinds.get(payload[:_HEAD])
            if kind is None:
                return self._slowly(payload, recv_ns)
            found = kind[0](payload)
            return found.sequence_num, kind[1](found, recv_ns)
        except (*BROKEN, BadTime) as error:
            raise Malformed(f"coinbase frame {excerpt(payload)}: {error}") from None

    def _slowly(self, payload: bytes, recv_ns: int) -> Frame:
        loose = self._loose(payload)
        if loose.channel is None:
            return loose.sequence_num, [_told(loose)]
        kind = self._named.get(loose.channel)
        if kind is None:
            return loose.sequence_num, [Drift("channel", loose.channel)]
        found = kind[0](payload)
        return found.sequence_num, kind[1](found, recv_ns)

    def _trades(self, w: wire.TradesWire, recv_ns: int) -> list[Parsed]:
        pairs, moment, sides = self._pairs, self._moment, TAKER
        made: list[Parsed] = []
        append = made.append
        for event in w.events:
            rows = event.trades
            if len(rows) > 1:  # newest first, and ours are oldest first
                rows.reverse()
                if not _rise(rows):
                    rows.sort(key=self._order)
            for row in rows:
                instrument, side, trade_id = pairs.get(row.product_id), sides.get(row.side), row.trade_id
                # As trade_of, without the call: trades of pairs are what most frames are.
                if (
                    instrument is not None
                    and side is not None
                    and type(trade_id) is str
                    and trade_id.isdecimal()
                    and (event_ns := moment(row.time))
                ):
                    append(Trade(instrument, "trade", trade_id, row.price, row.size, side, event_ns, recv_ns))
                else:
                    append(trade_of(row, self._products.get(row.product_id), moment, recv_ns))
        return made

    def _order(self, row: wire.TradeWire) -> int:
        return order_of(row, self._products.get(row.product_id), self._moment)

    def _books(self, w: wire.BookWire, recv_ns: int) -> list[Parsed]:
        made: list[Parsed] = []
        for event in w.events:
            product = self._products.get(event.product_id)
            if product is None:
                made.append(Drift("product", event.product_id))
                continue
            made += self._book(event, product, w, recv_ns)
            if type(made[-1]) is Broken:
                break
        return made

    def _book(self, event: wire.BookEvent, product: Product, w: wire.BookWire, recv_ns: int) -> list[Parsed]:
        bids: list[Level] = []
        asks: list[Level] = []
        for level in event.updates:
            side = level.side
            if side == "bid":
                bids.append((level.price_level, level.new_quantity))
            elif side == "offer":
                asks.append((level.price_level, level.new_quantity))
            else:  # a level that was changed and we do not know how: the book would be wrong
                return [Drift("book side", side), Broken(f"{event.product_id} has a level on the side {shown(side)}")]
        if product.size != 1.0:
            bids, asks = ([(price, product.base(quantity)) for price, quantity in side] for side in (bids, asks))
        event_ns = (self._moment(event.updates[0].event_time) if event.updates else 0) or self._moment(w.timestamp)
        number = w.sequence_num
        if event.type == "update":
            return [BookDelta(product.instrument, number, number, None, bids, asks, event_ns, recv_ns)]
        if event.type == "snapshot":
            bids, asks = ([level for level in side if level[1] > 0] for side in (bids, asks))
            bids.sort(reverse=True)
            asks.sort()
            return [BookSnapshot(product.instrument, number, bids, asks, event_ns, recv_ns)]
        return [Drift("book event", event.type), Broken(f"{event.product_id} has a book event {shown(event.type)}")]

    def _ticker(self, w: wire.TickerWire, recv_ns: int) -> list[Parsed]:
        made: list[Parsed] = []
        event_ns = self._moment(w.timestamp)
        for event in w.events:
            for row in event.tickers:
                product = self._products.get(row.product_id)
                if product is None:
                    made.append(Drift("product", row.product_id))
                    continue
                if product.instrument in self._tickers:
                    made.append(_ticker(row, product, event_ns, recv_ns))
                if product.instrument in self._quotes and row.best_bid_quantity is not None:
                    sides = (row.best_bid or 0.0, row.best_bid_quantity or 0.0, row.best_ask or 0.0, row.best_ask_quantity or 0.0)
                    bid, bid_quantity, ask, ask_quantity = sides
                    quantities = product.base(bid_quantity), product.base(ask_quantity)
                    made.append(BestQuote(product.instrument, w.sequence_num, bid, quantities[0], ask, quantities[1], event_ns, recv_ns))
        return made

    def _candles(self, w: wire.CandlesWire, recv_ns: int) -> list[Parsed]:
        """The newest candle of each product: what a snapshot tells of older ones is not known to be final."""
        made: list[Parsed] = []
        event_ns = self._moment(w.timestamp)
        newest: dict[str, wire.CandleRow] = {}
        for event in w.events:
            for row in event.candles:
                held = newest.get(row.product_id)
                if held is None or row.start >= held.start:
                    newest[row.product_id] = row
        for row in newest.values():
            product = self._products.get(row.product_id)
            if product is None:
                made.append(Drift("product", row.product_id))
                continue
            open_ns = row.start * NS_PER_S
            if open_ns % FIXED_NS[spec.STREAMED_INTERVAL] or not (row.low <= row.open <= row.high and row.low <= row.close <= row.high):
                raise Malformed(f"coinbase candle of {row.product_id} at {row.start}: {row.open} {row.high} {row.low} {row.close}")
            values = (row.open, row.high, row.low, row.close, product.base(row.volume), None, None)
            made.append(Kline(product.instrument, spec.STREAMED_INTERVAL, open_ns, *values, False, "venue", event_ns, recv_ns))
        return made

    def _subscriptions(self, w: wire.SubscriptionsWire, recv_ns: int) -> list[Parsed]:
        """A Reply for every channel of ours that is subscribed now; a product that is missing in it is a refusal."""
        made: list[Parsed] = []
        for event in w.events:
            for channel, wanted in self._wanted.items():
                named = event.subscriptions.get(channel)
                if named is not None:
                    lacking = sorted(wanted.difference(named))
                    made.append(Reply(channel, f"{channel} without {', '.join(lacking)}" if lacking else None))
        return made


def trade_of(row: wire.TradeWire, product: Product | None, moment: Callable[[str], int], recv_ns: int) -> Trade | Drift:
    """The trade of a row. Raises Malformed for a time that is none, or an id that cannot stand in an unbroken row of ids."""
    if product is None:
        return Drift("product", row.product_id)
    side = TAKER.get(row.side)
    if side is None:
        return Drift("trade side", row.side)
    trade_id = row.trade_id if type(row.trade_id) is str else str(row.trade_id)
    event_ns = moment(row.time)
    if event_ns == 0 or (product.is_dense and not trade_id.isdecimal()):
        raise Malformed(f"coinbase trade of {row.product_id}: id {shown(trade_id)}, time {shown(row.time)}")
    quantity = row.size if product.size == 1.0 else product.base(row.size)
    return Trade(product.instrument, "trade", trade_id, row.price, quantity, side, event_ns, recv_ns)


def order_of(row: wire.TradeWire, product: Product | None, moment: Callable[[str], int]) -> int:
    """What trades are ordered by: their ids where these rise, otherwise their times."""
    if product is not None and product.is_dense and str(row.trade_id).isdecimal():
        return int(row.trade_id)
    return moment(row.time)


def _rise(rows: list[wire.TradeWire]) -> bool:
    """Whether the ids are numbers of one length that rise: then they need not be read to be ordered."""
    before = ""
    for row in rows:
        trade_id = row.trade_id
        if type(trade_id) is not str or trade_id <= before or not trade_id.isdecimal() or (before and len(trade_id) != len(before)):
            return False
        before = trade_id
    return True


def sequence_of(payload: bytes) -> int | None:
    """The number of a frame that cannot be read otherwise."""
    found = _SEQUENCE.search(payload)
    return int(found[1]) if found is not None else None


def _ticker(row: wire.TickerRow, product: Product, event_ns: int, recv_ns: int) -> Ticker | Drift:
    if row.price == 0:
        return Drift("ticker without a price", row.product_id)
    low, high = row.low_24_h or None, row.high_24_h or None
    if low is not None and high is not None and low > high:
        raise Malformed(f"coinbase ticker of {row.product_id}: high {high} below low {low}")
    opened = day_open(row.price, row.price_percent_chg_24_h, product)
    quotes = (row.best_bid or None, row.best_ask or None)
    return Ticker(product.instrument, row.price, product.base(row.volume_24_h), None, opened, high, low, *quotes, event_ns, recv_ns)


def day_open(price: float, change: float | str | None, product: Product) -> float | None:
    """The price a day ago: the venue tells by how many percent it changed, with more digits than the tick needs."""
    return product.price(price / (1 + change / 100)) if isinstance(change, float) else None


def _told(loose: wire.LooseWire) -> Parsed:
    if loose.type != "error":
        return Drift("message", loose.type or "without a channel")
    text = ": ".join(part for part in (loose.message, loose.reason) if part) or "an error without words"
    return Broken(f"the venue says: {shown(text)}") if _PASSING.search(text) else Reply(None, text)


def _nothing(_w: wire.HeartbeatWire, _recv_ns: int) -> list[Parsed]:
    return []
