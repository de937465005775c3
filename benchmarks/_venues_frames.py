"""The frames of decode_venues.py: of each venue and channel as recorded, with what the recordings lack written as the venue does now."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"
FRAMES = 400  # a turn
# More than ccxt.pro keeps: it looks a Coinbase trade up by its id, and would find one that is told twice.
COINBASE_TRADES = 1_500
NOTES = """OKX's recording is of 2022: its trades are told under today's channel (trades-all), and its books get the seqId and prevSeqId that
OKX sends since 2023. No recording holds its candles: these are written as OKX documents them, from the recorded trades. Trades of
Coinbase get an id each, so that none comes twice. Frames of a book that is applied are numbered without those of other products."""


def write_frames(folder: Path) -> None:
    """Each case as `<venue>_<case>.jsonl`; where books are applied, the snapshot before them as `<venue>_book_applied.snapshot`."""
    for case, frames in [*binance(), *bybit(), *okx(), *coinbase()]:
        (folder / f"{case}.jsonl").write_text("\n".join(frames), "utf-8")
    (folder / "okx_spot.json").write_bytes((FIXTURES / "okx/instruments_spot.json").read_bytes())
    for venue in ("binance", "bybit", "okx", "coinbase"):
        snapshot, *rest = (folder / f"{venue}_book_applied.jsonl").read_text("utf-8").splitlines()
        (folder / f"{venue}_book_applied.snapshot").write_text(snapshot, "utf-8")
        (folder / f"{venue}_book_applied.jsonl").write_text("\n".join(rest), "utf-8")


Case = tuple[str, list[str]]


def binance() -> Iterator[Case]:
    """Spot BTCUSDT, in the envelope of a combined stream."""
    for case in ("trade", "agg", "kline", "quote"):
        recorded = [line.split(" ", 1)[1] for line in (FIXTURES / f"binance/spot_{case}.txt").read_text("utf-8").splitlines()]
        yield f"binance_{case}", turn([raw for raw in recorded if raw.startswith('{"stream":"btcusdt@')])
    raws = [line.partition(" ")[2].strip() for line in lines("engine/spot_btcusdt.gz")]
    snapshot = next(raw for raw in raws if "lastUpdateId" in raw)
    last_id = json.loads(snapshot)["lastUpdateId"]
    deltas = [raw for raw in raws if "@depth" in raw and json.loads(raw)["data"]["u"] > last_id]
    yield "binance_book", turn(deltas)
    yield "binance_book_applied", [snapshot, *deltas]


def bybit() -> Iterator[Case]:
    """Spot BTCUSDT."""
    raws = [line.partition(" ")[2].strip() for line in lines("bybit/spot_frames.txt.gz")]
    for case, topic in (("trade", "publicTrade.BTCUSDT"), ("kline", "kline.1.BTCUSDT"), ("ticker", "tickers.BTCUSDT")):
        yield f"bybit_{case}", turn([raw for raw in raws if f'"topic":"{topic}"' in raw])
    books = [raw for raw in raws if '"topic":"orderbook.200.BTCUSDT"' in raw]
    yield "bybit_book", turn(books[1:])
    yield "bybit_book_applied", books


def okx() -> Iterator[Case]:
    """Spot BTC-USDT."""
    rows = [json.loads(line.partition(" ")[2]) for line in lines("okx/frames_2022.txt.gz")]
    rows = [row for row in rows if row.get("arg", {}).get("instId") == "BTC-USDT" and "data" in row]
    trades = [told("trades-all", row["data"]) for row in rows if row["arg"]["channel"] == "trades"]
    yield "okx_trade", turn([compact(row) for row in trades])
    yield "okx_ticker", turn([compact(row) for row in rows if row["arg"]["channel"] == "tickers"])
    yield "okx_kline", turn([compact(told("candle1m", [candle])) for candle in candles([row["data"][0] for row in trades])])
    books = [row for row in rows if row["arg"]["channel"] == "books"]
    for number, row in enumerate(books):
        row["data"][0] |= {"seqId": 1_000 + number, "prevSeqId": 999 + number if number else -1}
    yield "okx_book", turn([compact(row) for row in books[1:]])
    yield "okx_book_applied", [compact(row) for row in books]


def told(channel: str, data: list[Any]) -> dict[str, Any]:
    return {"arg": {"channel": channel, "instId": "BTC-USDT"}, "data": data}


def candles(trades: list[dict[str, str]]) -> Iterator[list[str]]:
    """The candle of a minute after each of its trades."""
    prices: list[str] = []
    volume = turnover = 0.0
    open_ms = int(trades[0]["ts"]) // 60_000 * 60_000
    for trade in trades:
        prices.append(trade["px"])
        volume += float(trade["sz"])
        turnover += float(trade["sz"]) * float(trade["px"])
        high, low = max(prices, key=float), min(prices, key=float)
        yield [str(open_ms), prices[0], high, low, prices[-1], f"{volume:.8f}", f"{turnover:.8f}", f"{turnover:.8f}", "0"]


def coinbase() -> Iterator[Case]:
    """Advanced Trade's BTC-USD."""
    rows = [json.loads(line.partition(" ")[2]) for line in lines("coinbase/frames.txt.gz")]
    updates = {channel: [row for row in rows if row["channel"] == channel and is_update(row)] for channel in ("market_trades", "ticker")}
    frames = [json.loads(compact(row)) for row in islice(cycle(updates["market_trades"]), COINBASE_TRADES)]
    while len(frames[-1]["events"][0]["trades"]) > 1:
        frames.pop()  # the readers order the trades of a frame by rules of their own; the last trade must be everybody's last
    for number, trade in enumerate(trade for row in frames for event in row["events"] for trade in reversed(event["trades"])):
        trade["trade_id"] = str(1_068_572_091 + number)
    yield "coinbase_trade", [compact(row) for row in frames]
    yield "coinbase_ticker", turn([compact(row) for row in updates["ticker"]])
    books = [row for row in rows if row["channel"] == "l2_data" and row["events"][0]["product_id"] == "BTC-USD"]
    for number, row in enumerate(books):
        row["sequence_num"] = number
    yield "coinbase_book", turn([compact(row) for row in books[1:]])
    yield "coinbase_book_applied", [compact(row) for row in books]


def is_update(row: dict[str, Any]) -> bool:
    """Whether a message of trades or tickers tells news of BTC-USD, and of nothing else."""
    told = [part for event in row["events"] for part in event.get("trades") or event.get("tickers")]
    return all(event["type"] == "update" for event in row["events"]) and {part["product_id"] for part in told} == {"BTC-USD"}


def turn(raws: list[str]) -> list[str]:
    return list(islice(cycle(raws), FRAMES))


def lines(name: str) -> list[str]:
    with gzip.open(FIXTURES / name, "rt", encoding="utf-8") as opened:
        return opened.read().splitlines()


def compact(row: object) -> str:
    return json.dumps(row, separators=(",", ":"))
