"""Coinbase's frames → events. Pure: the time of receipt is an argument, and what is strange comes back as data (`Drift`).

A letter of the channel tells trades and books, which most frames are: these are decoded once, by the types of `ordinary`. What these
refuse (another product, another side, something new, broken), and all else, is told by the bytes of its channel and decoded by the type
of its kind. A frame that is not written as the venue writes it (other spacing, other order) takes a slower way to the same result.
Answers by REST are read in `answers`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from zvt_crypto.domain.errors import BadTime, Malformed, shown
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Kline, Level, Side, Ticker, Trade
from zvt_crypto.domain.time import FIXED_NS, NS_PER_S
from zvt_crypto.venues.coinbase import spec, wire
from zvt_crypto.venues.coinbase.moment import MICROS, POINT, MomentReader, calendar
from zvt_crypto.venues.coinbase.ordinary import trades_decoder, updates_decoder
from zvt_crypto.venues.coinbase.product import Product
from zvt_crypto.venues.decode import BROKEN, excerpt
from zvt_crypto.venues.parsed import Broken, Drift, Parsed, Reply

# Both APIs name the maker's side; ours is the taker's.
TAKER: dict[str, Side] = {"BUY": "sell", "SELL": "buy", "buy": "sell", "sell": "buy"}
# What an error message says when the connection is to blame and not what was asked for: a new one may do.
_PASSING = re.compile(r"slow|rate limit|too many|timeout|internal|unavailable|shut", re.IGNORECASE)
_SEQUENCE = re.compile(rb'"sequence_num"\s*:\s*(\d{1,19})')
# `{"channel":"subscriptions"` and a comma: so far a frame's head tells its kind. Its first letter alone tells trades and books.
_HEAD_MOST, _LETTER_AT, _TRADES, _BOOKS = 40, 12, ord("m"), ord("l")
_BROKEN = (*BROKEN, BadTime)
# What may be raised over a frame that is not an ordinary one: too short for a letter, not decoded, with a time that no calendar has.
_ODD = (*_BROKEN, LookupError, ValueError)

_Event = Callable[[Any, int], list[Parsed]]
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
        # None for a contract: of its trades more is to be asked.
        self._pairs = {native: of.instrument if of.is_dense and of.size == 1.0 else None for native, of in products.items()}
        times = MomentReader()
        self._moment, self._second = times.read, times.second
        kinds: tuple[tuple[type, _Event, tuple[str, ...]], ...] = (
            (wire.TradesWire, self._trades, ("market_trades",)),
            (wire.BookWire, self._books, (spec.L2_DATA, "level2")),
            (wire.TickerWire, self._ticker, ("ticker", "ticker_batch")),
            (wire.CandlesWire, self._candles, ("candles",)),
            (wire.HeartbeatWire, _nothing, (spec.HEARTBEATS,)),
            (wire.SubscriptionsWire, self._subscriptions, ("subscriptions",)),
        )
        self._named = {name: (_decoder(struct), event) for struct, event, names in kinds for name in names}
        self._kinds = {f'{{"channel":"{name}"'.encode(): found for name, found in self._named.items()}
        self._loose = _decoder(wire.LooseWire)
        self._decode_trades, self._decode_update = trades_decoder(products), updates_decoder(products)

    def read(self, payload: bytes, recv_ns: int) -> Frame:
        """A frame. Raises Malformed."""
        try:
            letter = payload[_LETTER_AT]
            if letter == _TRADES:
                decode = self._decode_trades  # an attribute that is called at once is looked up more slowly
                frame = decode(payload)
                rows = frame.events[0].trades
                if len(rows) == 1:  # as of most frames, which are trades
                    (row,) = rows
                    text, trade_id, instrument = row.time, row.trade_id, self._pairs[row.product_id]
                    base = self._second(text[:POINT])
                    if instrument is not None and base is not None and text[-1] == "Z" and trade_id.isdecimal():
                        event_ns = base + calendar(text).microsecond * 1_000
                        side: Side = "sell" if row.side == "BUY" else "buy"
                        return frame.sequence_num, [Trade(instrument, "trade", trade_id, row.price, row.size, side, event_ns, recv_ns)]
                return frame.sequence_num, self._several(rows, recv_ns)
            if letter == _BOOKS:
                return self._update(payload, recv_ns)
        except _ODD:
            pass  # looked at more closely
        return self._otherwise(payload, recv_ns)

    def _several(self, rows: list[Any], recv_ns: int) -> list[Parsed]:
        """Trades of one message, newest first; ours are oldest first."""
        numbers = False  # whether all ids are known to be
        if len(rows) > 1:
            rows.reverse()
            first, last = rows[0].trade_id, rows[-1].trade_id
            if len(rows) == 2 and first < last and len(first) == len(last):
                numbers = first.isdecimal() and last.isdecimal()
            if not numbers and not (numbers := _rise(rows)):
                rows.sort(key=self._order)
        made: list[Parsed] = []
        second, pairs, before = self._second, self._pairs, None
        for row in rows:
            text, trade_id, instrument = row.time, row.trade_id, pairs[row.product_id]
            if text != before:  # trades of one order have one time
                base, before = second(text[:POINT]), text
                event_ns = base + calendar(text).microsecond * 1_000 if base is not None and text[-1] == "Z" else self._moment(text)
            if instrument is not None and event_ns and (numbers or trade_id.isdecimal()):
                side: Side = "sell" if row.side == "BUY" else "buy"
                made.append(Trade(instrument, "trade", trade_id, row.price, row.size, side, event_ns, recv_ns))
            else:
                made.append(self._trade(row, recv_ns))
        return made

    def _update(self, payload: bytes, recv_ns: int) -> Frame:
        """As `_book`, of a frame that is one update."""
        decode = self._decode_update
        frame = decode(payload)
        event = frame.events[0]
        levels, number, product = event.updates, frame.sequence_num, self._products[event.product_id]
        bids: list[Level] = []
        asks: list[Level] = []
        for level in levels:
            if level.side == "bid":
                bids.append((level.price_level, level.new_quantity))
            else:
                asks.append((level.price_level, level.new_quantity))
        if product.size != 1.0:
            bids, asks = ([(price, product.base(quantity)) for price, quantity in side] for side in (bids, asks))
        text = levels[0].event_time
        base = self._second(text[:POINT])
        if base is not None and len(text) <= MICROS and text[-1] == "Z":
            event_ns = base + calendar(text).microsecond * 1_000
        else:
            event_ns = self._moment(text) or self._moment(frame.timestamp)
        return number, [BookDelta(product.instrument, number, number, None, bids, asks, event_ns, recv_ns)]

    def _otherwise(self, payload: bytes, recv_ns: int) -> Frame:
        try:
            kind = self._kinds.get(payload[:_HEAD_MOST].partition(b",")[0])
            if kind is None:
                loose = self._loose(payload)
                if loose.channel is None:
                    return loose.sequence_num, [_told(loose)]
                kind = self._named.get(loose.channel)
                if kind is None:
                    return loose.sequence_num, [Drift("channel", loose.channel)]
            decode, event = kind
            found = decode(payload)
            return found.sequence_num, event(found, recv_ns)
        except _BROKEN as error:
            raise Malformed(f"coinbase frame {excerpt(payload)}: {error}") from None

    def _trades(self, w: wire.TradesWire, recv_ns: int) -> list[Parsed]:
        made: list[Parsed] = []
        for part in w.events:
            rows = part.trades
            rows.reverse()
            if not _rise(rows):
                rows.sort(key=self._order)
            made += [self._trade(row, recv_ns) for row in rows]
        return made

    def _trade(self, row: wire.TradeWire, recv_ns: int) -> Trade | Drift:
        return trade_of(row, self._products.get(row.product_id), self._moment, recv_ns)

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
        moment = self._moment
        event_ns = (moment(event.updates[0].event_time) if event.updates else 0) or moment(w.timestamp)
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
                if isinstance(named, list):
                    lacking = sorted(wanted.difference(one for one in named if isinstance(one, str)))
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


def _decoder(kind: Any) -> Callable[[bytes], Any]:
    return msgspec.json.Decoder(kind, strict=False).decode


def _rise(rows: Sequence[wire.TradeWire]) -> bool:
    """Whether the ids are numbers of one length that rise: then they need not be read to be ordered."""
    before: Any = ""
    for row in rows:
        trade_id = row.trade_id
        if type(trade_id) is not str or trade_id <= before or (before and len(trade_id) != len(before)) or not trade_id.isdecimal():
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
