"""Recorded books of four exchanges, logged in full: any instant gives the book that was live then, before, in and after gaps."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from engine.engine_recordings import FIXTURES, depth_recording
from services.log_parts import Desk, dated, live_at, logged_at
from stores_fixtures import START
from venues import bybit_parts as bybit
from venues.test_coinbase_books import BTC, RAWS, RECV_NS, Venue
from zvt_crypto.domain.events import BookEvent
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.engine.book import BookSync, Continuity
from zvt_crypto.stores.postgres import PostgresStore
from zvt_crypto.venues.binance.book import SpotContinuity, UsdmContinuity
from zvt_crypto.venues.bybit.book import CONTINUITY as BYBIT

Messages = list[BookDelta | BookSnapshot]


def followed(messages: Messages, rule: Continuity, *, streamed: bool) -> list[BookEvent]:
    """What comes out of a connection. `streamed`: the stream brings its own snapshots."""
    sync, made = BookSync("x", rule), []
    for message in messages:
        if isinstance(message, BookDelta):
            made += sync.on_delta(message)
        else:
            made += sync.on_stream_snapshot(message) if streamed else sync.on_snapshot(message)
    return made


def torn(messages: Messages, seed: int) -> Messages:
    """One message is lost, and the connection begins anew."""
    lost = random.Random(seed).randrange(len(messages) // 3, len(messages) // 2)
    return [*messages[:lost], *messages[lost + 1 :], *messages]


def binance(name: str, rule: Continuity) -> list[BookEvent]:
    messages, _ = depth_recording(FIXTURES / f"{name}.gz")
    return followed(torn(messages, 1), rule, streamed=False)


def of_bybit(frames: Sequence[bytes], category: str) -> list[BookEvent]:
    parser = bybit.parser(category)
    return followed(torn([event for raw in frames for event in parser.parse(raw, 1)], 2), BYBIT, streamed=True)


SOURCES: dict[str, Callable[[], list[BookEvent]]] = {
    "binance spot": lambda: binance("spot_btcusdt", SpotContinuity()),
    "binance usdm": lambda: binance("usdm_ethusdt", UsdmContinuity()),
    "bybit spot": lambda: of_bybit(bybit.books_of([raw for _, raw in bybit.recorded_spot()], "BTCUSDT"), "spot"),
    "bybit linear": lambda: of_bybit(bybit.recorded_ob500(), "linear"),
}


async def agrees(store: PostgresStore, made: Sequence[BookEvent], seed: int) -> None:
    rng, events = random.Random(seed), dated(made, START)
    async with Desk(store.book_log, span_s=2.0, most_events=rng.choice([15, 40, 200])).running() as desk:
        await desk.hear(events)
        desk.clock.ns += 3 * NS_PER_S
    last_ns, answers = events[-1].recv_ns, []
    for at_ns in [START, last_ns, *(rng.randrange(START, last_ns + NS_PER_S) for _ in range(60))]:
        answer = await logged_at(store.book_log, at_ns)
        assert answer == live_at(events, at_ns), f"seed {seed}, {at_ns - START} ns in"
        answers.append(answer)
    assert sum(isinstance(answer, BookSnapshot) for answer in answers) > 20
    if any(isinstance(event, BookStale) for event in events):
        gone = next(event for event in events if isinstance(event, BookStale))
        assert await logged_at(store.book_log, gone.recv_ns) == live_at(events, gone.recv_ns)


@pytest.mark.parametrize("source", SOURCES)
async def test_a_recorded_book_is_rebuilt_at_any_instant(listed_store, source):
    made = SOURCES[source]()
    assert any(isinstance(event, BookStale) for event in made), "the lost message shows"
    await agrees(listed_store, made, seed=7)


@pytest.mark.parametrize("native", ["BTC-USDT", "UNI-USD-SWAP"])
async def test_a_recorded_book_of_okx_is_rebuilt_at_any_instant(listed_store, okx, native):
    from zvt_crypto.venues.okx.parse import FrameParser
    from zvt_crypto.venues.okx.units import traded_of

    begin, parser = f'{{"arg":{{"channel":"books","instId":"{native}"}}'.encode(), FrameParser(traded_of(okx.listed))
    made = [event for _, raw in okx.frames if raw.startswith(begin) for event in parser.parse(raw, 1)]
    gap = BookStale("x", "a message was lost", 1, 1)
    await agrees(listed_store, [*made[:40], gap, *made], seed=8)


async def test_a_recorded_book_of_coinbase_is_rebuilt_at_any_instant(listed_store, kit):
    venue = Venue(kit)
    venue.socket.push(*RAWS, recv_ns=RECV_NS)
    venue.socket.end("no more frames")
    events, _ = await venue.until_the_end()
    await venue.stream.close()
    made = [e for e in events if isinstance(e, BookSnapshot | BookDelta | BookStale) and e.instrument == BTC]
    await agrees(listed_store, made, seed=9)
