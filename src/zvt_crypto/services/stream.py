"""CryptoStreamService: the specification's four methods, thin over ingest and feed."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Kline, Trade
from zvt_crypto.ports import Clock, ExchangeConnector, Feed, Observer, Store
from zvt_crypto.services.ingest import Ingest
from zvt_crypto.services.options import IngestOptions
from zvt_crypto.services.plan import plan_subscriptions
from zvt_crypto.services.supervise import Supervisor

E = TypeVar("E", Trade, Kline, BookSnapshot, BookDelta, BookStale)
_BOOKS: dict[str, type[BookSnapshot] | type[BookDelta] | type[BookStale]] = {
    "book_snapshot": BookSnapshot,
    "book_delta": BookDelta,
    "book_stale": BookStale,
}


class CryptoStreamService:
    """Live market data of one exchange on a feed. Data given by hand (a replay, another source) goes the same way as the venue's."""

    def __init__(
        self,
        connector: ExchangeConnector,
        feed: Feed,
        store: Store,
        clock: Clock,
        observer: Observer,
        options: IngestOptions | None = None,
        *,
        rng: random.Random | None = None,
    ) -> None:
        self._connector = connector
        self._feed = feed
        self._store = store
        self._clock = clock
        self._observer = observer
        self._options = options
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret

    async def start_realtime_stream(self, symbols: Sequence[str]) -> None:
        """Follow the symbols (any names that resolve), reconnecting and healing, until cancelled. Raises GaveUp, as for an unknown one."""

        def wanted(connector: ExchangeConnector) -> list:  # type: ignore[type-arg]
            return plan_subscriptions(connector, symbols)

        ingest = Ingest(self._connector, wanted, self._feed, self._store, self._clock, self._observer, self._options, rng=self._rng)
        await Supervisor(self._clock, self._observer, self._rng).keep(f"ingest {self._connector.exchange}", ingest.run)

    async def process_kdata_updates(self, data: Kline | Mapping[str, object]) -> Kline:
        """Publish a kline, given as one or as its fields. Returns it. Raises BadInput."""
        return self._publish(data, Kline)

    async def handle_trade_events(self, trade_data: Trade | Mapping[str, object]) -> Trade:
        """Publish a trade, given as one or as its fields. Returns it. Raises BadInput."""
        return self._publish(trade_data, Trade)

    async def manage_orderbook_updates(self, book_data: BookEvent | Mapping[str, object]) -> BookEvent:
        """Publish a book event, given as one or as its fields, `kind` among them (book_snapshot, book_delta, book_stale)."""
        kind = type(book_data) if isinstance(book_data, BookSnapshot | BookDelta | BookStale) else _BOOKS.get(str(book_data.get("kind")))
        if kind is None:
            raise BadInput(f"a book event's kind is one of {', '.join(_BOOKS)}")
        return self._publish(book_data, kind)  # type: ignore[type-var]

    def _publish(self, data: E | Mapping[str, object], kind: type[E]) -> E:
        try:
            event = data if isinstance(data, kind) else msgspec.convert(data, kind)
        except msgspec.ValidationError as error:
            raise BadInput(f"not a {kind.__name__}: {error}") from None
        self._feed.publish(event)
        return event
