"""The instrument table, from the venue into the store: listings, delistings and changed steps become dated facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from zvt_crypto.domain.errors import VenueError
from zvt_crypto.domain.instrument import CryptoAsset, Instrument, Instruments, TradingStatus, asset_id, kind_of
from zvt_crypto.ports import Clock, ExchangeConnector, Observer, Store

# What a venue no longer lists is delisted, unless too much is gone at once: then the listing is doubted, not the market.
_MOST_GONE_SHARE = 0.1
_MOST_GONE_LEAST = 3

DescribeAssets = Callable[[str, Sequence[Instrument]], Iterable[CryptoAsset]]


def plain_assets(exchange: str, instruments: Sequence[Instrument]) -> list[CryptoAsset]:
    """The assets that instruments name, nothing but their symbols known."""
    symbols = sorted({s for i in instruments for s in (i.base_asset, i.quote_asset)})
    return [CryptoAsset(id=asset_id(exchange, s), exchange=exchange, symbol=s) for s in symbols]


class Tables:
    """Loads, refreshes and saves the table of one connector. `describe` names the assets (default: by symbol alone)."""

    def __init__(
        self,
        connector: ExchangeConnector,
        store: Store,
        clock: Clock,
        observer: Observer,
        describe: DescribeAssets = plain_assets,
        assets_source: str = "venue",
    ) -> None:
        self._connector = connector
        self._store = store
        self._clock = clock
        self._observer = observer
        self._describe = describe
        self._assets_source = assets_source

    async def load(self) -> Instruments:
        """The stored table into the connector, so that ids stay what they were; then the venue's own, if it answers.

        Raises VenueError when neither gives an instrument.
        """
        stored = await self._store.instruments.load(self._connector.exchange)
        if len(stored):
            self._connector.instruments = stored
        try:
            await self.refresh()
        except VenueError as error:
            if not len(self._connector.instruments):
                raise
            self._observer.note("warning", "instruments_not_refreshed", exchange=self._connector.exchange, reason=str(error))
        return self._connector.instruments

    async def refresh(self) -> list[Instrument]:
        """Fetch, save, and mark what is gone. Raises VenueError, StoreError."""
        exchange = self._connector.exchange
        before = await self._store.instruments.load(exchange)
        listed = await self._connector.fetch_instruments()
        now_ns = self._clock.now_ns()
        assets = list(self._describe(exchange, listed))
        await self._store.instruments.save_assets(assets, now_ns, self._assets_source)
        written = await self._store.instruments.save(listed, now_ns)
        for entity_id in self._gone(before, listed):
            await self._store.instruments.delist(entity_id, now_ns)
            self._observer.note("info", "delisted", instrument=entity_id)
        if written.inserted or written.changed:
            self._observer.note("info", "instruments", exchange=exchange, listed=written.inserted, changed=written.changed)
        return listed

    def _gone(self, before: Instruments, listed: Sequence[Instrument]) -> list[str]:
        present = {i.id for i in listed}
        kinds = {kind_of(i) for i in listed}  # a market that did not answer is not gone
        living = [i for i in before if i.status is not TradingStatus.DELISTED and kind_of(i) in kinds]
        gone = [i.id for i in living if i.id not in present]
        if len(gone) > max(_MOST_GONE_LEAST, _MOST_GONE_SHARE * len(living)):
            self._observer.note("warning", "listing_doubted", exchange=self._connector.exchange, missing=len(gone), known=len(living))
            return []
        return gone
