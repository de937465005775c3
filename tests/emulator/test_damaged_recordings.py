"""Recordings in which single messages are damaged: all is played as it came, and nothing is derived from what cannot be."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from zvt_crypto.domain.errors import BadCapture
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS
from zvt_crypto.emulator.capture import read_capture
from zvt_crypto.emulator.coinbase.dialect import CoinbaseDialect
from zvt_crypto.emulator.model import Agg, Bar, Listing, Trade
from zvt_crypto.emulator.replay import ReplayWorld
from zvt_crypto.emulator.tape import Tape, checked_id

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
Alter = Callable[[bytes], bytes]
# exchange → recording, what a line with a trade has, its price, its size, its time
RECORDINGS = {
    "binance spot": ("emulator/hftbacktest_spot_btcusdt.gz", rb'"e":"trade"', "p", "q", "T"),
    "binance usdm": ("emulator/hftbacktest_usdm_ethusdt.gz", rb'"e":"trade"', "p", "q", "T"),
    "bybit": ("bybit/spot_frames.txt.gz", rb'"topic":"publicTrade', "p", "v", "T"),
    "okx": ("okx/frames_2022.txt.gz", rb'"channel":"trades".*"tradeId"', "px", "sz", "ts"),
    "coinbase": ("coinbase/frames.txt.gz", rb'"type":"update","trades"', "price", "size", "time"),
}


def lines_of(file: str) -> list[bytes]:
    raw = (FIXTURES / file).read_bytes()
    return (gzip.decompress(raw) if file.endswith("gz") else raw).splitlines()


def damaged(tmp_path: Path, file: str, which: bytes, alter: Alter, nth: int = 3) -> Path:
    """The recording with its nth line of a kind altered."""
    lines = lines_of(file)
    at = [i for i, line in enumerate(lines) if re.search(which, line)][nth]
    altered = alter(lines[at])
    assert altered != lines[at], "altered"
    lines[at] = altered
    path = tmp_path / "damaged"
    path.write_bytes(b"\n".join(lines))
    return path


def value(name: str, text: str) -> Alter:
    """Give the first field of that name another value."""
    return lambda line: re.sub(rb'("%b":)("[^"]*"|-?\d+)' % name.encode(), rb"\g<1>" + text.encode(), line, count=1)


def played(path: Path) -> ReplayWorld:
    world = ReplayWorld(read_capture(path), speed=None, gather_s=0)
    for frame in world.capture.frames:
        world.watch(frame.market, frame.stream, 0)
    emitted = 0
    while not world.done:
        emitted += len(world.poll(1, 4_096))
    assert emitted == len(world.capture.frames)
    return world


def listings(world: ReplayWorld) -> list[Listing]:
    return [one for market in ("spot", "usdm") for one in world.listings(market).values()]  # type: ignore[arg-type]


def trades(world: ReplayWorld) -> Counter[tuple[str, int, int, int]]:
    """(symbol, time, price, size) of what REST tells of trades; of OKX's they are aggregates."""
    of_okx = world.capture.exchange == "okx"
    rows: Counter[tuple[str, int, int, int]] = Counter()
    for one in listings(world):
        told: Sequence[Trade | Agg] = world.aggs(one, None, None, None, 10_000) if of_okx else world.trades(one, None, 10_000)
        rows.update((one.symbol, row.time_ns, row.price, row.size) for row in told)
    return rows


def ask_everything(world: ReplayWorld) -> int:
    """Every question that REST asks. Returns how many minutes there are."""
    minutes = 0
    for one in listings(world):
        world.book(one, 100)
        world.day(one)
        world.mark(one)
        for interval in ("1s", "1h", "1d", "1w", "1M"):
            world.bars(one, interval, None, None, 1_000)
        minutes += len(world.bars(one, "1m", 0, None, 1_000_000))
    return minutes


DAMAGES = {
    "no number": ("price", '"NaN"'),
    "a large exponent": ("price", '"1e300"'),
    "300 digits": ("price", f'"1{"0" * 300}"'),
    "a negative price": ("price", '"-5.5"'),
    "a size without end": ("size", '"1e300"'),
    "no text": ("price", "null_"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("exchange", RECORDINGS)
def test_a_trade_that_cannot_be_is_played_and_left_out(tmp_path: Path, exchange: str, damage: str) -> None:
    file, which, *names = RECORDINGS[exchange]
    field, text = DAMAGES[damage]
    name = str(names[0] if field == "price" else names[1])
    alter = value(name, text) if text != "null_" else value(name, "[]")
    whole, world = played(FIXTURES / file), played(damaged(tmp_path, file, which, alter))
    assert ask_everything(world) == ask_everything(whole)
    lost = trades(whole) - trades(world)
    assert 1 <= lost.total() <= 12  # those of the same message
    assert trades(world) == trades(whole) - lost
    (told,) = world.status()["damage"]  # type: ignore[misc]
    assert told.startswith("left out of what is derived: 1, the first is ")
    assert whole.status()["damage"] == []


FAR = {
    "binance spot": "9999999999999", "binance usdm": "1723161258647000", "bybit": "9999999999999", "okx": '"9999999999999"',
    "coinbase": '"2199-01-01T00:00:00Z"',
}  # fmt: skip


@pytest.mark.parametrize("exchange", RECORDINGS)
def test_a_trade_of_another_time_fills_no_minutes_and_moves_no_clock(tmp_path: Path, exchange: str) -> None:
    file, which, *names = RECORDINGS[exchange]
    whole, world = played(FIXTURES / file), played(damaged(tmp_path, file, which, value(str(names[2]), FAR[exchange])))
    assert abs(world.server_ns(0) - whole.server_ns(0)) < NS_PER_DAY
    assert ask_everything(world) == ask_everything(whole)
    lost = trades(whole) - trades(world)
    assert lost.total() == 1
    assert trades(world) == trades(whole) - lost
    (told,) = world.status()["damage"]  # type: ignore[misc]
    assert "more than a day from its receipt" in told


SPOT, USDM = str(RECORDINGS["binance spot"][0]), str(RECORDINGS["binance usdm"][0])


@pytest.mark.parametrize(
    ("file", "which", "alter", "says"),
    [
        (SPOT, rb'"e":"trade"', value("t", "19223372036854775807"), "does not fit into 64 bits"),
        (SPOT, rb'"e":"trade"', value("t", "9" * 99), ""),
        (SPOT, rb'"e":"trade"', value("E", "9999999999999"), "time of 9999999999999 ms"),
        (SPOT, rb'"e":"trade"', lambda line: re.sub(rb'"data":.*', b'"data":{}}', line), "missing required field"),
        (SPOT, rb"bookTicker", value("b", '"NaN"'), "'NaN' is no decimal number"),
        (USDM, rb"depthUpdate", lambda line: re.sub(rb'"b":\[\["[^"]*"', b'"b":[["Infinity"', line), "'Infinity' is no decimal number"),
        (USDM, rb"depthUpdate", value("u", '"x"'), "Expected `int`, got `str`"),
        (USDM, rb"depthUpdate", value("pu", "19223372036854775807"), "does not fit into 64 bits"),
    ],
)
def test_other_damage_of_a_message_is_named(tmp_path: Path, file: str, which: bytes, alter: Alter, says: str) -> None:
    world = played(damaged(tmp_path, file, which, alter))
    ask_everything(world)
    (told,) = world.status()["damage"]  # type: ignore[misc]
    assert told.startswith("left out of what is derived: 1, ")
    assert says in told


def test_the_first_diff_or_a_snapshot_that_cannot_be_read_is_as_if_it_had_not_been_recorded(tmp_path: Path) -> None:
    world = played(damaged(tmp_path, USDM, rb"depthUpdate", value("U", "19223372036854775807"), nth=0))
    ask_everything(world)
    assert len(world.status()["damage"]) == 1  # type: ignore[arg-type]
    world = played(damaged(tmp_path, SPOT, rb'"lastUpdateId"', lambda line: re.sub(rb'"bids":\[\["[^"]*"', b'"bids":[["x"', line), nth=0))
    ask_everything(world)
    (told,) = world.status()["damage"]  # type: ignore[misc]
    assert "answer spot BTCUSDT depth: 'x' is no decimal number" in told
    assert world.status()["partial_books"] == ["spot BTCUSDT"]


def test_a_frame_that_says_nothing_of_itself_is_no_market_data(tmp_path: Path) -> None:
    lines = [b'1700000000000000000 {"e":"trade","s":"BTCUSDT","u":"x"}', b'1700000000000000000 {"e":"trade","s":"BTCUSDT","M":true}']
    (tmp_path / "bare").write_bytes(b"\n".join(lines))
    capture = read_capture(tmp_path / "bare")
    assert [(frame.market, frame.stream, frame.payload) for frame in capture.frames] == [("spot", "btcusdt@trade", lines[1][20:])]


@pytest.mark.parametrize("open_ms", [99_999_999_999_999, 0])
def test_a_kline_of_another_time_is_left_out(tmp_path: Path, open_ms: int) -> None:
    k = {"t": open_ms, "i": "1m", "f": 1, "L": 2, "n": 1} | dict.fromkeys("ochlvqVQ", "1")
    frame = json.dumps({"stream": "ethusdt@kline_1m", "data": {"e": "kline", "E": 1723161256303, "s": "ETHUSDT", "k": k}}).encode()
    world = played(damaged(tmp_path, USDM, rb'"e":"trade"', lambda line: line + b"\n" + line.split(b" ")[0] + b" " + frame))
    assert ask_everything(world) == ask_everything(played(FIXTURES / USDM))
    assert f"minute of {open_ms} ms lies more than a day" in str(world.status()["damage"])


def test_a_recorded_ticker_of_another_time_is_left_out(tmp_path: Path) -> None:
    file = "okx/frames_2022.txt.gz"
    whole = played(FIXTURES / file)
    ticker = damaged(tmp_path, file, rb'"channel":"tickers".*"last"', value("ts", '"9999999999999"'), nth=-1)
    world = played(ticker)
    assert "ticker of 9999999999999 ms" in str(world.status()["damage"])
    assert all((day := world.day(one)) is None or abs(day.close_ns - whole.server_ns(0)) < NS_PER_DAY for one in listings(world))


def test_what_cannot_be_read_is_not_told_in_other_words() -> None:
    file = FIXTURES / "coinbase" / "feed_frames.txt"
    world = ReplayWorld(read_capture(file), speed=None, gather_s=0)
    frames = world.capture.frames
    frames[0] = frames[0]._replace(payload=frames[0].payload.replace(b'"price":"4.97800000"', b'"price":"NaN"'))
    dialect = CoinbaseDialect(world)
    session = dialect.begin(dialect.admit("/", "", 0), 0)
    dialect.on_text(session, b'{"type":"subscribe","channel":"market_trades","product_ids":["ETC-GBP"]}', 0)
    session.outbox.clear()
    while not world.done:
        dialect.poll(1)
    assert not [frame for frame in session.outbox if b"216544" in frame]
    assert "'NaN' is no decimal number" in str(world.status()["damage"])


# ── The tape itself ───────────────────────────────────────────────────────────────────────────────────────────────────


def test_minutes_without_a_trade_are_made_only_when_asked_for() -> None:
    tape = Tape()
    day = 20_000 * NS_PER_DAY
    tape.begin(day)
    for number, at_ns, price in ((1, day - NS_PER_DAY, 5), (2, day + NS_PER_DAY, 7), (3, day + NS_PER_MINUTE, 6)):
        tape.add_trade(Trade(number, price, 1, at_ns, False))
    assert tape.left_out == ""
    assert [bar.close for bar in tape.minutes(day, day + 3 * NS_PER_MINUTE)] == [5, 6, 6]
    assert [bar.open_ns for bar in tape.minutes(day + NS_PER_DAY - NS_PER_MINUTE + 1, day + 9 * NS_PER_DAY)] == [day + NS_PER_DAY]
    assert len(tape.minutes(0, 2 * day)) == 2 * 1440 + 1
    assert tape.minutes(0, day - NS_PER_DAY) == []
    tape.add_trade(Trade(4, 8, 1, day + NS_PER_DAY + 1, False))
    assert tape.left_out == f"trade 4 of {(day + NS_PER_DAY) // NS_PER_MS} ms lies more than a day from its receipt"
    assert [trade.id for trade in tape.trades] == [1, 2, 3]
    tape.begin(day)
    tape.say(Bar(day - 2 * NS_PER_DAY, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1))
    assert "minute of" in tape.left_out


@pytest.mark.parametrize("number", [-2, 2**63, 10**99])
def test_an_id_that_no_exchange_gives_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="does not fit into 64 bits"):
        checked_id(number)
    assert checked_id(2**63 - 1) == 2**63 - 1


# ── Lines that are no whole JSON ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("exchange", RECORDINGS)
def test_torn_lines_in_the_midst_are_left_out_and_told(tmp_path: Path, exchange: str) -> None:
    file, which, *_ = RECORDINGS[exchange]
    lines = lines_of(str(file))
    at = [i for i, line in enumerate(lines) if re.search(which, line)][2:4]  # type: ignore[arg-type]
    for i in at:
        lines[i] = lines[i][:-9]
    (tmp_path / "torn").write_bytes(b"\n".join(lines))
    whole, world = played(FIXTURES / str(file)), played(tmp_path / "torn")
    assert len(world.capture.frames) == len(whole.capture.frames) - 2
    assert ask_everything(world) == ask_everything(whole)
    assert not trades(world) - trades(whole)
    (told,) = world.status()["damage"]  # type: ignore[misc]
    assert f"2 damaged lines left out, first line {at[0] + 1}: the frame is not whole JSON" in told


@pytest.mark.parametrize("file", ["bybit/spot_frames.txt.gz", "okx/frames_2022.txt.gz", "coinbase/frames.txt.gz"])
def test_a_frame_whose_head_is_of_another_kind_is_left_out(tmp_path: Path, file: str) -> None:
    head = value("topic", "5") if "bybit" in file else value("channel", "5")
    which = rb'"topic"' if "bybit" in file else rb'"channel":.*"(data|events)"'
    world = played(damaged(tmp_path, file, which, head))
    assert len(world.capture.frames) == len(played(FIXTURES / file).capture.frames) - 1
    assert "1 damaged line left out, first frame of " in str(world.status()["damage"])


def test_a_recording_of_which_most_is_damaged_is_refused(tmp_path: Path) -> None:
    lines = lines_of(SPOT)[:100]
    (tmp_path / "torn").write_bytes(b"\n".join(line if at % 3 == 0 else line[:-9] for at, line in enumerate(lines)))
    with pytest.raises(BadCapture, match="is not whole JSON"):
        read_capture(tmp_path / "torn")
