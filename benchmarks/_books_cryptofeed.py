"""cryptofeed's part of books.py: runs in cryptofeed's own environment. Argument: a folder; each line of the input asks for a case."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from decimal import Decimal
from pathlib import Path

from cryptofeed.defines import L2_BOOK
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols
from cryptofeed.types import OrderBook


async def read(folder: Path, case: str) -> None:
    Symbols.set("BINANCE", {"BTC-USDT": "BTCUSDT"}, {"instrument_type": {"BTC-USDT": "spot"}})  # else it asks the exchange
    feed = Binance(symbols=["BTC-USDT"], channels=[L2_BOOK])
    feed._reset()
    snapshot = json.loads((folder / "snapshot.json").read_bytes())
    bids, asks = ({Decimal(price): Decimal(size) for price, size in snapshot[side]} for side in ("bids", "asks"))
    book = OrderBook("BINANCE", "BTC-USDT", max_depth=0, bids=bids, asks=asks)
    book.delta = {}
    feed._l2_book["BTC-USDT"], feed.last_update_id["BTC-USDT"] = book, snapshot["lastUpdateId"]
    frames = (folder / f"{case}.jsonl").read_text("utf-8").splitlines()
    bid_side, ask_side = book.book.bids, book.book.asks
    best_of = bid_side.index, ask_side.index
    look = (lambda: [[*map(of, range(20))] for of in best_of]) if case == "top" else (lambda: [of(0) for of in best_of])
    begin = time.process_time()
    for frame in frames:
        await feed.message_handler(frame, None, 0.0)
        look()
    seconds = time.process_time() - begin
    best = [of(0) for of in best_of]
    print(json.dumps({"seconds": seconds, "best": [[float(x) for x in level] for level in best]}), flush=True)


for line in sys.stdin:
    asyncio.run(read(Path(sys.argv[1]), line.strip()))
