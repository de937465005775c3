"""Klines, trades and depth of the synthetic market agree with each other, over virtual hours and several seeds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from emulator_kit import MINUTE_MS, START_MS, Desk, market_desk

from zvt_crypto.emulator.market import DEFAULT_SYMBOLS

FREE = {"spot": 10**9, "usdm": 10**9}
ONLY_BTC = (DEFAULT_SYMBOLS[0], DEFAULT_SYMBOLS[3])
SEEDS = [1, 2, 3]
Levels = dict[str, str]


def kline_of(trades: list[dict[str, Any]]) -> tuple[str, str, str, str, Decimal, Decimal, int]:
    """open, high, low, close, volume, turnover, count of raw trade events, by plain decimals."""
    prices = [trade["p"] for trade in trades]
    volume = sum((Decimal(t["q"]) for t in trades), Decimal())
    turnover = sum((Decimal(t["p"]) * Decimal(t["q"]) for t in trades), Decimal())
    return prices[0], max(prices, key=Decimal), min(prices, key=Decimal), prices[-1], volume, turnover, len(trades)


@pytest.mark.parametrize("seed", SEEDS)
def test_closing_klines_equal_their_own_trades(seed: int) -> None:
    desk = market_desk(seed, events_per_s=1.0, weights=FREE, symbols=ONLY_BTC)
    session = desk.open("/stream?streams=btcusdt@trade/btcusdt@kline_1m")
    desk.wait(7200)
    frames = [frame["data"] for frame in desk.read(session)]
    trades: dict[int, list[dict[str, Any]]] = {}
    for frame in frames:
        if frame["e"] == "trade":
            trades.setdefault(frame["T"] // MINUTE_MS * MINUTE_MS, []).append(frame)
    closed = [frame["k"] for frame in frames if frame["e"] == "kline" and frame["k"]["x"]]
    assert len(closed) == 120
    for k in closed:
        within = trades.get(k["t"])
        if within is None:
            assert (k["n"], Decimal(k["v"])) == (0, 0)
            continue
        assert (k["o"], k["h"], k["l"], k["c"], Decimal(k["v"]), Decimal(k["q"]), k["n"]) == kline_of(within)
        assert (k["f"], k["L"]) == (within[0]["t"], within[-1]["t"])
    rows = desk.get("/api/v3/klines", f"symbol=BTCUSDT&interval=1m&startTime={START_MS}&limit=120")
    assert [row[:6] for row in rows] == [[k["t"], k["o"], k["h"], k["l"], k["c"], k["v"]] for k in closed]


def apply(book: dict[str, Levels], diff: dict[str, Any]) -> None:
    for side in ("b", "a"):
        for price, size in diff[side]:
            if Decimal(size) == 0:
                book[side].pop(price, None)
            else:
                book[side][price] = size


def listed(side: Levels, best_first: bool) -> list[list[str]]:
    return [[price, side[price]] for price in sorted(side, key=Decimal, reverse=best_first)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("stream", "rest"), [("/ws/btcusdt@depth@100ms", "/api/v3/depth"), ("/public/ws/btcusdt@depth@100ms", "/fapi/v1/depth")]
)
def test_the_book_at_an_id_is_the_snapshot_with_all_diffs_applied(seed: int, stream: str, rest: str) -> None:
    desk = market_desk(seed, events_per_s=2.0, weights=FREE, symbols=ONLY_BTC)
    session = desk.open(stream)
    desk.wait(5)
    snapshot = desk.get(rest, "symbol=BTCUSDT&limit=1000")
    book: dict[str, Levels] = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
    diffs = desk.read(session)
    last_id = snapshot["lastUpdateId"]
    for _ in range(60):
        desk.wait(59.97)  # never at a beat: the REST book may be ahead of the last diff
        desk.dialect.on_control(session, desk.now_ns, is_pong=True)
        desk.wait(0.1 - desk.now_ns % 10**8 / 10**9)
        diffs += desk.read(session)
    for before, after in pairwise(diffs):
        assert after["pu"] == before["u"] if "pu" in after else after["U"] == before["u"] + 1
    for diff in diffs:
        if diff["u"] > last_id:
            apply(book, diff)
    image = desk.get(rest, "symbol=BTCUSDT&limit=1000")
    assert image["lastUpdateId"] == diffs[-1]["u"]
    assert listed(book["b"], True) == image["bids"]
    assert listed(book["a"], False) == image["asks"]


def test_usdm_ids_jump_and_only_pu_chains_them() -> None:
    desk = market_desk(events_per_s=2.0)
    session = desk.open("/public/ws/btcusdt@depth@100ms")
    desk.wait(60)
    assert any(after["U"] != before["u"] + 1 for before, after in pairwise(desk.read(session)))


def test_the_quote_is_the_top_of_the_book_at_its_id() -> None:
    desk = market_desk(events_per_s=2.0, weights=FREE)
    session = desk.open("/ws/btcusdt@bookTicker")
    for _ in range(200):
        desk.wait(0.3)
        quotes = desk.read(session)
        book = desk.get("/api/v3/depth", "symbol=BTCUSDT&limit=5")
        if quotes and quotes[-1]["u"] == book["lastUpdateId"]:
            assert [quotes[-1]["b"], quotes[-1]["B"]] == book["bids"][0]
            assert [quotes[-1]["a"], quotes[-1]["A"]] == book["asks"][0]


def page_all(desk: Desk, interval: str, start: int, end: int) -> list[list[Any]]:
    rows: list[list[Any]] = []
    while start < end:
        page = desk.get("/api/v3/klines", f"symbol=ETHUSDT&interval={interval}&startTime={start}&endTime={end - 1}&limit=1000")
        rows += page
        if len(page) < 1000:
            break
        start = page[-1][6] + 1
    return rows


@pytest.mark.parametrize(("interval", "minutes"), [("5m", 5), ("15m", 15), ("1h", 60), ("4h", 240), ("1d", 1440)])
def test_longer_klines_are_their_minutes_summed(interval: str, minutes: int) -> None:
    desk = market_desk(4, events_per_s=0.02, weights=FREE)
    desk.wait(3600)
    start, end = START_MS - 1440 * MINUTE_MS, START_MS + 60 * MINUTE_MS
    ones = page_all(desk, "1m", start, end)
    assert len(ones) == 1500
    assert any(row[8] == 0 for row in ones)
    longer = page_all(desk, interval, start, end)
    for row in longer:
        parts = [one for one in ones if row[0] <= one[0] < row[0] + minutes * MINUTE_MS]
        traded = [one for one in parts if one[8]]
        assert row[1] == (traded or parts)[0][1]
        assert row[2] == max((one[2] for one in traded or parts), key=Decimal)
        assert row[3] == min((one[3] for one in traded or parts), key=Decimal)
        assert row[4] == parts[-1][4]
        for column in (5, 7, 9, 10):
            assert Decimal(row[column]) == sum(Decimal(one[column]) for one in parts)
        assert row[8] == sum(one[8] for one in parts)


def test_klines_of_the_past_equal_the_trades_of_the_past() -> None:
    desk = market_desk(5, weights=FREE)
    start = START_MS - 30 * MINUTE_MS  # the live market begins five minutes before START
    rows = desk.get("/api/v3/klines", f"symbol=BTCUSDT&interval=1m&startTime={start}&limit=30")
    aggs: list[dict[str, Any]] = desk.get("/api/v3/aggTrades", f"symbol=BTCUSDT&startTime={start}&endTime={START_MS}&limit=1")
    first, last = aggs[0]["f"], desk.get("/api/v3/trades", "symbol=BTCUSDT&limit=1")[0]["id"]
    trades: list[dict[str, Any]] = []
    while first + len(trades) <= last:
        trades += desk.get("/api/v3/historicalTrades", f"symbol=BTCUSDT&fromId={first + len(trades)}&limit=1000")
    for row in rows:
        within = [{"p": t["price"], "q": t["qty"]} for t in trades if row[0] <= t["time"] <= row[6]]
        assert (*row[1:5], Decimal(row[5]), Decimal(row[7]), row[8]) == kline_of(within)
    for before, after in pairwise(rows):
        assert abs(Decimal(after[1]) / Decimal(before[4]) - 1) < Decimal("0.005")  # no jump, at the seam neither


def test_seconds_sum_to_their_minute() -> None:
    desk = market_desk(6, events_per_s=3.0, weights=FREE)
    desk.wait(120)
    minute = desk.get("/api/v3/klines", f"symbol=BTCUSDT&interval=1m&startTime={START_MS}&limit=1")[0]
    seconds = desk.get("/api/v3/klines", f"symbol=BTCUSDT&interval=1s&startTime={START_MS}&limit=60")
    assert [row[0] for row in seconds] == [START_MS + n * 1000 for n in range(60)]
    assert sum(Decimal(row[5]) for row in seconds) == Decimal(minute[5])
    assert seconds[-1][4] == minute[4]


def test_mark_klines_agree_with_the_mark_stream() -> None:
    desk = market_desk(7, events_per_s=1.0)
    session = desk.open("/market/ws/btcusdt@markPrice@1s")
    desk.wait(180)
    marks = [frame for frame in desk.read(session) if START_MS + MINUTE_MS <= frame["E"] < START_MS + 2 * MINUTE_MS]
    row = desk.get("/fapi/v1/markPriceKlines", f"symbol=BTCUSDT&interval=1m&startTime={START_MS + MINUTE_MS}&limit=1")[0]
    assert len(marks) == 60
    assert all(Decimal(row[3]) <= Decimal(mark["p"]) <= Decimal(row[2]) for mark in marks[1:])


# ── Determinism ───────────────────────────────────────────────────────────────────────────────────────────────────────

STREAMS = "btcusdt@trade/btcusdt@depth@100ms/ethusdt@kline_1m/solusdt@bookTicker/btcusdt@ticker/ethusdt@depth5"


def everything(seed: int, step_s: float) -> str:
    """A hash over all frames of ten virtual minutes and a few answers."""
    desk = market_desk(seed, events_per_s=2.0)
    session = desk.open(f"/stream?streams={STREAMS}")
    digest = hashlib.sha256()
    for _ in range(round(600 / step_s)):
        desk.wait(step_s)
        desk.dialect.on_control(session, desk.now_ns, is_pong=True)
        while session.outbox:
            digest.update(session.outbox.popleft())
    for path, query in (
        ("/api/v3/depth", "symbol=BTCUSDT"),
        ("/fapi/v1/klines", "symbol=ETHUSDT&interval=1h"),
        ("/api/v3/exchangeInfo", ""),
    ):
        digest.update(desk.http(path, query)[2])
    return digest.hexdigest()


def test_how_often_time_is_told_changes_nothing() -> None:
    assert everything(8, 1.0) == everything(8, 30.0) == everything(8, 0.5)


def test_another_seed_is_another_market() -> None:
    assert everything(8, 30.0) != everything(9, 30.0)


def test_two_processes_with_different_hash_seeds_say_the_same_bytes() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import test_emulator_agreement as t; print(t.everything(11, 10.0))"
    folder = str(Path(__file__).resolve().parent)
    said = [
        subprocess.run(
            [sys.executable, "-c", code, folder], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "4242")
    ]
    assert said[0] == said[1]
    assert json.dumps(said[0].strip())[1:-1].isalnum()
