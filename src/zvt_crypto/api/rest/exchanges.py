"""GET /exchanges: which exchanges this deployment serves."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from zvt_crypto.api.answers import json_answer
from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.shapes import Exchanges
from zvt_crypto.domain.instrument import ALL_EXCHANGES


def exchanges_router(deps: ApiDeps) -> APIRouter:
    """The routes of this noun."""
    router = APIRouter(tags=["market data"])

    @router.get("/exchanges", summary="Exchanges served here")
    async def exchanges() -> Response:
        """Those with a connection, and those whose instruments are stored."""
        served = set(deps.connectors) | {instrument.exchange for instrument in deps.instruments()}
        return json_answer(Exchanges([exchange for exchange in ALL_EXCHANGES if exchange in served]))

    return router
