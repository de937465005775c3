"""GET /assets and /assets/search: the currencies behind the pairs."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from zvt_crypto.api.answers import json_answer, page, plain
from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.query import Whole
from zvt_crypto.api.rest.pairs import CursorQuery, ExchangeQuery
from zvt_crypto.api.shapes import AssetRow, Assets, FoundAsset, FoundAssets
from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.instrument import ALL_EXCHANGES, EXCHANGES, CryptoAsset, check_exchange
from zvt_crypto.domain.money import decimal_text

MOST_LIMIT = 5_000
MOST_FOUND = 100


def assets_router(deps: ApiDeps) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["assets"])

    @router.get("/assets", summary="Assets of an exchange")
    async def assets(
        exchange: ExchangeQuery = None,
        limit: Annotated[int, Whole, Query(ge=1, le=MOST_LIMIT, description="Rows a page.")] = MOST_LIMIT,
        cursor: CursorQuery = None,
    ) -> Response:
        """One row an asset and exchange, by id, with its newest sourced facts. `count` is the number of rows in this answer."""
        held = await deps.store.instruments.load_assets(check_exchange(exchange) if exchange else None)
        held.sort(key=lambda asset: asset.id)
        ids = [asset.id for asset in held]
        kept, following = page(held, ids, plain("cursor", cursor), limit, frozenset(ids) if cursor else ())
        rows = [asset_row(asset) for asset in kept]
        return json_answer(Assets(rows, len(rows), following))

    @router.get("/assets/search", summary="Assets by symbol or name")
    async def search(
        q: Annotated[str, Query(min_length=1, max_length=100, description="A symbol or a name.", examples=["bitcoin"])],
        exchange: ExchangeQuery = None,
        limit: Annotated[int, Whole, Query(ge=1, le=MOST_FOUND, description="Results at most.")] = 20,
    ) -> Response:
        """Best match first. An exact symbol or name wins alone, so `bitcoin` is Bitcoin. An asset is one result, however many
        exchanges list it; its `exchanges` and `ids` name them all."""
        text = plain("q", q)
        if text is None or not text.strip():
            raise BadInput(f"q {shown(q)} is blank: give a symbol or a name")
        wanted = check_exchange(exchange) if exchange else None
        # Each exchange may list the same asset, so as many rows as that are asked for.
        found = await deps.store.instruments.search_assets(text, wanted, limit * len(EXCHANGES))
        rows = gather(found)[:limit]
        return json_answer(FoundAssets(rows, len(rows)))

    return router


def asset_row(asset: CryptoAsset) -> AssetRow:
    """An asset on its exchange."""
    return AssetRow(asset.id, asset.symbol, asset.full_name, _text(asset.market_cap), _text(asset.max_supply), asset.exchange)


def gather(found: Iterable[CryptoAsset]) -> list[FoundAsset]:
    """One result for the same symbol and name, in the order of their first appearance. A symbol that means different things
    on two exchanges (another name) stays two results."""
    groups: dict[tuple[str, str | None], list[CryptoAsset]] = {}
    for asset in found:
        name = asset.full_name.casefold() if asset.full_name else None
        groups.setdefault((asset.symbol.casefold(), name), []).append(asset)
    return [_found(sorted(group, key=lambda asset: ALL_EXCHANGES.index(asset.exchange))) for group in groups.values()]


def _found(group: list[CryptoAsset]) -> FoundAsset:
    first = group[0]
    return FoundAsset(
        id=first.id,
        symbol=first.symbol,
        full_name=first.full_name,
        market_cap=_text(next((a.market_cap for a in group if a.market_cap is not None), None)),
        max_supply=_text(next((a.max_supply for a in group if a.max_supply is not None), None)),
        exchange=first.exchange,
        exchanges=[asset.exchange for asset in group],
        ids=[asset.id for asset in group],
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else decimal_text(value)
