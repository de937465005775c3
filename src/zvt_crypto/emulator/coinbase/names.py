"""Coinbase's names: the world's listings as products, and its candles' lengths.

The world quotes in USDT; Coinbase's pairs are quoted in USD and its perpetuals in USDC, so USDT is renamed, prices as they are:
BTCUSDT on spot is `BTC-USD`, the perpetual is `BTC-PERP-INTX`. Every USD pair has its USDC pair (`BTC-USDC`), which is the same
book under another name. A recorded listing has its name already.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from zvt_crypto.emulator.model import Listing, Market, World

Kind = Literal["SPOT", "FUTURE"]
# Advanced's name → the world's.
GRANULARITY: dict[str, str] = {
    "ONE_MINUTE": "1m",
    "FIVE_MINUTE": "5m",
    "FIFTEEN_MINUTE": "15m",
    "THIRTY_MINUTE": "30m",
    "ONE_HOUR": "1h",
    "TWO_HOUR": "2h",
    "FOUR_HOUR": "4h",
    "SIX_HOUR": "6h",
    "ONE_DAY": "1d",
}
# Exchange's, in seconds.
SECONDS: dict[int, str] = {60: "1m", 300: "5m", 900: "15m", 3600: "1h", 21600: "6h", 86400: "1d"}
L2_DATA = "l2_data"  # what messages of the channel level2 are called
# What a message's channel is called among the channels that all exchanges have.
RECORDED = {L2_DATA: "depth", "market_trades": "trade", "ticker": "ticker", "ticker_batch": "ticker_batch", "candles": "kline_5m"}
# The same of Exchange's feed, by the type of a message, and by the channel that a client asks for on either API.
FEED = "feed_"
FEED_RECORDED = {
    "snapshot": "feed_depth",
    "l2update": "feed_depth",
    "match": "feed_trade",
    "last_match": "feed_trade",
    "ticker": "feed_ticker",
}
FEED_ASKED = {
    "level2_batch": "feed_depth",
    "matches": "feed_trade",
    "level2": "feed_depth",
    "market_trades": "feed_trade",
    "ticker": "feed_ticker",
}
CURRENCY_NAMES = {"BTC": "Bitcoin", "ETH": "Ether", "SOL": "Solana", "USD": "US Dollar", "USDC": "USDC"}


class Product(NamedTuple):
    """A product. `id` is its own name, `book_id` that of the product whose book it shares: frames say that one."""

    listing: Listing
    id: str
    book_id: str
    quote: str
    kind: Kind
    alias_to: tuple[str, ...] = ()  # the products that share its book

    @property
    def base(self) -> str:
        """The base currency."""
        return self.listing.base


def product_of(listing: Listing) -> Product:
    """The listing as Coinbase names it."""
    name, kind = listing.symbol, _KINDS[listing.market]
    if "-" in name:
        return Product(listing, name, name, listing.quote, kind)
    quote = {"SPOT": "USD", "FUTURE": "USDC"}[kind] if listing.quote == "USDT" else listing.quote
    name = f"{listing.base}-{quote}" if kind == "SPOT" else f"{listing.base}-PERP-INTX"
    return Product(listing, name, name, quote, kind)


def products(world: World, kind: Kind = "SPOT") -> dict[str, Product]:
    """All products of a kind by id, each with its other name behind it. A name that is a listing's own is nobody's other name."""
    listed: dict[str, Product] = {}
    for listing in world.listings("spot" if kind == "SPOT" else "usdm").values():
        one = product_of(listing)
        listed.setdefault(one.id, one)
    made: dict[str, Product] = {}
    for one in listed.values():
        other = f"{one.base}-USDC"
        if kind == "FUTURE" or one.quote != "USD" or one.listing.symbol == one.id or other in listed:
            made[one.id] = one
        else:
            made[one.id] = one._replace(alias_to=(other,))
            made[other] = one._replace(id=other, quote="USDC")
    return made


def market_of(product_id: str) -> Market:
    """Pairs have two parts; contracts have more."""
    return "spot" if product_id.count("-") == 1 else "usdm"


def find(world: World, product_id: str) -> Product | None:
    """The product of an id."""
    return products(world, "SPOT").get(product_id) or products(world, "FUTURE").get(product_id)


_KINDS: dict[str, Kind] = {"spot": "SPOT", "usdm": "FUTURE"}
