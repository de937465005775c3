"""Coinbase's books and connection: one missing message is noticed on the next, whatever it was about, and no book is wrong meanwhile."""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from zvt_crypto.domain.errors import Disconnected, Malformed, Refused
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.engine.book import Book, BookSync
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.coinbase.book import CONTINUITY
from zvt_crypto.venues.coinbase.manners import CoinbaseManners
from zvt_crypto.venues.coinbase.product import Product
from zvt_crypto.venues.inband import InbandStream
from zvt_crypto.venues.parsed import Broken, Drift, Reply

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "coinbase"
BTC, ETH = "cryptopair_coinbase_btcusd", "cryptopair_coinbase_ethusd"
PRODUCTS = {"BTC-USD": Product(BTC), "ETH-USD": Product(ETH)}
NATIVES = {BTC: "BTC-USD", ETH: "ETH-USD"}
EVERYTHING = [Subscription(i, channel) for channel in ("trade", "ticker", "depth", "quote") for i in (BTC, ETH)] + [
    Subscription(i, "kline", Interval.MIN_5) for i in (BTC, ETH)
]
FRAMES = [line.split(b" ", 1) for line in gzip.decompress((FIXTURES / "frames.txt.gz").read_bytes()).splitlines()]
RAWS = [raw for _, raw in FRAMES]
RECV_NS = int(FRAMES[-1][0])


def manners(subscriptions=EVERYTHING) -> CoinbaseManners:
    return CoinbaseManners(subscriptions, PRODUCTS, NATIVES)


class Venue:
    """A connection of Coinbase whose frames a test pushes, read through the connector's own stream."""

    def __init__(self, kit, subscriptions=EVERYTHING) -> None:
        self.socket = kit.ScriptedSocket("ws://it")
        self.sent: list[dict] = []
        self.socket.send = self.take  # ours has no ids to acknowledge
        self.clock, self.observer = kit.ManualClock(), kit.ListObserver()
        books = {s.instrument: BookSync(s.instrument, CONTINUITY) for s in subscriptions if s.channel == "depth"}
        spoken = manners(subscriptions)
        self.stream = InbandStream("coinbase 1", self.socket, spoken, subscriptions, books, self.clock, self.observer)

    async def take(self, payload: bytes) -> None:
        self.sent.append(json.loads(payload))

    async def until_the_end(self) -> tuple[list, Exception]:
        """Every event up to the end of the connection, and what ended it."""
        events: list = []
        try:
            while True:
                events += await self.stream.receive()
        except (Disconnected, Refused) as error:
            return events, error


def played(kit, raws: list[bytes]) -> tuple[list, str]:
    async def run() -> tuple[list, str]:
        venue = Venue(kit)
        venue.socket.push(*raws, recv_ns=RECV_NS)
        venue.socket.end("no more frames")
        events, error = await venue.until_the_end()
        await venue.stream.close()
        return events, str(error)

    return asyncio.run(run())


def frame(channel: str, number: int, *events: dict) -> bytes:
    made = {"channel": channel, "timestamp": "2024-08-08T23:54:14.2Z", "sequence_num": number, "events": list(events)}
    return json.dumps(made, separators=(",", ":")).encode()


def book(kind: str, product: str, *levels: tuple[str, str, str]) -> dict:
    rows = [{"side": s, "event_time": "2024-08-08T23:54:14Z", "price_level": p, "new_quantity": q} for s, p, q in levels]
    return {"type": kind, "product_id": product, "updates": rows}


SUBSCRIBED = frame("subscriptions", 0, {"subscriptions": {"level2": ["BTC-USD", "ETH-USD"], "heartbeats": ["heartbeats"]}})
BEAT = {"current_time": "2026-08-09 21:05:48.854840045 +0000 UTC m=+41691.260485341", "heartbeat_counter": 1}
BTC_BOOK = book("snapshot", "BTC-USD", ("bid", "63999.5", "1"), ("offer", "64000.01", "2"), ("offer", "64000.02", "3"))
ETH_BOOK = book("snapshot", "ETH-USD", ("bid", "1900", "1"), ("offer", "1901", "2"))


# ── The recorded connection ──


def test_the_recorded_connection_keeps_both_books_as_the_venue_told_them(kit):
    told: dict[str, dict[tuple[str, str], float]] = {"BTC-USD": {}, "ETH-USD": {}}
    for message in map(json.loads, RAWS):
        for event in message["events"] if message["channel"] == "l2_data" else ():
            sides = told[event["product_id"]]
            for row in event["updates"]:
                sides[row["side"], row["price_level"]] = float(row["new_quantity"])
    events, why = played(kit, RAWS)
    assert "no more frames" in why
    assert Counter(type(e).__name__ for e in events) == {
        "BookDelta": 226,
        "BookSnapshot": 2,
        "BookStale": 2,
        "Trade": 225,
        "Ticker": 48,
        "BestQuote": 48,
        "Kline": 4,
    }
    books = {BTC: Book(BTC), ETH: Book(ETH)}
    for event in events:
        if isinstance(event, BookSnapshot | BookDelta):
            books[event.instrument].apply_event(event)
            assert books[event.instrument].is_valid
    for native, name in (("BTC-USD", BTC), ("ETH-USD", ETH)):
        bids, asks = books[name].top(10_000)
        for side, sign, ours in (("bid", -1, bids), ("offer", 1, asks)):
            expected = sorted(((float(p), q) for (s, p), q in told[native].items() if s == side and q > 0), key=lambda row: sign * row[0])
            assert ours == expected


def test_any_one_message_that_is_deleted_is_noticed_on_the_next():
    """For each of the 311 messages that another one follows."""
    spoken = manners()
    for lost in range(len(RAWS) - 1):
        assert copy.copy(spoken).parse(RAWS[lost + 1], RECV_NS) == (Broken(f"message {lost} is missing: {lost + 1} came"),)
        assert not any(isinstance(one, Broken) for one in spoken.parse(RAWS[lost], RECV_NS))


def test_after_a_deleted_message_come_stale_books_and_the_end(kit):
    """What came before it comes out, and nothing that came after it."""
    whole = manners()
    before: list[int] = [0]  # events that the messages up to here make
    for raw in RAWS:
        made = [e for e in whole.parse(raw, RECV_NS) if not isinstance(e, Reply | Drift | Broken)]
        before.append(before[-1] + len(made))
    intact, _ = played(kit, RAWS)
    for lost in [*range(30), *range(30, len(RAWS) - 1, 11)]:
        events, why = played(kit, RAWS[:lost] + RAWS[lost + 1 :])
        assert f"message {lost} is missing: {lost + 1} came" in why
        count = before[lost]
        assert events[:count] == intact[:count], lost
        valid = {e.instrument for e in events[:count] if isinstance(e, BookSnapshot)}
        ended = sorted((BTC, ETH), key=lambda name: name not in valid)  # what never came is told of after what was there
        assert [(type(e), e.instrument) for e in events[count:]] == [(BookStale, name) for name in ended], lost


def test_any_one_message_that_is_repeated_changes_nothing(kit):
    intact, _ = played(kit, RAWS)
    for twice in range(0, len(RAWS), 13):
        events, why = played(kit, [*RAWS[: twice + 1], *RAWS[twice:]])
        assert "no more frames" in why
        assert [e for e in events if not isinstance(e, BookStale)] == [e for e in intact if not isinstance(e, BookStale)]


def test_two_messages_that_change_places_end_the_connection(kit):
    swapped = [*RAWS[:100], RAWS[101], RAWS[100], *RAWS[102:]]
    events, why = played(kit, swapped)
    assert "message 100 is missing: 101 came" in why
    assert [type(e) for e in events[-2:]] == [BookStale, BookStale]


# ── The worked example ──


def test_a_gap_spoils_every_book_of_the_connection(kit):
    raws = [
        SUBSCRIBED,
        frame("heartbeats", 1, BEAT),
        frame("l2_data", 2, BTC_BOOK),
        frame("l2_data", 3, ETH_BOOK),
        frame("heartbeats", 4, BEAT),
        frame("l2_data", 5, book("update", "BTC-USD", ("offer", "64000.01", "0"))),
        frame("heartbeats", 7, BEAT),
        frame("l2_data", 8, BTC_BOOK),  # whatever follows does not bring a book back
    ]
    events, why = played(kit, raws)
    assert [(type(e), e.instrument) for e in events] == [
        (BookSnapshot, BTC),
        (BookSnapshot, ETH),
        (BookDelta, BTC),
        (BookStale, BTC),
        (BookStale, ETH),
    ]
    assert "message 6 is missing: 7 came" in why


def test_an_offer_of_zero_deletes_an_ask_and_deleting_an_absent_level_is_normal(kit):
    raws = [
        SUBSCRIBED,
        frame("l2_data", 1, BTC_BOOK),
        frame("l2_data", 2, book("update", "BTC-USD", ("offer", "64000.01", "0"), ("offer", "70000", "0.00000000"), ("bid", "1", "0"))),
    ]
    events, _ = played(kit, raws)
    kept = Book(BTC)
    for event in events[:2]:
        kept.apply_event(event)
    assert kept.top(5) == ([(63999.5, 1.0)], [(64000.02, 3.0)])


def test_several_events_of_one_message_are_all_applied(kit):
    update = book("update", "BTC-USD", ("bid", "63999.6", "4"))
    raws = [SUBSCRIBED, frame("l2_data", 1, BTC_BOOK, update, book("update", "BTC-USD", ("bid", "63999.5", "0")))]
    events, _ = played(kit, raws)
    kept = Book(BTC)
    for event in events[:3]:
        kept.apply_event(event)
    assert kept.top(5)[0] == [(63999.6, 4.0)]


def test_what_is_older_than_the_book_is_ignored():
    def delta(number: int) -> BookDelta:
        return BookDelta(BTC, number, number, None, [], [], 0)

    assert [CONTINUITY.first(5, delta(n)) for n in (4, 5, 6, 99)] == ["ignore", "apply", "apply", "apply"]
    assert [CONTINUITY.following(5, delta(n)) for n in (4, 5, 6, 99)] == ["ignore", "apply", "apply", "apply"]


# ── The connection ──


def test_numbers_begin_at_zero_and_never_go_back():
    late = manners()
    assert late.parse(frame("heartbeats", 3, BEAT), 1) == (Broken("message 0 is missing: 3 came"),)
    back = manners()
    for number in range(3):
        assert list(back.parse(frame("heartbeats", number, BEAT), 1)) == []
    assert back.parse(frame("heartbeats", 2, BEAT), 1) == (Drift("message repeated", "2"),)
    assert back.parse(frame("heartbeats", 0, BEAT), 1) == (Broken("message numbers went back: 0 came for 3"),)
    assert back.parse(frame("heartbeats", 3, BEAT), 1) == ()


def test_a_frame_that_cannot_be_read_is_not_missing():
    spoken = manners()
    spoken.parse(SUBSCRIBED, 1)
    bad = frame("market_trades", 1, {"type": "update", "trades": [{"product_id": "BTC-USD"}]})
    with pytest.raises(Malformed):
        spoken.parse(bad, 1)
    assert list(spoken.parse(frame("heartbeats", 2, BEAT), 1)) == []
    with pytest.raises(Malformed):
        spoken.parse(b'{"channel":"ticker"', 1)
    assert spoken.parse(frame("heartbeats", 4, BEAT), 1) == (Broken("message 3 is missing: 4 came"),)
    gap = manners()
    assert gap.parse(bad, 1) == (Broken("message 0 is missing: 1 came"),)


def test_the_books_that_an_unreadable_frame_may_be_about_are_doubted():
    spoken = manners()
    assert spoken.doubted(b'{"channel":"market_trades","sequence_num":1,"BTC-USD"') == ()
    assert spoken.doubted(b'{"channel":"l2_data","events":[{"product_id":"ETH-USD",') == [ETH]
    assert spoken.doubted(b'{"channel":"l2_data","ev') is None
    assert spoken.doubted(b"\x00") is None


def test_an_unreadable_update_makes_its_book_stale_and_only_a_new_connection_brings_it_back(kit):
    async def run() -> tuple[list, Exception]:
        venue = Venue(kit, [Subscription(BTC, "depth"), Subscription(ETH, "depth")])
        broken = frame("l2_data", 3, book("update", "ETH-USD", ("bid", "-1", "1")))
        venue.socket.push(SUBSCRIBED, frame("l2_data", 1, BTC_BOOK), frame("l2_data", 2, ETH_BOOK), broken)
        found = await venue.until_the_end()
        await venue.stream.close()
        return found

    events, error = asyncio.run(run())
    assert [(type(e), e.instrument) for e in events] == [
        (BookSnapshot, BTC),
        (BookSnapshot, ETH),
        (BookStale, ETH),
        (BookStale, BTC),
    ]
    assert "only a new connection brings" in str(error)


def test_a_side_that_we_do_not_know_ends_the_connection(kit):
    raws = [SUBSCRIBED, frame("l2_data", 1, BTC_BOOK), frame("l2_data", 2, book("update", "BTC-USD", ("ask", "1", "1")))]
    events, why = played(kit, raws)
    assert [(type(e), e.instrument) for e in events] == [(BookSnapshot, BTC), (BookStale, BTC), (BookStale, ETH)]
    assert "BTC-USD has a level on the side 'ask'" in why


def test_one_message_a_channel_is_sent_books_first():
    sent = manners([Subscription(BTC, "quote"), Subscription(ETH, "ticker"), Subscription(BTC, "ticker"), Subscription(BTC, "depth")])
    messages = sent.subscribe()
    assert [json.loads(m.payload) for m in messages] == [
        {"type": "subscribe", "product_ids": ["BTC-USD"], "channel": "level2"},
        {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": "ticker"},
        {"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"], "channel": "heartbeats"},
    ]
    assert [m.awaits for m in messages] == [(), ("ticker",), ()]


def test_a_connection_is_open_once_its_channels_are_acknowledged(kit):
    async def run() -> tuple[list[dict], list]:
        venue = Venue(kit, [Subscription(BTC, "trade"), Subscription(BTC, "ticker")])
        opening = asyncio.create_task(venue.stream.subscribe())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not opening.done()
        row = {"product_id": "BTC-USD", "trade_id": "1", "price": "1", "size": "1", "time": "2024-08-08T23:54:14Z", "side": "SELL"}
        snapshot = frame("market_trades", 0, {"type": "snapshot", "trades": [row]})
        venue.socket.push(snapshot, frame("subscriptions", 1, {"subscriptions": {"market_trades": ["BTC-USD"]}}))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not opening.done()
        venue.socket.push(frame("subscriptions", 2, {"subscriptions": {"market_trades": ["BTC-USD"], "ticker": ["BTC-USD"]}}))
        await opening
        events = await venue.stream.receive()
        await venue.stream.close()
        return venue.sent, events

    sent, events = asyncio.run(run())
    assert [m["channel"] for m in sent] == ["market_trades", "ticker", "heartbeats"]
    assert [(type(e), e.side) for e in events] == [(Trade, "buy")]


@pytest.mark.parametrize(
    ("raw", "kind", "said"),
    [
        (b'{"type":"error","message":"product NOPE-USD is not valid"}', Refused, "NOPE-USD is not valid"),
        (frame("subscriptions", 0, {"subscriptions": {"market_trades": ["ETH-USD"]}}), Refused, "market_trades without BTC-USD"),
        (b'{"type":"error","message":"rate limit exceeded"}', Disconnected, "rate limit exceeded"),
    ],
)
def test_a_refused_subscription_is_said_by_name(kit, raw, kind, said):
    async def run() -> None:
        venue = Venue(kit, [Subscription(BTC, "trade")])
        venue.socket.push(raw)
        try:
            await venue.stream.subscribe()
        finally:
            await venue.stream.close()

    with pytest.raises(kind, match=said):
        asyncio.run(run())
