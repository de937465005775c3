"""The asset table that ships with the package: names and caps of the main assets, each with its source and date.

`max_supply` is empty where the protocol sets no cap, or where the cap is not certain. There are no market values in it: those move
by the second, and are dated facts that a provider delivers.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterable, Iterator
from decimal import Decimal
from importlib import resources
from pathlib import Path

import msgspec

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.instrument import CryptoAsset, Instrument, asset_id
from zvt_crypto.domain.time import parse_time

COLUMNS = ("symbol", "full_name", "max_supply", "source", "as_of")


class AssetFact(msgspec.Struct, frozen=True):
    """One row: what is known of an asset, by whom, and for which day."""

    symbol: str
    full_name: str
    max_supply: Decimal | None
    source: str
    as_of_ns: int


def load_facts(path: Path | None = None) -> dict[str, AssetFact]:
    """Symbol → facts, from the shipped table or a CSV file with the same columns. Raises BadInput, naming line and value."""
    text = path.read_text("utf-8") if path else resources.files(__name__).joinpath("assets.csv").read_text("utf-8")
    facts: dict[str, AssetFact] = {}
    for fact in _rows(text, path.name if path else "assets.csv"):
        if fact.symbol in facts:
            raise BadInput(f"asset table has {shown(fact.symbol)} twice")
        facts[fact.symbol] = fact
    return facts


def assets_of(exchange: str, instruments: Iterable[Instrument], facts: dict[str, AssetFact]) -> list[CryptoAsset]:
    """Every asset that the instruments name, with what the table knows of it, by symbol."""
    symbols = {s for i in instruments if i.exchange == exchange for s in (i.base_asset, i.quote_asset)}
    return [_asset(exchange, symbol, facts.get(symbol)) for symbol in sorted(symbols)]


def _asset(exchange: str, symbol: str, fact: AssetFact | None) -> CryptoAsset:
    return CryptoAsset(
        id=asset_id(exchange, symbol),
        exchange=exchange,
        symbol=symbol,
        full_name=fact.full_name if fact else None,
        max_supply=fact.max_supply if fact else None,
    )


def _rows(text: str, name: str) -> Iterator[AssetFact]:
    reader = csv.DictReader(text.splitlines())
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise BadInput(f"asset table {name} has the columns {shown(','.join(reader.fieldnames or ()))}, not {','.join(COLUMNS)}")
    for row in reader:
        where = f"{name} line {reader.line_num}"
        if not all(row[column] for column in ("symbol", "full_name", "source", "as_of")):
            raise BadInput(f"asset table {where}: symbol, full_name, source and as_of must all be given")
        yield AssetFact(row["symbol"], row["full_name"], _supply(row["max_supply"], where), row["source"], _day_ns(row["as_of"], where))


def _supply(text: str, where: str) -> Decimal | None:
    if not text:
        return None
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise BadInput(f"asset table {where}: max_supply {shown(text)} is not a number") from None
    if not value.is_finite() or value <= 0:
        raise BadInput(f"asset table {where}: max_supply {shown(text)} is not a supply")
    return value


def _day_ns(text: str, where: str) -> int:
    try:
        return parse_time(dt.date.fromisoformat(text))
    except ValueError:
        raise BadInput(f"asset table {where}: as_of {shown(text)} is not a date") from None
