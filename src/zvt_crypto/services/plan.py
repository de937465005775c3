"""What to subscribe to, from what a user names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from zvt_crypto.domain.errors import NothingListed, UnknownSymbol, Unsupported
from zvt_crypto.domain.instrument import CryptoPair
from zvt_crypto.domain.time import Interval
from zvt_crypto.ports import ExchangeConnector, Subscription

WantedChannel = Literal["trade", "kline", "depth", "ticker", "quote", "mark"]
USUAL: tuple[WantedChannel, ...] = ("trade", "kline", "depth", "ticker", "mark")


def plan_subscriptions(
    connector: ExchangeConnector,
    symbols: Sequence[str],
    channels: Iterable[WantedChannel] = USUAL,
    intervals: Iterable[Interval] = (Interval.MIN_1,),
) -> list[Subscription]:
    """The subscriptions of some symbols (any name that resolves), each once, in the order given.

    `trade` means the id space that the connector follows live; `mark` is left out where there is none (spot).
    Needs the connector's instruments. Raises UnknownSymbol.
    """
    made: dict[Subscription, None] = {}
    lengths = tuple(intervals)
    for symbol in symbols:
        instrument = connector.instruments.resolve(symbol, connector.exchange)
        for channel in channels:
            if channel == "kline":
                made.update((Subscription(instrument.id, "kline", length), None) for length in lengths)
            elif channel == "trade":
                made[Subscription(instrument.id, connector.trade_stream(instrument.id))] = None
            elif channel != "mark" or not isinstance(instrument, CryptoPair):
                made[Subscription(instrument.id, channel)] = None
    return list(made)


def plan_listed(
    connector: ExchangeConnector, symbols: Sequence[str], channels: Iterable[WantedChannel] = USUAL, *, alone: bool = True
) -> list[Subscription]:
    """As `plan_subscriptions`, for one exchange of several: symbols that others list are left out here, and so are channels that this
    exchange does not have. `alone`: no other exchange is followed, so an unknown symbol is a mistake. Raises UnknownSymbol, and
    NothingListed where this exchange lists none of them."""
    wanted = tuple(channels)
    made: list[Subscription] = []
    for symbol in symbols:
        try:
            made += [one for one in plan_subscriptions(connector, [symbol], wanted) if _has(connector, one)]
        except UnknownSymbol:
            if alone:
                raise
    if not made:
        raise NothingListed(f"{connector.exchange} lists none of {', '.join(symbols)}")
    return made


def _has(connector: ExchangeConnector, subscription: Subscription) -> bool:
    try:
        connector.routes([subscription])
    except Unsupported:
        return False
    return True
