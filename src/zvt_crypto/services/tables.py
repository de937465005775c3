"""The instrument table, from the venue into the store: listings, delistings and changed steps become dated facts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from zvt_crypto.domain.errors import VenueError
from zvt_crypto.domain.instrument import CryptoAsset, Instrument, Instruments, TradingStatus, asset_id, kind_of
from zvt_crypto.ports import Clock, ExchangeConnector, Observer, Store, Written

# What a venue no longer lists is delisted, unless too much is gone at once: then the listing is doubted, not the market.
_MOST_GONE_SHARE = 0.1
_MOST_GONE_LEAST = 3

DescribeAssets = Callable[[str, Sequence[Instrument]], Iterable[CryptoAsset]]


def plain_assets(exchange: str, instruments: Sequence[Instrument]) -> list[CryptoAsset]:
    """The assets that instruments name, nothing but their symbols known."""
    symbols = sorted({s for i in instruments for s in (i.base_asset, i.quote_asset)})
    return [CryptoAsset(id=asset_id(exchange, s), exchange=exchange, symbol=s) for s in symbols]


class TableNews(msgspec.Struct, frozen=True):
    """What a refresh did. The lists are entity ids; `kept_delisted`: the venue lists them, but a user delisted them."""

    assets: Written
    instruments: Written
    delisted: list[str]
    listed_again: list[str]
    kept_delisted: list[str]


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
        self.missed: VenueError | None = None  # why the newest `load` gave the stored table alone

    async def load(self) -> Instruments:
        """The stored table into the connector, so that ids stay what they were; then the venue's own, if it answers.

        Raises VenueError when neither gives an instrument.
        """
        stored = await self._store.instruments.load(self._connector.exchange)
        if len(stored):
            self._connector.instruments = stored
        self.missed = None
        try:
            await self.refresh()
        except VenueError as error:
            self.missed = error
            if not len(self._connector.instruments):
                raise
            self._observer.note("warning", "instruments_not_refreshed", exchange=self._connector.exchange, reason=str(error))
        return self._connector.instruments

    async def refresh(self) -> TableNews:
        """Fetch, save, and mark what is gone, in the store and in the connector's table. Raises VenueError, StoreError."""
        exchange = self._connector.exchange
        before = await self._store.instruments.load(exchange)
        # What others have said of it since: ids are assigned against that.
        self._connector.instruments = Instruments([*before, *(i for i in self._connector.instruments if i.id not in before)])
        fetched = await self._connector.fetch_instruments()
        now_ns = self._clock.now_ns()
        kept, again = await self._kept_delisted(before, fetched)
        listed = [_dated(before.get(i.id), i, now_ns) for i in fetched if i.id not in kept]
        assets = await self._store.instruments.save_assets(self._describe(exchange, listed), now_ns, self._assets_source)
        written = await self._store.instruments.save(listed, now_ns)
        gone = self._gone(before, fetched)
        for entity_id in gone:
            await self._store.instruments.delist(entity_id, now_ns)
        self._replace([*listed, *kept.values(), *(_delisted(before.get(name), now_ns) for name in gone)])
        news = TableNews(assets, written, gone, again, sorted(kept))
        self._tell(before, listed, news)
        return news

    async def _kept_delisted(self, before: Instruments, fetched: Sequence[Instrument]) -> tuple[dict[str, Instrument], list[str]]:
        """Of those that were delisted and are listed: what a user delisted stays so; the ids of the others, which live again."""
        kept: dict[str, Instrument] = {}
        again: list[str] = []
        for instrument in fetched:
            held = before.get(instrument.id)
            if held is None or held.status is not TradingStatus.DELISTED or instrument.status is TradingStatus.DELISTED:
                continue
            if await self._store.instruments.delisted_by(held.id) == "user":
                kept[held.id] = held
            else:
                again.append(held.id)
        return kept, again

    def _replace(self, changed: Iterable[Instrument]) -> None:
        """In the connector's table, in its order."""
        new = {instrument.id: instrument for instrument in changed}
        table = [new.pop(held.id, held) for held in self._connector.instruments]
        self._connector.instruments = Instruments([*table, *new.values()])

    def _tell(self, before: Instruments, listed: Sequence[Instrument], news: TableNews) -> None:
        exchange, note = self._connector.exchange, self._observer.note
        for entity_id in news.delisted:
            note("info", "delisted", instrument=entity_id)
        for entity_id in news.listed_again:
            note("warning", "listed_again", instrument=entity_id, reason="it was gone for a week at most, and is the same instrument")
        for instrument in listed:
            old = before.find_native(exchange, kind_of(instrument), instrument.native_symbol)
            if old is not None and old.id != instrument.id and instrument.id not in before:
                note("warning", "relisted", instrument=instrument.id, before=old.id)
        for entity_id in news.kept_delisted:
            note("warning", "kept_delisted", instrument=entity_id, reason=f"{exchange} lists it, but a user delisted it")
        if news.instruments.inserted or news.instruments.changed:
            note("info", "instruments", exchange=exchange, listed=news.instruments.inserted, changed=news.instruments.changed)

    def _gone(self, before: Instruments, listed: Sequence[Instrument]) -> list[str]:
        present = {i.id for i in listed}
        kinds = {kind_of(i) for i in listed}  # a market that did not answer is not gone
        living = [i for i in before if i.status is not TradingStatus.DELISTED and kind_of(i) in kinds]
        gone = [i.id for i in living if i.id not in present]
        if len(gone) > max(_MOST_GONE_LEAST, _MOST_GONE_SHARE * len(living)):
            self._observer.note("warning", "listing_doubted", exchange=self._connector.exchange, missing=len(gone), known=len(living))
            return []
        return gone


def _dated(before: Instrument | None, listed: Instrument, now_ns: int) -> Instrument:
    """A venue that lists what is delisted seldom says since when: since it was first seen so."""
    if listed.status is not TradingStatus.DELISTED or listed.delisted_ns is not None:
        return listed
    since_ns = before.delisted_ns if before is not None else None
    return msgspec.structs.replace(listed, delisted_ns=since_ns if since_ns is not None else now_ns)


def _delisted(instrument: Instrument | None, at_ns: int) -> Instrument:
    assert instrument is not None, "only what is known can be gone"
    return msgspec.structs.replace(instrument, status=TradingStatus.DELISTED, delisted_ns=at_ns)
