"""A whole venue in memory whose trade ids are of any kind: one stream, REST with a past of its own depth, cuts on demand."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from services.service_parts import ListConnector
from zvt_crypto.domain.errors import Disconnected
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.market import Trade, TradeContinuity
from zvt_crypto.ports import Subscription


class Stream:
    """ports.VenueStream."""

    def __init__(self, subscriptions: Sequence[Subscription]) -> None:
        self.subscriptions = tuple(subscriptions)
        self.is_cut = False
        self._waiting: list[Trade] = []
        self._news = asyncio.Event()

    def send(self, trade: Trade) -> None:
        self._waiting.append(trade)
        self._news.set()

    def cut(self) -> None:
        self.is_cut = True
        self._news.set()

    async def receive(self) -> list[Trade]:
        await self._news.wait()
        self._news.clear()
        if self.is_cut:  # what was not read yet is lost with the connection
            raise Disconnected("cut")
        events, self._waiting = self._waiting, []
        return events

    def heard(self) -> set[str]:
        return set()

    async def close(self) -> None:
        self.cut()


class LooseVenue(ListConnector):
    """ports.ExchangeConnector for trades. `trade` is what happens in the market; `is_away`: nobody may connect."""

    def __init__(self, *, now_ns: int, continuity: TradeContinuity, newest: int | None = None) -> None:
        super().__init__(now_ns=now_ns, continuity=continuity, newest=newest)
        self.is_away = False
        self.answer_s = 0.0  # how long it thinks before it answers for trades
        self.streams: list[Stream] = []

    def trade(self, trade: Trade) -> None:
        self.trades.append(trade)
        self.now_ns = trade.event_ns
        for stream in self.streams:
            stream.send(trade)

    def cut(self) -> None:
        for stream in self.streams:
            stream.cut()
        self.streams.clear()

    async def fetch_trades(self, *args: object, **named: object) -> list[Trade]:
        await asyncio.sleep(self.answer_s)
        return await super().fetch_trades(*args, **named)  # type: ignore[arg-type]

    async def fetch_instruments(self) -> list[Instrument]:
        return list(self.instruments)

    def routes(self, subscriptions: Iterable[Subscription]) -> list[tuple[Subscription, ...]]:
        return [tuple(subscriptions)]

    async def open_stream(self, subscriptions: Sequence[Subscription]) -> Stream:
        if self.is_away:
            raise Disconnected("away")
        stream = Stream(subscriptions)
        self.streams.append(stream)
        return stream

    async def close(self) -> None:
        self.cut()
