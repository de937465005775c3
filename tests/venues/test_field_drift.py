"""A venue that adds a field to every object: whoever runs the platform is told which, by streams and by REST, and the data flow on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from faults import venue_live
from faults.every_venue import EVERY
from faults.venue_live import Account, VenueLive
from zvt_crypto.domain.errors import Unsupported
from zvt_crypto.domain.market import BookDelta, BookStale, Kline, Trade
from zvt_crypto.emulator import virtual
from zvt_crypto.emulator.memory import MemoryTransport

NEW = "zzNew"


def widened(value: Any) -> Any:
    """The same with one more field in every object."""
    if isinstance(value, dict):
        return {name: widened(below) for name, below in value.items()} | {NEW: "x"}
    return [widened(one) for one in value] if isinstance(value, list) else value


def longer(value: Any) -> Any:
    """The same with one more element in every level of a book."""
    if isinstance(value, dict):
        return {name: [[*row, "7"] for row in below] if is_side(name, below) else longer(below) for name, below in value.items()}
    return [longer(one) for one in value] if isinstance(value, list) else value


def is_side(name: str, value: Any) -> bool:
    return name in ("a", "b", "asks", "bids") and isinstance(value, list) and all(isinstance(row, list) for row in value)


def rewritten(body: bytes, change: Callable[[Any], Any]) -> bytes:
    try:
        return json.dumps(change(json.loads(body)), separators=(",", ":"), ensure_ascii=False).encode()
    except ValueError:  # OKX's pong
        return body


class WideningSocket:
    def __init__(self, inner: Any, change: Callable[[Any], Any]) -> None:
        self._inner, self._change = inner, change

    async def receive(self) -> list[tuple[bytes, int]]:
        return [(rewritten(payload, self._change), recv_ns) for payload, recv_ns in await self._inner.receive()]

    async def send(self, payload: bytes) -> None:
        await self._inner.send(payload)

    async def close(self) -> None:
        await self._inner.close()


class WideningTransport(MemoryTransport):
    """The emulator's own, with one more field in every object that it says."""

    change = staticmethod(widened)

    async def request(self, method: str, url: str, **rest: Any) -> Any:
        response = await super().request(method, url, **rest)
        return type(response)(response.status, response.headers, rewritten(response.body, self.change))

    async def connect(self, url: str, **rest: Any) -> Any:
        return WideningSocket(await super().connect(url, **rest), self.change)


class LongerRowsTransport(WideningTransport):
    """With one more element in every level of a book."""

    change = staticmethod(longer)


async def asked_of_everything(connector: Any, instrument: str, since_ns: int) -> None:
    """Every question that the connector has, where the venue has an answer."""
    for ask in (
        lambda: connector.fetch_server_time(),
        lambda: connector.fetch_ticker(instrument),
        lambda: connector.get_order_book(instrument, 20),
        lambda: connector.fetch_trades(instrument, limit=5),
        lambda: connector.fetch_kdata(instrument, "1m", since=since_ns),
        lambda: connector.fetch_funding(instrument, since=since_ns),
        lambda: connector.fetch_mark(instrument),
        lambda: connector.fetch_mark_kdata(instrument, since=since_ns),
    ):
        try:
            assert await ask() is not None
        except Unsupported:
            continue


def lived(venue: str, which: Any) -> tuple[VenueLive, Account]:
    """A minute and a half of the platform over the venue, and its trades against the venue's."""

    async def scenario() -> tuple[VenueLive, Account]:
        live = VenueLive(venue, 5, which, events_per_s=10.0)
        async with live.running():
            await asked_of_everything(live.connector, live.instrument, live.start_ns - 3_600 * 10**9)
            await live.sleep(90)
            await asked_of_everything(live.connector, live.instrument, live.start_ns - 3_600 * 10**9)
        return live, live.account([trade for _, trade in live.of(Trade)], in_order=False)

    return virtual.run(scenario())


def told(live: VenueLive) -> list[tuple[str, str]]:
    """(kind, name) of every unknown field that was told."""
    noted = [fields for fields in live.notes.noted("venue_drift") if fields.get("what") == "field"]
    assert all(fields["exchange"] == live.venue for fields in noted)
    return [(str(fields["kind"]), name) for fields in noted for name in str(fields["value"]).split(", ")]


@pytest.mark.parametrize("which", ["pair", "perp"])
@pytest.mark.parametrize("venue", EVERY)
def test_a_field_that_a_venue_adds_everywhere_is_told_and_nothing_stops(venue, which, monkeypatch):
    monkeypatch.setattr(venue_live, "MemoryTransport", WideningTransport)
    live, account = lived(venue, which)
    named = told(live)
    assert named
    assert all(name.rpartition(".")[2] == NEW for _, name in named)
    assert len(set(named)) == len(named), "each is told once"
    kinds = {kind for kind, _ in named}
    streamed = {kind for kind in kinds if not kind.startswith("rest ")} - {"answer", "subscriptions", "heartbeats"}
    assert len(streamed) >= 2, streamed
    assert len(kinds - streamed) >= 5, kinds
    assert {name.count(".") for _, name in named} >= {0, 1}, "nested ones too"
    assert live.notes.counts["venue_drift"] >= len(named)
    assert live.notes.counts["venue_malformed"] == 0
    assert len(live.of(Trade)) > 100
    assert any(kline.final for _, kline in live.of(Kline))
    assert live.of(BookDelta)
    assert (account.losses, account.foreign) == ([], [])


@pytest.mark.parametrize("venue", ["binance", "bybit", "okx"])
def test_a_column_that_a_venue_adds_to_its_levels_is_told_and_its_books_stay_right(venue, monkeypatch):
    monkeypatch.setattr(venue_live, "MemoryTransport", LongerRowsTransport)
    live, _ = lived(venue, "pair")
    names = {name for _, name in told(live)}
    assert names
    assert all(name.endswith(("[3]", "[5]")) for name in names), names
    assert live.notes.counts["venue_malformed"] == 0
    assert len(live.of(BookDelta)) > 100
    assert [stale.reason for _, stale in live.of(BookStale)] == ["stopped"]  # at the end, by us


@pytest.mark.parametrize("which", ["pair", "perp"])
@pytest.mark.parametrize("venue", EVERY)
def test_what_the_emulated_venues_say_is_all_known(venue, which):
    assert told(lived(venue, which)[0]) == []
