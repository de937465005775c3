"""`pairs` and `assets`: the functions of `cli/entities.py`, printed."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from zvt_crypto.cli import entities, exits
from zvt_crypto.cli.each import do_each
from zvt_crypto.cli.listings import check_life, make_listing
from zvt_crypto.cli.out import note, print_json, print_table
from zvt_crypto.cli.settings import Settings
from zvt_crypto.cli.teller import Teller
from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.instrument import PRECEDENCE, CryptoAsset, TradingStatus, kind_of
from zvt_crypto.domain.time import parse_time
from zvt_crypto.ports import Written

if TYPE_CHECKING:
    from zvt_crypto.cli.fetch import Synced

PAIR_COLUMNS = ["id", "native_symbol", "base_asset", "quote_asset", "status", "tick", "lot", "min_trade_amount"]
ASSET_COLUMNS = ["id", "symbol", "full_name", "max_supply", "market_cap"]
FACT_COLUMNS = ["field", "value", "valid_from", "known_at"]


def run_list_pairs(settings: Settings, *, exchange: str | None, kind: str | None, status: str | None, at: str | None, as_json: bool) -> int:
    """Print stored instruments; with `at` those that were listed then."""
    _one_of("kind", kind, PRECEDENCE)
    _one_of("status", status, tuple(TradingStatus))
    found = [
        entities.describe(i)
        for i in entities.get_instruments(exchange, at=at, settings=settings)
        if (kind is None or kind_of(i) == kind) and (status is None or i.status == status)
    ]
    if as_json:
        print_json({"pairs": found, "count": len(found)})
    else:
        print_table(found, PAIR_COLUMNS)
        _note_none(found, "pair")
    return exits.OK


def run_show_pair(settings: Settings, symbol: str, *, exchange: str | None, as_json: bool) -> int:
    """Print one instrument and its facts."""
    instrument = entities.get_instrument(symbol, exchange, settings=settings)
    return _show(entities.describe(instrument), entities.get_facts(instrument.id, settings=settings), as_json)


def run_add_pair(
    settings: Settings,
    native_symbol: str,
    exchange: str,
    base: str,
    quote: str,
    *,
    perp: bool,
    settle: str | None,
    facts: Mapping[str, str | None],
    listed: str | None,
    delisted: str | None,
) -> int:
    """Create an instrument, and delist it where a time of that is given."""
    listed_ns, delisted_ns = (None if text is None else parse_time(text) for text in (listed, delisted))
    listing = make_listing(native_symbol, exchange, base, quote, perp=perp, settle=settle, steps=facts, listed_ns=listed_ns)
    check_life(native_symbol, listed_ns, delisted_ns)
    made = entities.add_instrument(listing, settings=settings)
    if delisted_ns is not None:
        entities.delist_instrument(made.id, at=delisted, settings=settings)
    print(made.id)
    return exits.OK


def run_update_pair(settings: Settings, symbol: str, *, exchange: str | None, facts: Mapping[str, str | None], listed: str | None) -> int:
    """Change an instrument."""
    changes: dict[str, object] = {field: value for field, value in facts.items() if value is not None}
    if listed is not None:
        changes["listed_ns"] = parse_time(listed)
    print(entities.update_instrument(symbol, exchange, settings=settings, **changes).id)
    return exits.OK


def run_delist_pair(settings: Settings, symbol: str, *, at: str | None, exchange: str | None) -> int:
    """Delist an instrument."""
    print(entities.delist_instrument(symbol, exchange, at=at, settings=settings))
    return exits.OK


def run_rename_pair(settings: Settings, symbol: str, successor: str, *, at: str | None, exchange: str | None) -> int:
    """Say that an instrument goes on under another name."""
    print(entities.rename_instrument(symbol, successor, exchange, at=at, settings=settings))
    return exits.OK


def run_sync(settings: Settings, *, as_json: bool) -> int:
    """Read the instruments of each exchange into the database. The exit status of the first that failed."""
    from zvt_crypto.cli.data import sync_instruments

    names = settings.ingest.exchanges
    done: list[tuple[str, Synced]] = []

    def sync(exchange: str) -> None:
        synced = sync_instruments(exchange, settings=settings, observer=Teller())
        done.append((exchange, synced))
        if not as_json:
            _print_synced(f"{exchange} " if len(names) > 1 else "", synced)

    failed, code = do_each(names, sync)
    if as_json:
        print_json({
            "assets": _sum(synced.assets for _, synced in done),
            "instruments": _sum(synced.instruments for _, synced in done),
            "left_out": {market: reason for _, synced in done for market, reason in synced.left_out.items()},
            "exchanges": {exchange: synced._asdict() for exchange, synced in done},
            "failed": failed,
        })  # fmt: skip
    return code


def _print_synced(of: str, synced: Synced) -> None:
    for noun, did in (("instruments", synced.instruments), ("assets", synced.assets)):
        print(f"{of}{noun}: {did.inserted} new, {did.changed} changed, {did.known} known", flush=True)
    for market, reason in synced.left_out.items():
        print(f"left out: {of}{market}: {reason}", flush=True)


def _sum(written: Iterable[Written]) -> Written:
    return functools.reduce(lambda a, b: Written(a.inserted + b.inserted, a.changed + b.changed, a.known + b.known), written, Written(0))


def run_list_assets(settings: Settings, *, exchange: str | None, as_json: bool) -> int:
    """Print stored assets."""
    return _print_assets(entities.get_assets(exchange, settings=settings), "assets", as_json)


def run_search_assets(settings: Settings, text: str, *, exchange: str | None, as_json: bool) -> int:
    """Print the assets that answer to a text."""
    return _print_assets(entities.search_assets(text, exchange, settings=settings), "results", as_json)


def run_show_asset(settings: Settings, asset_id: str, *, as_json: bool) -> int:
    """Print one asset and its facts."""
    asset = entities.get_asset(asset_id, settings=settings)
    return _show(entities.describe(asset), entities.get_facts(asset.id, settings=settings), as_json)


def run_add_asset(settings: Settings, symbol: str, exchange: str, source: str, *, facts: Mapping[str, str | None]) -> int:
    """Create or update an asset."""
    made = entities.save_asset(
        symbol,
        exchange,
        source=source,
        full_name=facts["full_name"],
        max_supply=_amount("max supply", facts["max_supply"]),
        market_cap=_amount("market cap", facts["market_cap"]),
        settings=settings,
    )
    print(made.id)
    return exits.OK


def run_import_assets(settings: Settings, file: Path) -> int:
    """Import a table of names and caps."""
    if not file.is_file():
        raise BadInput(f"file {shown(str(file))} {'is a folder' if file.is_dir() else 'does not exist'}")
    names = settings.ingest.exchanges

    def import_into(exchange: str) -> None:
        did = entities.import_assets(file, exchange, settings=settings)
        print(f"{f'{exchange} ' if len(names) > 1 else ''}assets: {did.inserted} new, {did.changed} changed, {did.known} known", flush=True)

    return do_each(names, import_into)[1]


def _show(row: Mapping[str, object], facts: list[dict[str, str | None]], as_json: bool) -> int:
    if as_json:
        print_json({**row, "facts": facts})
        return exits.OK
    print_table([{"field": key, "value": value} for key, value in row.items()], ["field", "value"])
    print()
    print_table(facts, FACT_COLUMNS, title="facts")
    return exits.OK


def _print_assets(found: list[CryptoAsset], key: str, as_json: bool) -> int:
    rows = [entities.describe(asset) for asset in found]
    if as_json:
        print_json({key: rows, "count": len(rows)})
    else:
        print_table(rows, ASSET_COLUMNS)
        _note_none(rows, "asset")
    return exits.OK


def _note_none(rows: Sequence[object], noun: str) -> None:
    if not rows:
        note(f"no such {noun} is stored here; `zvt-crypto pairs sync` reads all that an exchange lists")


def _one_of(name: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise BadInput(f"{name} {shown(value)} is none of {', '.join(known)}")


def _amount(name: str, text: str | None) -> Decimal | None:
    if text is None:
        return None
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise BadInput(f"{name} {shown(text)} is not a number") from None
    if not value.is_finite() or value <= 0:
        raise BadInput(f"{name} {shown(text)} is not a positive amount")
    return value
