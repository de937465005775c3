"""A code that we do not know (a status, a type, an event, a channel) is drift with its value, at every venue, and stops nothing."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from venues.bybit_parts import ROW
from venues.bybit_parts import parser as bybit_parser
from zvt_crypto.domain.instrument import TradingStatus
from zvt_crypto.venues.binance import symbols as binance
from zvt_crypto.venues.binance.parse import FrameParser as BinanceParser
from zvt_crypto.venues.bybit import symbols as bybit
from zvt_crypto.venues.coinbase import symbols as coinbase
from zvt_crypto.venues.coinbase.parse import FrameParser as CoinbaseParser
from zvt_crypto.venues.okx import symbols as okx
from zvt_crypto.venues.okx.parse import FrameParser as OkxParser
from zvt_crypto.venues.parsed import Drift, DriftLog

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
NEVER = "NEVER_HEARD"


def recorded(path: str) -> Any:
    body = (FIXTURES / path).read_bytes()
    return json.loads(gzip.decompress(body) if path.endswith(".gz") else body)


def binance_listing(market: Any, **changes: Any) -> Any:
    info = recorded(f"binance/{market}_exchangeInfo.json.gz")
    info["symbols"] = [info["symbols"][0] | changes, info["symbols"][1]]
    return binance.parse_exchange_info(json.dumps(info).encode(), market)


def bybit_listing(**changes: Any) -> Any:
    rows = [ROW | changes, ROW | {"symbol": "ETHUSDT", "baseCoin": "ETH"}]
    return bybit.parse_instruments(json.dumps({"result": {"list": rows}, "time": 1_700_000_000_000}).encode(), "linear")


def okx_listing(market: Any, **changes: Any) -> Any:
    rows = recorded(f"okx/instruments_{market}.json")["data"]
    return okx.parse_instruments(json.dumps({"data": [rows[0] | changes, rows[1]]}).encode(), market)


def coinbase_listing(market: Any, **changes: Any) -> Any:
    rows = recorded(f"coinbase/rest_products_{market}.json")["products"]
    details = {"future_product_details": rows[0]["future_product_details"] | changes} if market == "future" else changes
    return coinbase.parse_products(json.dumps({"products": [rows[0] | details, rows[1]]}).encode(), market)


LISTINGS: list[tuple[str, Callable[[], Any], bool]] = [  # which code, the listing that has it, whether the instrument stays
    ("binance spot status", lambda: binance_listing("spot", status=NEVER), True),
    ("binance usdm status", lambda: binance_listing("usdm", status=NEVER), True),
    ("binance contract type", lambda: binance_listing("usdm", contractType=NEVER), False),
    ("bybit status", lambda: bybit_listing(status=NEVER), True),
    ("bybit contract type", lambda: bybit_listing(contractType=NEVER), False),
    ("okx spot state", lambda: okx_listing("spot", state=NEVER), True),
    ("okx swap state", lambda: okx_listing("swap", state=NEVER), True),
    ("okx contract type", lambda: okx_listing("swap", ctType=NEVER), False),
    ("coinbase status", lambda: coinbase_listing("spot", status=NEVER), True),
    ("coinbase product type", lambda: coinbase_listing("spot", product_type=NEVER), False),
    ("coinbase contract type", lambda: coinbase_listing("future", contract_expiry_type=NEVER), True),
    ("coinbase asset type", lambda: coinbase_listing("future", futures_asset_type=NEVER), False),
]


@pytest.mark.parametrize(("what", "listing", "stays"), LISTINGS, ids=[what for what, _, _ in LISTINGS])
def test_an_unknown_code_of_a_listing_is_drift_with_its_value(what, listing, stays):
    made = listing()
    (drift,) = made.drift
    assert NEVER in drift.value
    assert len(made.instruments) == 1 + stays
    if "stat" in what:
        assert made.instruments[0].status is TradingStatus.UNKNOWN


FRAMES: list[tuple[str, Callable[[], Any], dict[str, Any]]] = [
    ("binance event", lambda: BinanceParser("spot", {}).parse, {"stream": "x@y", "data": {"e": NEVER}}),
    ("binance stream", lambda: BinanceParser("spot", {}).parse, {"stream": f"x@{NEVER}", "data": {"a": 1}}),
    ("bybit topic", lambda: bybit_parser().parse, {"topic": f"{NEVER}.BTCUSDT", "data": {}}),
    ("bybit answer", lambda: bybit_parser().parse, {"op": NEVER, "success": True}),
    ("okx event", lambda: OkxParser({}).parse, {"event": NEVER}),
    ("okx channel", lambda: OkxParser({}).parse, {"arg": {"channel": NEVER, "instId": "BTC-USDT"}, "data": []}),
    ("coinbase channel", lambda: lambda raw, ns: CoinbaseParser({}).read(raw, ns)[1], {"channel": NEVER, "sequence_num": 0, "events": []}),
    ("coinbase message", lambda: lambda raw, ns: CoinbaseParser({}).read(raw, ns)[1], {"type": NEVER}),
]


@pytest.mark.parametrize(("what", "parse", "frame"), FRAMES, ids=[what for what, _, _ in FRAMES])
def test_an_unknown_code_of_a_frame_is_drift_with_its_value(what, parse, frame):
    found = parse()(json.dumps(frame, separators=(",", ":")).encode(), 1)
    (drift,) = [found] if isinstance(found, Drift) else found
    assert isinstance(drift, Drift)
    assert NEVER in drift.value


def test_drift_is_told_with_the_exchange_and_the_value(kit):
    observer = kit.ListObserver()
    log = DriftLog("okx", "okx 1", observer)
    for _ in range(3):
        log.take(Drift("channel", NEVER))
    assert observer.noted("venue_drift") == [{"exchange": "okx", "stream": "okx 1", "what": "channel", "value": repr(NEVER)}]
    assert observer.counted["venue_drift"] == 3
