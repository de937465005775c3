"""Which exchange a recording is of, told by how it begins."""

from __future__ import annotations

import re

from zvt_crypto.domain.instrument import EXCHANGES

# In this order, the first that is found decides. A recorder's header names the exchange, addresses name the host; where there are
# only frames, their keys tell. Quotes may be escaped: some recorders keep a frame as a string.
_HEADER = re.compile(rb'"t":"header".{0,80}?"exchange":"([A-Za-z_]{2,40})"')
_SHAPES: dict[str, re.Pattern[bytes]] = {
    name: re.compile(pattern)
    for name, pattern in {
        "binance": rb'binance\.|\\?"lastUpdateId\\?"|\\?"e\\?": ?\\?"(depthUpdate|trade|aggTrade|kline|bookTicker|markPriceUpdate)\\?"',
        "bybit": rb'bybit\.|bytick\.|\\?"topic\\?": ?\\?"(orderbook|publicTrade|kline|tickers|allLiquidation)\.',
        "okx": rb'okx\.com|okex\.com|\\?"arg\\?": ?\{\\?"channel\\?"',
        "coinbase": rb'coinbase\.com|\\?"sequence_num\\?"|\\?"product_ids?\\?"',
    }.items()
}


def origin_of(head: bytes) -> str | None:
    """The exchange's id, or the name that the header gives one that is none of ours; None where nothing tells."""
    named = _HEADER.search(head)
    if named is not None:
        name = named[1].decode().lower().replace("okex", "okx")
        return next((known for known in EXCHANGES if name.startswith(known)), name)
    places = {name: found.start() for name, shape in _SHAPES.items() if (found := shape.search(head))}
    return min(places, key=lambda name: places[name], default=None)
