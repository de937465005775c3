"""Coinbase's frames: recorded ones become the right events, strange ones are drift or declared errors, whatever they hold."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest

from zvt_crypto.domain.errors import BadTime, Malformed
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Kline, Ticker, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.engine.book import Book
from zvt_crypto.venues.coinbase import answers
from zvt_crypto.venues.coinbase.moment import MomentReader
from zvt_crypto.venues.coinbase.parse import FrameParser
from zvt_crypto.venues.coinbase.product import Product
from zvt_crypto.venues.parsed import Broken, Drift, Reply

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "coinbase"
BTC, ETH, BIP = "cryptopair_coinbase_btcusd", "cryptopair_coinbase_ethusd", "cryptoperp_coinbase_btcusd"
PRODUCTS = {
    "BTC-USD": Product(BTC, tick=0.01, tick_digits=2),
    "ETH-USD": Product(ETH, tick=0.01, tick_digits=2),
    "BIP-20DEC30-CDE": Product(BIP, size=0.01, digits=2, is_dense=False, tick=5.0, tick_digits=0),
}


def recorded_frames() -> list[tuple[int, bytes]]:
    rows = (line.split(b" ", 1) for line in gzip.decompress((FIXTURES / "frames.txt.gz").read_bytes()).splitlines())
    return [(int(at), raw) for at, raw in rows]


FRAMES = recorded_frames()


def parser(**wanted) -> FrameParser:
    everything = frozenset({BTC, ETH, BIP})
    return FrameParser(PRODUCTS, wanted.pop("wanted", {}), tickers=everything, quotes=everything)


def frame(channel: str, *events: dict, number: int = 0, **more: object) -> bytes:
    envelope = {"channel": channel, "timestamp": "2026-08-09T21:05:48.228568804Z", "sequence_num": number, "events": list(events)}
    return json.dumps(envelope | more, separators=(",", ":")).encode()


def trade(**changes: object) -> dict:
    row = {"product_id": "BTC-USD", "trade_id": "7", "price": "10", "size": "2", "time": "2026-08-09T21:05:48Z", "side": "BUY"}
    return row | changes


def level(side: str, price: str, quantity: str) -> dict:
    return {"side": side, "event_time": "2026-08-09T21:05:48.170326Z", "price_level": price, "new_quantity": quantity}


# ── What was recorded ──


def test_every_recorded_frame_is_read_and_none_is_strange():
    read = parser(wanted={"market_trades": frozenset({"BTC-USD", "ETH-USD"})})
    numbers, found = [], Counter()
    for at, raw in FRAMES:
        number, made = read.read(raw, at)
        numbers.append(number)
        found.update(type(one).__name__ for one in made)
        assert all(getattr(one, "recv_ns", at) == at for one in made)
    assert numbers == list(range(312))
    assert found == {"BookDelta": 226, "BookSnapshot": 2, "Trade": 225, "Ticker": 48, "BestQuote": 48, "Kline": 4, "Reply": 5}


def test_trades_come_oldest_first_and_their_ids_leave_none_out():
    ids: dict[str, list[int]] = {BTC: [], ETH: []}
    for at, raw in FRAMES:
        for one in parser().read(raw, at)[1]:
            if isinstance(one, Trade):
                ids[one.instrument].append(int(one.trade_id))
    assert ids[BTC] == list(range(1068571991, 1068572107))
    assert ids[ETH] == list(range(833140679, 833140788))


def test_the_side_of_a_trade_is_the_takers():
    """Told by the book itself: who takes buys at the ask and sells at the bid. The venue names the maker."""
    read, books, told = parser(), {BTC: Book(BTC), ETH: Book(ETH)}, Counter()
    for at, raw in FRAMES:
        for one in read.read(raw, at)[1]:
            if isinstance(one, BookSnapshot | BookDelta):
                books[one.instrument].apply_event(one)
            elif isinstance(one, Trade) and b'"update"' in raw:
                bid, ask = books[one.instrument].best()
                if bid is not None and ask is not None and one.price in (bid[0], ask[0]):
                    told[one.side, "at the ask" if one.price == ask[0] else "at the bid"] += 1
    assert set(told) == {("buy", "at the ask"), ("sell", "at the bid")}
    assert sum(told.values()) > 15


def test_a_trade_has_the_venues_own_values_and_its_time_to_the_nanosecond():
    at, raw = next((at, raw) for at, raw in FRAMES if b'"trade_id":"1068572091"' in raw)
    (one,) = parser().read(raw, at)[1]
    # 2026-08-09T21:05:48.167634Z
    assert one == Trade(BTC, "trade", "1068572091", 65083.67, 0.01034361, "buy", 1_786_309_548_167_634_000, at)


def test_a_ticker_tells_the_day_and_its_open_from_the_percentage():
    tickers = [one for at, raw in FRAMES for one in parser().read(raw, at)[1] if isinstance(one, Ticker)]
    first = tickers[0]
    assert (first.price, first.volume, first.high, first.low) == (65086.18, 2867.54532609, 65252.99, 64675.22)
    assert (first.bid, first.ask, first.turnover) == (65083.66, 65083.67, None)
    assert first.event_ns == 1_786_309_548_229_198_328
    # 24 percentages of BTC and as many of ETH, all from one open a day: the tick's digits are all there.
    assert {(one.instrument, one.open) for one in tickers} == {(BTC, 65023.75), (ETH, 1918.93)}


def test_best_quotes_come_with_the_ticker_for_those_who_want_them():
    at, raw = next((at, raw) for at, raw in FRAMES if b'"channel":"ticker"' in raw)
    only = FrameParser(PRODUCTS, quotes=frozenset({BTC}))
    assert only.read(raw, at)[1] == [BestQuote(BTC, 6, 65083.66, 0.20371215, 65083.67, 0.24290402, 1_786_309_548_229_198_328, at)]
    assert FrameParser(PRODUCTS).read(raw, at)[1] == []


def test_of_the_candles_only_the_newest_is_told_and_it_is_never_final():
    klines = [one for at, raw in FRAMES for one in parser().read(raw, at)[1] if isinstance(one, Kline)]
    assert [(k.instrument, k.open_ns // 10**9, k.close) for k in klines] == [
        (ETH, 1786309500, 1919.44),
        (BTC, 1786309500, 65083.66),
        (ETH, 1786309500, 1919.41),
        (BTC, 1786309500, 65083.67),
    ]
    assert {(k.interval, k.final, k.source, k.turnover) for k in klines} == {(Interval.MIN_5, False, "venue", None)}


def test_a_book_begins_whole_and_bids_and_offers_are_told_apart():
    at, raw = next((at, raw) for at, raw in FRAMES if b'"snapshot","product_id":"BTC-USD"' in raw)
    (book,) = parser().read(raw, at)[1]
    assert (book.last_id, len(book.bids), len(book.asks)) == (13, 300, 300)
    assert (book.bids[0], book.asks[0]) == ((65083.66, 0.20371215), (65083.67, 0.23256041))
    assert book.event_ns == 1_786_309_548_170_326_000


# ── What differs ──


def test_another_order_and_spacing_of_a_frame_gives_the_same():
    at, raw = next((at, raw) for at, raw in FRAMES if b'"l2_data"' in raw and b'"update"' in raw)
    turned = json.dumps(dict(reversed(json.loads(raw).items())), indent=1).encode()
    assert parser().read(turned, at) == parser().read(raw, at)


def test_a_client_id_and_a_number_for_a_text_change_nothing():
    rows = [trade(trade_id=9, price=10.5, size=1), trade(trade_id="8")]
    number, found = parser().read(frame("market_trades", {"type": "update", "trades": rows}, client_id="", number=4), 1)
    assert number == 4
    assert [(one.trade_id, one.price, one.quantity) for one in found] == [("8", 10.0, 2.0), ("9", 10.5, 1.0)]


def test_quantities_of_contracts_are_counted_in_base():
    read, name = parser(), "BIP-20DEC30-CDE"
    rows = [trade(product_id=name, trade_id="a-1", size="57"), trade(product_id=name, trade_id="a-0", size="3")]
    found = read.read(frame("market_trades", {"type": "update", "trades": rows}), 1)[1]
    assert [(one.trade_id, one.quantity) for one in found] == [("a-0", 0.03), ("a-1", 0.57)]
    update = {"type": "update", "product_id": name, "updates": [level("bid", "68930", "29"), level("offer", "68935", "0.0")]}
    (delta,) = read.read(frame("l2_data", update), 1)[1]
    assert (delta.bids, delta.asks) == ([(68930.0, 0.29)], [(68935.0, 0.0)])
    row = {"product_id": name, "price": "68930", "volume_24_h": "678476", "best_bid": "1", "best_bid_quantity": "7", "best_ask": "2"}
    ticker, quote = read.read(frame("ticker", {"type": "update", "tickers": [row | {"best_ask_quantity": "57"}]}), 1)[1]
    assert (ticker.volume, ticker.open) == (6784.76, None)
    assert (quote.bid_quantity, quote.ask_quantity) == (0.07, 0.57)
    candle = {"product_id": name, "start": "1786309500", "open": "5", "high": "5", "low": "5", "close": "5", "volume": "7"}
    (kline,) = read.read(frame("candles", {"type": "update", "candles": [candle]}), 1)[1]
    assert kline.volume == 0.07


def test_trades_of_equal_times_keep_the_order_that_their_ids_do_not_tell():
    name = "BIP-20DEC30-CDE"
    rows = [trade(product_id=name, trade_id=i) for i in ("c", "a", "b")]  # newest first
    found = parser().read(frame("market_trades", {"type": "update", "trades": rows}), 1)[1]
    assert [one.trade_id for one in found] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("channel", "event", "what"),
    [
        ("market_trades", {"type": "update", "trades": [trade(product_id="NEW-USD")]}, "product"),
        ("market_trades", {"type": "update", "trades": [trade(side="UNKNOWN_ORDER_SIDE")]}, "trade side"),
        ("l2_data", {"type": "update", "product_id": "NEW-USD", "updates": []}, "product"),
        ("ticker", {"tickers": [{"product_id": "NEW-USD", "price": "1", "volume_24_h": "1"}]}, "product"),
        ("ticker", {"tickers": [{"product_id": "BTC-USD", "price": "0", "volume_24_h": "0"}]}, "ticker without a price"),
        ("candles", {"candles": [{"product_id": "N", "start": "0", "open": 1, "high": 1, "low": 1, "close": 1, "volume": 0}]}, "product"),
        ("status", {"type": "snapshot", "products": []}, "channel"),
    ],
)
def test_what_we_do_not_know_is_drift_and_no_error(channel, event, what):
    number, found = parser().read(frame(channel, event, number=3), 1)
    assert number == 3
    assert [type(one) for one in found] == [Drift]
    assert found[0].what == what


@pytest.mark.parametrize(
    ("event", "what"),
    [
        ({"type": "update", "product_id": "BTC-USD", "updates": [level("ask", "1", "1")]}, "book side"),
        ({"type": "replace", "product_id": "BTC-USD", "updates": []}, "book event"),
    ],
)
def test_a_change_of_a_book_that_we_do_not_understand_ends_the_connection(event, what):
    drift, broken = parser().read(frame("l2_data", event), 1)[1]
    assert (type(drift), drift.what, type(broken)) == (Drift, what, Broken)


def test_an_update_without_levels_and_an_empty_book_are_what_they_are():
    read = parser()
    empty = frame("l2_data", {"type": "update", "product_id": "BTC-USD", "updates": []})
    (delta,) = read.read(empty, 1)[1]
    assert (delta.bids, delta.asks, delta.event_ns) == ([], [], 1_786_309_548_228_568_804)
    (book,) = read.read(frame("l2_data", {"type": "snapshot", "product_id": "BTC-USD", "updates": [level("bid", "3", "0E-8")]}), 1)[1]
    assert (book.bids, book.asks) == ([], [])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b'{"channel":"l2_data"}',
        b"\xff\xfe",
        b'{"channel":"market_trades","sequence_num":-1,"events":[]}',
        frame("market_trades", {"trades": [trade(price="0")]}),
        frame("market_trades", {"trades": [trade(price="NaN")]}),
        frame("market_trades", {"trades": [trade(price="-5")]}),
        frame("market_trades", {"trades": [trade(price="1e999")]}),
        frame("market_trades", {"trades": [trade(size="Infinity")]}),
        frame("market_trades", {"trades": [trade(trade_id="x7")]}),
        frame("market_trades", {"trades": [trade(time="yesterday")]}),
        frame("market_trades", {"type": "update", "trades": [trade(time="")]}),
        frame("market_trades", {"type": "update", "trades": [trade(trade_id="8"), trade(time="yesterday")]}),
        frame("market_trades", {"trades": [trade(time="0001-01-01T00:00:00Z")]}),
        frame("l2_data", {"type": "update", "product_id": "BTC-USD", "updates": [level("bid", "5", "0.-10000")]}),
        frame("l2_data", {"type": "update", "product_id": "BTC-USD", "updates": [level("bid", "", "1")]}),
        frame("ticker", {"tickers": [{"product_id": "BTC-USD", "price": "2", "volume_24_h": "1", "low_24_h": "3", "high_24_h": "2"}]}),
        frame("candles", {"candles": [{"product_id": "BTC-USD", "start": "300", "open": 1, "high": 1, "low": 2, "close": 1, "volume": 0}]}),
        frame("candles", {"candles": [{"product_id": "BTC-USD", "start": "301", "open": 1, "high": 1, "low": 1, "close": 1, "volume": 0}]}),
    ],
)
def test_absurd_frames_are_malformed(raw):
    with pytest.raises(Malformed, match="coinbase"):
        parser().read(raw, 1)


def test_an_error_has_no_channel_and_is_a_refusal_unless_it_passes():
    assert parser().read(b'{"type":"error","message":"product NOPE-USD is not valid"}', 1) == (
        None,
        [Reply(None, "product NOPE-USD is not valid")],
    )
    assert parser().read(b'{"type":"error","message":"Failed to subscribe","reason":"ErrSlowConsume"}', 1)[1] == [
        Broken("the venue says: 'Failed to subscribe: ErrSlowConsume'")
    ]
    assert parser().read(b'{"type":"error"}', 1)[1] == [Reply(None, "an error without words")]
    assert parser().read(b'{"type":"hello"}', 1)[1] == [Drift("message", "hello")]


def test_an_answer_without_one_of_our_products_is_a_refusal():
    wanted = {"ticker": frozenset({"BTC-USD", "ETH-USD"}), "level2": frozenset({"BTC-USD"})}
    raw = frame("subscriptions", {"subscriptions": {"ticker": ["BTC-USD"], "heartbeats": ["heartbeats"]}})
    assert parser(wanted=wanted).read(raw, 1)[1] == [Reply("ticker", "ticker without ETH-USD")]


# ── Times ──


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("2026-08-09T21:05:48.228568804Z", 1_786_309_548_228_568_804),
        ("2026-08-09T21:05:48.228568805Z", 1_786_309_548_228_568_805),
        ("2026-08-09T21:05:38.50436Z", 1_786_309_538_504_360_000),
        ("2026-08-09T21:05:48Z", 1_786_309_548_000_000_000),
        ("2026-08-09T21:05:48.1Z", 1_786_309_548_100_000_000),
        ("2026-08-09T23:05:48.1+02:00", 1_786_309_548_100_000_000),
        ("2026-08-09T23:59:59.999999999Z", 1_786_319_999_999_999_999),
        ("0001-01-01T00:00:00.000000Z", 0),
    ],
)
def test_times_are_read_to_the_nanosecond_the_first_time_and_again(text, ns):
    read = MomentReader().read
    assert [read(text), read(text), read(text)] == [ns] * 3


@pytest.mark.parametrize(
    "text",
    ["", "2026", "1786309548", "2026-08-09", "2026-13-09T21:05:48Z", "2026-08-09T21:05:48", "2026-08-09T21:05:48.²Z"],
)
def test_what_is_no_time_is_said_to_be_none(text):
    read = MomentReader().read
    read("2026-08-09T21:05:48.1Z")
    with pytest.raises(BadTime):
        read(text)


def test_the_seconds_that_are_remembered_are_bounded():
    read = MomentReader().read
    for second in range(5_000):
        assert (
            read(f"2026-08-09T{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d}.5Z")
            == 1_786_233_600_500_000_000 + second * 10**9
        )


# ── Whatever comes ──


def mutated(rng: random.Random, raw: bytes) -> bytes:
    made = bytearray(raw)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(made))
        match rng.randrange(5):
            case 0:
                made[at] = rng.randrange(256)
            case 1:
                del made[at : at + rng.randint(1, 20)]
            case 2:
                made[at:at] = bytes(rng.choice((b"0", b"-", b"9" * 30, b'"', b"{", b"null", b"NaN", b"1e400", b",,", b"\\u0000")))
            case 3:
                made = made[:at] + b"}" * rng.randint(0, 3)
            case _:
                end = rng.randrange(len(made))
                made[at:at] = made[min(at, end) : max(at, end)][:60]
        if not made:
            made = bytearray(b" ")
    return bytes(made)


def outcome(reader: FrameParser, raw: bytes) -> object:
    try:
        return reader.read(raw, 1)
    except Malformed:
        return Malformed


TIMES = (
    "48.1Z",
    "48.12Z",
    "48.123456Z",
    "48.1234567Z",
    "48.123456789Z",
    "48Z",
    "48.12+0100",
    "48.1+01Z",
    "48.1234567",
    "48.Z",
    "48.²Z",
    "61.1Z",
    "48.+1Z",
)


@pytest.mark.parametrize("end", TIMES)
def test_a_time_is_read_alike_both_ways(end):
    read = parser()
    for channel, was in ((b"market_trades", b'"time":"'), (b"l2_data", b'"event_time":"')):
        raw = next(raw for _, raw in FRAMES if channel in raw[:30] and b'"update"' in raw and was in raw)
        read.read(raw, 1)  # now its second is known
        at = raw.find(was) + len(was)
        changed = raw[: at + 17] + end.encode() + raw[raw.find(b'"', at) :]
        assert outcome(read, changed) == outcome(read, b" " + changed)


def test_a_frame_of_no_product_is_malformed_where_none_is_known():
    for channel, of in (("market_trades", {"trades": [trade(product_id="")]}), ("l2_data", {"product_id": "", "updates": []})):
        with pytest.raises(Malformed):
            FrameParser({}).read(frame(channel, {"type": "update", **of}), 1)


def test_twenty_thousand_broken_frames_give_declared_errors_only():
    rng = random.Random(20261124)
    small = [raw for _, raw in FRAMES if len(raw) < 4_000]
    read, malformed = parser(), 0
    for _ in range(20_000):
        raw = mutated(rng, rng.choice(small))
        # The quick way looks for a letter where the venue writes it: with a space before it the slow one is taken, to the same end.
        assert outcome(read, raw) == outcome(read, b" " + raw), raw
        try:
            _, found = read.read(raw, 1)
        except Malformed:
            malformed += 1
            continue
        for one in found:
            if isinstance(one, Trade):
                assert 0 < one.price < 1e15
                assert 0 < one.quantity < 1e18
                assert one.trade_id.isdecimal()
            elif isinstance(one, BookDelta):
                assert all(0 < price < 1e15 and 0 <= size < 1e18 for price, size in [*one.bids, *one.asks])
            elif isinstance(one, Kline):
                assert one.low <= min(one.open, one.close) <= max(one.open, one.close) <= one.high
    assert 5_000 < malformed < 20_000


# ── REST ──


def body_of(name: str) -> bytes:
    return (FIXTURES / f"rest_{name}.json").read_bytes()


def test_candles_come_oldest_first_and_are_final_by_the_venues_clock():
    rows, drift = answers.parse_candles(body_of("candles"), PRODUCTS["BTC-USD"], Interval.HOUR_1, 1_712_195_999 * 10**9)
    assert drift == []
    assert [(k.open_ns // 10**9, k.open, k.high, k.low, k.close, k.volume, k.final) for k in rows] == [
        (1712188800, 65984.18, 66387.77, 65857.35, 66314.59, 358.74851052, True),
        (1712192400, 66312.4, 66331.99, 66055.14, 66181.6, 355.82896243, False),
    ]
    assert {(k.turnover, k.trades, k.source) for k in rows} == {(None, None, "venue")}
    off = body_of("candles").replace(b"1712192400", b"1712192401")
    rows, drift = answers.parse_candles(off, PRODUCTS["BTC-USD"], Interval.HOUR_1, 0)
    assert (len(rows), drift[0].what) == (1, "kline off the grid")


@pytest.mark.parametrize(("was", "becomes"), [(b"1712192400", b"1712188800"), (b'"high":"66331.99"', b'"high":"66312.3"')])
def test_candles_that_contradict_themselves_are_malformed(was, becomes):
    with pytest.raises(Malformed, match="coinbase candles"):
        answers.parse_candles(body_of("candles").replace(was, becomes), PRODUCTS["BTC-USD"], Interval.HOUR_1, 0)


def test_trades_by_rest_are_those_of_the_stream_on_both_apis():
    trades, drift = answers.parse_market_trades(body_of("trades"), PRODUCTS["BTC-USD"])
    assert drift == []
    # Bid and ask stand in the same answer: 68923.66 and 68923.67; the newest was taken at the ask.
    assert [(t.trade_id, t.price, t.side) for t in trades] == [
        ("995098661", 68924.94, "sell"),
        ("995098662", 68923.67, "buy"),
        ("995098663", 68923.67, "buy"),
    ]
    trades, drift = answers.parse_exchange_trades(body_of("exchange_trades"), PRODUCTS["BTC-USD"])
    assert drift == []
    assert [int(t.trade_id) for t in trades] == list(range(24169618, 24169718))
    assert trades[-1] == Trade(BTC, "trade", "24169717", 9042.88, 0.00846511, "buy", 1_581_924_196_353_000_000)
    odd = b'[{"trade_id":1,"price":"1","size":"1","time":"2020-02-17T07:23:16Z","side":"both"}]'
    assert answers.parse_exchange_trades(odd, PRODUCTS["BTC-USD"]) == ([], [Drift("trade side", "both")])
    with pytest.raises(Malformed, match="RFC 3339"):
        answers.parse_exchange_trades(odd.replace(b"2020-02-17T", b"2020").replace(b"both", b"buy"), PRODUCTS["BTC-USD"])


def test_a_book_by_rest_is_cut_to_its_depth_and_never_crossed():
    book = answers.parse_book(body_of("book"), PRODUCTS["BTC-USD"], 2, 5, 6)
    assert book.bids == [(68923.66, 0.17189468), (68923.0, 0.05795895)]
    assert book.asks == [(68923.67, 0.16987193), (68926.0, 0.058)]
    assert (book.last_id, book.event_ns, book.recv_ns) == (0, 1_775_521_739_662_782_000, 6)
    without = body_of("book").replace(b"2026-04-07T00:28:59.662782Z", b"")
    assert answers.parse_book(without, PRODUCTS["BTC-USD"], 2, 5, 6).event_ns == 5
    for was, becomes in ((b'"68923.66"', b'"68923.67"'), (b"2026-04-07T", b"today")):
        with pytest.raises(Malformed, match="coinbase book"):
            answers.parse_book(body_of("book").replace(was, becomes), PRODUCTS["BTC-USD"], 2, 5, 6)


def test_a_product_is_its_own_ticker():
    ticker = answers.parse_ticker(body_of("product"), PRODUCTS["BTC-USD"], 5, 6)
    # 68923.67 / (1 - 0.0028560028286595) = 69121.08
    assert (ticker.price, ticker.volume, ticker.turnover, ticker.open) == (68923.67, 11005.02587005, None, 69121.08)
    assert (ticker.high, ticker.low, ticker.bid, ticker.ask, ticker.event_ns) == (None, None, None, None, 5)
    assert answers.parse_alias(body_of("product"), "BTC-USD") == "BTC-USD"
