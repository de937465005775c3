"""The REST application: routes, errors and the document that describes them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from zvt_crypto.api.boundary import Boundary
from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.docs import docs_routes
from zvt_crypto.api.errors import framework_problem, problem
from zvt_crypto.api.openapi import describe
from zvt_crypto.api.rest.assets import assets_router
from zvt_crypto.api.rest.exchanges import exchanges_router
from zvt_crypto.api.rest.health import health_router
from zvt_crypto.api.rest.hot import HotRoute
from zvt_crypto.api.rest.kdata import kdata_answer
from zvt_crypto.api.rest.orderbook import orderbook_answer
from zvt_crypto.api.rest.pairs import pairs_router
from zvt_crypto.api.rest.ticker import ticker_answer
from zvt_crypto.domain.errors import shown

PREFIX = "/api/v1/crypto"
OPERATION = frozenset(("/health", "/ready", "/metrics"))
_NO_TELEMETRY: Any = {"tracing": False, "metrics": False, "logs": False, "operation_spans": False, "auto_configure": False}
_BOUNDS = ("greater_than", "less_than", "too_long", "too_short")


def create_app(deps: ApiDeps) -> FastAPI:
    """The ASGI application for port 8000."""
    hot = {
        f"{PREFIX}/kdata": HotRoute(kdata_answer(deps)),
        f"{PREFIX}/ticker": HotRoute(ticker_answer(deps)),
        f"{PREFIX}/orderbook": HotRoute(orderbook_answer(deps)),
    }
    routes: list[BaseRoute] = [Route(path, endpoint, methods=["GET"]) for path, endpoint in hot.items()]
    app = FastAPI(
        title="zvt-crypto",
        version=deps.version,
        routes=routes,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    market = APIRouter(prefix=PREFIX)
    for router in (exchanges_router(deps), pairs_router(deps), assets_router(deps)):
        market.include_router(router)
    app.include_router(market)
    app.include_router(health_router(deps))
    _handle_errors(app)
    document = describe(app, deps, PREFIX)
    app.openapi = lambda: document  # type: ignore[method-assign]
    app.router.routes.extend(docs_routes(document))
    known = frozenset(route.path for route in app.routes if isinstance(route, Route)) | frozenset(document["paths"])
    app.add_middleware(Boundary, access=deps.access, observer=deps.observer, known_paths=known, hot=hot, parameters=_parameters(document))
    return app


def create_operation_app(deps: ApiDeps) -> FastAPI:
    """The ASGI application of a process that serves no data: health, readiness and metrics."""
    app = FastAPI(
        title="zvt-crypto",
        version=deps.version,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        telemetry=_NO_TELEMETRY,
    )
    app.include_router(health_router(deps))
    _handle_errors(app)
    app.add_middleware(Boundary, access=deps.access, observer=deps.observer, known_paths=OPERATION, hot={}, parameters={})
    return app


def _parameters(document: dict[str, Any]) -> dict[str, frozenset[str]]:
    """The names that each path of the market data has. Probes of `/health` and `/ready` may bring what they like."""
    paths = {path: spec["get"].get("parameters", []) for path, spec in document["paths"].items() if path.startswith(PREFIX)}
    return {path: frozenset(parameter["name"] for parameter in found) for path, found in paths.items()}


def _handle_errors(app: FastAPI) -> None:
    """The framework's own errors as problems; ours pass through to the boundary."""

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        detail = {
            404: f"there is nothing at {shown(request.url.path)}; the API page is /docs",
            405: f"{shown(request.method)} is not possible here",
        }.get(error.status_code, str(error.detail))
        return framework_problem(error.status_code, detail, request.url.path, dict(error.headers or {}))

    async def unreadable(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        name = str(first["loc"][-1])
        code = "out_of_range" if any(part in first["type"] for part in _BOUNDS) else "bad_input"
        if first["type"] == "missing":
            detail = f"parameter '{name}' is missing"
        elif first["type"] == "literal_error":
            detail = f"{name} {shown(first.get('input'))} is none of {first['ctx']['expected'].replace(' or ', ', ').replace(chr(39), '')}"
        else:
            detail = f"parameter '{name}' {shown(first.get('input'))}: {first['msg'][:1].lower()}{first['msg'][1:]}"
        return problem(422, code, detail, request.url.path)

    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(RequestValidationError, unreadable)
