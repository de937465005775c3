"""Frames and answers of OKX → events: recorded ones, hand-made edges, and bytes that are broken."""

from __future__ import annotations

import json
import random
from collections import Counter

import msgspec
import pytest

from zvt_crypto.domain.errors import Malformed, Refused
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.venues.okx import parse_rest
from zvt_crypto.venues.okx.parse import FrameParser
from zvt_crypto.venues.okx.units import traded, traded_of
from zvt_crypto.venues.parsed import Broken, Drift, Reply, Shutdown

BTC, PERP, INVERSE = "cryptopair_okx_btcusdt", "cryptoperp_okx_btcusdt", "cryptoperp_okx_btcusd"
MS = 1_000_000


@pytest.fixture
def parser(okx) -> FrameParser:
    return FrameParser(traded_of(okx.listed))


def framed(channel: str, native: str, *rows: object, **more: object) -> bytes:
    return json.dumps({"arg": {"channel": channel, "instId": native}, **more, "data": rows}, separators=(",", ":")).encode()


def answered(*rows: object) -> bytes:
    return json.dumps({"code": "0", "msg": "", "data": rows}).encode()


TRADE = {"instId": "BTC-USDT", "tradeId": "734864333", "px": "102537.9", "sz": "0.00013669", "side": "sell", "ts": "1747087163557"}
CANDLE = ["1747094040000", "102806.1", "102820.4", "102806.1", "102820.4", "1040.37", "10.4037", "1069603.34883", "1"]
LEVELS = {"asks": [["8476.98", "415", "0", "13"]], "bids": [["8476.97", "256", "0", "12"]], "ts": "1597026383085"}
BOOK = {**LEVELS, "checksum": 0, "prevSeqId": 123456, "seqId": 123457}
TICKER = {
    "instType": "SPOT", "instId": "BTC-USDT", "last": "30236", "lastSz": "0.0002", "askPx": "30228.7", "askSz": "1.5", "bidPx": "30228.6",
    "bidSz": "0.2", "open24h": "29700.4", "high24h": "31073", "low24h": "28020.3", "sodUtc0": "29028.8", "sodUtc8": "30337.7",
    "volCcy24h": "525802090.62716611", "vol24h": "17602.13085371", "ts": "1652459224956",
}  # fmt: skip
FUNDING = {"instId": "BTC-USDT-SWAP", "fundingRate": "0.0001875391284828", "fundingTime": "1700726400000", "nextFundingRate": ""}
FUNDING |= {"nextFundingTime": "1700755200000", "ts": "1700724675402"}


# ── Recorded ──


def test_every_recorded_frame_becomes_the_event_that_it_is(okx, parser):
    # The recording is older than the channel of single fills; its `trades` had the same rows.
    raws = [raw.replace(b'"channel":"trades"', b'"channel":"trades-all"') for _, raw in okx.frames]
    read = Counter(type(event) for raw in raws for event in parser.parse(raw, 1))
    assert read == {BookSnapshot: 3, BookDelta: 287, Trade: 74, Ticker: 28, Reply: 18}


def test_no_digit_of_a_recorded_trade_is_lost(okx, parser):
    raws = [raw for _, raw in okx.frames if b'"trades","instId":"BTC-USDT"' in raw and b'"data"' in raw]
    rows = [row for raw in raws for row in json.loads(raw)["data"]]
    trades = [event for raw in raws for event in parser.parse(raw.replace(b'"trades"', b'"trades-all"'), 9)]
    assert len(trades) == len(rows) == 69
    for trade, row in zip(trades, rows, strict=True):
        assert trade == Trade(BTC, "trade", row["tradeId"], float(row["px"]), float(row["sz"]), row["side"], int(row["ts"]) * MS, 9)
    # What the connector declares: each fill has the next id.
    ids = [int(trade.trade_id) for trade in trades]
    assert ids == list(range(ids[0], ids[0] + 69))


def test_agrees_with_tardis_on_vendor_captures(recorded, okx):
    pairs = json.loads((recorded / "tardis_node/pairs/map_okex_messages.json").read_text())
    checked = Counter()
    for pair in pairs:
        native = pair["raw"].get("arg", {}).get("instId")
        if native is None or "data" not in pair["raw"]:
            continue
        one = msgspec.structs.replace(traded(okx.listed.get(BTC)), native=native)
        raw = json.dumps(pair["raw"]).replace('"trades"', '"trades-all"').replace("books-l2-tbt", "books")
        (event,) = FrameParser({native: one}).parse(raw.encode(), 0)
        (theirs,) = pair["expected"]
        checked[theirs["type"]] += 1
        if theirs["type"] == "trade":
            assert (event.trade_id, event.price, event.quantity, event.side) == (*(theirs[k] for k in ("id", "price", "amount", "side")),)
        elif theirs["type"] == "book_change":
            assert isinstance(event, BookSnapshot) == theirs["isSnapshot"]
            assert event.bids == [(level["price"], level["amount"]) for level in theirs["bids"]]
            assert event.asks == [(level["price"], level["amount"]) for level in theirs["asks"]]
        else:
            assert (event.bid, event.ask) == (theirs["bidPrice"], theirs["askPrice"])
    assert checked == {"trade": 2, "book_change": 2, "book_ticker": 1}


# ── Each channel ──


def test_a_trade_of_a_contract_counts_in_base(parser):
    (linear,) = parser.parse(framed("trades-all", "BTC-USDT-SWAP", {**TRADE, "instId": "BTC-USDT-SWAP", "sz": "7.5", "px": "60000"}), 3)
    assert linear == Trade(PERP, "trade", "734864333", 60000.0, 0.075, "sell", 1747087163557 * MS, 3)
    (inverse,) = parser.parse(framed("trades-all", "BTC-USD-SWAP", {**TRADE, "instId": "BTC-USD-SWAP", "sz": "3", "px": "60000"}), 3)
    assert inverse.quantity == pytest.approx(3 * 100 / 60000)
    assert inverse.instrument == INVERSE


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("other", ["BTC-USDT-SWAP", "NEW-USDT"], ids=["one that we know", "one that we do not"])
def test_refuses_a_trade_that_is_of_another_instrument_than_its_frame(parser, count, other):
    frame = framed("trades-all", "BTC-USDT", *[TRADE] * (count - 1), {**TRADE, "instId": other})
    with pytest.raises(Malformed, match=f"a message of BTC-USDT tells of '{other}'"):
        parser.parse(frame, 5)


def test_a_trade_that_names_no_instrument_is_of_that_of_its_frame(parser):
    row = {name: value for name, value in TRADE.items() if name != "instId"}
    assert parser.parse(framed("trades-all", "BTC-USDT", row), 5) == parser.parse(framed("trades-all", "BTC-USDT", TRADE), 5)


def test_several_trades_in_a_frame_are_several_trades(parser):
    found = parser.parse(framed("trades-all", "BTC-USDT", TRADE, {**TRADE, "tradeId": "734864334", "side": "buy"}), 3)
    assert [(t.trade_id, t.side) for t in found] == [("734864333", "sell"), ("734864334", "buy")]


def test_a_kline_of_a_contract_has_the_venues_own_base_volume(parser):
    (kline,) = parser.parse(framed("candle1m", "BTC-USDT-SWAP", CANDLE), 7)
    prices = (102806.1, 102820.4, 102806.1, 102820.4)
    assert kline == Kline(PERP, Interval.MIN_1, 1747094040000 * MS, *prices, 10.4037, 1069603.34883, None, True, "venue", 7, 7)


def test_a_kline_of_a_pair_has_its_volume_in_the_first_place(parser):
    row = ["1747094100000", "10", "12", "9", "11", "5.5", "60.5", "60.5", "0"]
    (kline,) = parser.parse(framed("candle5m", "BTC-USDT", row), 7)
    assert (kline.volume, kline.turnover, kline.final, kline.interval) == (5.5, 60.5, False, Interval.MIN_5)


@pytest.mark.parametrize(
    ("channel", "interval", "open_ms"),
    [
        ("candle1H", Interval.HOUR_1, 1746867600000),
        ("candle4H", Interval.HOUR_4, 1746864000000),
        ("candle1Dutc", Interval.DAY_1, 1746835200000),
        ("candle1Wutc", Interval.WEEK_1, 1746403200000),  # Monday 2025-05-05
        ("candle1Mutc", Interval.MONTH_1, 1746057600000),
    ],
)
def test_longer_klines_open_where_the_calendar_says(parser, channel, interval, open_ms):
    (kline,) = parser.parse(framed(channel, "BTC-USDT", [str(open_ms), *CANDLE[1:]]), 1)
    assert (kline.interval, kline.open_ns) == (interval, open_ms * MS)


def test_a_day_that_opens_in_hong_kong_is_off_the_grid(parser):
    (drift,) = parser.parse(framed("candle1Dutc", "BTC-USDT", ["1746806400000", *CANDLE[1:]]), 1)
    assert drift == Drift("kline off the grid", f"{BTC} 1d 1746806400000")


def test_a_contracts_kline_without_base_volume_is_left_out_and_one_without_turnover_is_not(parser):
    (drift,) = parser.parse(framed("candle1m", "BTC-USDT-SWAP", [*CANDLE[:6], "0", "0", "1"]), 1)
    assert drift.what == "kline without a base volume"
    (kline,) = parser.parse(framed("candle1m", "BTC-USDT-SWAP", [*CANDLE[:7], "", "1"]), 1)
    assert (kline.volume, kline.turnover) == (10.4037, None)
    (flat,) = parser.parse(framed("candle1m", "BTC-USDT-SWAP", [*CANDLE[:5], "0", "0", "0", "1"]), 1)
    assert (flat.volume, flat.turnover, flat.final) == (0.0, 0.0, True)


def test_books_carry_their_chain(parser):
    (snapshot,) = parser.parse(framed("books", "BTC-USDT", {**BOOK, "prevSeqId": -1, "seqId": 123456}, action="snapshot"), 5)
    assert snapshot == BookSnapshot(BTC, 123456, [(8476.97, 256.0)], [(8476.98, 415.0)], 1597026383085 * MS, 5)
    (delta,) = parser.parse(framed("books", "BTC-USDT", BOOK, action="update"), 5)
    assert delta == BookDelta(BTC, 123457, 123457, 123456, [(8476.97, 256.0)], [(8476.98, 415.0)], 1597026383085 * MS, 5)


def test_levels_of_contracts_count_in_base(parser):
    (linear,) = parser.parse(framed("books", "BTC-USDT-SWAP", BOOK, action="update"), 5)
    assert (linear.bids, linear.asks) == ([(8476.97, 2.56)], [(8476.98, 4.15)])
    (inverse,) = parser.parse(framed("books", "BTC-USD-SWAP", BOOK, action="update"), 5)
    assert inverse.bids == [(8476.97, pytest.approx(256 * 100 / 8476.97))]


def test_an_update_without_ids_has_no_chain(okx, parser):
    raw = next(raw for _, raw in okx.frames if b'"action":"update"' in raw)
    (delta,) = parser.parse(raw, 1)
    assert delta.prev_id is None


def test_the_best_quote_and_a_side_without_orders(parser):
    (quote,) = parser.parse(framed("bbo-tbt", "BTC-USDT-SWAP", {**LEVELS, "seqId": 123456}), 5)
    assert quote == BestQuote(PERP, 123456, 8476.97, 2.56, 8476.98, 4.15, 1597026383085 * MS, 5)
    (empty,) = parser.parse(framed("bbo-tbt", "BTC-USDT", {**LEVELS, "bids": [], "seqId": 1}), 5)
    assert (empty.bid, empty.bid_quantity, empty.ask) == (0.0, 0.0, 8476.98)


def test_tickers_count_in_base_and_quote(parser):
    (spot,) = parser.parse(framed("tickers", "BTC-USDT", TICKER), 5)
    day = (29700.4, 31073.0, 28020.3, 30228.6, 30228.7)
    assert spot == Ticker(BTC, 30236.0, 17602.13085371, 525802090.62716611, *day, 1652459224956 * MS, 5)
    (linear,) = parser.parse(framed("tickers", "BTC-USDT-SWAP", {**TICKER, "vol24h": "1760213", "volCcy24h": "17602.13"}), 5)
    assert (linear.volume, linear.turnover) == (17602.13, None)
    (inverse,) = parser.parse(framed("tickers", "BTC-USD-SWAP", {**TICKER, "vol24h": "779573", "volCcy24h": "2620.289"}), 5)
    assert (inverse.volume, inverse.turnover) == (2620.289, 77957300.0)


def test_a_ticker_leaves_out_what_the_venue_does(parser):
    (ticker,) = parser.parse(framed("tickers", "BTC-USDT", {**TICKER, "askPx": "", "open24h": "0", "vol24h": ""}), 5)
    assert (ticker.ask, ticker.open, ticker.volume, ticker.bid) == (None, None, None, 30228.6)
    (drift,) = parser.parse(framed("tickers", "BTC-USDT", {**TICKER, "last": ""}), 5)
    assert drift == Drift("ticker without a price", BTC)


def test_a_mark_price_takes_what_came_of_index_and_funding(parser):
    mark = framed(
        "mark-price", "BTC-USDT-SWAP", {"instType": "SWAP", "instId": "BTC-USDT-SWAP", "markPx": "84660.1", "ts": "1744590349506"}
    )
    assert parser.parse(mark, 5) == [MarkPrice(PERP, 1744590349506 * MS, 84660.1, None, None, None, 5)]
    assert parser.parse(framed("index-tickers", "BTC-USDT", {"instId": "BTC-USDT", "idxPx": "84655", "ts": "1744590349000"}), 6) == ()
    assert parser.parse(framed("funding-rate", "BTC-USDT-SWAP", FUNDING), 6) == ()
    whole = MarkPrice(PERP, 1744590349506 * MS, 84660.1, 84655.0, 0.0001875391284828, 1700726400000 * MS, 7)
    assert parser.parse(mark, 7) == [whole]
    # Of another contract nothing is known yet.
    (other,) = parser.parse(mark.replace(b"BTC-USDT-SWAP", b"ETH-USDT-SWAP"), 8)
    assert (other.index_price, other.funding_rate) == (None, None)


def test_a_funding_rate_that_is_not_set_yet_is_none(parser):
    parser.parse(framed("funding-rate", "BTC-USDT-SWAP", {**FUNDING, "fundingRate": "", "fundingTime": ""}), 6)
    (mark,) = parser.parse(framed("mark-price", "BTC-USDT-SWAP", {"markPx": "84660.1", "ts": "1744590349506"}), 7)
    assert (mark.funding_rate, mark.next_funding_ns) == (None, None)


# ── How it is written, what is new, what is said to us ──


def test_spacing_and_order_of_fields_do_not_matter(parser):
    plain = parser.parse(framed("trades-all", "BTC-USDT", TRADE), 3)
    reordered = {"data": [dict(reversed(TRADE.items()))], "arg": {"instId": "BTC-USDT", "channel": "trades-all", "uid": "1"}}
    assert parser.parse(json.dumps(reordered, indent=1).encode(), 3) == plain
    assert parser.parse(json.dumps({"arg": {"channel": "trades-all", "instId": "BTC-USDT", "x": {}}, "data": [TRADE]}).encode(), 3) == plain
    numbers = {**TRADE, "tradeId": 734864333, "px": 102537.9, "ts": 1747087163557}
    assert parser.parse(framed("trades-all", "BTC-USDT", {**numbers, "invented": [{}]}), 3) == plain


@pytest.mark.parametrize(
    ("frame", "drift"),
    [
        (framed("trades-all", "NEW-USDT", TRADE), Drift("symbol", "NEW-USDT")),
        (framed("liquidations", "BTC-USDT", TRADE), Drift("channel", "liquidations")),
        (framed("candle7m", "BTC-USDT", CANDLE), Drift("channel", "candle7m")),
        (framed("trades-all", "BTC-USDT", {**TRADE, "side": "short"}), Drift("side", "short")),
        (framed("candle1m", "BTC-USDT", [*CANDLE[:8], "2"]), Drift("confirm", "2")),
        (framed("books", "BTC-USDT", BOOK, action="partial"), Drift("action", "partial")),
        (framed("books", "BTC-USDT", BOOK), Drift("action", "")),
        (b'{"event":"notice","code":"64999","msg":"?"}', Drift("event", "notice 64999")),
    ],
)
def test_what_is_new_comes_back_as_drift(parser, frame, drift):
    assert tuple(parser.parse(frame, 1)) == (drift,)
    assert tuple(parser.parse(frame, 1)) == (drift,)  # also once its head is known


@pytest.mark.parametrize(
    ("frame", "found"),
    [
        (b"pong", ()),
        (b'{"event":"channel-conn-count","channel":"books","connCount":"2","connId":"a"}', ()),
        (b'{"event":"unsubscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a"}', ()),
        (b'{"id":"1","event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"},"connId":"a"}', (Reply("books:BTC-USDT", None),)),
        (b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"}}', (Reply("books:BTC-USDT", None),)),
        (b'{"event":"error","code":"60012","msg":"Invalid request","connId":"a"}', (Reply(None, "60012: Invalid request"),)),
        (b'{"id":"1","event":"error","code":"60018","msg":"no such channel"}', (Reply(None, "60018: no such channel"),)),
        (b'{"event":"channel-conn-count-error","channel":"orders"}', (Reply(None, "channel-conn-count-error"),)),
        (b'{"event":"notice","code":"64008","msg":"will be upgraded","connId":"a"}', (Shutdown(),)),
        (b'{"event":"error","code":"60015","msg":"idle"}', (Broken("the venue ended the connection with 60015: idle"),)),
        (b'{"event":"error","code":60005,"msg":"idle"}', (Broken("the venue ended the connection with 60005: idle"),)),
        (b'{"event":"error","code":"60014","msg":"often"}', (Broken("the venue ended the connection with 60014: often"),)),
        (b'{"event":"error","code":"60016","msg":"full"}', (Broken("the venue ended the connection with 60016: full"),)),
    ],
)
def test_control_frames(parser, frame, found):
    assert tuple(parser.parse(frame, 1)) == found


# ── Broken ──


@pytest.mark.parametrize("field", ["tradeId", "px", "sz", "side", "ts"])
def test_refuses_a_trade_without(parser, field):
    with pytest.raises(Malformed, match=field):
        parser.parse(framed("trades-all", "BTC-USDT", {k: v for k, v in TRADE.items() if k != field}), 1)


@pytest.mark.parametrize(
    "change",
    [
        {"px": "NaN"}, {"px": "inf"}, {"px": "-1"}, {"px": "0"}, {"px": ""}, {"px": None}, {"sz": "0"}, {"sz": "1e19"}, {"tradeId": "-1"},
        {"tradeId": "x"}, {"ts": "0"}, {"ts": "99999999999999999"},
    ],
)  # fmt: skip
def test_refuses_a_trade_with(parser, change):
    with pytest.raises(Malformed):
        parser.parse(framed("trades-all", "BTC-USDT", {**TRADE, **change}), 1)


@pytest.mark.parametrize(
    "row",
    [
        ["1747094040000", "10", "9", "8", "9", "1", "1", "1", "1"],  # high below open
        ["1747094040000", "10", "12", "11", "11", "1", "1", "1", "1"],  # low above open
        ["1747094040000", "10", "12", "9", "13", "1", "1", "1", "1"],  # close above high
        ["1747094040000", "10", "12", "9", "NaN", "1", "1", "1", "1"],
        ["1747094040000", "10", "12", "9", "11", "-1", "1", "1", "1"],
        ["1747094040000", "10", "12", "9", "11", "1"],
        ["x", "10", "12", "9", "11", "1", "1", "1", "1"],
    ],
)
def test_refuses_a_kline_that_contradicts_itself(parser, row):
    with pytest.raises(Malformed):
        parser.parse(framed("candle1m", "BTC-USDT", row), 1)


@pytest.mark.parametrize(
    "payload", [b"", b"ping", b"[]", b"null", b"{", b'{"arg":5}', b"\xff\xfe", b"[" * 100_000, b'{"arg":{"channel":"books"']
)
def test_refuses_what_is_no_frame(parser, payload):
    with pytest.raises(Malformed):
        parser.parse(payload, 1)


def test_a_frame_about_nothing_is_drift(parser):
    assert parser.parse(b'{"data":[]}', 1)[0].what == "frame"


def test_every_truncation_of_a_frame_is_refused(parser):
    for whole in (framed("trades-all", "BTC-USDT", TRADE), framed("books", "BTC-USDT", BOOK, action="update")):
        parser.parse(whole, 1)
        for end in range(len(whole)):
            with pytest.raises(Malformed):
                parser.parse(whole[:end], 1)


def test_whose_book_a_broken_frame_may_have_been(parser):
    book = framed("books", "BTC-USDT", BOOK, action="update")
    assert parser.doubted(book[:-5]) == (BTC,)
    assert parser.doubted(framed("trades-all", "BTC-USDT", TRADE)[:-5]) == ()
    assert parser.doubted(framed("books", "NEW-USDT", BOOK)[:-5]) is None
    assert parser.doubted(book[:20]) is None
    assert parser.doubted(b"\x00\xff") is None


SWAPS = (b"NaN", b"-1", b"1e999", b'""', b"null", b"[]", b"{}", b'"', b"}", b"0", b"99999999999999999999", b"\xff", b'"buy"', b"[[", b",")


def mutated(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    match rng.randrange(6):
        case 0:
            return raw[:at]
        case 1:
            return raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]
        case 2:
            return raw[:at] + rng.choice(SWAPS) + raw[at:]
        case 3:
            return raw[:at] + rng.choice(SWAPS) + raw[at + rng.randrange(1, 9) :]
        case 4:
            return raw[:at] + raw[at + rng.randrange(1, 30) :]
        case _:
            end = min(len(raw), at + rng.randrange(1, 30))
            return raw[:at] + raw[at:end] * 2 + raw[end:]


def outcome(parser: FrameParser, raw: bytes) -> list | type[Malformed]:
    try:
        return [one for one in parser.parse(raw, 1) if not (isinstance(one, Drift) and one.what == "frame")]  # that tells the bytes
    except Malformed:
        return Malformed


def test_mutated_frames_raise_nothing_but_malformed(okx, parser):
    rng = random.Random(20220513)
    made = [
        framed("trades-all", "BTC-USDT-SWAP", TRADE),
        framed("candle1m", "BTC-USDT-SWAP", CANDLE),
        framed("bbo-tbt", "BTC-USD-SWAP", LEVELS),
        framed("trades-all", "BTC-USDT", TRADE),
        framed("candle1H", "BTC-USDT", CANDLE),
    ]
    made += [framed("books", "BTC-USDT-SWAP", BOOK, action="update"), framed("funding-rate", "BTC-USDT-SWAP", FUNDING)]
    made += [
        framed("mark-price", "BTC-USDT-SWAP", {"markPx": "1", "ts": "1744590349506"}),
        framed("index-tickers", "BTC-USDT", {"idxPx": "1"}),
    ]
    # Whole books are long: a few of them only, so that the test is quick.
    raws = [raw.replace(b'"trades"', b'"trades-all"') for _, raw in okx.frames if len(raw) < 2_000]
    wholes = [raw for _, raw in okx.frames if len(raw) >= 2_000]
    pool = [*raws, *made * 20]
    fates: Counter = Counter()
    for number in range(20_000):
        raw = mutated(rng, rng.choice(wholes if number % 100 == 0 else pool))
        if raw[:1] == b"{":  # the quick way looks for a letter where the venue writes it: with a space before it the slow one is taken
            assert outcome(parser, raw) == outcome(parser, b" " + raw), raw
        try:
            for event in parser.parse(raw, 1):
                fates[type(event).__name__] += 1
                if isinstance(event, Trade):
                    assert 0 < event.price < 1e15
                    assert 0 < event.quantity < 1e33  # an inverse contract at a price next to nothing
                if isinstance(event, Kline):
                    assert event.low <= min(event.open, event.close) <= max(event.open, event.close) <= event.high
        except Malformed:
            fates["Malformed"] += 1
        parser.doubted(raw)
    assert fates["Malformed"] > 5_000
    assert fates["BookDelta"] > 1_000


# ── REST ──


def test_rest_klines_come_oldest_first_and_final_where_confirmed(okx):
    older = ["1747093980000", "102806", "102820.5", "102783.1", "102806.1", "7164.04", "71.6404", "7364701.57952", "1"]
    rows, drift = parse_rest.parse_klines(answered([*CANDLE[:8], "0"], older), traded(okx.listed.get(PERP)), Interval.MIN_1)
    assert [(k.open_ns, k.final, k.volume) for k in rows] == [(1747093980000 * MS, True, 71.6404), (1747094040000 * MS, False, 10.4037)]
    assert drift == []
    with pytest.raises(Malformed, match="newest first"):
        parse_rest.parse_klines(answered(older, CANDLE), traded(okx.listed.get(PERP)), Interval.MIN_1)


def test_rest_trades_come_sorted_by_id(okx):
    body = answered(TRADE, {**TRADE, "tradeId": "734864332", "side": "buy"}, {**TRADE, "tradeId": "734864331", "side": "?"})
    trades, drift = parse_rest.parse_trades(body, traded(okx.listed.get(BTC)))
    assert [t.trade_id for t in trades] == ["734864332", "734864333"]
    assert drift == [Drift("side", "?")]


def test_a_rest_book_is_sorted_and_may_leave_the_zero_out(okx):
    row = {
        "asks": [["41007", "30", "2"], ["41006.8", "60", "1"]],
        "bids": [["41006.5", "1", "1"], ["41006.7", "48", "1"]],
        "ts": "1704067200000",
    }
    book = parse_rest.parse_book(answered(row), traded(okx.listed.get(PERP)), 4)
    assert book.bids == [(41006.7, 0.48), (41006.5, 0.01)]
    assert book.asks == [(41006.8, 0.6), (41007.0, 0.3)]
    assert (book.last_id, book.event_ns, book.recv_ns) == (0, 1704067200000 * MS, 4)


def test_funding_is_what_was_paid(okx):
    paid = {"instId": "BTC-USDT-SWAP", "fundingRate": "0.0001515032", "realizedRate": "0.00015", "fundingTime": "1704067200000"}
    foretold = {"fundingRate": "-0.0000236017", "realizedRate": "", "fundingTime": "1704038400000"}
    rows = parse_rest.parse_funding(answered(paid, foretold), traded(okx.listed.get(PERP)))
    assert [(row.event_ns, row.rate) for row in rows] == [(1704038400000 * MS, -0.0000236017), (1704067200000 * MS, 0.00015)]
    with pytest.raises(Malformed, match="no rate"):
        parse_rest.parse_funding(answered({"fundingTime": "1704038400000"}), traded(okx.listed.get(PERP)))


def test_a_mark_price_of_three_answers_and_of_two(okx):
    mark, index = answered({"markPx": "84660.1", "ts": "1744590349506"}), answered({"instId": "BTC-USDT", "idxPx": "84655"})
    perp = parse_rest.parse_mark(mark, index, answered(FUNDING), traded(okx.listed.get(PERP)), 5)
    assert perp == MarkPrice(PERP, 1744590349506 * MS, 84660.1, 84655.0, 0.0001875391284828, 1700726400000 * MS, 5)
    dated = parse_rest.parse_mark(mark, index, None, traded(okx.listed.get("cryptofuture_okx_btcusdt_220930")), 5)
    assert (dated.funding_rate, dated.next_funding_ns) == (None, None)


def test_an_instrument_that_never_traded_has_no_ticker(okx):
    with pytest.raises(Refused, match="did not trade"):
        parse_rest.parse_ticker(answered({**TICKER, "last": ""}), traded(okx.listed.get(BTC)), 1)
    with pytest.raises(Refused, match="no row"):
        parse_rest.parse_ticker(answered(), traded(okx.listed.get(BTC)), 1)
    assert parse_rest.parse_ticker(answered(TICKER), traded(okx.listed.get(BTC)), 1).price == 30236.0


def test_price_minutes_are_closed_ones_at_their_close():
    body = answered(["1704067260000", "3", "3", "3", "3.5", "0"], ["1704067200000", "3", "3", "3", "3.4", "1"])
    assert parse_rest.parse_prices(body, "marks") == {1704067260000 * MS: 3.4}


def test_the_venues_time():
    assert parse_rest.parse_time(answered({"ts": "1597026383085"})) == 1597026383085 * MS
