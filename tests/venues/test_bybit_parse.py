"""Frames of Bybit: recorded ones against values read off by eye and against a second reader, and 20,000 broken ones."""

from __future__ import annotations

import json
import random
from collections import Counter

import pytest

from venues.bybit_parts import (
    BTC,
    ETH,
    INVERSE,
    PERP,
    TS,
    book,
    books_of,
    expecting,
    kline,
    parser,
    recorded_ob500,
    recorded_spot,
    ticker,
    trade,
    trades,
    wired,
)
from zvt_crypto.domain.errors import Malformed
from zvt_crypto.domain.events import TradesDoubted
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.venues.bybit.parse import FrameParser
from zvt_crypto.venues.parsed import Drift, Reply


def read(raw: bytes, category: str = "spot", **wanted: object) -> list:
    return list(parser(category, **wanted).parse(raw, 5))


# ── Recorded ──


def test_every_recorded_frame_is_an_event_of_its_topics_kind():
    spot = parser()
    seen = Counter(type(event).__name__ for recv_ns, raw in recorded_spot() for event in spot.parse(raw, recv_ns))
    assert seen == {"Reply": 7, "Ticker": 81, "BookSnapshot": 2, "BookDelta": 548, "Kline": 25, "Trade": 20}


def test_recorded_frames_of_expected_topics_are_read_as_those_of_others():
    expected, others = expecting(), parser()
    for recv_ns, raw in recorded_spot():
        assert list(expected.parse(raw, recv_ns)) == list(others.parse(raw, recv_ns))


def test_a_frame_without_a_topic_is_nobodys_where_one_topic_is_expected():
    one = parser()
    one.expect(["publicTrade.BTCUSDT"])
    assert list(one.parse(trades(trade(1)), 5)) == read(trades(trade(1)))
    message = json.loads(trades(trade(1)))
    del message["topic"]
    assert one.parse(wired(message), 5) == (Drift("frame", "without a topic"),)


def test_a_recorded_trade():
    (raw,) = [raw for _, raw in recorded_spot() if b"2280000001739247417" in raw]
    assert read(raw) == [Trade(ETH, "trade", "2280000001739247417", 1923.28, 0.04537, "sell", 1_786_310_821_917_000_000, 5)]


def test_a_recorded_kline_and_when_it_closes():
    spot = parser()
    klines = [event for _, raw in recorded_spot() if b"kline.1.BTC" in raw for event in spot.parse(raw, 5)]
    first = klines[0]
    assert (first.instrument, first.interval, first.open_ns) == (BTC, Interval.MIN_1, 1_786_310_760_000_000_000)
    assert (first.open, first.high, first.low, first.close) == (65140.4, 65140.5, 65140.4, 65140.5)
    assert (first.volume, first.turnover, first.trades, first.source) == (0.15318, 9978.2084389, None, "venue")
    finals = [k for k in klines if k.final]
    assert [k.open_ns for k in finals] == [1_786_310_760_000_000_000]


def test_a_recorded_ticker():
    raw = recorded_spot()[1][1]
    (event,) = read(raw)
    assert event == Ticker(
        BTC, 65140.5, 2953.835931, 191907024.69597728, 65045.3, 65305.6, 64727.9, None, None, 1_786_310_819_126_000_000, 5
    )


def test_a_recorded_book_change():
    raw = books_of([raw for _, raw in recorded_spot()], "BTCUSDT")[1]
    (event,) = read(raw)
    assert isinstance(event, BookDelta)
    assert (event.instrument, event.first_id, event.last_id) == (BTC, 62505425, 62505425)
    assert event.bids == [(65140.4, 0.875077)]
    assert event.asks[-1] == (65239.1, 0.0)
    assert event.event_ns == 1_786_310_816_585_000_000  # the matching engine's time, not the sender's


def test_what_stands_in_a_level_after_its_size_is_not_read():
    for raw in books_of([raw for _, raw in recorded_spot()], "BTCUSDT")[:20]:
        frame = json.loads(raw)
        for side in ("b", "a"):
            frame["data"][side] = [[*row, "7"] for row in frame["data"][side]]
        assert read(json.dumps(frame).encode()) == read(raw)
        frame["data"]["b"] = [["65140.4", "-1", "7"]]
        with pytest.raises(Malformed):
            read(json.dumps(frame).encode())


def test_recorded_futures_have_their_time_after_the_type():
    events = [event for raw in recorded_ob500() for event in parser("linear").parse(raw, 5)]
    assert [type(event) for event in events] == [BookSnapshot] + [BookDelta] * 19
    assert len(events[0].bids) == len(events[0].asks) == 500


@pytest.mark.data
def test_agrees_with_a_second_reader(recorded):
    """The vendor's own normalisation of the frames in today's format."""
    pairs = json.loads((recorded / "tardis_node/pairs/map_bybit_spot_messages.json").read_text())
    spot = parser()
    spot._natives["BTCUSDC"] = "usdc"  # of the frames, not in the recorded listing's order
    compared = 0
    for pair in pairs:
        if "params" in pair["raw"] or "topic" not in pair["raw"]:
            continue  # the protocol before v5
        found = spot.parse(wired(pair["raw"]), 5)
        assert len(found) == len(pair["expected"])
        for ours, theirs in zip(found, pair["expected"], strict=True):
            compared += 1
            match ours:
                case Trade():
                    named = (theirs["id"], theirs["price"], theirs["amount"], theirs["side"])
                    assert (ours.trade_id, ours.price, ours.quantity, ours.side) == named
                case BestQuote():
                    named = (theirs["bidPrice"], theirs["bidAmount"], theirs["askPrice"], theirs["askAmount"])
                    assert (ours.bid, ours.bid_quantity, ours.ask, ours.ask_quantity) == named
                case BookSnapshot() | BookDelta():
                    assert isinstance(ours, BookSnapshot) == theirs["isSnapshot"]
                    assert ours.bids == [(level["price"], level["amount"]) for level in theirs["bids"]]
                    assert ours.asks == [(level["price"], level["amount"]) for level in theirs["asks"]]
    assert compared == 9


# ── Trades ──


def test_trades_come_in_the_order_of_the_message():
    found = read(trades(trade(1), trade(2, S="Sell"), trade(3)))
    assert [(event.trade_id, event.side) for event in found] == [("1", "buy"), ("2", "sell"), ("3", "buy")]


def test_linear_ids_are_uuids():
    (found,) = read(trades(trade(1, i="20f43950-d8dd-5b31-9112-a178eb6023af")), "linear")
    assert (found.instrument, found.trade_id) == (PERP, "20f43950-d8dd-5b31-9112-a178eb6023af")


def test_block_trades_and_unknown_sides_are_drift():
    block, side, doubt = read(trades(trade(1, BT=True), trade(2, S="Cross")))
    assert (block, side) == (Drift("block trade", "BTCUSDT"), Drift("side", "Cross"))
    # A trade was left out, and its id does not show it: somebody must ask.
    assert isinstance(doubt, TradesDoubted)
    assert (doubt.instrument, doubt.stream) == ("cryptopair_bybit_btcusdt", "trade")


def test_the_same_symbol_is_another_instrument_in_another_category():
    raw = trades(trade(1))
    assert [read(raw, category)[0].instrument for category in ("spot", "linear")] == [BTC, PERP]
    assert read(raw, "inverse") == [Drift("symbol", "BTCUSDT")]


# ── Klines ──


@pytest.mark.parametrize(
    ("name", "interval", "start"),
    [
        ("240", Interval.HOUR_4, 1_786_305_600_000),
        ("D", Interval.DAY_1, 1_786_233_600_000),
        ("W", Interval.WEEK_1, 1_785_715_200_000),  # a Monday
        ("M", Interval.MONTH_1, 1_785_542_400_000),  # 1 August 2026
    ],
)
def test_longer_klines_lie_on_our_grid(name, interval, start):
    (found,) = read(kline(name=name, start=start, confirm=True))
    assert (found.interval, found.open_ns, found.final) == (interval, start * 1_000_000, True)


def test_one_message_may_hold_the_closed_kline_and_the_new_one():
    message = json.loads(kline(confirm=True))
    message["data"].append({**message["data"][0], "start": 1_786_310_820_000, "confirm": False})
    assert [event.final for event in read(wired(message))] == [True, False]


@pytest.mark.parametrize(
    "wrong", [{"high": "8"}, {"low": "11.5"}, {"start": 1_786_310_761_000}, {"interval": "5"}, {"volume": "-1"}, {"open": "NaN"}]
)
def test_an_absurd_kline_is_malformed(wrong):
    with pytest.raises(Malformed, match="bybit spot"):
        read(kline(**wrong))


def test_intervals_that_we_do_not_know_are_drift():
    assert read(kline(name="120")) == [Drift("interval", "120")]


# ── Books and quotes ──


def test_a_book_that_begins_anew_is_a_snapshot_whatever_its_type():
    (found,) = read(book("delta", 1, [["10", "1"], ["11", "2"]], [["13", "1"], ["12", "3"]]))
    assert found == BookSnapshot(BTC, 1, [(11.0, 2.0), (10.0, 1.0)], [(12.0, 3.0), (13.0, 1.0)], (TS - 30) * 1_000_000, 5)


def test_one_level_is_a_quote_and_comes_again_with_the_same_number():
    spot = parser()
    raw = book("snapshot", 200, [["10", "1"]], [["11", "2"]], level=1)
    quote = BestQuote(BTC, 200, 10.0, 1.0, 11.0, 2.0, (TS - 30) * 1_000_000, 5)
    assert [*spot.parse(raw, 5), *spot.parse(raw, 5)] == [quote, quote]


def test_changes_of_one_level_as_older_captures_have_them():
    spot = parser()
    assert spot.parse(book("delta", 6, [["10", "1"]], level=1), 5) == (Drift("quote change without a beginning", "BTCUSDT"),)
    spot.parse(book("snapshot", 7, [["10", "1"]], [["11", "2"]], level=1), 5)
    (moved,) = spot.parse(book("delta", 8, [["10", "0"], ["10.5", "4"]], level=1), 5)
    assert (moved.bid, moved.bid_quantity, moved.ask) == (10.5, 4.0, 11.0)
    (emptied,) = spot.parse(book("delta", 9, [], [["11", "0"]], level=1), 5)
    assert (emptied.bid, emptied.ask, emptied.ask_quantity) == (10.5, 0.0, 0.0)
    assert spot.parse(book("delta", 11, [["10", "1"]], level=1), 5) == (Drift("quote change without a beginning", "BTCUSDT"),)


@pytest.mark.parametrize("level", [1, 200])
def test_an_unknown_type_of_book_message_is_drift(level):
    assert read(book("partial", 3, level=level)) == [Drift("book message", "partial")]


@pytest.mark.parametrize("level", [1, 200])
def test_a_book_message_about_another_symbol_is_malformed(level):
    raw = book("delta", 3, level=level).replace(b'"s":"BTCUSDT"', b'"s":"ETHUSDT"')
    with pytest.raises(Malformed, match="BTCUSDT tells of ETHUSDT"):
        read(raw)


# ── Tickers ──

LINEAR = {
    "lastPrice": "17216.00",
    "prevPrice24h": "16926.50",
    "highPrice24h": "17281.50",
    "lowPrice24h": "16915.00",
    "markPrice": "17217.33",
    "indexPrice": "17227.36",
    "turnover24h": "1570383121.943499",
    "volume24h": "91705.276",
    "nextFundingTime": "1673280000000",
    "fundingRate": "-0.000212",
    "bid1Price": "17215.50",
    "ask1Price": "17216.00",
}


def test_a_whole_linear_ticker_is_a_ticker_and_a_mark_price():
    day, mark = read(ticker("snapshot", **LINEAR), "linear")
    assert day == Ticker(PERP, 17216.0, 91705.276, 1570383121.943499, 16926.5, 17281.5, 16915.0, 17215.5, 17216.0, TS * 1_000_000, 5)
    assert mark == MarkPrice(PERP, TS * 1_000_000, 17217.33, 17227.36, -0.000212, 1_673_280_000_000_000_000, 5)


def test_a_field_that_a_change_does_not_name_has_not_changed():
    linear = parser("linear")
    linear.parse(ticker("snapshot", **LINEAR), 5)
    (day,) = linear.parse(ticker("delta", lastPrice="17300", ts=TS + 100), 6)
    assert (day.price, day.volume, day.bid, day.event_ns) == (17300.0, 91705.276, 17215.5, (TS + 100) * 1_000_000)
    (mark,) = linear.parse(ticker("delta", fundingRate="0.0001", ts=TS + 200), 7)
    assert (mark.mark_price, mark.funding_rate, mark.next_funding_ns) == (17217.33, 0.0001, 1_673_280_000_000_000_000)
    assert list(linear.parse(ticker("delta", openInterest="5", ts=TS + 300), 8)) == []
    day, mark = linear.parse(ticker("delta", bid1Price="", markPrice="1", ts=TS + 400), 9)
    assert (day.price, day.bid, day.ask, mark.mark_price, mark.funding_rate) == (17300.0, None, 17216.0, 1.0, 0.0001)


def test_tickers_of_two_symbols_do_not_mix():
    linear = parser("linear")
    linear.parse(ticker("snapshot", **LINEAR), 5)
    linear.parse(ticker("snapshot", "XRPUSDT", **{**LINEAR, "lastPrice": "2"}), 5)
    (day,) = linear.parse(ticker("delta", "XRPUSDT", volume24h="9"), 5)
    assert (day.instrument, day.price, day.volume) == ("cryptoperp_bybit_xrpusdt", 2.0, 9.0)


def test_only_what_is_subscribed_comes_out():
    raw = ticker("snapshot", **LINEAR)
    assert [type(e) for e in read(raw, "linear", tickers={"BTCUSDT"}, marks=set())] == [Ticker]
    assert [type(e) for e in read(raw, "linear", tickers=set(), marks={"BTCUSDT"})] == [MarkPrice]
    assert [type(e) for e in read(raw, "spot")] == [Ticker]


def test_a_change_without_a_beginning_is_drift_and_named_as_lost():
    linear, lost = parser("linear"), []
    linear.lost = lambda native, recv_ns: lost.append((native, recv_ns)) or ()
    assert linear.parse(ticker("delta", lastPrice="1"), 5) == (Drift("ticker change without a beginning", "BTCUSDT"),)
    assert lost == [("BTCUSDT", 5)]


@pytest.mark.parametrize("broken", [{"lastPrice": "-1"}, {"highPrice24h": "5"}, {"volume24h": "x"}])
def test_after_a_change_that_could_not_be_read_nothing_is_taken_as_known(broken):
    linear = parser("linear")
    linear.parse(ticker("snapshot", **LINEAR), 5)
    with pytest.raises(Malformed, match="bybit"):
        linear.parse(ticker("delta", **broken), 5)
    assert linear.parse(ticker("delta", lastPrice="17300"), 5) == (Drift("ticker change without a beginning", "BTCUSDT"),)


def test_a_dated_contract_has_a_mark_price_without_funding():
    raw = ticker("snapshot", "BTCUSDT-25DEC26", **{**LINEAR, "fundingRate": "", "nextFundingTime": "0"})
    _, mark = read(raw, "linear")
    assert (mark.mark_price, mark.funding_rate, mark.next_funding_ns) == (17217.33, None, None)


def test_an_instrument_that_never_traded_is_drift():
    found = read(ticker("snapshot", "BTCUSD", lastPrice="", markPrice="0"), "inverse")
    assert found == [Drift("ticker without a price", "BTCUSD"), Drift("no mark price", "BTCUSD")]
    assert read(ticker("other", "BTCUSD", lastPrice="1"), "inverse") == [Drift("ticker message", "other")]


def test_an_inverse_tickers_volume_is_base_and_its_turnover_quote():
    (day, _) = read(ticker("snapshot", "BTCUSD", **{**LINEAR, "volume24h": "49337318", "turnover24h": "2352.9"}), "inverse")
    assert (day.instrument, day.volume, day.turnover) == (INVERSE, 2352.9, 49337318.0)


# ── Other frames ──


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        ({"success": True, "ret_msg": "subscribe", "conn_id": "c", "op": "subscribe"}, [Reply(None, None)]),
        ({"success": True, "ret_msg": "", "conn_id": "c", "req_id": "1", "op": "subscribe"}, [Reply("1", None)]),
        ({"success": False, "ret_msg": "Invalid topic", "conn_id": "c", "op": "subscribe"}, [Reply(None, "subscribe Invalid topic")]),
        ({"success": True, "ret_msg": "", "req_id": "2", "op": "unsubscribe"}, []),
        ({"success": True, "ret_msg": "pong", "conn_id": "c", "op": "ping"}, []),
        ({"req_id": "1", "op": "pong", "args": ["1675418560633"], "conn_id": "c"}, []),
        ({"op": "auth", "success": False, "retCode": 10003, "retMsg": "Invalid apikey"}, [Reply(None, "auth 10003: Invalid apikey")]),
        ({"reqId": "7", "retCode": 20006, "retMsg": "", "op": "x"}, [Reply("7", "x 20006: without a reason")]),
        ({"hello": 1}, [Drift("frame", "without a topic")]),
        ({"topic": "priceLimit.BTCUSDT", "data": {}}, [Drift("topic", "priceLimit.BTCUSDT")]),
        ({"topic": "orderbook.rpi.BTCUSDT", "data": {}}, [Drift("topic", "orderbook.rpi.BTCUSDT")]),
        ({"topic": "publicTrade.NEWUSDT", "data": []}, [Drift("symbol", "NEWUSDT")]),
    ],
)
def test_what_is_no_market_event(frame, found):
    assert read(wired(frame)) == found


def test_other_spacing_and_order_give_the_same_event():
    message = json.loads(trades(trade(1)))
    turned = json.dumps(dict(reversed(list(message.items()))), indent=1).encode()
    assert read(turned) == read(trades(trade(1)))


def test_unknown_fields_are_ignored_and_numbers_may_stand_as_numbers():
    assert read(trades(trade(1, p=65140.5, v=0.01, T=str(TS), new={"deep": [1]}))) == read(trades(trade(1)))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"topic":5}', b'{"topic":"' + b"x" * 500, b"[" * 10_000])
def test_garbage_is_malformed(raw):
    with pytest.raises(Malformed, match="bybit spot frame"):
        read(raw)


def test_mutated_frames_raise_declared_errors_only():
    """20,000 frames with bytes changed, cut, doubled or swapped: an event that the recording could hold, drift, or Malformed.

    Whether the topics are expected makes no difference.
    """
    chance = random.Random(20260809)
    spot, linear = (parser(), expecting()), (parser("linear"), expecting("linear"))
    for one in linear:
        one.parse(ticker("snapshot", **LINEAR), 1)
    recorded = [raw for _, raw in recorded_spot() if len(raw) < 3_000]
    kinds = [[(spot, raw) for raw in recorded if name in raw[:40]] for name in (b"orderbook", b"publicTrade", b"kline", b"tickers")]
    kinds.append([(linear, ticker("delta", lastPrice="17300.5", bid1Price="17300")), (linear, ticker("snapshot", **LINEAR))])
    outcomes: Counter = Counter()
    for _ in range(20_000):
        readers, raw = chance.choice(chance.choice(kinds))
        raw = mutated(raw, chance)
        found, expected = (outcome(reader, raw) for reader in readers)
        assert found == expected, raw
        if not isinstance(found, list):
            outcomes["malformed"] += 1
            continue
        for event in found:
            outcomes[type(event).__name__] += 1
            check(event)
    assert outcomes["malformed"] > 5_000
    assert min(outcomes[name] for name in ("Trade", "BookDelta", "Kline", "Ticker", "Drift")) > 200


def outcome(reader: FrameParser, raw: bytes) -> list | type[Malformed]:
    try:
        return list(reader.parse(raw, 1))
    except Malformed:
        return Malformed


def mutated(raw: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(raw))
    match chance.randrange(5):
        case 0:
            return raw[:at]
        case 1:
            return raw[:at] + bytes([chance.randrange(256)]) + raw[at + 1 :]
        case 2:
            return raw[:at] + raw[at : at + chance.randrange(1, 20)] + raw[at:]
        case 3:
            return raw[:at] + raw[at + chance.randrange(1, 20) :]
        case _:
            value = chance.choice([b'"NaN"', b'"-1"', b"1e400", b'""', b"null", b"[]", b"{}", b"-0.1", b'"Infinity"'])
            start = raw.find(b":", at) + 1
            end = min((n for n in (raw.find(b",", start), raw.find(b"}", start)) if n > 0), default=len(raw))
            return raw[:start] + value + raw[end:]


def check(event: object) -> None:
    match event:
        case Trade():
            assert 0 < event.price < 1e15
            assert 0 < event.quantity < 1e18
        case Kline():
            assert event.low <= min(event.open, event.close) <= max(event.open, event.close) <= event.high
        case BookSnapshot() | BookDelta():
            assert all(0 < price < 1e15 and 0 <= size < 1e18 for price, size in [*event.bids, *event.asks])
        case Ticker():
            assert event.price > 0
