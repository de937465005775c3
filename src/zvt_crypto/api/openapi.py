"""The OpenAPI document: the framework's own part, the hot routes beside it, shapes, problems and examples on all."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from zvt_crypto.api.deps import ApiDeps
from zvt_crypto.api.errors import MEDIA_TYPE
from zvt_crypto.api.examples import ALIVE, EXAMPLES, plain
from zvt_crypto.api.rest import kdata, orderbook
from zvt_crypto.api.rest.hot import EXAMPLE_SYMBOL
from zvt_crypto.api.shapes import Problem
from zvt_crypto.domain.time import INTERVALS
from zvt_crypto.telemetry.health import Check, Readiness

Document = dict[str, Any]
DESCRIPTION = """Market data of crypto exchanges, from the exchange's wire to your own API.

Decimals are strings at the instrument's precision; times are RFC 3339 UTC with milliseconds. Ranges are [start, end).
`symbol` is an entity id (`cryptopair_binance_btcusdt`), or with `exchange` any name of the instrument: `BTCUSDT`, `btcusdt`,
`BTC/USDT`, `BTC/USDT:USDT`, `BTC-USDT`. Errors are RFC 9457 problems with a stable `code`."""
READY = Readiness("ok", [Check("database", "ok", "", 120, 86_400_000)])
STATUSES: dict[str, str] = {
    "400": "The query string has a parameter that this path does not know, or one of them twice",
    "404": "The exchange, symbol or thing is not known",
    "421": "The Host header does not name this server",
    "422": "A parameter is missing, malformed or out of range",
    "500": "A fault of the server; only a correlation id is told",
    "502": "The exchange refused or failed",
    "503": "Not available now (database, exchange, or a book that is being resynchronised): ask again",
}

_SYMBOL = (
    "symbol",
    True,
    "Entity id, or any name of the instrument (then with `exchange`).",
    {"type": "string", "minLength": 1},
    EXAMPLE_SYMBOL,
)
_EXCHANGE = ("exchange", False, "Where `symbol` is looked up when it is no entity id.", {"type": "string"}, "binance")
_TIME_HELP = "RFC 3339, a date (2024-08-08), month (2024-08) or year (2024), or an epoch in s, ms, µs or ns (told apart by size)"
_AT = ("at", False, f"The book of this instant, where books are logged: {_TIME_HELP}.", {"type": "string"}, None)
_Parameter = tuple[str, bool, str, dict[str, Any], Any]


def _kdata_parameters() -> list[_Parameter]:
    limit = {"type": "integer", "minimum": 1, "maximum": kdata.MOST_LIMIT, "default": kdata.DEFAULT_LIMIT}
    return [
        _SYMBOL,
        ("interval", True, "Length of a kline; `1m` is a minute, `1M` a month.", {"type": "string", "enum": [*INTERVALS, "1mon"]}, "1m"),
        ("limit", False, "Rows at most.", limit, 2),
        ("start", False, f"Opens at or after: {_TIME_HELP}. Rows then begin there, and `next` leads on.", {"type": "string"}, None),
        ("end", False, f"Opens before: {_TIME_HELP}.", {"type": "string"}, None),
        (
            "as_of",
            False,
            f"What was known at this time: {_TIME_HELP}. Closed klines only, each as it was told by then.",
            {"type": "string"},
            None,
        ),
        ("final", False, "`true`: closed klines only.", {"type": "string", "enum": ["true", "false"], "default": "false"}, None),
        _EXCHANGE,
    ]


def _depth_parameter() -> _Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": orderbook.MOST_DEPTH, "default": orderbook.DEFAULT_DEPTH}
    return ("depth", False, "Levels a side at most.", schema, 2)


def _hot_operations() -> dict[str, Document]:
    """The routes that the framework does not know."""
    return {
        "/kdata": _operation(
            "Klines",
            "The newest `limit` klines, oldest first. The last one may still be forming: its `final` is false, as every row says. "
            "With `start`: the first `limit` from there. A kline is final only on evidence, and then its row changes only by a "
            "recorded revision.",
            _kdata_parameters(),
        ),
        "/ticker": _operation(
            "Newest price and the rolling 24 hours",
            "Live where the instrument is recorded, otherwise asked of the exchange. `stale` is true where nothing newer came for 10 s.",
            [_SYMBOL, _EXCHANGE],
        ),
        "/orderbook": _operation(
            "Order book",
            "The top of the verified live book, or, where none is kept, the exchange's own snapshot. A book that is being "
            "resynchronised is answered with 503 and the code `stale`: it is never served as if it were valid.",
            [_SYMBOL, _depth_parameter(), _AT, _EXCHANGE],
        ),
    }


def _operation(summary: str, description: str, parameters: list[_Parameter]) -> Document:
    return {"tags": ["market data"], "summary": summary, "description": description, "parameters": [_parameter(*p) for p in parameters]}


def _parameter(name: str, required: bool, description: str, schema: dict[str, Any], example: object) -> Document:
    made: Document = {"name": name, "in": "query", "required": required, "description": description, "schema": schema}
    return made | ({"example": example} if example is not None else {})


def describe(app: FastAPI, deps: ApiDeps, prefix: str) -> Document:
    """The whole document, made once."""
    document: Document = get_openapi(title="zvt-crypto", version=deps.version, description=DESCRIPTION, routes=app.routes)
    document["info"]["license"] = {"name": "MIT", "identifier": "MIT"}
    paths: Document = document["paths"]
    for path, operation in _hot_operations().items():
        paths[prefix + path] = {"get": operation}
    examples: dict[str, msgspec.Struct] = {prefix + path: example for path, example in EXAMPLES.items()}
    examples |= {"/health": ALIVE, "/ready": READY}
    shapes = [*{type(example) for example in examples.values()}, Problem]
    schemas = msgspec.json.schema_components(shapes, ref_template="#/components/schemas/{name}")[1]
    for path, example in examples.items():
        operation = paths[path]["get"]
        operation["operationId"] = path.removeprefix(prefix).strip("/").replace("/", "_")
        operation["responses"] = _responses(example)
    if "/ready" in paths:
        failed = paths["/ready"]["get"]["responses"]
        failed["503"] = {**failed["200"], "description": "A part has failed"}
    document["components"] = {"schemas": _with_plain_tuples(schemas)}
    document["paths"] = dict(sorted(paths.items()))
    document["x-websocket"] = {"url": deps.ws_url}
    return document


def _with_plain_tuples(schema: Any) -> Any:
    """A pair of strings written as an array of two strings: not every tool reads `prefixItems`."""
    if isinstance(schema, list):
        return [_with_plain_tuples(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: _with_plain_tuples(value) for key, value in schema.items()}
    prefix = made.pop("prefixItems", None)
    return made | {"items": prefix[0]} if prefix else made


def _responses(example: msgspec.Struct) -> Document:
    answer = {"schema": {"$ref": f"#/components/schemas/{type(example).__name__}"}, "example": plain(example)}
    made: Document = {"200": {"description": type(example).__doc__ or "", "content": {"application/json": answer}}}
    problem = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    return made | {status: {"description": text, **problem} for status, text in STATUSES.items()}
