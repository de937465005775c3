"""What others recorded of OKX: its whole listing of 2022, and the samples that another project keeps of today's shapes."""

from __future__ import annotations

import io
import json
from collections import Counter

import pytest
import zstandard

from zvt_crypto.domain.instrument import Instruments, assign_ids
from zvt_crypto.domain.market import BestQuote, BookDelta, BookSnapshot, Ticker, Trade
from zvt_crypto.domain.time import Interval
from zvt_crypto.venues.okx import parse_rest
from zvt_crypto.venues.okx.parse import FrameParser
from zvt_crypto.venues.okx.symbols import parse_instruments
from zvt_crypto.venues.okx.units import traded, traded_of

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def listing(recorded) -> Instruments:
    """Everything that was listed on 2022-05-13."""
    packed = (recorded / "cryptofeed/v3/OKX.jsonl.zst").open("rb")
    bodies: dict[str, bytes] = {}
    with packed, io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed)) as lines:
        for row in map(json.loads, lines):
            if row["t"] == "http":
                bodies[row["url"].partition("instType=")[2]] = row["data"].encode()
    found = [parse_instruments(bodies[kind], market) for kind, market in (("SPOT", "spot"), ("SWAP", "swap"), ("FUTURES", "futures"))]
    assert [one.drift for one in found] == [[], [], []]
    return Instruments(assign_ids([one for part in found for one in part.instruments], Instruments()))


@pytest.fixture
def sample(recorded):
    """`sample(name)`: one of nautilus_trader's files."""
    return lambda name: (recorded / f"nautilus_trader/crates/adapters/okx/test_data/{name}.json").read_bytes()


def test_the_whole_recorded_listing_has_an_id_each_and_maps_both_ways(listing):
    assert len(listing) == 513 + 166 + 104
    assert Counter(type(one).__name__ for one in listing) == {"CryptoPair": 513, "CryptoPerp": 166, "CryptoFuture": 104}
    assert len({one.native_symbol for one in listing}) == len(listing)
    for one in listing:
        assert listing.resolve(one.native_symbol, "okx") is one
        assert one.tick > 0
        assert one.lot > 0
    contracts = [one for one in listing if hasattr(one, "contract_size")]
    assert Counter(one.is_inverse for one in contracts) == {True: 92, False: 178}
    assert all(one.is_inverse == (one.quote_asset == "USD") for one in contracts)


def test_reads_the_instruments_of_today(sample):
    for kind, market, count in (("spot", "spot", 5), ("swap", "swap", 3), ("futures", "futures", 6)):
        listed = parse_instruments(sample(f"http_get_instruments_{kind}"), market)
        assert listed.drift == []
        assert 0 < len(listed.instruments) <= count
    (eth,) = [one for one in parse_instruments(sample("http_get_instruments_swap"), "swap").instruments if one.base_asset == "ETH"]
    assert (str(eth.contract_size), str(eth.lot)) == ("0.1", "0.001")


def test_reads_the_answers_of_today(sample, listing):
    perp, pair = traded(listing.resolve("BTC-USDT-SWAP", "okx")), traded(listing.resolve("BTC-USDT", "okx"))
    rows, drift = parse_rest.parse_klines(sample("http_get_candlesticks_full"), perp, Interval.MIN_1)
    assert drift == []
    # The venue's own base volume is its contracts times what one is worth.
    for kline, row in zip(rows, reversed(json.loads(sample("http_get_candlesticks_full"))["data"]), strict=True):
        assert kline.volume == perp.base(float(row[5]), kline.close)
    trades, _ = parse_rest.parse_trades(sample("http_get_trades"), pair)
    assert [(t.trade_id, t.side, t.quantity) for t in trades] == [("734864332", "buy", 0.0000125), ("734864333", "sell", 0.00013669)]
    book = parse_rest.parse_book(sample("http_get_order_book"), pair, 1)
    assert (book.bids[0], book.asks[0]) == ((41006.7, 0.487921), (41006.8, 0.60038921))
    assert [row.rate for row in parse_rest.parse_funding(sample("http_get_funding_rate_history"), perp)] == [-0.00002, 0.00015]
    mark = parse_rest.parse_mark(sample("http_get_mark_price"), sample("http_get_index_price"), None, perp, 1)
    assert (mark.mark_price, mark.index_price) == (84660.1, 103895.0)


def test_reads_the_frames_of_today(sample, listing):
    parser = FrameParser(traded_of(listing))

    def read(name: str) -> list:
        return list(parser.parse(sample(name), 1))

    (snapshot,), (update,) = read("ws_books_snapshot"), read("ws_books_update")
    assert isinstance(snapshot, BookSnapshot)
    assert isinstance(update, BookDelta)
    assert (update.prev_id, update.last_id) == (123456, 123457)
    (quote,), (ticker,) = read("ws_bbo_tbt"), read("ws_tickers")
    assert isinstance(quote, BestQuote)
    assert isinstance(ticker, Ticker)
    assert read("ws_funding_rate") == []
    # Its sample names a pair that was not listed in 2022.
    (trade,) = parser.parse(sample("ws_trades").replace(b'"trades"', b'"trades-all"').replace(b"BTC-USD", b"BTC-USDT"), 1)
    assert isinstance(trade, Trade)
    assert trade.quantity == 0.12060306
