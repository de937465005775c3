"""Instruments and assets in PostgreSQL: a row that never changes, and dated facts for all that does.

Times of facts keep microseconds. A perpetual's `funding_rate` is not saved here: it is the newest row of the funding table.
"""

# ruff: noqa: S608 - statements are built from names of this package; values are always parameters

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Literal

from zvt_crypto.domain.errors import ConstraintViolated, NotFound, shown
from zvt_crypto.domain.instrument import (
    CryptoAsset,
    CryptoFuture,
    CryptoPair,
    CryptoPerp,
    Instrument,
    Instruments,
    TradingStatus,
    asset_id,
    kind_of,
)
from zvt_crypto.domain.search import rank_assets
from zvt_crypto.ports import Written
from zvt_crypto.stores.postgres.listings import rename, rows_at
from zvt_crypto.stores.postgres.pool import Connection, Pool, Row

Fact = tuple[str, str | None]

_LOCK = 7_295_002  # one writer of instruments and assets at a time: facts are differences to the newest ones
_FIELDS = ("status", "tick", "lot", "min_trade_amount", "min_notional", "contract_size", "listed_ns", "delisted_ns", "expiry_ns")
_ASSET_FIELDS = ("full_name", "max_supply", "market_cap")
_ROW = "id, kind, exchange, native_symbol, base_asset, quote_asset, underlying_asset, settlement_currency"
_LOAD = f"""
    SELECT i.instrument_id, i.id, i.kind, i.exchange, i.native_symbol, b.symbol AS base_asset, q.symbol AS quote_asset,
           u.symbol AS underlying_asset, s.symbol AS settlement_currency, {", ".join(f"n.{f}" for f in _FIELDS)}, f.rate AS funding_rate
    FROM instrument i
    JOIN asset b ON b.asset_key = i.base_asset
    JOIN asset q ON q.asset_key = i.quote_asset
    LEFT JOIN asset u ON u.asset_key = i.underlying
    LEFT JOIN asset s ON s.asset_key = i.settlement
    LEFT JOIN instrument_now n USING (instrument_id)
    LEFT JOIN LATERAL (
        SELECT rate FROM funding WHERE funding.instrument_id = i.instrument_id ORDER BY event_time DESC LIMIT 1
    ) f ON i.kind = 'perp'
    WHERE $1::text IS NULL OR i.exchange = $1
    ORDER BY i.instrument_id"""
_LOAD_ASSETS = f"""
    SELECT a.asset_key, a.id, a.exchange, a.symbol, {", ".join(f"n.{f}" for f in _ASSET_FIELDS)}
    FROM asset a LEFT JOIN asset_now n USING (asset_key)
    WHERE $1::text IS NULL OR a.exchange = $1
    ORDER BY a.id"""


class PostgresInstruments:
    """ports.InstrumentStore."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load(self, exchange: str | None = None) -> Instruments:
        """As ports.InstrumentStore says."""
        rows = await self._pool.run("read instruments", lambda connection: connection.fetch(_LOAD, exchange))
        return Instruments(_instrument(row) for row in rows)

    async def load_at(self, at_ns: int, exchange: str | None = None) -> Instruments:
        """As ports.InstrumentStore says."""
        rows = await self._pool.run("read the instruments of a day", lambda connection: rows_at(connection, at_ns, exchange, _FIELDS))
        return Instruments(_instrument(row) for row in rows)

    async def rename(self, entity_id: str, successor_id: str, at_ns: int, by: Literal["venue", "user"] = "user") -> None:
        """As ports.InstrumentStore says."""
        await self._pool.write(f"rename {entity_id}", lambda connection: rename(connection, entity_id, successor_id, at_ns, by))

    async def save(self, instruments: Iterable[Instrument], known_at_ns: int) -> Written:
        """As ports.InstrumentStore says. Raises ConstraintViolated where an id would come to mean another thing."""
        wanted = list(instruments)

        async def work(connection: Connection) -> Written:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            held = {row["id"]: row for row in await connection.fetch(_LOAD, None)}
            for instrument in wanted:
                if instrument.id in held:
                    _refuse_another_meaning(held[instrument.id], instrument)
            fresh = {i.id: i for i in wanted if i.id not in held}
            keys = {name: row["instrument_id"] for name, row in held.items()}
            keys |= await _insert_instruments(connection, list(fresh.values()), known_at_ns)
            facts: list[Row] = []
            changed: set[str] = set()
            for instrument in wanted:
                now = held.get(instrument.id)
                news = [(f, v) for f, v in _facts(instrument) if (v if now is None else v != now[f])]
                facts.extend((keys[instrument.id], field, value, known_at_ns, known_at_ns) for field, value in news)
                if news and now is not None:
                    changed.add(instrument.id)
            await _append_facts(connection, "instrument_fact", "instrument_id", facts)
            return Written(len(fresh), len(changed), len(wanted) - len(fresh) - len(changed))

        return await self._pool.write(f"store {len(wanted)} instruments", work)

    async def delist(self, entity_id: str, at_ns: int, by: Literal["venue", "user"] = "venue") -> None:
        """As ports.InstrumentStore says. `at_ns` may lie ahead: the status changes then."""

        async def work(connection: Connection) -> None:
            key = await connection.fetchval("SELECT instrument_id FROM instrument WHERE id = $1", entity_id)
            if key is None:
                raise NotFound(f"no instrument {shown(entity_id)}")
            text = """INSERT INTO instrument_fact (instrument_id, field, value, valid_from, known_at)
                      VALUES ($1, 'status', 'delisted', $2, now()), ($1, 'delisted_ns', $3, $2, now()),
                             ($1, 'delisted_by', $4, $2, now())"""
            await connection.execute(text, key, at_ns, str(at_ns), by)

        await self._pool.write(f"delist {entity_id}", work)

    async def delisted_by(self, entity_id: str) -> Literal["venue", "user"] | None:
        """As ports.InstrumentStore says."""
        text = """SELECT value FROM instrument_fact JOIN instrument USING (instrument_id)
                  WHERE id = $1 AND field = 'delisted_by' ORDER BY known_at DESC, fact_id DESC LIMIT 1"""
        value: Literal["venue", "user"] | None = await self._pool.run(
            f"read who delisted {entity_id}", lambda connection: connection.fetchval(text, entity_id)
        )
        return value

    async def facts(self, entity_id: str) -> list[tuple[str, str | None, int, int]]:
        """As ports.InstrumentStore says."""
        text = """
            SELECT field, value, valid_from, known_at FROM (
                SELECT fact_id, field, value, valid_from, known_at FROM instrument_fact JOIN instrument USING (instrument_id) WHERE id = $1
                UNION ALL
                SELECT fact_id, field, value, valid_from, known_at FROM asset_fact JOIN asset USING (asset_key) WHERE id = $1
            ) facts ORDER BY valid_from, known_at, fact_id"""
        exists = "SELECT EXISTS (SELECT FROM instrument WHERE id = $1) OR EXISTS (SELECT FROM asset WHERE id = $1)"

        async def work(connection: Connection) -> list[tuple[str, str | None, int, int]]:
            rows = await connection.fetch(text, entity_id)
            if not rows and not await connection.fetchval(exists, entity_id):
                raise NotFound(f"no instrument or asset {shown(entity_id)}")
            return [tuple(row) for row in rows]

        return await self._pool.run(f"read facts of {entity_id}", work)

    async def load_assets(self, exchange: str | None = None) -> list[CryptoAsset]:
        """As ports.InstrumentStore says."""
        rows = await self._pool.run("read assets", lambda connection: connection.fetch(_LOAD_ASSETS, exchange))
        return [
            CryptoAsset(
                id=row["id"],
                exchange=row["exchange"],
                symbol=row["symbol"],
                full_name=row["full_name"],
                market_cap=_decimal(row["market_cap"]),
                max_supply=_decimal(row["max_supply"]),
            )
            for row in rows
        ]

    async def save_assets(self, assets: Iterable[CryptoAsset], known_at_ns: int, source: str) -> Written:
        """As ports.InstrumentStore says. A value of None says nothing: what is known stays."""
        wanted = list(assets)

        async def work(connection: Connection) -> Written:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            held = {row["id"]: row for row in await connection.fetch(_LOAD_ASSETS, None)}
            keys = await _ensure_assets(connection, {(a.exchange, a.symbol) for a in wanted}, known_at_ns)
            facts: list[Row] = []
            changed: set[str] = set()
            for asset in wanted:
                now = held.get(asset.id)
                news = [(f, v) for f, v in _asset_facts(asset) if v is not None and (now is None or v != now[f])]
                facts.extend((keys[asset.exchange, asset.symbol], field, value, source, known_at_ns, known_at_ns) for field, value in news)
                if news and now is not None:
                    changed.add(asset.id)
            await _append_facts(connection, "asset_fact", "asset_key", facts)
            fresh = len({a.id for a in wanted} - held.keys())
            return Written(fresh, len(changed), len(wanted) - fresh - len(changed))

        return await self._pool.write(f"store {len(wanted)} assets", work)

    async def search_assets(self, text: str, exchange: str | None = None, limit: int = 20) -> list[CryptoAsset]:
        """As domain/search.py ranks them."""
        return rank_assets(text, await self.load_assets(exchange))[:limit]


async def _insert_instruments(connection: Connection, fresh: Sequence[Instrument], known_at_ns: int) -> dict[str, int]:
    if not fresh:
        return {}
    assets = await _ensure_assets(connection, {(i.exchange, s) for i in fresh for s in _symbols(i) if s}, known_at_ns)
    rows = [
        (i.id, kind_of(i), i.exchange, i.native_symbol, *(assets[i.exchange, s] if s else None for s in _symbols(i)), known_at_ns)
        for i in fresh
    ]
    text = """
        INSERT INTO instrument (id, kind, exchange, native_symbol, base_asset, quote_asset, underlying, settlement, created_at)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::int[], $8::int[], $9::timestamptz[])
        RETURNING id, instrument_id"""
    made = await connection.fetch(text, *zip(*rows, strict=True))
    return {row[0]: row[1] for row in made}


async def _ensure_assets(connection: Connection, wanted: set[tuple[str, str]], known_at_ns: int) -> dict[tuple[str, str], int]:
    """The keys of (exchange, symbol); rows are made for new ones."""
    text = "SELECT exchange, symbol, asset_key FROM asset"
    keys = {(row[0], row[1]): row[2] for row in await connection.fetch(text)}
    fresh = [(asset_id(e, s), e, s, known_at_ns) for e, s in sorted(wanted - keys.keys())]
    if fresh:
        insert = """INSERT INTO asset (id, exchange, symbol, created_at)
                    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[]) RETURNING exchange, symbol, asset_key"""
        keys |= {(row[0], row[1]): row[2] for row in await connection.fetch(insert, *zip(*fresh, strict=True))}
    return keys


async def _append_facts(connection: Connection, table: str, key: str, rows: Sequence[Row]) -> None:
    source = ("source",) if table == "asset_fact" else ()
    columns = (key, "field", "value", *source, "valid_from", "known_at")
    await connection.copy_records_to_table(table, records=rows, columns=columns)


def _symbols(instrument: Instrument) -> tuple[str, str, str | None, str | None]:
    if isinstance(instrument, CryptoPair):
        return instrument.base_asset, instrument.quote_asset, None, None
    return instrument.base_asset, instrument.quote_asset, instrument.underlying_asset, instrument.settlement_currency


def _refuse_another_meaning(row: Mapping[str, Any], instrument: Instrument) -> None:
    held = tuple(row[name] for name in _ROW.split(", "))
    told = (instrument.id, kind_of(instrument), instrument.exchange, instrument.native_symbol, *_symbols(instrument))
    if held != told:
        raise ConstraintViolated(f"instrument {shown(instrument.id)} is {held[1:]} and cannot become {told[1:]}: ids are never reused")


def _facts(instrument: Instrument) -> list[Fact]:
    return [(field, _text(getattr(instrument, field, None))) for field in _FIELDS]


def _asset_facts(asset: CryptoAsset) -> list[Fact]:
    return [(field, _text(getattr(asset, field))) for field in _ASSET_FIELDS]


def _text(value: object) -> str | None:
    if isinstance(value, Decimal):
        return format(value, "f")
    return None if value is None else str(value)


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _int(text: str | None) -> int | None:
    return None if text is None else int(text)


def _instrument(row: Mapping[str, Any]) -> Instrument:
    shared = {
        "id": row["id"],
        "exchange": row["exchange"],
        "native_symbol": row["native_symbol"],
        "base_asset": row["base_asset"],
        "quote_asset": row["quote_asset"],
        "status": TradingStatus(row["status"] or TradingStatus.UNKNOWN),
        "tick": _decimal(row["tick"]),
        "lot": _decimal(row["lot"]),
        "min_trade_amount": _decimal(row["min_trade_amount"]),
        "min_notional": _decimal(row["min_notional"]),
        "listed_ns": _int(row["listed_ns"]),
        "delisted_ns": _int(row["delisted_ns"]),
    }
    if row["kind"] == "pair":
        return CryptoPair(**shared)
    contract = {
        "underlying_asset": row["underlying_asset"],
        "settlement_currency": row["settlement_currency"],
        "contract_size": Decimal(row["contract_size"] or 1),
    }
    if row["kind"] == "future":
        return CryptoFuture(**shared, **contract, expiry_ns=int(row["expiry_ns"]))
    rate = row["funding_rate"]
    return CryptoPerp(**shared, **contract, funding_rate=None if rate is None else Decimal(repr(rate)))
