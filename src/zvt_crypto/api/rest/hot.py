"""Endpoints that answer bytes, without the framework's request and response objects: kdata, ticker, orderbook."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from starlette.types import Receive, Scope, Send

from zvt_crypto.api.query import needed, read_query
from zvt_crypto.domain.instrument import Instrument, Instruments, check_exchange

Answer = Callable[[Mapping[str, str]], Awaitable[bytes]]
EXAMPLE_SYMBOL = "cryptopair_binance_btcusdt"


class HotRoute:
    """An ASGI endpoint: query parameters in, a JSON body out. Errors are raised and become problems further out."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await self._answer(read_query(scope["query_string"]))
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def find_instrument(instruments: Instruments, query: Mapping[str, str]) -> Instrument:
    """The instrument of `symbol` (and `exchange`, where the name alone is not enough). Raises UnknownSymbol and its kin."""
    exchange = query.get("exchange")
    return instruments.resolve(needed(query, "symbol", EXAMPLE_SYMBOL), check_exchange(exchange) if exchange is not None else None)
