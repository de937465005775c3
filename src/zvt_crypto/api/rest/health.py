"""GET /health (does the process answer), /ready (can it do its job), /metrics."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from zvt_crypto.api.answers import json_answer
from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.shapes import Alive
from zvt_crypto.domain.time import to_rfc3339
from zvt_crypto.telemetry.metrics import CONTENT_TYPE


def health_router(deps: ApiDeps) -> APIRouter:
    """The routes of this noun, at the root of the server."""
    router = APIRouter(tags=["operation"])

    @router.get("/health", summary="Liveness")
    async def health() -> Response:
        """Answers as long as the process does, whatever else fails: restart it only when this is silent."""
        return json_answer(Alive("ok", deps.version, deps.health.uptime_ms(), to_rfc3339(deps.clock.now_ns())))

    @router.get("/ready", summary="Readiness")
    async def ready() -> Response:
        """Every part with its state, the reason, and the age of that knowledge. 503 when one of them has failed."""
        readiness = await deps.health.ready()
        return json_answer(readiness, 503 if readiness.status == "failed" else 200)

    if deps.metrics is not None:
        render = deps.metrics

        @router.get("/metrics", summary="Metrics, for Prometheus", include_in_schema=False)
        async def metrics() -> Response:
            return Response(render(), media_type=CONTENT_TYPE)

    return router
