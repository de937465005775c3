"""History from an exchange into the database: what `backfill` and `record_data` share."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from zvt_crypto.cli.connect import Silent, open_connector
from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.settings import Settings
from zvt_crypto.cli.words import parse_past, resolve_all
from zvt_crypto.domain.errors import BadInput, UnknownSymbol, shown
from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.domain.time import Interval
from zvt_crypto.services.backfill import Backfill, BackfillReport, Progress
from zvt_crypto.services.late import LateBars
from zvt_crypto.services.rollups import Rollups
from zvt_crypto.services.tables import Tables
from zvt_crypto.venues.clock import SystemClock

if TYPE_CHECKING:
    from zvt_crypto.ports import ExchangeConnector, Observer, Store, Written

Watch = Callable[[Instrument], Progress]
Work = Callable[[str, Progress], Awaitable[BackfillReport]]
NOUNS = ("klines", "trades", "funding", "mark", "gaps")


def check_asked(what: str, start: object, end: object) -> tuple[int | None, int | None]:
    """[start, end) in ns of what is asked for. Raises BadInput for what no exchange can be asked, BadTime."""
    start_ns, end_ns = parse_past(start, end, time.time_ns())
    if what not in NOUNS:
        raise BadInput(f"what {shown(what)} is none of {', '.join(NOUNS)}")
    if what == "gaps" and (start is not None or end is not None):
        raise BadInput(f"gaps have times of their own: start {shown(start)}, end {shown(end)} would be ignored")
    if what in ("trades", "mark") and start_ns is None:
        raise BadInput(f"{what} need a start: all of an instrument's would be more than anybody wants")
    return start_ns, end_ns


async def fetch_history(
    settings: Settings,
    symbols: str | Sequence[str],
    what: str,
    interval: Interval,
    start: object,
    end: object,
    watch: Watch | None = None,
    observer: Observer | None = None,
) -> list[BackfillReport]:
    """Fetch what is missing of each symbol at `ingest.exchange`, one after the other. `watch` makes the progress function of an instrument.

    Raises BadInput for what cannot be asked, UnknownSymbol, VenueError, StoreError.
    """
    start_ns, end_ns = check_asked(what, start, end)
    told = observer or Silent()
    async with open_database(settings) as store, open_connector(settings, settings.ingest.exchange, observer=told) as connector:
        backfill = Backfill(connector, store, SystemClock(), told)
        instruments = await known_instruments(store, connector, symbols, told)
        if what == "gaps":
            healed = await backfill.heal()
            await _follow_up(store, connector, told)
            return [BackfillReport("", "gaps", healed)]
        work: dict[str, Work] = {
            "klines": lambda name, progress: backfill.klines(name, interval, start_ns, end_ns, progress),
            "trades": lambda name, progress: backfill.trades(name, start_ns, end_ns, progress),
            "funding": lambda name, progress: backfill.funding(name, start_ns, end_ns, progress),
            "mark": lambda name, progress: backfill.mark(name, start_ns, end_ns, progress),
        }
        reports = [await work[what](found.id, watch(found) if watch else _silent) for found in instruments]
        if what == "trades":
            await _follow_up(store, connector, told)
        return reports


async def _follow_up(store: Store, connector: ExchangeConnector, observer: Observer) -> None:
    """Trades that came late: their minutes, and the longer klines of these."""
    await LateBars([connector], store, SystemClock(), observer).catch_up()
    await Rollups(store, SystemClock(), observer).catch_up()


class Synced(NamedTuple):
    """What was written, and which markets of the exchange are not in it: market → reason."""

    assets: Written
    instruments: Written
    left_out: Mapping[str, str]


async def sync_listings(settings: Settings, exchange: str, observer: Observer | None = None) -> Synced:
    """Everything that the exchange lists into the database. Markets that it does not serve here are left out, unless it is all."""
    told = observer or Silent()
    async with open_database(settings) as store, open_connector(settings, exchange, observer=told) as connector:
        return Synced(*await _sync(store, connector, told), connector.left_out)


async def known_instruments(
    store: Store, connector: ExchangeConnector, symbols: str | Sequence[str], observer: Observer
) -> list[Instrument]:
    """The instruments of the symbols; the exchange is asked what it lists only where the stored table does not know one."""
    connector.instruments = await store.instruments.load(connector.exchange)
    try:
        return resolve_all(connector.instruments, symbols, connector.exchange)
    except UnknownSymbol:
        await _sync(store, connector, observer)
        return resolve_all(connector.instruments, symbols, connector.exchange)


async def _sync(store: Store, connector: ExchangeConnector, observer: Observer) -> tuple[Written, Written]:
    from zvt_crypto.cli.entities import name_new_assets

    describe = name_new_assets(await store.instruments.load_assets(connector.exchange))
    tables = Tables(connector, store, SystemClock(), observer, describe, "shipped asset table")
    news = await tables.refresh()
    return news.assets, news.instruments


def _silent(_done: int, _total: int | None, _rows: int) -> None:
    return
