"""Speak to an exchange without a database: its connector alone, REST and one live stream.

python examples/04_connector.py [REST WS]      addresses of an emulator; without them, the real Binance
"""

import asyncio
import itertools
import sys

from zvt_crypto.cli.connect import open_connector
from zvt_crypto.cli.settings import Binance, Settings

rest, ws = sys.argv[1:3] if len(sys.argv) > 2 else (None, None)


async def main() -> None:
    async with open_connector(Settings(binance=Binance(rest=rest, ws=ws)), "binance") as binance:
        await binance.fetch_instruments()
        for kline in await binance.fetch_kdata("BTC/USDT", "1h", limit=3):
            print(kline.open_ns, kline.close, kline.final)
        book = await binance.get_order_book("BTC/USDT", depth=5)
        print("best bid", book.bids[0], "best ask", book.asks[0])
        counter = itertools.count()
        async for trade in binance.subscribe_trades(["BTCUSDT", "BTC/USDT:USDT"]):
            print(trade.instrument, trade.price, trade.quantity, trade.side)
            if next(counter) >= 4:
                break


asyncio.run(main())
