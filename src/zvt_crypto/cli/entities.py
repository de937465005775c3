"""Instruments and assets through Python: created, read, updated, delisted. The command line calls the same functions.

All are synchronous and open the database of the settings for themselves; they work in a notebook, too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from zvt_crypto.cli.database import open_database
from zvt_crypto.cli.listings import changed, check_code, check_life, check_listing, with_id
from zvt_crypto.cli.run import run
from zvt_crypto.cli.settings import Settings, load_settings
from zvt_crypto.cli.words import check_count
from zvt_crypto.domain.errors import BadInput, NotFound, shown
from zvt_crypto.domain.instrument import CryptoAsset, Instrument, Instruments, TradingStatus, asset_id, check_exchange, kind_of
from zvt_crypto.domain.time import parse_time, to_rfc3339

if TYPE_CHECKING:
    from zvt_crypto.ports import Store, Written

T = TypeVar("T")
MOST_FOUND = 10_000
MOST_NAME = 200  # characters of an asset's name


def get_instruments(exchange: str | None = None, *, at: object = None, settings: Settings | None = None) -> Instruments:
    """The stored table, delisted ones included.

    at: those that were listed at that moment (a date is its first midnight, UTC), with the status, tick and lot that were in force then;
    None, and a status `unknown`, where no fact goes back so far. Raises BadTime.
    """
    at_ns = None if at is None else parse_time(at)

    async def read(store: Store) -> Instruments:
        named = check_exchange(exchange) if exchange else None
        return await store.instruments.load(named) if at_ns is None else await store.instruments.load_at(at_ns, named)

    return _with_store(settings, read)


def get_instrument(symbol: str, exchange: str | None = None, *, settings: Settings | None = None) -> Instrument:
    """One instrument by any name. Raises UnknownSymbol, AmbiguousSymbol."""
    return get_instruments(exchange, settings=settings).resolve(symbol, exchange)


def add_instrument(listing: Instrument, *, settings: Settings | None = None) -> Instrument:
    """Store a new instrument. Returns what was stored: read the id from there.

    The id follows from exchange, base and quote; the listing's own may be empty. Where another instrument has that id already (A+BC =
    AB+C, a relisted name), `_{native symbol}` is appended. Raises BadInput for a name or step that cannot be one, for an instrument
    that is known, and for an id that does not fit.
    """
    checked = check_listing(listing)

    async def write(store: Store) -> Instrument:
        now_ns = _now_ns()
        made = with_id(checked, await store.instruments.load(), now_ns)
        await store_listings(store, made.exchange, [made], now_ns)
        return made

    return _with_store(settings, write)


def update_instrument(symbol: str, exchange: str | None = None, *, settings: Settings | None = None, **changes: object) -> Instrument:
    """Change fields of a stored instrument (`status`, `tick`, `lot`, `min_trade_amount`, …); the old values stay as dated facts.

    None clears a value. Raises UnknownSymbol, and BadInput for a field that is none, that names the instrument, or a value that cannot be.
    """

    async def write(store: Store) -> Instrument:
        now_ns = _now_ns()
        before = (await store.instruments.load()).resolve(symbol, exchange)
        after = changed(before, changes)
        if after.status is TradingStatus.DELISTED and before.status is not TradingStatus.DELISTED:
            after = msgspec.structs.replace(after, delisted_ns=after.delisted_ns or now_ns)
            await store.instruments.delist(after.id, after.delisted_ns or now_ns, by="user")
        await store.instruments.save([after], now_ns)
        return after

    return _with_store(settings, write)


def delist_instrument(symbol: str, exchange: str | None = None, *, at: object = None, settings: Settings | None = None) -> str:
    """Mark as delisted from `at` (now when None); its rows stay. Returns the entity id.

    What the exchange lists does not undo it, `update_instrument(…, status="active")` does; listed a week later still, or again, the name
    is another instrument. Raises BadInput for a time before its listing.
    """

    async def write(store: Store) -> str:
        at_ns = _now_ns() if at is None else parse_time(at)
        instrument = (await store.instruments.load()).resolve(symbol, exchange)
        check_life(instrument.id, instrument.listed_ns, at_ns)
        await store.instruments.delist(instrument.id, at_ns, by="user")
        return instrument.id

    return _with_store(settings, write)


def rename_instrument(
    symbol: str, successor: str, exchange: str | None = None, *, at: object = None, settings: Settings | None = None
) -> str:
    """The exchange goes on with `successor` from `at` (now when None): the old name is delisted, and its facts say what it became.

    Returns the successor's entity id. Both must be stored. Raises UnknownSymbol, BadInput where both are one.
    """
    at_ns = _now_ns() if at is None else parse_time(at)

    async def write(store: Store) -> str:
        table = await store.instruments.load()
        old, new = table.resolve(symbol, exchange), table.resolve(successor, exchange)
        if old.id == new.id:
            raise BadInput(f"{shown(symbol)} and {shown(successor)} are one instrument: {old.id}")
        check_life(old.id, old.listed_ns, at_ns)
        await store.instruments.rename(old.id, new.id, at_ns)
        return new.id

    return _with_store(settings, write)


def get_facts(entity_id: str, *, settings: Settings | None = None) -> list[dict[str, str | None]]:
    """Every dated fact of an instrument or asset, oldest first. Raises NotFound."""

    async def read(store: Store) -> list[dict[str, str | None]]:
        rows = await store.instruments.facts(entity_id)
        return [{"field": f, "value": v, "valid_from": to_rfc3339(start), "known_at": to_rfc3339(known)} for f, v, start, known in rows]

    return _with_store(settings, read)


def get_assets(exchange: str | None = None, *, settings: Settings | None = None) -> list[CryptoAsset]:
    """Stored assets with their newest facts."""

    async def read(store: Store) -> list[CryptoAsset]:
        return await store.instruments.load_assets(check_exchange(exchange) if exchange else None)

    return _with_store(settings, read)


def search_assets(text: str, exchange: str | None = None, *, limit: int = 20, settings: Settings | None = None) -> list[CryptoAsset]:
    """Assets by symbol or name; an exact one wins alone."""
    if not isinstance(text, str) or not text.strip():
        raise BadInput(f"text {shown(text)} is nothing to search for")
    check_count("limit", limit, MOST_FOUND)

    async def read(store: Store) -> list[CryptoAsset]:
        return await store.instruments.search_assets(text, check_exchange(exchange) if exchange else None, limit)

    return _with_store(settings, read)


def get_asset(entity_id: str, *, settings: Settings | None = None) -> CryptoAsset:
    """One asset by its id. Raises NotFound."""
    for asset in get_assets(settings=settings):
        if asset.id == entity_id.lower():
            return asset
    raise NotFound(f"no asset has the id {shown(entity_id)}")


def save_asset(
    symbol: str,
    exchange: str,
    *,
    source: str,
    full_name: str | None = None,
    max_supply: Decimal | None = None,
    market_cap: Decimal | None = None,
    settings: Settings | None = None,
) -> CryptoAsset:
    """Create an asset, or update what is given of a stored one; each change is a dated fact with its `source`."""
    given = {"full_name": full_name, "max_supply": max_supply, "market_cap": market_cap}

    async def write(store: Store) -> CryptoAsset:
        name = asset_id(check_exchange(exchange), symbol)
        known = {a.id: a for a in await store.instruments.load_assets(exchange.lower())}
        before = known.get(name) or CryptoAsset(id=name, exchange=exchange.lower(), symbol=symbol.upper())
        after = msgspec.structs.replace(before, **{key: value for key, value in given.items() if value is not None})
        await store.instruments.save_assets([after], _now_ns(), source)
        return after

    check_code(symbol, "asset")
    if full_name is not None and not (full_name.isprintable() and full_name.strip() and len(full_name) <= MOST_NAME):
        raise BadInput(f"full name {shown(full_name)} is not a name of 1 to {MOST_NAME} printable characters")
    if not source.strip():
        raise BadInput("an asset's facts need a source")
    for key, value in (("max_supply", max_supply), ("market_cap", market_cap)):
        if value is not None and not (isinstance(value, Decimal) and value.is_finite() and value > 0):
            raise BadInput(f"{key} {shown(value)} is not a positive Decimal")
    return _with_store(settings, write)


def import_assets(file: Path, exchange: str, *, settings: Settings | None = None) -> Written:
    """Names and caps from a CSV of the shipped table's columns, for the assets that the exchange lists."""
    from zvt_crypto.stores.assets import assets_of, load_facts

    try:
        facts = load_facts(file)
    except UnicodeDecodeError:
        raise BadInput(f"asset table {shown(file.name)} is not text in UTF-8") from None

    async def write(store: Store) -> Written:
        listed = assets_of(check_exchange(exchange), await store.instruments.load(exchange.lower()), facts)
        return await store.instruments.save_assets([a for a in listed if a.symbol in facts], _now_ns(), f"import {file.name}")

    return _with_store(settings, write)


def name_new_assets(known: Iterable[CryptoAsset]) -> Callable[[str, Sequence[Instrument]], list[CryptoAsset]]:
    """A function that gives each asset its shipped name and cap once: what is `known` by name, and what somebody changes later, stands."""
    from zvt_crypto.stores.assets import assets_of, load_facts

    facts = load_facts()
    named = {asset.id for asset in known if asset.full_name}

    def describe_assets(exchange: str, instruments: Sequence[Instrument]) -> list[CryptoAsset]:
        new = [asset for asset in assets_of(exchange, instruments, facts) if asset.id not in named]
        named.update(asset.id for asset in new)
        return new

    return describe_assets


async def store_listings(store: Store, exchange: str, instruments: Sequence[Instrument], now_ns: int) -> tuple[Written, Written]:
    """Keep what an exchange lists: its assets, with the shipped names and caps, then the instruments. (assets, instruments)"""
    name = name_new_assets(await store.instruments.load_assets(exchange))
    assets = await store.instruments.save_assets(name(exchange, instruments), now_ns, "shipped asset table")
    return assets, await store.instruments.save(instruments, now_ns)


def describe(entity: Instrument | CryptoAsset) -> dict[str, Any]:
    """An entity as JSON and tables show it: decimals as text, times as RFC 3339."""
    row: dict[str, Any] = {"id": entity.id, "kind": "asset" if isinstance(entity, CryptoAsset) else kind_of(entity)}
    for field in entity.__struct_fields__:
        value = getattr(entity, field)
        if field.endswith("_ns"):
            row[field.removesuffix("_ns")] = to_rfc3339(value) if value is not None else None
        elif field != "id":
            row[field] = format(value, "f") if isinstance(value, Decimal) else value
    if not isinstance(entity, CryptoAsset):
        row |= {"price_precision": entity.price_precision, "quantity_precision": entity.quantity_precision}
    return row


def _with_store(settings: Settings | None, work: Callable[[Store], Awaitable[T]]) -> T:
    chosen = settings or load_settings()

    async def go() -> T:
        async with open_database(chosen) as store:
            return await work(store)

    return run(go)


def _now_ns() -> int:
    import time

    return time.time_ns()
