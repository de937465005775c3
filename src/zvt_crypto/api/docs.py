"""The API page at /docs and its document at /openapi.json. Everything it needs comes from this server: it works offline."""

from __future__ import annotations

from importlib import resources
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

# The page runs its own script and asks this server, nothing else; nobody may frame it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
FILES = {"/docs": ("index.html", "text/html"), "/docs/page.js": ("page.js", "text/javascript"), "/docs/page.css": ("page.css", "text/css")}


def docs_routes(document: dict[str, Any]) -> list[Route]:
    """The page, its files, the document, and `/`, which leads to the page."""
    body = msgspec.json.encode(document)

    async def openapi(_: Request) -> Response:
        return Response(body, media_type="application/json")

    async def root(_: Request) -> Response:
        return RedirectResponse("/docs", 307)

    routes = [Route("/openapi.json", openapi), Route("/", root)]
    return routes + [_file(path, name, media_type) for path, (name, media_type) in FILES.items()]


def _file(path: str, name: str, media_type: str) -> Route:
    body = resources.files("zvt_crypto.api").joinpath("page", name).read_bytes()
    headers = {"content-security-policy": POLICY, "referrer-policy": "no-referrer", "cache-control": "max-age=300"}

    async def answer(_: Request) -> Response:
        return Response(body, headers=headers, media_type=media_type)

    return Route(path, answer)
