"""Listen to a running platform (`zvt-crypto demo` or `up`): trades and the top of the book, as they happen.

python examples/03_websocket.py [ws://127.0.0.1:8001/ws/v1] [MESSAGES]
"""

import asyncio
import sys

import aiohttp

url = sys.argv[1] if len(sys.argv) > 1 else "ws://127.0.0.1:8001/ws/v1"
most = int(sys.argv[2]) if len(sys.argv) > 2 else 20


async def main() -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        for number, channel in enumerate(("trade", "depth")):
            params = {"channel": channel, "symbol": "BTCUSDT", "exchange": "binance"}
            await ws.send_json({"id": number, "method": "subscribe", "params": params})
        for _ in range(most):
            message = await ws.receive_json()
            print(message.get("channel"), message.get("type"), message.get("seq"), str(message.get("data", message))[:100])


asyncio.run(main())
