"""The WebSocket protocol without sockets, and what waits for a client that does not read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.api_parts import BTC, BTC_PERP
from zvt_crypto.api.ws.outbox import MOST_TRADES, MOST_WAITING, Outbox
from zvt_crypto.api.ws.protocol import Params, Refusal, Request, Topic, envelope, envelope_head, parse_request, text_frame, topic_of
from zvt_crypto.api.ws.streams import changes
from zvt_crypto.domain.errors import BadInput
from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.domain.time import Interval

TABLE = Instruments([BTC, BTC_PERP])
TRADES = Topic("trade", BTC.id)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "method", "params", "channel", "symbol", "depth"]), inner)
    ),
    max_leaves=12,
)


@given(st.binary(max_size=300))
def test_no_bytes_whatever_raise(payload: bytes) -> None:
    assert isinstance(parse_request(payload), Request | Refusal)


@given(st.fixed_dictionaries({"method": st.sampled_from(["subscribe", "unsubscribe", "ping", "x"]), "id": JSON, "params": JSON}))
def test_every_message_is_a_request_or_a_refusal_and_every_request_a_topic_or_bad_input(message: object) -> None:
    request = parse_request(json.dumps(message).encode())
    if isinstance(request, Request):
        try:
            topic = topic_of(request.params, TABLE)
        except BadInput:
            return
        assert topic.symbol in TABLE


@pytest.mark.parametrize("name", [BTC_PERP.id, "BTC/USDT:USDT", BTC_PERP.id.upper()])
def test_a_topic_has_the_entity_id_whatever_name_was_given(name: str) -> None:
    assert topic_of(Params("kline", name, "binance", "1mon"), TABLE) == Topic("kline", BTC_PERP.id, interval=Interval.MONTH_1)


def test_an_envelope_keeps_the_fields_out_that_do_not_apply() -> None:
    head = envelope_head(TRADES)
    assert (
        envelope(head, 18, "update", b"[]")
        == b'{"channel":"trade","symbol":"cryptopair_binance_btcusdt","seq":18,"type":"update","data":[]}'
    )


@pytest.mark.parametrize(
    ("size", "head"),
    [
        (0, b"\x81\x00"),
        (125, b"\x81\x7d"),
        (126, b"\x81\x7e\x00\x7e"),
        (65_535, b"\x81\x7e\xff\xff"),
        (65_536, b"\x81\x7f\0\0\0\0\0\x01\0\0"),
    ],
)
def test_frames_have_the_lengths_of_rfc_6455(size: int, head: bytes) -> None:
    assert text_frame(b"x" * size) == head + b"x" * size


levels = st.lists(st.tuples(st.integers(1, 12).map(float), st.integers(1, 3).map(float)), unique_by=lambda level: level[0], max_size=8)


@given(levels, levels)
def test_changes_turn_one_window_into_the_other_and_say_nothing_else(
    before: list[tuple[float, float]], after: list[tuple[float, float]]
) -> None:
    held = dict(before)
    for price, size in changes(before, after):
        assert held.get(price, 0.0) != size
        if size:
            held[price] = size
        else:
            del held[price]
    assert held == dict(after)


class Book:
    """A stream that can tell its newest state."""

    def newest_frame(self) -> bytes:
        return b"snapshot"


def slow_outbox() -> Outbox:
    outbox = Outbox()
    outbox.slow = True
    return outbox


def test_what_waits_comes_out_in_order_with_klines_and_books_at_their_newest() -> None:
    outbox, book, klines = slow_outbox(), Book(), Topic("kline", BTC.id, interval=Interval.MIN_1)
    outbox.put(b"ack")
    for number in range(3):
        outbox.put_kline(klines, 60, b"row %d" % number)
        outbox.put_trades(TRADES, 1, b"trade %d" % number)
        outbox.put_book(book, b"delta")
    outbox.put_kline(klines, 120, b"next bar")
    assert outbox.ready == []
    outbox.catch_up()
    assert outbox.take() == b"ack" + b"trade 0trade 1trade 2" + b"row 2" + b"next bar" + b"snapshot"
    assert outbox.overflow is None


def test_what_is_unsubscribed_does_not_come_after_all() -> None:
    outbox, book, klines = slow_outbox(), Book(), Topic("kline", BTC.id, interval=Interval.MIN_1)
    outbox.put_kline(klines, 60, b"row")
    outbox.put_trades(TRADES, 5, b"trades")
    outbox.put_book(book, b"delta")
    outbox.forget(klines, None)
    outbox.forget(TRADES, None)
    outbox.forget(Topic("depth", BTC.id, depth=5), book)
    outbox.catch_up()
    assert (outbox.ready, outbox.waiting_trades) == ([], 0)


def test_each_kind_of_waiting_has_its_bound() -> None:
    trades = slow_outbox()
    trades.put_trades(TRADES, MOST_TRADES, b"x")
    assert trades.overflow is None
    trades.put_trades(TRADES, 1, b"x")
    assert trades.overflow == "more than 1000 trades wait for you to read"
    answers, klines = slow_outbox(), slow_outbox()
    for number in range(MOST_WAITING + 1):
        assert (answers.overflow, klines.overflow) == (None, None)
        answers.put(b"x")
        klines.put_kline(Topic("kline", BTC.id, interval=Interval.MIN_1), number, b"x")
    assert answers.overflow is not None
    assert klines.overflow is not None
