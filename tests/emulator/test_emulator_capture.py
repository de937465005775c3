"""Recordings: told by content, whole or refused with line and reason."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import zstandard
from emulator_kit import FIXTURES

from zvt_crypto.domain.errors import BadCapture
from zvt_crypto.emulator.capture import Channel, read_capture

SPOT = FIXTURES / "hftbacktest_spot_btcusdt.gz"
USDM = FIXTURES / "hftbacktest_usdm_ethusdt.gz"
OLD = FIXTURES / "cryptofeed_2021_binance.gz"
NEW = FIXTURES / "cryptofeed_v3_binance.jsonl.zst"


def test_hftbacktest_lines_keep_their_nanoseconds_and_bytes() -> None:
    capture = read_capture(SPOT)
    first = gzip.decompress(SPOT.read_bytes()).split(b"\n")[0]
    assert capture.frames[0].recv_ns == 1723161253937085768 == capture.first_ns
    assert b"%d %s" % (capture.frames[0].recv_ns, capture.frames[0].payload) == first
    assert {(one.market, one.symbol, one.name) for one in capture.channels()} == {
        ("spot", "BTCUSDT", "trade"),
        ("spot", "BTCUSDT", "depth"),
        ("spot", "BTCUSDT", "bookTicker"),
    }


def test_a_snapshot_among_the_lines_is_an_answer_at_its_instant() -> None:
    (answer,) = read_capture(SPOT).answers
    assert (answer.at, answer.market, answer.path, answer.symbol) == (7, "spot", "depth", "BTCUSDT")
    assert json.loads(answer.body)["lastUpdateId"] == 50093239218


def test_usdm_is_told_by_its_own_fields() -> None:
    assert {one.market for one in read_capture(USDM).channels()} == {"usdm"}


def test_cryptofeeds_old_lines_hold_frames_and_answers() -> None:
    capture = read_capture(OLD)
    assert capture.frames[0].recv_ns == 1617566591326123000
    assert {(one.path, one.symbol) for one in capture.answers} == {("depth", "DOTUSDT"), ("depth", "BTCUSDT"), ("depth", "ETHUSDT")}
    assert {one.name for one in capture.channels()} == {"depth", "aggTrade", "kline_1m"}


def test_cryptofeeds_json_lines_hold_frames_and_answers() -> None:
    capture = read_capture(NEW)
    assert len(capture.frames) == 265
    assert [one.path for one in capture.answers] == ["exchangeInfo", "depth", "depth", "depth", "depth"]
    assert Channel("spot", "BLZETH", "depth", 10) in capture.channels()


@pytest.mark.parametrize("pack", ["plain", "gzip", "zstd", "two gzip members"])
def test_the_packing_is_told_by_content_not_by_name(tmp_path: Path, pack: str) -> None:
    text = gzip.decompress(SPOT.read_bytes())
    half = text.index(b"\n", len(text) // 2) + 1
    packed = {
        "plain": text,
        "gzip": gzip.compress(text),
        "zstd": zstandard.ZstdCompressor().compress(text),
        "two gzip members": gzip.compress(text[:half]) + gzip.compress(text[half:]),
    }[pack]
    (tmp_path / "recording.bin").write_bytes(packed)
    assert read_capture(tmp_path / "recording.bin").digest == read_capture(SPOT).digest


def test_bare_frames_are_named_by_their_own_fields(tmp_path: Path) -> None:
    rows = [
        '{"e":"trade","E":1,"s":"BTCUSDT","t":1,"p":"1","q":"1","T":1,"m":true,"M":true}',
        '{"e":"depthUpdate","E":1,"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}',
        '{"u":3,"s":"BTCUSDT","b":"1","B":"1","a":"2","A":"1"}',
        '{"e":"kline","E":1,"s":"BTCUSDT","k":{"i":"1m"}}',
        '{"result":null,"id":1}',
    ]
    (tmp_path / "bare").write_text("".join(f"1700000000000000000 {row}\n" for row in rows))
    assert [frame.stream.partition("@")[2] for frame in read_capture(tmp_path / "bare").frames] == [
        "trade",
        "depth",
        "bookTicker",
        "kline_1m",
    ]


def test_several_files_are_one_capture(tmp_path: Path) -> None:
    lines = gzip.decompress(SPOT.read_bytes()).splitlines(keepends=True)
    (tmp_path / "a").write_bytes(b"".join(lines[:700]))
    (tmp_path / "b").write_bytes(b"".join(lines[700:]))
    both = read_capture([tmp_path / "a", tmp_path / "b"])
    assert both.digest == read_capture(SPOT).digest


# ── Damage ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("source", [SPOT, NEW])
def test_a_cut_off_archive_is_refused_with_file_line_and_reason(tmp_path: Path, source: Path) -> None:
    cut = tmp_path / source.name
    cut.write_bytes(source.read_bytes()[:-5_000])
    with pytest.raises(BadCapture, match=rf"{source.name}, line \d+: the compressed file ends in the middle"):
        read_capture(cut)


def test_what_is_whole_of_a_cut_off_archive_can_be_served(tmp_path: Path) -> None:
    cut = tmp_path / "cut.gz"
    cut.write_bytes(SPOT.read_bytes()[:-5_000])
    capture = read_capture(cut, salvage=True)
    whole = read_capture(SPOT)
    assert 0 < len(capture.frames) < len(whole.frames)
    assert capture.frames == whole.frames[: len(capture.frames)]
    assert "ends in the middle" in capture.damage[0]


def test_a_line_cut_in_the_middle_is_named(tmp_path: Path) -> None:
    lines = gzip.decompress(SPOT.read_bytes()).splitlines(keepends=True)
    (tmp_path / "cut").write_bytes(b"".join(lines[:30]) + lines[30][:60])
    with pytest.raises(BadCapture, match=r"line 31: the frame is not whole JSON"):
        read_capture(tmp_path / "cut")
    assert len(read_capture(tmp_path / "cut", salvage=True).frames) == 29  # thirty lines, one of them the snapshot


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello\nworld\n", "line 1: in no known format"),
        (b"", "no frames of market data"),
        (b"\x1f\x8b\x08garbage", "line 1: "),
        (b'1700000000000000000 {"result":null}\n', "no frames of market data"),
        (b"1700000000000000000 {}\nnothing\n", "line 2: not `ns json`"),
        (b"1617566591.3: {}\nnothing\n", "line 2: not `time: json`"),
    ],
)
def test_what_is_no_recording_is_refused_with_its_reason(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(BadCapture, match=reason):
        read_capture(tmp_path / "file")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCapture, match="cannot be read"):
        read_capture(tmp_path / "nowhere")


def test_a_nameless_snapshot_among_several_symbols_is_nobodys(tmp_path: Path) -> None:
    rows = [
        b'{"stream":"btcusdt@trade","data":{"e":"trade"}}',
        b'{"stream":"ethusdt@trade","data":{"e":"trade"}}',
        b'{"lastUpdateId":1,"bids":[],"asks":[]}',
    ]
    (tmp_path / "file").write_bytes(b"".join(b"1700000000000000000 %s\n" % row for row in rows))
    assert read_capture(tmp_path / "file").answers == []
