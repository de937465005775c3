"""What has to be followed to hear all of a recording, of every exchange."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from zvt_crypto.domain.time import Interval
from zvt_crypto.emulator.capture import Capture, read_capture
from zvt_crypto.emulator.readings import READINGS
from zvt_crypto.emulator.subscriptions import subscriptions_of

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
CONTRACTS = ("perp", "future")


def held(capture: Capture) -> set[tuple[Any, ...]]:
    return {one[1:] for one in subscriptions_of(capture)}


def test_binances_streams_are_named() -> None:
    capture = read_capture(FIXTURES / "emulator" / "hftbacktest_usdm_ethusdt.gz")
    assert {one.exchange for one in subscriptions_of(capture)} == {"binance"}
    assert held(capture) == {("ETHUSDT", CONTRACTS, name, None) for name in ("trade", "depth", "quote")}
    other = read_capture(FIXTURES / "emulator" / "cryptofeed_2021_binance.gz")
    assert ("BTCUSDT", ("pair",), "agg", None) in held(other)
    assert ("BTCUSDT", ("pair",), "kline", Interval("1m")) in held(other)


def test_bybits_topics_are_named() -> None:
    pair = {("trade", None), ("depth", None), ("ticker", None), ("kline", Interval("1m"))}
    assert held(read_capture(FIXTURES / "bybit" / "spot_frames.txt.gz")) == {
        (symbol, ("pair",), *what) for symbol in ("BTCUSDT", "ETHUSDT") for what in pair
    }
    assert held(read_capture(FIXTURES / "bybit" / "linear_ob500.txt.gz")) == {("XRPUSDT", CONTRACTS, "depth", None)}


def test_a_contracts_ticker_of_bybit_tells_its_mark_price_too(tmp_path: Path) -> None:
    frame = {"topic": "tickers.BTCUSDT", "type": "snapshot", "ts": 1_786_310_822_607, "data": {"symbol": "BTCUSDT", "markPrice": "1"}}
    other = frame | {"topic": "kline.3.BTCUSDT", "data": []}
    (tmp_path / "a.txt").write_text("".join(f"1786310822607000000 {json.dumps(one, separators=(',', ':'))}\n" for one in (frame, other)))
    assert held(read_capture(tmp_path / "a.txt")) == {("BTCUSDT", CONTRACTS, "ticker", None), ("BTCUSDT", CONTRACTS, "mark", None)}


def test_okxs_channels_are_named() -> None:
    capture = read_capture(FIXTURES / "okx" / "frames_2022.txt.gz")
    names = (("BTC-USDT", ("pair",)), ("UNI-USD-SWAP", CONTRACTS), ("BTC-USD-220527", CONTRACTS))
    expected = {(*name, what, None) for name in names for what in ("trade", "depth", "ticker")}
    assert held(capture) <= expected
    assert {one for one in expected if one[0] == "BTC-USDT"} <= held(capture)


@pytest.mark.parametrize("file", ["frames.txt.gz", "feed_frames.txt"])
def test_both_of_coinbases_apis_are_named_alike(file: str) -> None:
    found = {one for one in held(read_capture(FIXTURES / "coinbase" / file)) if one[0] == "BTC-USD"}
    assert {("BTC-USD", ("pair",), "ticker", None), ("BTC-USD", ("pair",), "quote", None)} <= found
    if file == "frames.txt.gz":
        assert {one[2] for one in found} == {"ticker", "quote", "trade", "depth", "kline"}


def test_every_exchange_whose_recordings_are_played_has_names() -> None:
    from zvt_crypto.emulator import subscriptions

    assert set(subscriptions._OWN) == set(READINGS)
