"""cryptofeed's part of decode.py: runs in cryptofeed's own environment. Arguments: folder, case, seconds."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from cryptofeed.defines import CANDLES, TICKER, TRADES
from cryptofeed.exchanges import Binance
from cryptofeed.symbols import Symbols

CHANNELS = {"agg": TRADES, "kline": CANDLES, "quote": TICKER}
last: list[object] = []


async def keep(event: object, _: float) -> None:
    last[:] = [event]


async def main(folder: Path, case: str, seconds: float) -> None:
    Symbols.set("BINANCE", *Binance._parse_symbol_data(json.loads((folder / "info.json").read_bytes())))  # else it asks the exchange
    channel = CHANNELS[case]
    feed = Binance(symbols=["BTC-USDT"], channels=[channel], callbacks={channel: keep}, candle_closed_only=False)
    frames = (folder / f"{case}.jsonl").read_text("utf-8").splitlines()
    handle = feed.message_handler
    for frame in frames:
        await handle(frame, None, 0.0)
    turns, begin = 0, time.process_time()
    while time.process_time() - begin < seconds:
        for frame in frames:
            await handle(frame, None, 0.0)
        turns += 1
    rate = turns * len(frames) / (time.process_time() - begin)
    fields = {"agg": ("price", "amount"), "kline": ("close", "volume"), "quote": ("bid", "ask")}[case]
    print(json.dumps({"rate": rate, "last": [float(getattr(last[0], name)) for name in fields]}))


asyncio.run(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
