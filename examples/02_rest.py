"""Ask a running platform (`zvt-crypto demo` or `up`) over REST, with nothing but the standard library.

python examples/02_rest.py [http://127.0.0.1:8000]
"""

import json
import sys
from urllib.request import urlopen

api = (sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000") + "/api/v1/crypto"


def get(path: str) -> dict:
    with urlopen(api + path, timeout=10) as answer:
        return json.load(answer)


print(get("/assets/search?q=bitcoin&exchange=binance")["results"])
for row in get("/kdata?symbol=BTCUSDT&exchange=binance&interval=1m&limit=3")["data"]:
    print(row["timestamp"], row["close"], "final" if row["final"] else "forming", row["source"])
book = get("/orderbook?symbol=BTCUSDT&exchange=binance&depth=3")
print("bids", book["bids"], "asks", book["asks"])
