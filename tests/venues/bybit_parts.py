"""Bybit's recorded frames, instruments to read them with, and frames written as the venue writes them."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from functools import cache
from pathlib import Path

from zvt_crypto.domain.instrument import CryptoFuture, CryptoPerp, Instruments, assign_ids
from zvt_crypto.venues.bybit.parse import FrameParser
from zvt_crypto.venues.bybit.symbols import natives_of, parse_instruments

FRAMES = Path(__file__).resolve().parent.parent / "fixtures" / "bybit"
BTC, ETH = "cryptopair_bybit_btcusdt", "cryptopair_bybit_ethusdt"
PERP, INVERSE, DATED = "cryptoperp_bybit_btcusdt", "cryptoperp_bybit_btcusd", "cryptofuture_bybit_btcusdt_261225"
TS = 1_786_310_816_516
# A linear perpetual as instruments-info has it.
ROW = {
    "symbol": "BTCUSDT",
    "contractType": "LinearPerpetual",
    "status": "Trading",
    "baseCoin": "BTC",
    "quoteCoin": "USDT",
    "launchTime": "1585526400000",
    "deliveryTime": "0",
    "priceScale": "2",
    "priceFilter": {"minPrice": "0.10", "maxPrice": "199999.80", "tickSize": "0.10"},
    "lotSizeFilter": {"maxOrderQty": "100.000", "minOrderQty": "0.001", "qtyStep": "0.001", "minNotionalValue": "5"},
    "fundingInterval": 480,
    "settleCoin": "USDT",
}


def perp(native: str, base: str, quote: str, settles: str) -> CryptoPerp:
    shared = {"id": "", "exchange": "bybit", "native_symbol": native, "base_asset": base, "quote_asset": quote}
    return CryptoPerp(**shared, underlying_asset=base, settlement_currency=settles, tick=Decimal("0.1"), lot=Decimal("0.001"))


@cache
def spot_body() -> bytes:
    return gzip.decompress((FRAMES / "spot_instruments.json.gz").read_bytes())


@cache
def listed() -> Instruments:
    """The recorded spot listing, and three contracts."""
    dated = CryptoFuture(
        id="",
        exchange="bybit",
        native_symbol="BTCUSDT-25DEC26",
        base_asset="BTC",
        quote_asset="USDT",
        underlying_asset="BTC",
        settlement_currency="USDT",
        expiry_ns=1_798_185_600_000_000_000,
    )
    contracts = [perp("BTCUSDT", "BTC", "USDT", "USDT"), perp("BTCUSD", "BTC", "USD", "BTC"), perp("XRPUSDT", "XRP", "USDT", "USDT"), dated]
    return Instruments(assign_ids([*parse_instruments(spot_body(), "spot").instruments, *contracts], Instruments()))


def parser(category: str = "spot", **wanted: object) -> FrameParser:
    return FrameParser(category, natives_of(listed(), category), **wanted)


def expecting(category: str = "spot", **wanted: object) -> FrameParser:
    """One that expects all that is recorded, and some topics that nobody has."""
    made = parser(category, **wanted)
    kinds = ("publicTrade", "tickers", "kline.1", "kline.5", "orderbook.1", "orderbook.200", "orderbook.500")
    made.expect([f"{kind}.{native}" for kind in kinds for native in ("BTCUSDT", "ETHUSDT", "XRPUSDT", "NOUSDT")] + ["liquidation.BTCUSDT"])
    return made


@cache
def recorded_spot() -> list[tuple[int, bytes]]:
    """(recv_ns, raw) of the whole recording."""
    rows = (line.split(" ", 1) for line in gzip.decompress((FRAMES / "spot_frames.txt.gz").read_bytes()).decode().splitlines())
    return [(int(at), raw.encode()) for at, raw in rows]


@cache
def recorded_ob500() -> list[bytes]:
    return gzip.decompress((FRAMES / "linear_ob500.txt.gz").read_bytes()).splitlines()


def books_of(frames: list[bytes], symbol: str) -> list[bytes]:
    return [raw for raw in frames if f".{symbol}".encode() in raw[:40] and raw.startswith(b'{"topic":"orderbook')]


def wired(message: dict) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode()


def book(kind: str, update: int, bids=(), asks=(), symbol: str = "BTCUSDT", level: int = 200, **more: object) -> bytes:
    data = {"s": symbol, "b": list(bids), "a": list(asks), "u": update, "seq": update * 7}
    return wired({"topic": f"orderbook.{level}.{symbol}", "ts": TS, "type": kind, "data": data, "cts": TS - 30, **more})


def trade(number: int, symbol: str = "BTCUSDT", **more: object) -> dict:
    return {
        "i": str(number),
        "T": TS,
        "p": "65140.5",
        "v": "0.01",
        "S": "Buy",
        "seq": number,
        "s": symbol,
        "BT": False,
        "RPI": False,
        **more,
    }


def trades(*rows: dict, symbol: str = "BTCUSDT") -> bytes:
    return wired({"topic": f"publicTrade.{symbol}", "ts": TS, "type": "snapshot", "data": list(rows)})


def ticker(kind: str, symbol: str = "BTCUSDT", ts: int = TS, **fields: str) -> bytes:
    return wired({"topic": f"tickers.{symbol}", "type": kind, "data": {"symbol": symbol, **fields}, "cs": 1, "ts": ts})


def kline(symbol: str = "BTCUSDT", name: str = "1", **more: object) -> bytes:
    row = {"start": 1_786_310_760_000, "end": 1_786_310_819_999, "interval": name, "open": "10", "close": "11", "high": "12", "low": "9"}
    row |= {"volume": "0.5", "turnover": "5.25", "confirm": False, "timestamp": TS, **more}
    return wired({"type": "snapshot", "topic": f"kline.{name}.{symbol}", "data": [row], "ts": TS})
