"""A recording played again: the same bytes, at the pace asked for, recoverable at every position."""

from __future__ import annotations

import gzip
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from emulator_kit import FIXTURES, Desk

from zvt_crypto.domain.errors import BadInput
from zvt_crypto.emulator.binance.dialect import BinanceDialect
from zvt_crypto.emulator.binance.recorded import split_symbol
from zvt_crypto.emulator.binance.sessions import Session
from zvt_crypto.emulator.capture import Capture, read_capture
from zvt_crypto.emulator.replay import ReplayWorld

SPOT = FIXTURES / "hftbacktest_spot_btcusdt.gz"
USDM = FIXTURES / "hftbacktest_usdm_ethusdt.gz"
OLD = FIXTURES / "cryptofeed_2021_binance.gz"
NEW = FIXTURES / "cryptofeed_v3_binance.jsonl.zst"
ALL_SPOT = "/stream?streams=btcusdt@trade/btcusdt@depth@100ms/btcusdt@bookTicker"


def replay_desk(path: Path | Capture = SPOT, speed: float | None = None, **more: Any) -> tuple[Desk, ReplayWorld]:
    capture = path if isinstance(path, Capture) else read_capture(path)
    world = ReplayWorld(capture, speed=speed, gather_s=more.pop("gather_s", 0.0), **more)
    return Desk(BinanceDialect(world)), world


def drain(desk: Desk, *sessions: Session) -> list[bytes]:
    """Read as a fast client does, until nothing comes any more."""
    got: list[bytes] = []
    while True:
        before = len(got)
        desk.dialect.poll(desk.now_ns)
        for session in sessions:
            got += session.outbox
            session.outbox.clear()
        if len(got) == before:
            return got


def play_to(desk: Desk, world: ReplayWorld, position: int, url: str = ALL_SPOT) -> None:
    """Read so many frames and leave: then the replay stands."""
    session = desk.open(url)
    world.poll(desk.now_ns, position)
    desk.dialect.on_close(session)
    assert world.position == position


def test_frames_go_out_as_received_every_one_in_order() -> None:
    desk, world = replay_desk()
    got = drain(desk, desk.open(ALL_SPOT))
    assert got == [frame.payload for frame in read_capture(SPOT).frames]
    assert world.done


def test_a_raw_client_gets_the_recorded_payload_without_its_envelope() -> None:
    desk, _ = replay_desk()
    got = drain(desk, desk.open("/ws/btcusdt@depth"))
    first = gzip.decompress(SPOT.read_bytes()).split(b"\n")[0].partition(b'"data":')[2][:-1]
    assert got[0] == first


@pytest.mark.parametrize("asked", ["depth", "depth@100ms", "depth@0ms", "depth@500ms"])
def test_recorded_depth_serves_whatever_speed_is_asked_for(asked: str) -> None:
    desk, _ = replay_desk(USDM)
    got = drain(desk, desk.open(f"/public/stream?streams=ethusdt@{asked}"))
    assert got == [frame.payload for frame in read_capture(USDM).frames if frame.stream == "ethusdt@depth"]


def test_nothing_moves_before_somebody_listens() -> None:
    desk, world = replay_desk(speed=1.0)
    desk.wait(3600)
    assert world.position == 0
    assert desk.dialect.next_due_ns(desk.now_ns) is None
    assert world.status() | {"damage": []} == {
        "mode": "replay", "frames": 0, "frames_total": 1499, "done": False, "started": False, "run": 1, "partial_books": [], "damage": [],
    }  # fmt: skip


def test_it_waits_for_a_clients_second_socket_but_not_for_ever() -> None:
    desk, world = replay_desk(gather_s=1.0)
    desk.open("/ws/btcusdt@trade")
    desk.wait(0.9)
    assert world.position == 0
    assert desk.dialect.next_due_ns(desk.now_ns) == desk.now_ns + 100_000_000
    desk.wait(0.1)
    assert world.position > 0


def test_it_begins_at_once_when_every_recorded_stream_has_a_reader() -> None:
    desk, world = replay_desk(gather_s=60.0)
    desk.open(ALL_SPOT)
    desk.wait(0)
    assert world.position > 0


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_frames_keep_the_recorded_pace(speed: float) -> None:
    desk, world = replay_desk(speed=speed)
    frames = world.capture.frames
    session = desk.open(ALL_SPOT)
    desk.wait(0)  # a carrier looks at once
    for _ in range(5):
        desk.wait(1 / speed)
        elapsed = desk.now_ns - 1_735_689_600_000_000_000
        due = sum(1 for frame in frames if frame.recv_ns - frames[0].recv_ns <= elapsed * speed)
        assert world.position == due
    assert len(session.outbox) == world.position


def test_the_next_instant_is_that_of_the_next_frame() -> None:
    desk, world = replay_desk(speed=2.0)
    desk.open(ALL_SPOT)
    desk.wait(1)
    due = desk.dialect.next_due_ns(desk.now_ns)
    position = world.position
    assert due is not None
    desk.dialect.poll(due - 2)
    assert world.position == position
    desk.dialect.poll(due)
    assert world.position > position


def test_a_reader_that_stops_stops_the_replay_and_loses_nothing() -> None:
    desk, world = replay_desk()
    session = desk.open(ALL_SPOT)
    for _ in range(10):
        desk.dialect.poll(desk.now_ns)
    held = world.position
    assert held == len(session.outbox) == 512
    assert len(drain(desk, session)) == 1499


def test_without_readers_a_replay_as_fast_as_it_is_read_stands_still() -> None:
    desk, world = replay_desk()
    session = desk.open(ALL_SPOT)
    desk.dialect.poll(desk.now_ns)
    desk.dialect.on_close(session)
    position = world.position
    desk.wait(60)
    assert world.position == position


def test_n_runs_repeat_the_bytes_and_cut_between() -> None:
    desk, world = replay_desk(times=3)
    runs = []
    for _ in range(3):
        session = desk.open(ALL_SPOT)
        runs.append(drain(desk, session))
        if session.closing:
            desk.dialect.on_close(session)
    assert runs[0] == runs[1] == runs[2]
    assert world.done
    assert world.status()["frames"] == 3 * 1499


@pytest.mark.parametrize("settings", [{"speed": 0.0}, {"speed": -1.0}, {"speed": 1e9}, {"times": 0}])
def test_a_setting_out_of_range_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="out of range"):
        ReplayWorld(read_capture(NEW), **settings)


def test_time_is_the_recordings_own() -> None:
    desk, _ = replay_desk()
    assert desk.get("/api/v3/time") == {"serverTime": 1723161255208}
    session = desk.open(ALL_SPOT)
    drain(desk, session)
    newest = max(json.loads(f.payload)["data"].get("E", 0) for f in read_capture(SPOT).frames)
    assert desk.get("/api/v3/time") == {"serverTime": newest}


# ── What a client that restarts or resyncs midway can fetch ───────────────────────────────────────────────────────────


def spot_book(snapshot: dict[str, Any], frames: list[bytes]) -> tuple[int, dict[str, dict[str, str]]]:
    """Binance's rule for spot, written out for the test."""
    book = {"b": dict(snapshot["bids"]), "a": dict(snapshot["asks"])}
    last = snapshot["lastUpdateId"]
    for frame in frames:
        data = json.loads(frame)["data"]
        if data.get("e") != "depthUpdate" or data["u"] <= last:
            continue
        assert data["U"] <= last + 1, "a gap"
        for side in ("b", "a"):
            for price, size in data[side]:
                book[side][price] = size
                if Decimal(size) == 0:
                    del book[side][price]
        last = data["u"]
    return last, book


def best(book: dict[str, dict[str, str]]) -> tuple[str, str]:
    return max(book["b"], key=Decimal), min(book["a"], key=Decimal)


@pytest.mark.parametrize("fetched_after", [0, 3, 200, 900])
def test_a_snapshot_fetched_at_any_position_can_be_continued(fetched_after: int) -> None:
    """Also before the recorded snapshot came (seventh frame): that one is served, and the diffs up to it are dropped."""
    capture = read_capture(SPOT)
    world = ReplayWorld(capture, speed=None, gather_s=0)
    desk = Desk(BinanceDialect(world))
    if fetched_after:
        play_to(desk, world, fetched_after)
    assert world.position == fetched_after
    snapshot = desk.get("/api/v3/depth", "symbol=BTCUSDT&limit=5000")
    last, book = spot_book(snapshot, [frame.payload for frame in capture.frames[fetched_after:]])
    quotes = {json.loads(f.payload)["data"]["u"]: json.loads(f.payload)["data"] for f in capture.frames if f.stream.endswith("bookTicker")}
    assert last == max(json.loads(f.payload)["data"]["u"] for f in capture.frames if f.stream.endswith("@depth"))
    end = desk.dialect.open(ALL_SPOT.partition("?")[0], ALL_SPOT.partition("?")[2], desk.now_ns)
    drain(desk, end)
    final = desk.get("/api/v3/depth", "symbol=BTCUSDT&limit=5000")
    assert final["lastUpdateId"] == last
    assert best(book) == (final["bids"][0][0], final["asks"][0][0])
    if last in quotes:
        assert best(book) == (quotes[last]["b"], quotes[last]["a"])


def test_the_own_book_equals_the_recorded_quote_at_every_equal_id() -> None:
    capture = read_capture(SPOT)
    world = ReplayWorld(capture, speed=None, gather_s=0)
    desk = Desk(BinanceDialect(world))
    desk.open(ALL_SPOT)
    quotes = {json.loads(f.payload)["data"]["u"]: json.loads(f.payload)["data"] for f in capture.frames if f.stream.endswith("bookTicker")}
    compared = 0
    listing = world.listings("spot")["BTCUSDT"]
    while not world.done:
        world.poll(desk.now_ns, 1)
        if world.position < 8 or not capture.frames[world.position - 1].stream.endswith("@depth"):
            continue
        book = world.book(listing, 1)
        if book.last_id in quotes:
            quote = quotes[book.last_id]
            assert (book.bids[0], book.asks[0]) == (
                (int(Decimal(quote["b"]) * 10**8), int(Decimal(quote["B"]) * 10**8)),
                (int(Decimal(quote["a"]) * 10**8), int(Decimal(quote["A"]) * 10**8)),
            )
            compared += 1
    assert compared > 10


def test_usdm_snapshots_continue_by_pu() -> None:
    capture = read_capture(USDM)
    world = ReplayWorld(capture, speed=None, gather_s=0)
    desk = Desk(BinanceDialect(world))
    play_to(desk, world, 500, "/public/ws/ethusdt@depth")
    snapshot = desk.get("/fapi/v1/depth", "symbol=ETHUSDT&limit=1000")
    diffs = [json.loads(f.payload)["data"] for f in capture.frames if f.stream.endswith("@depth")]
    holding = [d for d in diffs if d["u"] >= snapshot["lastUpdateId"]]
    assert holding[0]["U"] <= snapshot["lastUpdateId"] <= holding[0]["u"]
    assert holding[1]["pu"] == holding[0]["u"]


def without_snapshot(path: Path) -> Capture:
    whole = read_capture(path)
    return Capture(whole.frames, [], [])


@pytest.mark.parametrize(("path", "market", "symbol"), [(SPOT, "/api/v3", "BTCUSDT"), (USDM, "/fapi/v1", "ETHUSDT")])
def test_without_a_recorded_snapshot_the_book_is_partial_says_so_and_can_be_continued(path: Path, market: str, symbol: str) -> None:
    desk, world = replay_desk(without_snapshot(path))
    first = next(json.loads(f.payload)["data"] for f in world.capture.frames if f.stream.endswith("@depth"))
    snapshot = desk.get(f"{market}/depth", f"symbol={symbol}&limit=100")
    if market == "/api/v3":
        assert first["U"] <= snapshot["lastUpdateId"] + 1 <= first["u"]
    else:
        assert first["U"] <= snapshot["lastUpdateId"] <= first["u"]
    assert world.status()["partial_books"] == [f"{'spot' if market == '/api/v3' else 'usdm'} {symbol}"]
    url = ALL_SPOT if market == "/api/v3" else "/public/stream?streams=ethusdt@depth/ethusdt@trade/ethusdt@bookTicker"
    drain(desk, desk.open(url))
    book = desk.get(f"{market}/depth", f"symbol={symbol}&limit=5")
    last = [json.loads(f.payload)["data"] for f in world.capture.frames if f.stream.endswith("bookTicker")][-1]
    assert (book["bids"][0][0], book["asks"][0][0]) == (last["b"], last["a"])


def test_a_hole_in_the_recorded_diffs_leaves_a_book_whose_top_is_the_quotes() -> None:
    whole = read_capture(SPOT)
    index = next(i for i, f in enumerate(whole.frames) if i > 300 and f.stream.endswith("@depth"))
    desk, world = replay_desk(Capture(whole.frames[:index] + whole.frames[index + 1 :], whole.answers, []))
    drain(desk, desk.open(ALL_SPOT))
    last = [json.loads(f.payload)["data"] for f in whole.frames if f.stream.endswith("bookTicker")][-1]
    book = desk.get("/api/v3/depth", "symbol=BTCUSDT&limit=5")
    assert (book["bids"][0][0], book["asks"][0][0]) == (last["b"], last["a"])
    assert world.done


def test_trades_and_klines_are_those_recorded_up_to_now() -> None:
    desk, world = replay_desk()
    play_to(desk, world, 700)
    seen = [json.loads(f.payload)["data"] for f in world.capture.frames[:700] if f.stream.endswith("@trade")]
    rows = desk.get("/api/v3/historicalTrades", f"symbol=BTCUSDT&fromId={seen[3]['t']}&limit=1000")
    assert [(r["id"], r["price"], r["qty"], r["time"], r["isBuyerMaker"]) for r in rows] == [
        (t["t"], t["p"], t["q"], t["T"], t["m"]) for t in seen[3:]
    ]
    assert desk.get("/api/v3/trades", "symbol=BTCUSDT&limit=1")[0]["id"] == seen[-1]["t"]
    (row,) = desk.get("/api/v3/klines", "symbol=BTCUSDT&interval=1m&limit=1")
    minute = [t for t in seen if row[0] <= t["T"] <= row[6]]
    assert row[8] == len(minute)
    assert Decimal(row[5]) == sum(Decimal(t["q"]) for t in minute)
    assert (row[1], row[4]) == (minute[0]["p"], minute[-1]["p"])
    seconds = desk.get("/api/v3/klines", "symbol=BTCUSDT&interval=1s&limit=100")
    assert sum(one[8] for one in seconds) == len(seen)


def test_minutes_that_the_exchange_itself_sent_are_served_as_it_sent_them() -> None:
    desk, world = replay_desk(OLD)
    names = "/".join(f"{one.symbol.lower()}@{one.name}" for one in world.channels())
    drain(desk, desk.open(f"/stream?streams={names}"))
    said = [json.loads(f.payload)["data"]["k"] for f in world.capture.frames if f.stream == "btcusdt@kline_1m"]
    rows = {row[0]: row for row in desk.get("/api/v3/klines", "symbol=BTCUSDT&interval=1m")}
    newest = {k["t"]: k for k in said}
    for open_ms, k in newest.items():
        assert rows[open_ms][1:6] == [k["o"], k["h"], k["l"], k["c"], k["v"]]
        assert rows[open_ms][7:11] == [k["q"], k["n"], k["V"], k["Q"]]
    aggs = [json.loads(f.payload)["data"] for f in world.capture.frames if f.stream == "btcusdt@aggTrade"]
    got = desk.get("/api/v3/aggTrades", f"symbol=BTCUSDT&fromId={aggs[0]['a']}&limit=1000")
    assert [(one["a"], one["p"], one["q"], one["f"], one["l"], one["T"], one["m"]) for one in got] == [
        (one["a"], one["p"], one["q"], one["f"], one["l"], one["T"], one["m"]) for one in aggs
    ]
    by_time = desk.get("/api/v3/aggTrades", f"symbol=BTCUSDT&startTime={aggs[5]['T']}&endTime={aggs[9]['T']}")
    assert [one["a"] for one in by_time] == [one["a"] for one in aggs if aggs[5]["T"] <= one["T"] <= aggs[9]["T"]]


def test_the_ticker_tells_what_the_recording_knows() -> None:
    desk, _ = replay_desk()
    assert desk.get("/api/v3/ticker/24hr", "symbol=BTCUSDT") == []
    drain(desk, desk.open(ALL_SPOT))
    trades = [json.loads(f.payload)["data"] for f in read_capture(SPOT).frames if f.stream.endswith("@trade")]
    ticker = desk.get("/api/v3/ticker/24hr", "symbol=BTCUSDT")
    assert (ticker["lastPrice"], ticker["count"], ticker["firstId"]) == (trades[-1]["p"], len(trades), trades[0]["t"])


def test_exchange_info_is_the_recorded_one_where_there_is_one() -> None:
    desk, world = replay_desk(NEW)
    recorded = next(one.body for one in world.capture.answers if one.path == "exchangeInfo")
    assert desk.http("/api/v3/exchangeInfo")[2] == recorded
    only = desk.get("/api/v3/exchangeInfo", "symbol=RUNEEUR")["symbols"]
    assert [(one["symbol"], one["baseAsset"], one["quoteAsset"]) for one in only] == [("RUNEEUR", "RUNE", "EUR")]
    with_snapshot = desk.get("/api/v3/depth", "symbol=NKNUSDT&limit=5000")
    assert with_snapshot["lastUpdateId"] == 499869752


def test_exchange_info_is_inferred_from_the_digits_seen_where_there_is_none() -> None:
    desk, _ = replay_desk(USDM)
    (one,) = desk.get("/fapi/v1/exchangeInfo")["symbols"]
    filters = {each["filterType"]: each for each in one["filters"]}
    assert (one["symbol"], one["baseAsset"], one["quoteAsset"]) == ("ETHUSDT", "ETH", "USDT")
    assert (filters["PRICE_FILTER"]["tickSize"], filters["LOT_SIZE"]["stepSize"]) == ("0.01", "0.001")


@pytest.mark.parametrize(
    ("symbol", "base", "quote"),
    [("BTCUSDT", "BTC", "USDT"), ("BTCFDUSD", "BTC", "FDUSD"), ("ETHBTC", "ETH", "BTC"), ("USDT", "USDT", "USD")],
)
def test_symbols_are_split_by_the_longest_known_quote(symbol: str, base: str, quote: str) -> None:
    assert split_symbol(symbol) == (base, quote)


def test_perpetual_facts_that_were_not_recorded_are_absent() -> None:
    desk, _ = replay_desk(USDM)
    assert desk.get("/fapi/v1/premiumIndex", "symbol=ETHUSDT") == []
    assert desk.get("/fapi/v1/fundingRate", "symbol=ETHUSDT") == []
    assert desk.get("/fapi/v1/markPriceKlines", "symbol=ETHUSDT&interval=1m") == []


def test_recorded_mark_prices_are_served(tmp_path: Path) -> None:
    row = '{"stream":"btcusdt@markPrice","data":{"e":"markPriceUpdate","E":1700000000000,"s":"BTCUSDT","p":"60000.50000000","i":"60001.00000000","r":"0.00010000","T":1700006400000}}'
    (tmp_path / "f").write_text(
        f'1700000000000000000 {{"stream":"btcusdt@depth","data":{{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":1,"pu":0,"b":[],"a":[]}}}}\n1700000000000000000 {row}\n'
    )
    desk, _ = replay_desk(tmp_path / "f")
    drain(desk, desk.open("/market/ws/btcusdt@markPrice@1s"))
    answer = desk.get("/fapi/v1/premiumIndex", "symbol=BTCUSDT")
    assert (answer["markPrice"], answer["indexPrice"], answer["lastFundingRate"]) == ("60000.50000000", "60001.00000000", "0.00010000")


# ── Position ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_restart_goes_on_at_the_saved_position_with_the_history_up_to_it(tmp_path: Path) -> None:
    state = tmp_path / "position.json"
    desk, world = replay_desk(state_path=state)
    play_to(desk, world, 600)
    before = desk.get("/api/v3/historicalTrades", "symbol=BTCUSDT&fromId=0&limit=1000")
    world.save()
    del desk, world

    desk, world = replay_desk(state_path=state)
    assert world.position == 600
    assert desk.get("/api/v3/historicalTrades", "symbol=BTCUSDT&fromId=0&limit=1000") == before
    rest = drain(desk, desk.open(ALL_SPOT))
    assert rest == [frame.payload for frame in world.capture.frames[600:]]


def test_the_position_is_written_at_most_every_200_ms(tmp_path: Path) -> None:
    state = tmp_path / "position.json"
    desk, _ = replay_desk(speed=1.0, state_path=state)
    desk.open(ALL_SPOT)
    desk.wait(0.2)
    first = state.read_bytes()
    desk.wait(0.1)
    assert state.read_bytes() == first
    desk.wait(0.1)
    assert state.read_bytes() != first


@pytest.mark.parametrize("content", ["", "{}", '{"digest":"other","run":1,"position":5}', '{"digest":0,"run":"x","position":5}'])
def test_a_foreign_or_damaged_position_counts_for_nothing(tmp_path: Path, content: str) -> None:
    state = tmp_path / "position.json"
    state.write_text(content)
    assert replay_desk(state_path=state)[1].position == 0


@pytest.mark.data
@pytest.mark.parametrize("names", [["spot/btcusdt_20240808.gz", "spot/btcusdt_20240809.gz"], ["usdm/ethusdt_20240808.gz"]])
def test_whole_recordings_go_out_byte_for_byte_over_midnight(recorded: Path, names: list[str]) -> None:
    capture = read_capture([recorded / "hftbacktest" / "examples" / name for name in names])
    desk, world = replay_desk(capture)
    symbol = capture.frames[0].symbol.lower()
    prefix = "" if capture.frames[0].market == "spot" else "/public"
    got = drain(desk, desk.open(f"{prefix}/stream?streams={symbol}@trade/{symbol}@depth@100ms/{symbol}@bookTicker"))
    assert got == [frame.payload for frame in capture.frames]
    assert world.done


def test_a_recording_of_single_trades_has_aggregates_that_cover_each_once() -> None:
    desk, _ = replay_desk(USDM)
    drain(desk, desk.open("/market/stream?streams=ethusdt@trade"))
    rows = desk.get("/fapi/v1/aggTrades", "symbol=ETHUSDT&fromId=1&limit=1000")
    trades = [json.loads(frame.raw()) for frame in read_capture(USDM).frames if frame.stream == "ethusdt@trade"]
    assert [row["a"] for row in rows] == list(range(1, len(rows) + 1))
    covered = [t["t"] for row in rows for t in trades if row["f"] <= t["t"] <= row["l"]]
    assert covered == [t["t"] for t in trades]
    assert 1 < len(rows) < len(trades)
    assert sum(Decimal(row["q"]) for row in rows) == sum(Decimal(t["q"]) for t in trades)


def test_a_level_finer_than_the_tick_is_told_as_it_was_recorded(tmp_path: Path) -> None:
    info = {
        "symbols": [
            {
                "symbol": "CTKUSDT",
                "baseAsset": "CTK",
                "quoteAsset": "USDT",
                "filters": [{"filterType": "PRICE_FILTER", "tickSize": "0.001"}],
            }
        ]
    }
    book = {"lastUpdateId": 7, "E": 1, "T": 1, "bids": [["1.011", "1698"], ["0.00090", "111111"]], "asks": [["1.0125", "3"]]}
    diff = {"e": "depthUpdate", "E": 2, "T": 2, "s": "CTKUSDT", "U": 6, "u": 8, "pu": 5, "b": [], "a": []}
    root = "https://fapi.binance.com/fapi/v1"
    records = [
        {"t": "header", "exchange": "BINANCE_FUTURES"},
        {"t": "http", "ts": 1.0, "url": f"{root}/exchangeInfo", "data": json.dumps(info)},
        {"t": "http", "ts": 2.0, "url": f"{root}/depth?symbol=CTKUSDT&limit=1000", "data": json.dumps(book)},
        {"t": "recv", "ts": 3.0, "data": json.dumps({"stream": "ctkusdt@depth@100ms", "data": diff})},
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    desk, _ = replay_desk(tmp_path / "a.jsonl")
    told = desk.get("/fapi/v1/depth", "symbol=CTKUSDT&limit=1000")
    assert [[Decimal(text) for text in row] for row in told["bids"] + told["asks"]] == [
        [Decimal(text) for text in row] for row in book["bids"] + book["asks"]
    ]


def test_a_trade_whose_id_cannot_be_keeps_no_later_one_out(tmp_path: Path) -> None:
    lines = gzip.decompress(SPOT.read_bytes()).splitlines()
    trades = [number for number, line in enumerate(lines) if b'"e":"trade"' in line]
    wrong = trades[len(trades) // 2]
    lines[wrong] = re.sub(rb'"t":\d+', b'"t":99999999999999999', lines[wrong])
    (tmp_path / "a.txt").write_bytes(b"\n".join(lines) + b"\n")
    desk, world = replay_desk(tmp_path / "a.txt")
    drain(desk, desk.open("/ws/btcusdt@trade"))
    newest = desk.get("/api/v3/trades", "symbol=BTCUSDT&limit=1")[0]["id"]
    told = [frame for frame in read_capture(SPOT).frames if frame.stream == "btcusdt@trade"]
    assert newest == json.loads(told[-1].raw())["t"]
    assert any("99999999999999999" in told for told in world.status()["damage"])
