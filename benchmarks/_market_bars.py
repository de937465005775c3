"""Minutes that look like a market's: a random walk on a tick grid, log-normal volumes on a lot grid, turnover, trade counts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import numpy as np

from zvt_crypto.domain.instrument import CryptoPair
from zvt_crypto.domain.time import NS_PER_MINUTE
from zvt_crypto.stores.postgres.bars import Bars

COLUMNS = ["instrument_id", "trades", "open_time", "known_at", "open", "high", "low", "close", "volume", "turnover", "source", "final"]
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def pairs(count: int) -> list[CryptoPair]:
    """Pairs of an exchange."""
    return [
        CryptoPair(
            id=f"cryptopair_binance_c{n:03d}usdt",
            exchange="binance",
            native_symbol=f"C{n:03d}USDT",
            base_asset=f"C{n:03d}",
            quote_asset="USDT",
        )
        for n in range(count)
    ]


def make_bars(seed: int, start_ns: int, rows: int) -> Bars:
    """As a live recording leaves them: known 60 s and some 10 ms after the open, each at a microsecond of its own."""
    rng = np.random.default_rng(seed)
    decimals = int(rng.integers(2, 6))
    tick = 10.0**-decimals
    level = 10.0 ** rng.uniform(0, 4)
    close = level * np.exp(np.cumsum(rng.normal(0, 6e-4, rows)))
    open_ = np.concatenate(([level], close[:-1]))
    spread = np.abs(rng.normal(0, 5e-4, (2, rows)))
    high, low = np.maximum(open_, close) * (1 + spread[0]), np.minimum(open_, close) * (1 - spread[1])
    open_, high, low, close = (np.maximum(np.round(each, decimals), tick) for each in (open_, high, low, close))
    volume = np.round(rng.lognormal(8 - np.log(level), 1.2, rows), 4)
    turnover = np.round(volume * (open_ + high + low + close) / 4 * (1 + rng.normal(0, 1e-4, rows)), 6)
    trades = rng.poisson(rng.lognormal(5, 0.8, rows))
    opens = start_ns // 1000 + np.arange(rows, dtype=np.int64) * (NS_PER_MINUTE // 1000)
    known = opens + 60_000_000 + rng.integers(20_000, 90_000, rows)
    return Bars(opens, known, open_, high, low, close, volume, turnover, trades.astype(np.int64), np.full(rows, 4, np.int64))


def records(key: int, bars: Bars) -> Iterator[tuple[Any, ...]]:
    """Rows for COPY into a kline table over a plain connection."""
    moment, us = _EPOCH, dt.timedelta(microseconds=1)
    for at, known, *prices, volume, turnover, trades, source in zip(*(column.tolist() for column in bars), strict=True):
        yield key, trades, moment + at * us, moment + known * us, *prices, volume, turnover, source, True
