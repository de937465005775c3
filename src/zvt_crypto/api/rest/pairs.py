"""GET /pairs: what can be traded on an exchange."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from zvt_crypto.api.answers import json_answer, page, plain
from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.query import Whole
from zvt_crypto.api.shapes import PairRow, Pairs
from zvt_crypto.domain.instrument import (
    CryptoFuture,
    CryptoPair,
    CryptoPerp,
    Instrument,
    TradingStatus,
    ccxt_symbol,
    check_exchange,
    kind_of,
)
from zvt_crypto.domain.money import decimal_text
from zvt_crypto.domain.time import parse_time, to_rfc3339

MOST_LIMIT = 5_000  # more than any exchange lists as trading; about 2 MB

ExchangeQuery = Annotated[str | None, Query(max_length=40, description="An exchange id; all when left out.", examples=["binance"])]
CursorQuery = Annotated[str | None, Query(max_length=200, description="The `next` of the page before.")]
KindQuery = Annotated[Literal["pair", "perp", "future"] | None, Query(description="Only spot pairs, perpetuals or dated contracts.")]
StatusQuery = Annotated[
    Literal["pending", "active", "cancel_only", "suspended", "settling", "delisted", "unknown", "all"] | None,
    Query(description="Only this status; all but the delisted when left out."),
]
AtQuery = Annotated[
    str | None,
    Query(max_length=40, description="Those that were listed at this time (RFC 3339 or a date), with their status, tick and lot of then."),
]


def pairs_router(deps: ApiDeps) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["market data"])

    @router.get("/pairs", summary="Instruments of an exchange")
    async def pairs(
        exchange: ExchangeQuery = None,
        kind: KindQuery = None,
        status: StatusQuery = None,
        at: AtQuery = None,
        limit: Annotated[int, Whole, Query(ge=1, le=MOST_LIMIT, description="Rows a page.")] = MOST_LIMIT,
        cursor: CursorQuery = None,
    ) -> Response:
        """Spot pairs, perpetuals and dated contracts, by id. `count` is the number of rows in this answer."""
        wanted = check_exchange(exchange) if exchange else None
        table = deps.instruments() if at is None else await deps.store.instruments.load_at(parse_time(at), wanted)
        listed = sorted((i for i in table if _is_of(i, wanted, kind)), key=lambda i: i.id)
        found = [i for i in listed if _has(i, status)]
        # What a page ended with may have another status by now; it stays a place in the listing.
        kept, following = page(found, [i.id for i in found], plain("cursor", cursor), limit, {i.id for i in listed} if cursor else ())
        rows = [pair_row(i) for i in kept]
        return json_answer(Pairs(rows, len(rows), following))

    return router


def _is_of(instrument: Instrument, exchange: str | None, kind: str | None) -> bool:
    return (exchange is None or instrument.exchange == exchange) and (kind is None or kind_of(instrument) == kind)


def _has(instrument: Instrument, status: str | None) -> bool:
    if status is None:
        return instrument.status is not TradingStatus.DELISTED
    return status in ("all", instrument.status)


def pair_row(instrument: Instrument) -> PairRow:
    """An instrument as the API shows it; steps and amounts as plain decimals."""
    contract = None if isinstance(instrument, CryptoPair) else instrument
    return PairRow(
        id=instrument.id,
        symbol=instrument.native_symbol,
        kind=kind_of(instrument),
        exchange=instrument.exchange,
        base_asset=instrument.base_asset,
        quote_asset=instrument.quote_asset,
        status=instrument.status.value,
        min_trade_amount=_text(instrument.min_trade_amount),
        min_notional=_text(instrument.min_notional),
        price_precision=instrument.price_precision,
        quantity_precision=instrument.quantity_precision,
        tick=_text(instrument.tick),
        lot=_text(instrument.lot),
        ccxt_symbol=ccxt_symbol(instrument),
        listed=to_rfc3339(instrument.listed_ns) if instrument.listed_ns is not None else None,
        underlying_asset=contract.underlying_asset if contract else None,
        settlement_currency=contract.settlement_currency if contract else None,
        contract_size=_text(contract.contract_size) if contract else None,
        funding_rate=_text(contract.funding_rate) if isinstance(contract, CryptoPerp) else None,
        expiry=to_rfc3339(contract.expiry_ns) if isinstance(contract, CryptoFuture) else None,
    )


def _text(value: Decimal | None) -> str | None:
    return None if value is None else decimal_text(value)
