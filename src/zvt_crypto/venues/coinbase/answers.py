"""What Coinbase answers by REST → market data. Pure. Rows come newest first and leave oldest first."""

from __future__ import annotations

from zvt_crypto.domain.errors import BadTime, Malformed, Refused
from zvt_crypto.domain.market import BookSnapshot, Kline, Ticker, Trade
from zvt_crypto.domain.time import NS_PER_MS, NS_PER_S, Interval, is_aligned, next_ns
from zvt_crypto.venues.coinbase import wire
from zvt_crypto.venues.coinbase.moment import MomentReader
from zvt_crypto.venues.coinbase.parse import day_open, order_of, trade_of
from zvt_crypto.venues.coinbase.product import Product
from zvt_crypto.venues.decode import decode
from zvt_crypto.venues.parsed import Drift


def parse_time(body: bytes) -> int:
    """`time` → ns."""
    return decode(wire.TimeRest, body, "coinbase time").epochMillis * NS_PER_MS


def parse_candles(body: bytes, product: Product, interval: Interval, server_ns: int) -> tuple[list[Kline], list[Drift]]:
    """`candles`, oldest first. A row is final where the venue's clock stood past its close when it was asked (`server_ns`).

    Intervals without trades are missing; a row off the interval's grid is left out and comes back as drift.
    """
    name = product.instrument
    klines, drift = [], []
    for row in decode(wire.CandlesRest, body, f"coinbase candles of {name}").candles:
        open_ns = row.start * NS_PER_S
        if not is_aligned(interval, open_ns):
            drift.append(Drift("kline off the grid", f"{name} {interval} {row.start}"))
            continue
        if not (row.low <= row.open <= row.high and row.low <= row.close <= row.high):
            raise Malformed(f"coinbase candles of {name} {interval}: row {row.start} has high below low")
        final = next_ns(interval, open_ns) <= server_ns
        values = (row.open, row.high, row.low, row.close, product.base(row.volume), None, None)
        klines.append(Kline(name, interval, open_ns, *values, final, "venue"))
    klines.sort(key=lambda kline: kline.open_ns)
    if len({kline.open_ns for kline in klines}) != len(klines):
        raise Malformed(f"coinbase candles of {name} {interval}: two rows open at the same time")
    return klines, drift


def parse_market_trades(body: bytes, product: Product) -> tuple[list[Trade], list[Drift]]:
    """The trades of Advanced's `ticker`, oldest first."""
    rows = decode(wire.MarketTradesRest, body, f"coinbase trades of {product.instrument}").trades
    return _trades(rows, product)


def parse_exchange_trades(body: bytes, product: Product) -> tuple[list[Trade], list[Drift]]:
    """Exchange's `trades`, by id."""
    found = decode(list[wire.ExchangeTradeRest], body, f"coinbase exchange trades of {product.instrument}")
    return _trades([wire.TradeWire("", r.trade_id, r.price, r.size, r.time, r.side) for r in found], product)


def parse_book(body: bytes, product: Product, depth: int, event_ns: int, recv_ns: int) -> BookSnapshot:
    """`product_book`, at most `depth` levels a side. It has no sequence number: `last_id` is 0."""
    book = decode(wire.BookRest, body, f"coinbase book of {product.instrument}").pricebook
    sides = [[(level.price, product.base(level.size)) for level in side if level.size > 0] for side in (book.bids, book.asks)]
    bids, asks = sorted(sides[0], reverse=True), sorted(sides[1])
    if bids and asks and bids[0][0] >= asks[0][0]:
        raise Malformed(f"coinbase book of {product.instrument}: bid {bids[0][0]} at or above ask {asks[0][0]}")
    try:
        at_ns = MomentReader().read(book.time) if book.time else 0
    except BadTime as error:
        raise Malformed(f"coinbase book of {product.instrument}: {error}") from None
    return BookSnapshot(product.instrument, 0, bids[:depth], asks[:depth], at_ns or event_ns, recv_ns)


def parse_ticker(body: bytes, product: Product, event_ns: int, recv_ns: int) -> Ticker:
    """A product as its ticker. It has no time: `event_ns` is the venue's clock as far as known. Raises Refused where nothing traded yet.

    The turnover that it carries is no sum of trades but price x volume: left out.
    """
    row = decode(wire.ProductRest, body, f"coinbase product {product.instrument}")
    if not row.price:
        raise Refused(f"coinbase has no last price for {row.product_id}: it did not trade yet")
    volume = product.base(row.volume_24h) if isinstance(row.volume_24h, float) else None
    day = (day_open(row.price, row.price_percentage_change_24h, product), row.high_24h or None, row.low_24h or None)
    quotes = (row.best_bid_price or None, row.best_ask_price or None)
    return Ticker(product.instrument, row.price, volume, None, *day, *quotes, event_ns, recv_ns)


def parse_alias(body: bytes, native: str) -> str:
    """The product whose book `native` shares; itself where it has its own."""
    return decode(wire.ProductRest, body, f"coinbase product {native}").alias or native


def _trades(rows: list[wire.TradeWire], product: Product) -> tuple[list[Trade], list[Drift]]:
    moment = MomentReader().read
    trades: list[Trade] = []
    drift: list[Drift] = []
    rows.reverse()  # newest first: at equal times this order holds
    try:
        rows.sort(key=lambda row: order_of(row, product, moment))
        for row in rows:
            made = trade_of(row, product, moment, 0)
            if isinstance(made, Trade):
                trades.append(made)
            else:
                drift.append(made)
    except BadTime as error:
        raise Malformed(f"coinbase trades of {product.instrument}: {error}") from None
    return trades, drift
