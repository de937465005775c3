"""ccxt.pro's part of decode.py: runs in ccxt's own environment. Arguments: folder, case, seconds."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

import ccxt.pro


async def main(folder: Path, case: str, seconds: float) -> None:
    exchange = ccxt.pro.binance()
    exchange.options |= {"crossMarginPairsData": [], "isolatedMarginPairsData": []}  # else it asks the exchange
    exchange.set_markets(exchange.parse_markets(json.loads((folder / "info.json").read_bytes())["symbols"]))
    client = exchange.client("wss://stream.binance.com:9443/ws/1")
    # ccxt subscribes by message and so receives the bare event; decoding is part of its client's own handler (orjson is installed).
    frames = (folder / f"{case}.bare.jsonl").read_text("utf-8").splitlines()
    handle = client.handle_text_or_binary_message
    for frame in frames:
        handle(frame)
    turns, begin = 0, time.process_time()
    while time.process_time() - begin < seconds:
        for frame in frames:
            handle(frame)
        turns += 1
    rate = turns * len(frames) / (time.process_time() - begin)
    await exchange.close()
    print(json.dumps({"rate": rate, "last": last_of(exchange, case)}))


def last_of(exchange: ccxt.pro.binance, case: str) -> list[float]:
    """What the last frame became: the proof that the frames were not thrown away."""
    if case in ("trade", "agg"):
        trade = exchange.trades["BTC/USDT"][-1]
        return [trade["price"], trade["amount"]]
    if case == "kline":
        bar = exchange.ohlcvs["BTC/USDT"]["1m"][-1]
        return [float(bar[4]), float(bar[5])]
    quote = exchange.bidsasks["BTC/USDT"]
    return [quote["bid"], quote["ask"]]


asyncio.run(main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])))
