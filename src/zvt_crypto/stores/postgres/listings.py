"""The instrument table of a past moment, from its dated facts."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Any

from zvt_crypto.domain.errors import NotFound, shown
from zvt_crypto.domain.listing import Fact, values_at, was_listed
from zvt_crypto.stores.postgres.pool import Connection

_LASTING = ("listed_ns", "expiry_ns", "contract_size")
_INSTRUMENTS = """
    SELECT i.instrument_id, i.id, i.kind, i.exchange, i.native_symbol, b.symbol AS base_asset, q.symbol AS quote_asset,
           u.symbol AS underlying_asset, s.symbol AS settlement_currency, f.rate AS funding_rate
    FROM instrument i
    JOIN asset b ON b.asset_key = i.base_asset
    JOIN asset q ON q.asset_key = i.quote_asset
    LEFT JOIN asset u ON u.asset_key = i.underlying
    LEFT JOIN asset s ON s.asset_key = i.settlement
    LEFT JOIN LATERAL (
        SELECT rate FROM funding WHERE funding.instrument_id = i.instrument_id AND event_time <= $2 ORDER BY event_time DESC LIMIT 1
    ) f ON i.kind = 'perp'
    WHERE $1::text IS NULL OR i.exchange = $1
    ORDER BY i.instrument_id"""
_FACTS = """
    SELECT instrument_id, field, value, valid_from, known_at FROM instrument_fact JOIN instrument i USING (instrument_id)
    WHERE $1::text IS NULL OR i.exchange = $1 ORDER BY instrument_id, fact_id"""


async def rows_at(connection: Connection, at_ns: int, exchange: str | None, fields: tuple[str, ...]) -> list[dict[str, Any]]:
    """One row for each instrument that was listed then, with the values of `fields` that were in force."""
    facts = await connection.fetch(_FACTS, exchange)
    told = {key: [Fact(*row[1:]) for row in group] for key, group in groupby(facts, itemgetter(0))}
    rows: list[dict[str, Any]] = []
    for row in await connection.fetch(_INSTRUMENTS, exchange, at_ns):
        known = told.get(row["instrument_id"], [])
        if was_listed(known, at_ns):
            values = values_at(known, at_ns, _LASTING)
            rows.append(dict(row) | {field: values.get(field) for field in fields})
    return rows


async def rename(connection: Connection, entity_id: str, successor_id: str, at_ns: int, by: str) -> None:
    """The facts of a renaming: the old name is delisted, and says what it became. Raises NotFound."""
    found = {
        row[0]: row[1]
        for row in await connection.fetch("SELECT id, instrument_id FROM instrument WHERE id IN ($1, $2)", entity_id, successor_id)
    }
    for name in (entity_id, successor_id):
        if name not in found:
            raise NotFound(f"no instrument {shown(name)}")
    text = """INSERT INTO instrument_fact (instrument_id, field, value, valid_from, known_at)
              SELECT $1, field, value, $2, now() FROM unnest($3::text[], $4::text[]) AS f(field, value)"""
    fields = ["status", "delisted_ns", "delisted_by", "renamed_to"]
    await connection.execute(text, found[entity_id], at_ns, fields, ["delisted", str(at_ns), by, successor_id])
