"""What Exchange's channels of a pair tell: whole messages, without numbers of a connection."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.emulator.coinbase import wire
from zvt_crypto.emulator.coinbase.feeds import ALL, Feed, Shown
from zvt_crypto.emulator.coinbase.names import Product
from zvt_crypto.emulator.model import Day, Depth, Fact, Trade, World


def heartbeat(world: World, product: Product, at_ns: int) -> bytes:
    """The heartbeat of a second."""
    newest = world.trades(product.listing, None, 1)
    sequence, last_id = world.book(product.listing, 1).last_id, newest[-1].id if newest else 0
    time = wire.moment(at_ns // NS_PER_S * NS_PER_S)
    head = f'{{"type":"heartbeat","last_trade_id":{last_id},"product_id":"{product.id}","sequence":{sequence},"time":"{time}"}}'
    return head.encode()


class Level2Batch:
    """The whole book, then the changes of 50 ms. Nothing numbers them."""

    def __init__(self, world: World, product: Product) -> None:
        self._product, self.shown = product, Shown(world.book(product.listing, ALL))

    def first(self, now_ns: int) -> list[str]:
        """The book as the others hold it."""
        bids, asks = (",".join(f'["{wire.number(price)}","{wire.number(size)}"]' for price, size in side) for side in self.shown.sides())
        return [f'{{"type":"snapshot","product_id":"{self._product.id}","bids":[{bids}],"asks":[{asks}],"time":"{wire.moment(now_ns)}"}}']

    def next(self, fact: Fact) -> list[str]:
        """The levels that changed."""
        assert isinstance(fact, Depth), "books come as differences"
        rows = ",".join(
            f'["{side}","{wire.number(price)}","{wire.number(size)}"]'
            for side, levels in zip(("buy", "sell"), self.shown.take(fact), strict=True)
            for price, size in levels
        )
        time = wire.moment(fact.event_ns)
        return [f'{{"type":"l2update","product_id":"{self._product.id}","changes":[{rows}],"time":"{time}"}}'] if rows else []


class Matches:
    """Trades as they happen; the last one first. The side is the maker's."""

    def __init__(self, world: World, product: Product) -> None:
        self._world, self._product = world, product

    def first(self, now_ns: int) -> list[str]:
        """The last one."""
        return [self._message("last_match", trade) for trade in self._world.trades(self._product.listing, None, 1)]

    def next(self, fact: Fact) -> list[str]:
        """One more."""
        assert isinstance(fact, Trade), "trades come one by one"
        return [self._message("match", fact)]

    def _message(self, kind: str, trade: Trade) -> str:
        sequence = self._world.book(self._product.listing, 1).last_id
        maker, taker = (UUID(int=trade.id << 64 | party) for party in (1, 2))
        return (
            f'{{"type":"{kind}","trade_id":{trade.id},"maker_order_id":"{maker}","taker_order_id":"{taker}",'
            f'"side":"{wire.maker_side(trade).lower()}","size":"{wire.number(trade.size)}","price":"{wire.number(trade.price)}",'
            f'"product_id":"{self._product.id}","sequence":{sequence},"time":"{wire.moment(trade.time_ns)}"}}'
        )


class PairTicker:
    """The rolling day: with every trade, or every five seconds."""

    def __init__(self, world: World, product: Product) -> None:
        self._world, self._product = world, product

    def first(self, now_ns: int) -> list[str]:
        """What is so now."""
        day = self._world.day(self._product.listing)
        return [] if day is None or day.last is None else [self._message(day, day.last)]

    def next(self, fact: Fact) -> list[str]:
        """What is so after a trade; or the day itself."""
        day = fact if isinstance(fact, Day) else self._world.day(self._product.listing)
        last = fact if isinstance(fact, Trade) else None if day is None else day.last
        return [] if day is None or last is None else [self._message(day, last)]

    def _message(self, day: Day, last: Trade) -> str:
        number, bar = wire.number, day.bar
        sequence = self._world.book(self._product.listing, 1).last_id
        taker = "sell" if last.buyer_is_maker else "buy"
        return (
            f'{{"type":"ticker","sequence":{sequence},"product_id":"{self._product.id}","price":"{number(last.price)}",'
            f'"open_24h":"{number(bar.open)}","volume_24h":"{number(bar.size)}","low_24h":"{number(bar.low)}",'
            f'"high_24h":"{number(bar.high)}","volume_30d":"{number(bar.size)}","best_bid":"{number(day.bid[0])}",'
            f'"best_bid_size":"{number(day.bid[1])}","best_ask":"{number(day.ask[0])}","best_ask_size":"{number(day.ask[1])}",'
            f'"side":"{taker}","time":"{wire.moment(last.time_ns)}","trade_id":{last.id},"last_size":"{number(last.size)}"}}'
        )


FEEDS: dict[str, Callable[[World, Product], Feed]] = {
    "level2_batch": Level2Batch,
    "matches": Matches,
    "ticker": PairTicker,
    "ticker_batch": PairTicker,
}
