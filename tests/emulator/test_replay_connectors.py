"""Recordings of all four exchanges, played to who reads them live: our connectors, in memory and on virtual time, and ccxt."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from zvt_crypto.domain.errors import Disconnected
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.domain.market import Trade
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.capture import Capture, read_capture
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.memory import MemoryTransport
from zvt_crypto.emulator.replay import ReplayWorld
from zvt_crypto.emulator.subscriptions import subscriptions_of
from zvt_crypto.engine.book import Book
from zvt_crypto.ports import Channel, Subscription
from zvt_crypto.venues import VENUES
from zvt_crypto.venues.binance import BinanceHosts
from zvt_crypto.venues.budget import LimitBudget
from zvt_crypto.venues.bybit import BybitHosts
from zvt_crypto.venues.coinbase import CoinbaseHosts
from zvt_crypto.venues.okx import OkxHosts

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
HOSTS: dict[str, Any] = {"binance": BinanceHosts, "bybit": BybitHosts, "okx": OkxHosts, "coinbase": CoinbaseHosts}
Ids = Callable[[Any], Iterator[str]]


def binance_ids(message: Any) -> Iterator[str]:
    data = message.get("data", {})
    if data.get("e") == "trade":
        yield str(data["t"])


def bybit_ids(message: Any) -> Iterator[str]:
    if message.get("topic") == "publicTrade.BTCUSDT":
        yield from (row["i"] for row in message["data"])


def okx_ids(message: Any) -> Iterator[str]:
    if message.get("arg") == {"channel": "trades", "instId": "BTC-USDT"}:
        yield from (row["tradeId"] for row in message.get("data", ()))


def coinbase_ids(message: Any) -> Iterator[str]:
    if message.get("channel") == "market_trades":
        rows = [row for event in message["events"] for row in event["trades"] if row["product_id"] == "BTC-USD"]
        yield from sorted(row["trade_id"] for row in rows)


CASES: dict[str, tuple[str, str, Ids]] = {
    "binance": ("emulator/hftbacktest_spot_btcusdt.gz", "cryptopair_binance_btcusdt", binance_ids),
    "bybit": ("bybit/spot_frames.txt.gz", "cryptopair_bybit_btcusdt", bybit_ids),
    "okx": ("okx/frames_2022.txt.gz", "cryptopair_okx_btcusdt", okx_ids),
    "coinbase": ("coinbase/frames.txt.gz", "cryptopair_coinbase_btcusd", coinbase_ids),
}


def recorded_ids(path: Path, ids: Ids) -> list[str]:
    lines = gzip.decompress(path.read_bytes()).splitlines()
    return [one for text in lines for one in ids(json.loads(text.partition(b" ")[2]))]


def heard_live(capture: Capture, asked: list[Subscription] | None = None) -> tuple[list[Any], dict[str, Any]]:
    """What the connector of the recording's exchange gives of it (of all that it holds where nothing is asked for), and each book of
    REST at the end."""

    async def whole() -> tuple[list[Any], dict[str, Any]]:
        clock = virtual.VirtualClock()
        world = ReplayWorld(capture, speed=1.0, gather_s=2.0)
        transport = MemoryTransport(DIALECTS[capture.exchange](world), clock, latency_ms=5)
        make: Any = VENUES[capture.exchange]
        hosts = HOSTS[capture.exchange].local("http://emulator", "ws://emulator")
        connector = make(transport, clock, LimitBudget(clock, Silent()), Silent(), instruments=Instruments(), hosts=hosts)
        await connector.fetch_instruments()
        wanted = asked or everything(capture, connector.instruments)
        events: list[Any] = []

        async def follow(parts: list[Subscription]) -> None:
            stream = await connector.open_stream(parts)
            with contextlib.suppress(Disconnected):
                while True:
                    events.extend(await stream.receive())

        readers = [asyncio.ensure_future(follow(list(parts))) for parts in connector.routes(wanted)]
        while not world.done:
            await clock.sleep(1)
            for reader in readers:
                assert not reader.done() or reader.exception() is None, reader
        await clock.sleep(1)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        books = {one.instrument: await connector.get_order_book(one.instrument, 20) for one in wanted if one.channel == "depth"}
        await connector.close()
        await transport.close()
        return events, books

    return virtual.run(whole(), start_ns=capture.first_ns)  # our clock and the exchange's agree


def everything(capture: Capture, listed: Instruments) -> list[Subscription]:
    """All that a recording holds, under the names of this platform."""
    made = []
    for one in subscriptions_of(capture):
        found = next((known for kind in one.kinds if (known := listed.find_native(one.exchange, kind, one.native))), None)
        assert found is not None, one
        made.append(Subscription(found.id, cast("Channel", one.channel), one.interval))
    return made


class Silent:
    """ports.Observer that hears nothing."""

    def count(self, name: str, amount: int = 1, **labels: str) -> None: ...

    def gauge(self, name: str, value: float, **labels: str) -> None: ...

    def note(self, level: str, event: str, **fields: object) -> None: ...


@pytest.mark.parametrize("exchange", CASES)
def test_a_connector_reads_the_recorded_trades_id_by_id(exchange: str) -> None:
    file, instrument, ids = CASES[exchange]
    events, _ = heard_live(read_capture(FIXTURES / file), [Subscription(instrument, "trade")])
    heard = [event.trade_id for event in events if isinstance(event, Trade)]
    known = recorded_ids(FIXTURES / file, ids)
    assert heard == list(dict.fromkeys(known))
    assert len(heard) > 9


@pytest.mark.parametrize("exchange", [name for name in CASES if name != "okx"])
def test_a_connector_builds_the_recorded_book(exchange: str) -> None:
    """The recording of OKX is of 2022: its books carry no number that follows another, and are shown as stale."""
    file, instrument, _ = CASES[exchange]
    events, books = heard_live(read_capture(FIXTURES / file), [Subscription(instrument, "depth")])
    built = Book(instrument)
    for event in events:
        if event.instrument == instrument and type(event).__name__.startswith("Book"):
            built.apply_event(event)
    assert built.is_valid
    bids, asks = built.top(20)
    assert (list(bids), list(asks)) == (list(books[instrument].bids), list(books[instrument].asks))
    assert len(bids) == 20


def test_a_connector_reads_exchanges_feed_as_advanced_trade() -> None:
    """Our connector speaks Advanced Trade alone; what was recorded of Exchange's feed reaches it all the same."""
    capture = read_capture(FIXTURES / "coinbase" / "feed_frames.txt")
    capture.frames = [frame for frame in capture.frames if frame.symbol == "ETC-GBP"]
    events, _ = heard_live(capture, [Subscription("cryptopair_coinbase_etcgbp", "trade")])
    (trade,) = [event for event in events if isinstance(event, Trade)]
    assert (trade.trade_id, trade.price, trade.quantity, trade.side) == ("216544", 4.978, 0.97133855, "sell")


def okx_all(message: Any) -> Iterator[str]:
    if message.get("arg", {}).get("channel") == "trades" and "data" in message:
        yield from (f"{row['instId']} {row['tradeId']}" for row in message["data"])


def bybit_all(message: Any) -> Iterator[str]:
    if message.get("topic", "").startswith("publicTrade."):
        yield from (f"{row['s']} {row['i']}" for row in message["data"])


def coinbase_all(message: Any) -> Iterator[str]:
    if message.get("channel") == "market_trades":
        yield from (f"{row['product_id']} {row['trade_id']}" for event in message["events"] for row in event["trades"])


def binance_all(message: Any) -> Iterator[str]:
    if message.get("data", {}).get("e") == "aggTrade":
        yield f"{message['data']['s']} {message['data']['a']}"


WHOLE: dict[str, Ids] = {
    "cryptofeed/v3/BINANCE.jsonl.zst": binance_all,  # two trades
    "cryptofeed/v3/BINANCE_FUTURES.jsonl.zst": binance_all,
    "derived_split/BYBIT_spot_ws3_DEV.jsonl.zst": bybit_all,
    "cryptofeed/v3/OKX.jsonl.zst": okx_all,
    "derived_split/COINBASE_first_320_lines_DEV.jsonl.zst": coinbase_all,
}


@pytest.mark.data
@pytest.mark.parametrize("file", WHOLE)
def test_everything_in_a_whole_recording_is_followed_and_every_trade_heard(recorded: Path, file: str) -> None:
    capture = read_capture(recorded / file)
    events, _ = heard_live(capture)
    known = {one for frame in capture.frames for one in WHOLE[file](json.loads(frame.payload))}
    heard = [event for event in events if isinstance(event, Trade)]
    natives = {one.native for one in subscriptions_of(capture) if one.channel in ("trade", "agg")}
    assert {one.partition(" ")[0] for one in known} <= natives
    assert len({(event.instrument, event.trade_id) for event in heard}) == len(heard) == len(known) > 0
    assert {event.trade_id for event in heard} == {one.partition(" ")[2] for one in known}
