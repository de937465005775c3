"""Whole captures of other people's recorders: every frame is an event of the kind that its stream names."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter

import pytest
import zstandard

from zvt_crypto.domain.instrument import Instruments, assign_ids
from zvt_crypto.venues.binance.parse import FrameParser, parse_depth
from zvt_crypto.venues.binance.symbols import natives_of, parse_exchange_info

pytestmark = pytest.mark.data
KIND = {"depth": "BookDelta", "bookTicker": "BestQuote", "aggTrade": "Trade", "trade": "Trade", "kline_1m": "Kline"}


def judged(parser: FrameParser, raws: list[str]) -> tuple[Counter, Counter]:
    """(what the stream names say, what came out)."""
    named = Counter(KIND[json.loads(raw)["stream"].split("@")[1]] for raw in raws)
    return named, Counter(type(parser.parse(raw.encode(), 1)).__name__ for raw in raws)


@pytest.mark.parametrize(("file", "market", "frames"), [("BINANCE", "spot", 265), ("BINANCE_FUTURES", "usdm", 1535)])
def test_every_frame_of_a_cryptofeed_capture_is_read(recorded, file, market, frames):
    packed = (recorded / f"cryptofeed/v3/{file}.jsonl.zst").open("rb")
    with packed, io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(packed)) as lines:
        rows = [json.loads(line) for line in lines]
    (info,) = [row["data"].encode() for row in rows if row.get("url", "").endswith("exchangeInfo")]
    table = Instruments(assign_ids(parse_exchange_info(info, market).instruments, Instruments()))
    raws = [row["data"] for row in rows if row["t"] == "recv"]
    named, read = judged(FrameParser(market, natives_of(table, market)), raws)
    assert len(raws) == frames
    assert read == named
    books = [parse_depth(row["data"].encode(), "it", 0, 0) for row in rows if "/depth?" in row.get("url", "")]
    assert len(books) == 4
    assert all(book.bids[0][0] < book.asks[0][0] for book in books)


def test_every_frame_of_the_oldest_capture_is_read(recorded, listed):
    lines = (recorded / "cryptofeed/legacy_2021-04-04/BINANCE-ee25be.0").read_text().splitlines()
    raws = [raw for _, _, raw in (line.partition(": ") for line in lines) if raw.startswith('{"stream"')]
    named, read = judged(FrameParser("spot", natives_of(listed, "spot")), raws)
    assert read == named
    assert read["Kline"] == 118


@pytest.mark.parametrize(
    ("file", "market"), [("spot/btcusdt_20240808.gz", "spot"), ("spot/btcusdt_20240809.gz", "spot"), ("usdm/ethusdt_20240808.gz", "usdm")]
)
def test_every_frame_of_the_hftbacktest_captures_is_read(recorded, listed, file, market):
    with gzip.open(recorded / "hftbacktest/examples" / file, "rt") as lines:
        raws = [raw for raw in (line.rstrip("\n").split(" ", 1)[1] for line in lines) if raw.startswith('{"stream"')]
    named, read = judged(FrameParser(market, natives_of(listed, market)), raws)
    assert read == named
    assert len(raws) > 20_000
