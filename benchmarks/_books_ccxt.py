"""ccxt.pro's part of books.py: runs in ccxt's own environment. Argument: a folder; each line of the input asks for a case."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import ccxt.pro
import orjson


class Client:
    """What the message handler needs of ccxt's WebSocket client; nobody waits for its futures."""

    url = "wss://stream.binance.com/stream"

    def __init__(self) -> None:
        self.subscriptions: dict[str, object] = {}

    def resolve(self, result: object, message_hash: str) -> None:
        pass

    def reject(self, error: Exception, message_hash: str) -> None:
        raise error


async def read(folder: Path, case: str) -> None:
    exchange = ccxt.pro.binance()
    market = exchange.safe_market_structure(
        {"id": "BTCUSDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT", "type": "spot", "spot": True}
    )
    exchange.set_markets([market])
    snapshot = json.loads((folder / "snapshot.json").read_bytes())
    book = exchange.order_book({}, 1000)
    parsed = exchange.parse_order_book(snapshot, "BTC/USDT")
    parsed["nonce"] = snapshot["lastUpdateId"]
    book.reset(parsed)
    exchange.orderbooks["BTC/USDT"] = book
    frames = (folder / f"{case}.jsonl").read_bytes().splitlines()
    client, bids, asks = Client(), book["bids"], book["asks"]
    look = (lambda: (bids[:20], asks[:20])) if case == "top" else (lambda: (bids[0], asks[0]))
    begin = time.process_time()
    for frame in frames:
        exchange.handle_message(client, orjson.loads(frame))
        look()
    seconds = time.process_time() - begin
    best = bids[0], asks[0]
    await exchange.close()
    print(json.dumps({"seconds": seconds, "best": [[float(x) for x in level[:2]] for level in best]}), flush=True)


for line in sys.stdin:
    asyncio.run(read(Path(sys.argv[1]), line.strip()))
