"""Fetch a month of hours of one pair into the database, and look at them as a frame.

python examples/01_record_and_query.py [SYMBOL]
"""

import sys
import time

import zvt_crypto

symbol = sys.argv[1] if len(sys.argv) > 1 else "BTCUSDT"
month_ago = int(time.time()) - 30 * 86_400

written = zvt_crypto.record_data(symbol, interval="1h", start=month_ago, exchange="binance")
print(written)

frame = zvt_crypto.query_data(symbol, interval="1h", start=month_ago, exchange="binance")
print(frame.select("timestamp", "open", "high", "low", "close", "volume").tail(5))
print(f"{frame['close'].pct_change().std():.4%} is the standard deviation of an hour's return")
