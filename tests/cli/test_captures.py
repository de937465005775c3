"""What is given as a capture and is none is told by name, with what would be one."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
import zstandard
from cli_parts import FIXTURES

from zvt_crypto.cli.captures import check_captures
from zvt_crypto.domain.errors import BadCapture, BadInput
from zvt_crypto.domain.instrument import EXCHANGES
from zvt_crypto.emulator.dialects import DIALECTS
from zvt_crypto.emulator.origin import origin_of


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", r"'x' is empty; a capture is a text file, plain, gzip or zstandard, of lines"),
        (b"\n \n", "'x' is empty"),
        (gzip.compress(b"", mtime=0), "'x' is empty"),
        (bytes(range(256)), "'x' is binary; a capture is a text file"),
        (b"PK\x03\x04 and so on", "'x' is a zip archive: unpack it first"),
        (b"BZh91AY&SY", "'x' is a bzip2 file"),
        (b"PAR1\x15\x04", "'x' is a Parquet file"),
        (b"\x1f\x8b\x08\xff" + b"garbage" * 9, "'x' cannot be unpacked"),
        (
            b'{"t":"header","format":2,"exchange":"KRAKEN"}\n',
            f"'x' is a recording of kraken; the emulator speaks like {next(iter(DIALECTS))}",
        ),
    ],
)
def test_what_is_no_capture_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("x").write_bytes(content)
    with pytest.raises(BadCapture, match=told):
        check_captures([Path("x")])


def test_a_folder_and_a_name_of_nothing_are_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="is a folder: name the files in it"):
        check_captures([tmp_path])
    with pytest.raises(BadInput, match="does not exist"):
        check_captures([tmp_path / "none"])


@pytest.mark.parametrize("exchange", EXCHANGES)
def test_a_recording_is_taken_where_the_emulator_speaks_like_its_exchange_and_refused_where_not(tmp_path: Path, exchange: str) -> None:
    capture = tmp_path / "capture.zst"
    capture.write_bytes(zstandard.compress(b'{"t":"header","format":2,"exchange":"%s"}\n' % exchange.upper().encode()))
    if exchange in DIALECTS:
        check_captures([capture])
    else:
        with pytest.raises(BadCapture, match=f"is a recording of {exchange}; the emulator speaks like "):
            check_captures([capture])


def test_the_protocol_that_was_asked_for_must_be_the_recordings(tmp_path: Path) -> None:
    file = FIXTURES / "hftbacktest_spot_btcusdt.gz"
    check_captures([file], "binance")
    with pytest.raises(BadCapture, match="is a recording of binance, not of okx: add --exchange binance"):
        check_captures([file], "okx")


@pytest.mark.parametrize(
    ("head", "exchange"),
    [
        (b'{"t":"header","format":2,"exchange":"BINANCE_FUTURES"}', "binance"),
        (b'{"t":"header","format":2,"exchange":"OKEX"}', "okx"),
        (b'{"t":"connect","addr":"wss://stream.bybit.com/v5/public/spot"}', "bybit"),
        (b'1700000000000000000 {"stream":"btcusdt@trade","data":{"e":"trade","E":1}}', "binance"),
        (b'1700000000000000000 {"topic":"orderbook.50.BTCUSDT","type":"snapshot"}', "bybit"),
        (b'1700000000.5: {"arg": {"channel": "books", "instId": "BTC-USDT"}}', "okx"),
        (rb'{"t":"recv","data":"{\"channel\":\"l2_data\",\"sequence_num\":0,\"product_id\":\"x\"}"}', "coinbase"),
        (b"1420070400000,322.31,322.09", None),
    ],
)
def test_the_exchange_is_told_by_header_address_or_frame(head: bytes, exchange: str | None) -> None:
    assert origin_of(head) == exchange


def test_every_recording_of_binance_is_known_as_such(recorded: Path) -> None:
    files = [*recorded.glob("hftbacktest/examples/*/*.gz"), *recorded.glob("cryptofeed/*/BINANCE*")]
    assert len(files) >= 6
    check_captures(files, "binance")
