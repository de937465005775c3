"""The tables of known names, held against what was recorded; and what a venue adds is told while its events are read as before."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from venues.bybit_parts import parser as bybit_parser
from venues.bybit_parts import recorded_spot
from zvt_crypto.domain.errors import Malformed
from zvt_crypto.venues import fields
from zvt_crypto.venues.binance import fields as binance
from zvt_crypto.venues.binance.parse import FrameParser as BinanceParser
from zvt_crypto.venues.binance.symbols import natives_of
from zvt_crypto.venues.bybit import fields as bybit
from zvt_crypto.venues.coinbase import fields as coinbase
from zvt_crypto.venues.coinbase.parse import FrameParser as CoinbaseParser
from zvt_crypto.venues.coinbase.product import Product
from zvt_crypto.venues.fields import FieldLog, FieldWatch, Shape, unknown_names
from zvt_crypto.venues.okx import fields as okx_fields
from zvt_crypto.venues.okx.parse import FrameParser as OkxParser
from zvt_crypto.venues.okx.units import traded

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
NEW = "zzNew"
Frame = tuple[int, bytes]
MARKETS = ("spot", "usdm")
VENUES = {"binance": binance, "bybit": bybit, "okx": okx_fields, "coinbase": coinbase}


def packed(path: str) -> Iterator[Frame]:
    for line in gzip.decompress((FIXTURES / path).read_bytes()).splitlines():
        at, _, raw = line.partition(b" ")
        yield int(at), raw


def binance_frames(market: str) -> Iterator[Frame]:
    for path in sorted((FIXTURES / "binance").glob(f"{market}_*.txt")):
        for line in path.read_bytes().splitlines():
            at, _, raw = line.partition(b" ")
            if raw.startswith(b'{"stream":'):  # answers by REST stand between them
                yield int(at), raw


RECORDED: dict[str, Callable[[], Iterator[Frame]]] = {
    "binance spot": lambda: binance_frames("spot"),
    "binance usdm": lambda: binance_frames("usdm"),
    "bybit": lambda: iter(recorded_spot()),
    "okx": lambda: packed("okx/frames_2022.txt.gz"),
    "coinbase": lambda: packed("coinbase/frames.txt.gz"),
}
KINDS = {
    "binance spot": {"trade", "aggTrade", "kline", "depthUpdate", "bookTicker"},
    "binance usdm": {"trade", "aggTrade", "kline", "depthUpdate", "bookTicker"},
    "bybit": {"publicTrade", "orderbook", "kline", "tickers", "answer"},
    "okx": {"trades", "books", "tickers", "answer"},
    "coinbase": {"market_trades", "l2_data", "ticker", "candles", "heartbeats", "subscriptions"},
}
ANSWERS = [
    *((f"binance/{market}_exchangeInfo.json.gz", binance.REST["exchangeInfo"]) for market in MARKETS),
    *((f"binance/{market}_depth.json", binance.REST["depth"]) for market in MARKETS),
    ("bybit/spot_instruments.json.gz", bybit.REST["instruments-info"]),
    *((f"okx/instruments_{market}.json", okx_fields.REST["public/instruments"]) for market in ("spot", "swap", "futures")),
    *((f"coinbase/rest_products_{market}.json", coinbase.REST["products"]) for market in ("spot", "future")),
    ("coinbase/rest_book.json", coinbase.REST["product_book"]),
    ("coinbase/rest_product.json", coinbase.REST["product"]),
    ("coinbase/rest_trades.json", coinbase.REST["ticker"]),
    ("coinbase/rest_exchange_trades.json", coinbase.REST["trades"]),
    ("coinbase/rest_candles.json", coinbase.REST["candles"]),
]


@pytest.fixture
def parses(listed, okx) -> dict[str, Callable[[], Callable[[bytes, int], Any]]]:
    """What makes a parser of one connection: frame → what it holds."""
    products = {name: Product(f"cryptopair_coinbase_{name[:3].lower()}usd", tick=0.01, tick_digits=2) for name in ("BTC-USD", "ETH-USD")}
    whole = frozenset(product.instrument for product in products.values())
    return {
        "binance spot": lambda: BinanceParser("spot", natives_of(listed, "spot")).parse,
        "binance usdm": lambda: BinanceParser("usdm", natives_of(listed, "usdm")).parse,
        "bybit": lambda: bybit_parser().parse,
        "okx": lambda: OkxParser({one.native_symbol: traded(one) for one in okx.listed}).parse,
        "coinbase": lambda: CoinbaseParser(products, {}, tickers=whole, quotes=whole).read,
    }


def kind_of(recording: str, payload: bytes) -> tuple[str, Shape] | None:
    return VENUES[recording.partition(" ")[0]].frame_kind(payload)


def objects_of(value: Any) -> list[dict[str, Any]]:
    """Every object in a message, the outermost first."""
    if isinstance(value, dict):
        return [value, *(one for below in value.values() for one in objects_of(below))]
    return [one for below in value for one in objects_of(below)] if isinstance(value, list) else []


def first_of_each(recording: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for _, raw in RECORDED[recording]():
        kind = kind_of(recording, raw)
        if kind is not None:
            found.setdefault(kind[0], raw)
    return found


@pytest.mark.parametrize("recording", RECORDED)
def test_every_name_in_the_recorded_frames_is_known(recording):
    seen: set[str] = set()
    for _, raw in RECORDED[recording]():
        kind = kind_of(recording, raw)
        assert kind is not None, raw[:200]
        seen.add(kind[0])
        assert unknown_names(raw, kind[1]) == [], raw[:200]
    assert seen == KINDS[recording]


@pytest.mark.parametrize(("path", "known"), ANSWERS, ids=[path for path, _ in ANSWERS])
def test_every_name_in_the_recorded_answers_is_known(path, known, monkeypatch):
    monkeypatch.setattr(fields, "FIRST_ROWS", 1_000_000)  # all of a long list, not its ends alone
    body = (FIXTURES / path).read_bytes()
    assert unknown_names(gzip.decompress(body) if path.endswith(".gz") else body, known) == []


@pytest.mark.parametrize("recording", RECORDED)
def test_a_new_field_at_any_depth_of_a_frame_is_told_and_the_events_are_the_same(recording, parses, kit):
    for name, raw in first_of_each(recording).items():
        plain = parses[recording]()(raw, 1)
        for place in range(min(4, len(objects_of(json.loads(raw))))):
            message = json.loads(raw)
            objects_of(message)[place][NEW] = {"what": "ever"} if name != "subscriptions" else []
            widened = json.dumps(message, separators=(",", ":")).encode()
            observer = kit.ListObserver()
            watch = FieldWatch(FieldLog("venue", observer))
            for second in range(3):
                watch.look([(widened, second)], lambda payload: kind_of(recording, payload))
            told = [(noted["kind"], noted["value"].rpartition(".")[2]) for noted in observer.noted("venue_drift")]
            is_open = name == "subscriptions" and place == 2  # its names are channels
            assert told == ([] if is_open else [(name, NEW)]), widened[:200]
            assert parses[recording]()(widened, 1) == plain, widened[:200]


@pytest.mark.parametrize("recording", RECORDED)
def test_a_field_that_is_not_there_is_read_or_refused_and_nothing_worse(recording, parses):
    refused = read = 0
    for raw in first_of_each(recording).values():
        for place, one in enumerate(objects_of(json.loads(raw))[:4]):
            for name in one:
                message = json.loads(raw)
                del objects_of(message)[place][name]
                without = json.dumps(message, separators=(",", ":")).encode()
                kind = kind_of(recording, without)
                tells = {"channel", "topic", "e", "event", "arg", "stream"}  # the kind: without it, it is another's
                assert kind is None or name in tells or unknown_names(without, kind[1]) == []
                try:
                    parses[recording]()(without, 1)
                    read += 1
                except Malformed:
                    refused += 1
    assert refused
    assert read


@pytest.mark.parametrize(
    ("venue", "kind", "frame", "named"),
    [
        ("binance", "depthUpdate", {"stream": "x@depth", "data": {"e": "depthUpdate", "b": [["1", "2", "3"]], "a": []}}, "data.b[3]"),
        ("bybit", "orderbook", {"topic": "orderbook.50.X", "data": {"b": [], "a": [["1", "2", "3", "4"]]}}, "data.a[4]"),
        ("okx", "candle", {"arg": {"channel": "candle1m"}, "data": [["1"] * 10]}, "data[10]"),
        ("okx", "books", {"arg": {"channel": "books"}, "data": [{"asks": [["1"] * 5]}]}, "data.asks[5]"),
    ],
)
def test_a_row_that_grew_is_told(venue, kind, frame, named):
    payload = json.dumps(frame).encode()
    found = VENUES[venue].frame_kind(payload)
    assert found is not None
    assert (found[0], unknown_names(payload, found[1])) == (kind, [named])


def test_klines_by_rest_that_grew_are_told():
    assert unknown_names(json.dumps([[1] * 13]).encode(), binance.REST["klines"]) == ["[13]"]
    assert unknown_names(json.dumps({"result": {"list": [["1"] * 8]}}).encode(), bybit.REST["kline"]) == ["result.list[8]"]
    assert unknown_names(json.dumps({"data": [["1"] * 7]}).encode(), okx_fields.REST["market/index-candles"]) == ["data[7]"]
