"""The example answers of the API document. A test asks a real server for each and compares."""

from __future__ import annotations

from typing import Any

import msgspec

from zvt_crypto.api.shapes import (
    Alive,
    AssetRow,
    Assets,
    Exchanges,
    FoundAsset,
    FoundAssets,
    Kdata,
    KdataRow,
    OrderBook,
    PairRow,
    Pairs,
    TickerRow,
)

_BTC = AssetRow("crypto_binance_btc", "BTC", "Bitcoin", None, "21000000", "binance")
_PAIR = PairRow(
    id="cryptopair_binance_btcusdt",
    symbol="BTCUSDT",
    kind="pair",
    exchange="binance",
    base_asset="BTC",
    quote_asset="USDT",
    status="active",
    min_trade_amount="0.00001",
    min_notional="5",
    price_precision=2,
    quantity_precision=5,
    tick="0.01",
    lot="0.00001",
    ccxt_symbol="BTC/USDT",
    listed=None,
    underlying_asset=None,
    settlement_currency=None,
    contract_size=None,
    funding_rate=None,
    expiry=None,
)
_KLINE = KdataRow(
    timestamp="2024-08-09T00:00:00.000Z",
    open="61640.00",
    high="61740.50",
    low="61600.00",
    close="61700.10",
    volume="12.34500",
    turnover="761234.56",
    trades=1234,
    final=True,
    source="venue",
)
_FORMING = KdataRow(
    timestamp="2024-08-09T00:01:00.000Z",
    open="61700.10",
    high="61710.00",
    low="61695.00",
    close="61709.99",
    volume="0.50000",
    turnover="30852.00",
    trades=17,
    final=False,
    source="venue",
)
_BOOK = OrderBook(
    bids=[("61709.99", "1.50000"), ("61709.50", "0.20000")],
    asks=[("61710.00", "0.75000"), ("61710.40", "2.00000")],
    timestamp="2024-08-09T00:01:15.087Z",
    symbol="cryptopair_binance_btcusdt",
    stale=False,
    age_ms=12,
    update_id=50310425861,
)
_TICKER = TickerRow(
    symbol="cryptopair_binance_btcusdt",
    price="61709.99",
    volume="25310.12345",
    timestamp="2024-08-09T00:01:15.087Z",
    turnover="1512345678.90",
    open="57200.00",
    high="62745.14",
    low="56986.00",
    bid="61709.99",
    ask="61710.00",
    stale=False,
)

# By path below the prefix: the answer's shape and an instance of it.
EXAMPLES: dict[str, msgspec.Struct] = {
    "/exchanges": Exchanges(["binance"]),
    "/pairs": Pairs([_PAIR], 1),
    "/kdata": Kdata([_KLINE, _FORMING], 2),
    "/ticker": _TICKER,
    "/orderbook": _BOOK,
    "/assets": Assets([_BTC], 1),
    "/assets/search": FoundAssets(
        [FoundAsset("crypto_binance_btc", "BTC", "Bitcoin", None, "21000000", "binance", ["binance"], ["crypto_binance_btc"])], 1
    ),
}
ALIVE = Alive("ok", "0.1.0", 86_400_000, "2024-08-09T00:01:15.087Z")


def plain(example: msgspec.Struct) -> Any:
    """The example as JSON builtins."""
    return msgspec.to_builtins(example)
