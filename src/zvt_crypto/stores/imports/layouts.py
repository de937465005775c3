"""The formats of files: what a file's name says, what its columns are, and how it is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from zvt_crypto.domain.errors import BadInput, UnknownInterval, shown
from zvt_crypto.domain.exchanges import ALL_EXCHANGES, check_exchange
from zvt_crypto.domain.imports import ImportNoun
from zvt_crypto.domain.instrument import Kind
from zvt_crypto.domain.market import TradeStream
from zvt_crypto.domain.time import Interval, parse_interval
from zvt_crypto.stores.imports.times import TimeRule

Format = Literal["freqtrade", "binance-vision", "generic"]
Market = Literal["spot", "usdm"]
Columns = Mapping[str, str]  # our word → the file's column


class ImportOptions(msgspec.Struct, frozen=True):
    """What a user says of files beside their names."""

    format: Format
    exchange: str | None = None
    symbol: str | None = None
    interval: Interval | None = None
    market: Market | None = None
    what: Literal["klines", "trades"] | None = None
    stream: TradeStream | None = None
    columns: Columns = {}
    time: TimeRule = TimeRule()


class Source(msgspec.Struct, frozen=True):
    """A file, and what it holds. `kind` None: the name fits a pair and a perpetual, and nobody said which. `named`: the instrument as the
    file's own name has it.

    `positions`: the columns of a file without a header, by how many there are; `columns` None: told by the header's words.
    """

    path: Path
    exchange: str | None
    symbol: str
    kind: Kind | None
    noun: ImportNoun
    interval: Interval | None = None
    stream: TradeStream = "trade"
    dense: bool = False
    columns: Columns | None = None
    positions: Mapping[int, Sequence[str]] | None = None
    is_native: bool = False
    named: str = ""


ENDINGS = (".csv", ".txt", ".tsv", ".json", ".parquet", ".feather", ".arrow", ".ipc", ".zip")


def stem_of(path: Path) -> str | None:
    """The file's name without its endings; None where it is no file of rows."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    ending = Path(name).suffix.lower()
    return name[: -len(ending)] if ending in ENDINGS else None


def source_of(path: Path, options: ImportOptions) -> Source:
    """What a file holds, by its name and what the user said. Raises BadInput, naming the file, where that is not known."""
    stem = stem_of(path)
    if stem is None:
        raise BadInput(f"{path}: ends in none of {' '.join(ENDINGS)}, plain or with .gz")
    return _READERS[options.format](path, stem, options)


# ── freqtrade ─────────────────────────────────────────────────────────────────────────────────────────────────────────

_FREQTRADE = re.compile(r"(?P<pair>\S+?)-(?:(?P<interval>\d+[a-zA-Z]{1,2})(?:-(?P<candle>[a-z_A-Z]+))?|trades)")
_FREQTRADE_DATED = re.compile(r"([^_]+)_([^_]+?)(?:_([^_]+?)(?:-(\d{6}))?)?")
_BARS = ("time", "open", "high", "low", "close", "volume")
_FREQTRADE_BARS = {"time": "date"} | {name: name for name in _BARS[1:]}
_FREQTRADE_TRADES = {"time": "timestamp", "trade_id": "id", "side": "side", "price": "price", "quantity": "amount"}
FREQTRADE_ORDER: dict[int, Sequence[str]] = {
    6: ("date", "open", "high", "low", "close", "volume"),
    7: ("timestamp", "id", "type", "side", "price", "amount", "cost"),
}


def _freqtrade(path: Path, stem: str, options: ImportOptions) -> Source:
    found = _FREQTRADE.fullmatch(stem)
    pair = found and _FREQTRADE_DATED.fullmatch(found["pair"])
    if not found or not pair:
        raise BadInput(f"{path}: {shown(path.name)} is no name of freqtrade's: BTC_USDT-1h.feather, BTC_USDT-trades.feather, …")
    exchange = options.exchange or _exchange_of(path)
    if exchange is None:
        raise BadInput(f"{path}: no folder above it is named after an exchange: say which with --exchange")
    base, quote, settle, expiry = pair.groups()
    symbol = f"{base}/{quote}" + (f":{settle}" if settle else "") + (f"-{expiry}" if expiry else "")
    kind: Kind = "future" if expiry else "perp" if settle else "pair"
    made = Source(path, exchange, options.symbol or symbol, kind, "klines", positions=FREQTRADE_ORDER, named=symbol)
    if found["interval"] is None:
        # ccxt, through which freqtrade fetches, asks Binance for aggregated trades.
        stream = options.stream or ("agg" if exchange == "binance" else "trade")
        return msgspec.structs.replace(made, noun="trades", stream=stream, columns=_FREQTRADE_TRADES)
    candle = (found["candle"] or "").lower()
    if candle == "funding_rate":  # its interval is the funding's, or none of ours
        return msgspec.structs.replace(made, noun="funding", columns={"time": "date", "rate": "open"})
    made = msgspec.structs.replace(made, interval=_interval(path, found["interval"]), columns=_FREQTRADE_BARS)
    match candle:
        case "" | "spot" | "futures":
            return made
        case "mark":
            return msgspec.structs.replace(made, noun="mark", columns={"time": "date", "close": "close"})
        case other:
            raise BadInput(f"{path}: candles of the kind {shown(other)} are not stored: only futures, mark and funding_rate")


def _exchange_of(path: Path) -> str | None:
    """freqtrade keeps files under data/<exchange>."""
    return _nearest(path, ALL_EXCHANGES)


# ── Binance Vision ────────────────────────────────────────────────────────────────────────────────────────────────────

_VISION = re.compile(
    r"(?P<symbol>[^-]+)-(?:(?P<noun>trades|aggTrades|fundingRate)|(?P<interval>\d+(?:mo|[smhdwM])))-\d{4}-\d{2}(?:-\d{2})?"
)
_VISION_KLINES = ("time", *_BARS[1:], "close_time", "turnover", "trades", "taker_volume", "taker_turnover", "ignored")
_VISION_AGG = ("trade_id", "price", "quantity", "first_id", "last_id", "time", "buyer_maker")
_VISION_TRADES = ("trade_id", "price", "quantity", "turnover", "time", "buyer_maker")
_VISION_POSITIONS: dict[str, dict[int, Sequence[str]]] = {
    "klines": {12: _VISION_KLINES},
    "aggTrades": {7: _VISION_AGG, 8: (*_VISION_AGG, "best_match")},
    "trades": {6: _VISION_TRADES, 7: (*_VISION_TRADES, "best_match")},
    "fundingRate": {3: ("time", "hours", "rate")},
}
_VISION_KINDS: dict[str, Kind] = {"spot": "pair", "um": "perp", "usdm": "perp"}


def _vision(path: Path, stem: str, options: ImportOptions) -> Source:
    found = _VISION.fullmatch(stem)
    if not found:
        raise BadInput(
            f"{path}: {shown(path.name)} is no name of Binance Vision's: BTCUSDT-1m-2024-08.zip, BTCUSDT-aggTrades-2024-08-08.zip"
        )
    market = options.market or _nearest(path, ("spot", "um", "cm", "option"))
    of = _nearest(path, ("klines", "markPriceKlines", "indexPriceKlines", "premiumIndexKlines"))
    if market in ("cm", "option"):
        raise BadInput(f"{path}: markets of Binance other than spot and USD-M are not stored (it lies in a folder {market!r})")
    if of in ("indexPriceKlines", "premiumIndexKlines"):
        raise BadInput(f"{path}: {of} are not stored: only klines and markPriceKlines")
    exchange = check_exchange(options.exchange or "binance")
    kind = _VISION_KINDS.get(market or "")
    if found["noun"] == "fundingRate" or of == "markPriceKlines":
        kind = "perp"
    if kind == "perp" and "_" in found["symbol"]:
        kind = "future"
    layout = found["noun"] or "klines"
    noun: ImportNoun = "trades" if layout in ("trades", "aggTrades") else "funding" if layout == "fundingRate" else "klines"
    if of == "markPriceKlines" and noun == "klines":
        noun = "mark"
    return Source(
        path,
        exchange,
        options.symbol or found["symbol"],
        kind,
        noun,
        interval=_interval(path, found["interval"]) if found["interval"] else None,
        stream="agg" if layout == "aggTrades" else "trade",
        dense=True,
        positions=_VISION_POSITIONS[layout],
        is_native=options.symbol is None,
        named=found["symbol"],
    )


def _nearest(path: Path, names: Sequence[str]) -> str | None:
    """The nearest folder above a file that is called so."""
    return next((folder.name for folder in path.absolute().parents if folder.name in names), None)


# ── anything else ─────────────────────────────────────────────────────────────────────────────────────────────────────

# Our word → those that files use, folded; the first that a file has is meant.
ALIASES: dict[str, Sequence[str]] = {
    "time": ("time", "timestamp", "open_time", "opentime", "date", "datetime", "ts", "t", "unix", "transact_time"),
    "open": ("open", "o"),
    "high": ("high", "h"),
    "low": ("low", "l"),
    "close": ("close", "c"),
    "volume": ("volume", "vol", "v", "base_volume"),
    "turnover": ("turnover", "quote_volume", "quote_asset_volume"),
    "trades": ("trades", "count", "number_of_trades", "trade_count", "tradecount"),
    "trade_id": ("trade_id", "id", "tid", "agg_trade_id", "venue_trade_id"),
    "price": ("price", "p"),
    "quantity": ("quantity", "qty", "size", "amount", "q"),
    "side": ("side", "taker_side"),
    "buyer_maker": ("is_buyer_maker", "buyer_maker", "isbuyermaker"),
}


def _generic(path: Path, stem: str, options: ImportOptions) -> Source:
    if options.symbol is None:
        raise BadInput(f"{path}: say which instrument this is with --symbol")
    said = dict(options.columns)
    if unknown := set(said) - set(ALIASES):
        raise BadInput(f"--columns: {shown(', '.join(sorted(unknown)))} is none of {', '.join(ALIASES)}")
    is_trades = options.what == "trades" or (options.what is None and bool({"price", "trade_id", "quantity"} & set(said)))
    if is_trades:
        return Source(path, options.exchange, options.symbol, None, "trades", stream=options.stream or "trade")
    if options.interval is None:
        raise BadInput(f"{path}: say how long its bars are with --interval (for trades, --what trades)")
    return Source(path, options.exchange, options.symbol, None, "klines", interval=options.interval)


def _interval(path: Path, text: str) -> Interval:
    try:
        return parse_interval("1M" if text.lower() == "1mo" else text)
    except UnknownInterval as error:
        raise BadInput(f"{path}: {error}") from None


_READERS = {"freqtrade": _freqtrade, "binance-vision": _vision, "generic": _generic}
