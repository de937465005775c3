"""Frames of Binance → events: recorded ones, hand-made edges, and bytes that are broken."""

from __future__ import annotations

import json
import random

import pytest

from zvt_crypto.domain.errors import Malformed, Refused
from zvt_crypto.domain.market import BestQuote, BookDelta, Kline, MarkPrice, Ticker, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.venues.binance import parse
from zvt_crypto.venues.binance.parse import FrameParser, depth_symbol
from zvt_crypto.venues.binance.symbols import natives_of
from zvt_crypto.venues.parsed import Drift, Reply, Shutdown

BTC, ETH_PERP = "cryptopair_binance_btcusdt", "cryptoperp_binance_ethusdt"


@pytest.fixture
def spot(listed) -> FrameParser:
    return FrameParser("spot", natives_of(listed, "spot"))


@pytest.fixture
def usdm(listed) -> FrameParser:
    return FrameParser("usdm", natives_of(listed, "usdm"))


def framed(stream: str, **data: object) -> bytes:
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


TRADE = {"e": "trade", "E": 1723161255343, "s": "BTCUSDT", "t": 3735683259, "p": "61837.63000000", "q": "0.02000000"}
TRADE |= {"T": 1723161255342, "m": True, "M": True}
CANDLE = {"t": 1638747660000, "T": 1638747719999, "s": "BTCUSDT", "i": "1m", "f": 100, "L": 200, "o": "0.0010", "c": "0.0020"}
CANDLE |= {"h": "0.0025", "l": "0.0010", "v": "1000", "n": 100, "x": True, "q": "1.0000", "V": "500", "Q": "0.500", "B": "0"}
KLINE = {"e": "kline", "E": 1638747720001, "s": "BTCUSDT", "k": CANDLE}
DEPTH = {"e": "depthUpdate", "E": 1723161255208, "s": "BTCUSDT", "U": 157, "u": 160}
DEPTH |= {"b": [["0.0024", "10"]], "a": [["0.0026", "0.00000000"]]}


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("spot_trade.txt", Trade),
        ("spot_agg.txt", Trade),
        ("spot_kline.txt", Kline),
        ("spot_quote.txt", BestQuote),
        ("usdm_trade.txt", Trade),
        ("usdm_agg.txt", Trade),
        ("usdm_kline.txt", Kline),
        ("usdm_quote.txt", BestQuote),
    ],
)
def test_every_recorded_frame_becomes_the_event_that_it_is(kit, spot, usdm, file, kind):
    parser = spot if file.startswith("spot") else usdm
    for recv_ns, raw in kit.frames_of(file):
        event = parser.parse(raw, recv_ns)
        assert type(event) is kind
        assert event.recv_ns == recv_ns


def test_no_digit_of_a_recorded_trade_is_lost(kit, spot):
    for _, raw in kit.frames_of("spot_trade.txt"):
        data, event = json.loads(raw)["data"], spot.parse(raw, 0)
        assert (event.trade_id, event.stream, event.instrument) == (str(data["t"]), "trade", BTC)
        assert (f"{event.price:.8f}", f"{event.quantity:.8f}") == (data["p"], data["q"])
        assert event.side == ("sell" if data["m"] else "buy")
        assert event.event_ns == data["T"] * 1_000_000


def test_recorded_depth_keeps_ids_and_levels(kit, usdm):
    raws = [raw for _, raw in kit.frames_of("usdm_book.txt") if b"depthUpdate" in raw]
    assert len(raws) == 60
    for raw in raws:
        data, event = json.loads(raw)["data"], usdm.parse(raw, 5)
        assert type(event) is BookDelta
        assert (event.first_id, event.last_id, event.prev_id) == (data["U"], data["u"], data["pu"])
        assert event.bids == [(float(p), float(q)) for p, q in data["b"]]
        assert event.event_ns == data["T"] * 1_000_000


def test_a_closed_kline_is_final_and_knows_its_turnover(spot):
    event = spot.parse(framed("btcusdt@kline_1m", **KLINE), 7)
    expected = Kline(
        BTC, Interval.MIN_1, 1638747660000_000_000, 0.001, 0.0025, 0.001, 0.002, 1000.0, 1.0, 100, True, "venue", 1638747720001_000_000, 7
    )
    assert event == expected


@pytest.mark.data
def test_agrees_with_tardis_on_vendor_captures(recorded, listed):
    pairs = json.loads((recorded / "tardis_node/pairs/map_binance_messages.json").read_text())
    compared = 0
    for pair in pairs:
        data, expected = pair["raw"]["data"], pair["expected"]
        if not expected or expected[0]["type"] not in ("trade", "book_ticker") or pair["exchange"] != "binance":
            continue
        event = FrameParser("spot", {data["s"]: "it"}).parse(json.dumps(pair["raw"]).encode(), 0)
        want = expected[0]
        if want["type"] == "trade":
            assert (event.trade_id, event.price, event.quantity, event.side) == (want["id"], want["price"], want["amount"], want["side"])
        else:
            quote = (want["bidPrice"], want["bidAmount"], want["askPrice"], want["askAmount"])
            assert (event.bid, event.bid_quantity, event.ask, event.ask_quantity) == quote
        compared += 1
    assert compared >= 3


@pytest.mark.parametrize("unit", [1, 1000])
def test_tells_microseconds_by_size(spot, unit):
    event = spot.parse(framed("btcusdt@trade", **{**TRADE, "T": 1723161255342 * unit}), 0)
    assert event.event_ns == 1723161255342_000_000


def test_tells_a_kline_in_microseconds_by_size_and_refuses_one_of_both_units(spot):
    micro = {**KLINE, "E": KLINE["E"] * 1000, "k": {**CANDLE, "t": CANDLE["t"] * 1000}}
    assert spot.parse(framed("btcusdt@kline_1m", **micro), 7) == spot.parse(framed("btcusdt@kline_1m", **KLINE), 7)
    for wrong in ({**micro, "E": KLINE["E"]}, {**KLINE, "E": micro["E"]}, {**micro, "k": {**CANDLE, "t": CANDLE["t"] * 1000 + 60_000}}):
        with pytest.raises(Malformed, match="kline_1m"):
            spot.parse(framed("btcusdt@kline_1m", **wrong), 7)


def test_reads_raw_frames_without_an_envelope(spot, usdm):
    assert type(spot.parse(json.dumps(TRADE, separators=(",", ":")).encode(), 0)) is Trade
    quote = b'{"u":400900217,"s":"BTCUSDT","b":"25.35","B":"31.21","a":"25.36","A":"40.66"}'
    assert spot.parse(quote, 3) == BestQuote(BTC, 400900217, 25.35, 31.21, 25.36, 40.66, 0, 3)
    assert type(usdm.parse(b'{"e":"bookTicker","s":"ETHUSDT","u":1,"b":"1","B":"1","a":"2","A":"1","T":1568014460891}', 0)) is BestQuote


def test_spacing_and_order_of_fields_do_not_matter(spot):
    plain = spot.parse(framed("btcusdt@trade", **TRADE), 1)
    assert spot.parse(json.dumps({"data": TRADE, "stream": "btcusdt@trade"}, indent=1).encode(), 1) == plain
    assert spot.parse(json.dumps({"stream": "btcusdt@trade", "data": dict(reversed(TRADE.items()))}).encode(), 1) == plain


def test_unknown_fields_are_ignored(spot):
    assert type(spot.parse(framed("btcusdt@trade", **TRADE, novel={"deep": [1, None]}), 0)) is Trade


@pytest.mark.parametrize(
    ("frame", "drift"),
    [
        (framed("btcusdt@forceOrder", e="forceOrder", E=1), Drift("event", "forceOrder")),
        (framed("btcusdt@depth20@100ms", lastUpdateId=1, bids=[], asks=[]), Drift("event", "depth20@100ms")),
        (framed("newusdt@trade", **{**TRADE, "s": "NEWUSDT"}), Drift("symbol", "NEWUSDT")),
        (framed("btcusdt@kline_7m", **{**KLINE, "k": {**CANDLE, "i": "7m"}}), Drift("interval", "7m")),
        (b'{"lastUpdateId":1,"bids":[],"asks":[]}', Drift("event", "without a type")),
    ],
)
def test_what_is_new_comes_back_as_drift(spot, frame, drift):
    assert spot.parse(frame, 0) == drift


def test_a_frame_of_no_symbol_is_nobodys_where_none_is_known():
    assert FrameParser("spot", {}).parse(framed("@trade", **{**TRADE, "s": "BTCUSDT"}), 0) == Drift("symbol", "BTCUSDT")
    with pytest.raises(Malformed):
        FrameParser("spot", {}).parse(framed("@trade", **{**TRADE, "s": ""}), 0)


def test_coin_margined_rows_are_not_ours(usdm):
    trade = {"e": "aggTrade", "E": 1723161255343, "s": "ETHUSDT", "a": 5, "p": "1", "q": "1", "T": 1723161255343, "m": False}
    assert type(usdm.parse(framed("ethusdt@aggTrade", **trade, st=1), 0)) is Trade
    assert usdm.parse(framed("ethusdt@aggTrade", **trade, st=2), 0) == Drift("market", "ETHUSDT")


def test_an_insurance_fund_trade_is_no_trade_of_the_market(usdm):
    trade = {**TRADE, "s": "ETHUSDT", "X": "NA", "p": "0", "q": "0"}
    assert usdm.parse(framed("ethusdt@trade", **trade), 0) == Drift("trade of kind", "NA")
    with pytest.raises(Malformed, match="price 0"):
        usdm.parse(framed("ethusdt@trade", **{**trade, "X": "MARKET"}), 0)


def test_mark_price_of_a_perpetual_and_of_a_dated_contract(usdm):
    mark = {"e": "markPriceUpdate", "E": 1626998400000, "s": "ETHUSDT", "p": "2000.5", "i": "2000.1", "P": "1999", "r": "0.0001"}
    event = usdm.parse(framed("ethusdt@markPrice@1s", **mark, T=1627027200000), 2)
    assert event == MarkPrice(ETH_PERP, 1626998400000_000_000, 2000.5, 2000.1, 0.0001, 1627027200000_000_000, 2)
    dated = usdm.parse(framed("ethusdt_210924@markPrice", **{**mark, "s": "ETHUSDT_210924", "r": ""}, T=0), 2)
    assert (dated.instrument, dated.funding_rate, dated.next_funding_ns) == ("cryptofuture_binance_ethusdt_210924", None, None)


def test_a_ticker_of_a_pair_without_trades_is_not_a_price_of_zero(spot):
    day = {"e": "24hrTicker", "E": 1672515782136, "s": "BTCUSDT", "c": "0.0", "o": "0.0", "h": "0.0", "l": "0.0", "v": "0.0", "q": "0.0"}
    assert spot.parse(framed("btcusdt@ticker", **day), 0) == Drift("ticker without a price", "BTCUSDT")
    traded = spot.parse(framed("btcusdt@ticker", **{**day, "c": "16584.60"}, b="16584", a="0.0"), 0)
    assert traded == Ticker(BTC, 16584.6, 0.0, 0.0, None, None, None, 16584.0, None, 1672515782136_000_000, 0)


@pytest.mark.parametrize(
    ("frame", "reply"),
    [
        (b'{"result":null,"id":1}', Reply(1, None)),
        (b'{"result":["btcusdt@trade"],"id":"x"}', Reply("x", None)),
        (b'{"code":2,"msg":"Invalid request: missing field"}', Reply(None, "2: Invalid request: missing field")),
        (b'{"error":{"code":3,"msg":"Invalid JSON"},"id":4}', Reply(4, "3: Invalid JSON")),
        (b'{"e":"serverShutdown","E":1770000000000}', Shutdown()),
        (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770000000000}}', Shutdown()),
    ],
)
def test_control_frames(spot, frame, reply):
    assert spot.parse(frame, 0) == reply


@pytest.mark.parametrize("field", ["s", "t", "p", "q", "T", "m"])
def test_refuses_a_trade_without(spot, field):
    with pytest.raises(Malformed, match="missing required field"):
        spot.parse(framed("btcusdt@trade", **{k: v for k, v in TRADE.items() if k != field}), 0)


@pytest.mark.parametrize("close", [None, "", "NaN", "Infinity", "-inf", "-1", "0", "1e400", "1e15", "0x1F", True, [], {}])
def test_refuses_a_kline_whose_close_is(spot, close):
    with pytest.raises(Malformed):
        spot.parse(framed("btcusdt@kline_1m", **{**KLINE, "k": {**CANDLE, "c": close}}), 0)


@pytest.mark.parametrize("moment", [0, -1, 10**16, 2**70, 1.5, "soon", None])
def test_refuses_a_trade_whose_time_is(spot, moment):
    with pytest.raises(Malformed):
        spot.parse(framed("btcusdt@trade", **{**TRADE, "T": moment}), 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"h": "0.0019"}, "kline 1m of BTCUSDT at 1638747660000"),
        ({"l": "0.0011"}, "kline 1m of BTCUSDT at 1638747660000"),
        ({"o": "NaN"}, "open nan"),
        ({"t": 1638747660001}, "multiple of 60000"),
        ({"i": "5m", "t": 1638747660000}, "kline 5m of BTCUSDT at 1638747660000"),
    ],
)
def test_refuses_a_kline_that_contradicts_itself(spot, change, said):
    with pytest.raises(Malformed, match=said):
        spot.parse(framed("btcusdt@kline_1m", **{**KLINE, "k": {**CANDLE, **change}}), 0)


def test_a_week_opens_on_monday(spot):
    monday = 1638144000000  # 2021-11-29
    week = {**CANDLE, "i": "1w", "t": monday}
    assert spot.parse(framed("btcusdt@kline_1w", **{**KLINE, "k": week}), 0).interval is Interval.WEEK_1
    for wrong in (monday - 86_400_000, monday + 3 * 86_400_000):
        with pytest.raises(Malformed):
            spot.parse(framed("btcusdt@kline_1w", **{**KLINE, "k": {**week, "t": wrong}}), 0)


@pytest.mark.parametrize("enveloped", [True, False])
def test_what_stands_in_a_level_after_its_size_is_not_read(spot, enveloped):
    raw = framed("btcusdt@depth@100ms", **DEPTH)
    wide = framed("btcusdt@depth@100ms", **{**DEPTH, "b": [["0.0024", "10", "7"]], "a": [["0.0026", "0.00000000", {"new": 1}]]})
    assert spot.parse(wide if enveloped else json.dumps(json.loads(wide)["data"]).encode(), 5) == spot.parse(raw, 5)


@pytest.mark.parametrize(
    "change",
    [
        {"b": [["1"]]},
        {"b": [["1", "2", "3"], ["1"]]},
        {"b": [["1", "-2", "3"]]},
        {"b": [["-1", "2"]]},
        {"a": [["1", "NaN"]]},
        {"a": None},
        {"U": 161},
        {"u": -1},
    ],
)
def test_refuses_a_depth_update_with(spot, change):
    with pytest.raises(Malformed):
        spot.parse(framed("btcusdt@depth@100ms", **{**DEPTH, **change}), 0)


@pytest.mark.parametrize(
    "payload",
    [b"", b"null", b"[]", b"{", b"<html><body>502 Bad Gateway</body></html>", b"\xff\xfe", b'{"e":"\xff"}', b'{"data":' + b"[" * 50_000],
)
def test_refuses_what_is_no_frame(spot, payload):
    with pytest.raises(Malformed, match="binance spot frame"):
        spot.parse(payload, 0)


def test_every_truncation_of_a_frame_is_refused(kit, spot):
    for file in ("spot_trade.txt", "spot_kline.txt", "spot_quote.txt"):
        raw = kit.frames_of(file)[0][1]
        for cut in range(len(raw)):
            with pytest.raises(Malformed):
                spot.parse(raw[:cut], 0)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_mutated_frames_raise_nothing_but_malformed(kit, spot, usdm, market):
    """Seeded: bytes changed, cut, doubled and moved in real frames."""
    seed = 20240808
    chance = random.Random(seed)
    parser = spot if market == "spot" else usdm
    raws = [
        raw for file in ("trade", "agg", "kline", "quote", "book") for _, raw in kit.frames_of(f"{market}_{file}.txt") if len(raw) < 3000
    ]
    for turn in range(6_000):
        broken = bytearray(chance.choice(raws))
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(broken) or 1)
            match chance.randrange(4):
                case 0:
                    broken[at : at + 1] = bytes([chance.randrange(256)])
                case 1:
                    del broken[at : at + chance.randint(1, 20)]
                case 2:
                    broken[at:at] = broken[: chance.randint(1, 30)]
                case 3:
                    broken[at:at] = chance.choice([b"-", b"e99", b"null", b'"', b"{", b"]", b"9" * 40, b"NaN"])
        try:
            event = parser.parse(bytes(broken), 1)
        except Malformed:
            continue
        except Exception as error:
            pytest.fail(f"seed {seed}, turn {turn}: {bytes(broken)!r} raised {error!r}")
        if isinstance(event, Trade):
            assert 0 < event.price < 1e15


def test_whose_depth_a_broken_frame_is():
    assert depth_symbol(b'{"stream":"btcusdt@depth@100ms","data":{') == "BTCUSDT"
    assert depth_symbol(b'{"stream":"btcusdt@trade","data":{') is None
    assert depth_symbol(b'{"stre') == ""
    assert depth_symbol(b"garbage") == ""


# ── REST ──

KLINE_ROW = [1499040000000, "0.0163479", "0.8", "0.015758", "0.015771", "148976.1", 1499644799999, "2434.19", 308, "1756.8", "28.4", "0"]


def test_a_rest_kline_is_final_once_the_venues_clock_is_past_its_close():
    close_ns = (1499040000000 + 60_000) * 1_000_000
    for server_ns, final in ((close_ns - 1, False), (close_ns, True)):
        (kline,), drift = parse.parse_klines(json.dumps([KLINE_ROW]).encode(), BTC, Interval.MIN_1, server_ns)
        assert (kline.final, kline.turnover, kline.trades, drift) == (final, 2434.19, 308, [])


def test_a_row_off_the_grid_costs_only_itself():
    rows = [KLINE_ROW, [1499040030000, *KLINE_ROW[1:]], [1499040060000, *KLINE_ROW[1:]]]
    klines, drift = parse.parse_klines(json.dumps(rows).encode(), BTC, Interval.MIN_1, 0)
    assert [k.open_ns // 10**6 for k in klines] == [1499040000000, 1499040060000]
    assert [one.what for one in drift] == ["kline off the grid"]


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"{}",
        json.dumps([KLINE_ROW, KLINE_ROW]).encode(),
        json.dumps([KLINE_ROW[:5]]).encode(),
        json.dumps([[*KLINE_ROW[:2], "0.0001", *KLINE_ROW[3:]]]).encode(),
    ],
)
def test_refuses_klines_that_are(body):
    with pytest.raises(Malformed):
        parse.parse_klines(body, BTC, Interval.MIN_1, 0)


def test_rest_trades_come_sorted_by_id():
    row = {"id": 28457, "price": "4.00000100", "qty": "12.0", "quoteQty": "48.0", "time": 1499865549590, "isBuyerMaker": True}
    trades = parse.parse_trades(json.dumps([{**row, "id": 28458}, row]).encode(), BTC)
    assert [t.trade_id for t in trades] == ["28457", "28458"]
    assert trades[0] == Trade(BTC, "trade", "28457", 4.000001, 12.0, "sell", 1499865549590_000_000)


def test_the_recorded_rest_book_is_sorted_and_complete(kit):
    body = (kit.frames_dir / "usdm_depth.json").read_bytes()
    book = parse.parse_depth(body, "it", 11, 12)
    raw = json.loads(body)
    assert book.last_id == raw["lastUpdateId"]
    assert (len(book.bids), len(book.asks)) == (len(raw["bids"]), len(raw["asks"]))
    assert book.bids[0][0] < book.asks[0][0]
    assert book.event_ns == raw["T"] * 1_000_000


@pytest.mark.data
def test_agrees_with_ccxt_on_a_recorded_ticker(recorded):
    case = json.loads((recorded / "derived_ccxt_expected/binance_spot_ticker.json").read_text())["expected"]
    ours = parse.parse_ticker(json.dumps(case["info"]).encode(), "it", 0)
    assert (ours.price, ours.volume, ours.turnover) == (case["last"], case["baseVolume"], case["quoteVolume"])
    assert (ours.open, ours.high, ours.low, ours.bid, ours.ask) == (case["open"], case["high"], case["low"], case["bid"], case["ask"])
    assert ours.event_ns == case["timestamp"] * 1_000_000


def test_an_instrument_that_never_traded_has_no_ticker():
    row = {"symbol": "NEWUSDT", "lastPrice": "0.0", "openPrice": "0.0", "highPrice": "0.0", "lowPrice": "0.0"}
    row |= {"volume": "0", "quoteVolume": "0", "closeTime": 1499869899040}
    with pytest.raises(Refused, match="NEWUSDT"):
        parse.parse_ticker(json.dumps(row).encode(), "it", 0)


def test_funding_of_early_years_has_no_mark_price():
    rows = [
        {"symbol": "ETHUSDT", "fundingTime": 1577836800001, "fundingRate": "-0.00012359", "markPrice": ""},
        {"symbol": "ETHUSDT", "fundingTime": 1577808000000, "fundingRate": "0.0001", "markPrice": "130.5"},
    ]
    older, newer = parse.parse_funding(json.dumps(rows).encode(), ETH_PERP)
    assert (older.rate, older.mark_price) == (0.0001, 130.5)
    assert (newer.rate, newer.mark_price, newer.event_ns) == (-0.00012359, None, 1577836800001_000_000)
