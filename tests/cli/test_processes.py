"""Long-running commands as processes: they end cleanly, say what they did, and survive kill -9."""

from __future__ import annotations

import gzip
import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_parts import FIXTURES, ZVT_CRYPTO, clean_env, emulated

from zvt_crypto.emulator.capture import read_capture

pytestmark = pytest.mark.slow
SPOT = str(FIXTURES / "hftbacktest_spot_btcusdt.gz")
USDM = str(FIXTURES / "hftbacktest_usdm_ethusdt.gz")


def spawn(*arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [ZVT_CRYPTO, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_env(**env), start_new_session=True
    )


def processes_that_mention(word: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if word in (entry / "cmdline").read_text("utf-8", "replace"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def wait_until(claim: Callable[[], bool], within_s: float) -> bool:
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        if claim():
            return True
        time.sleep(0.1)
    return claim()


def test_a_demo_ends_by_itself_with_a_summary_and_leaves_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [ZVT_CRYPTO, "demo", "--data-dir", str(tmp_path), "--api-port", "0", "--ws-port", "0"],
        env=clean_env(DEMO_SECONDS="4"),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[\d,]+ rows recorded from [\d,]+ events", done.stdout)
    assert "ok   REST answered" in done.stdout
    assert "ok   WebSocket spoke" in done.stdout
    assert "ok   trades without holes" in done.stdout
    assert "FAIL" not in done.stdout
    assert list((tmp_path / "demo").iterdir()) == []
    assert wait_until(lambda: processes_that_mention(str(tmp_path)) == [], 10)


def test_two_demos_started_at_once_both_run(tmp_path: Path) -> None:
    """On the usual ports, which only one of them can have."""
    demos = [spawn("demo", "--data-dir", str(tmp_path / name), "--seconds", "3") for name in ("a", "b")]
    said = [demo.communicate(timeout=110) for demo in demos]
    assert [demo.returncode for demo in demos] == [0, 0], said
    assert all("ok   REST answered" in out for out, _ in said)
    first, second = ({*re.findall(r"127\.0\.0\.1:(\d+)(?:/docs|/ws/v1)", out)} for out, _ in said)
    assert len(first) == len(second) == 2
    assert not first & second


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_signal_ends_a_demo_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with spawn("demo", "--data-dir", str(tmp_path), "--api-port", "0", "--ws-port", "0") as demo:
        assert demo.stdout is not None
        seen = ""
        for line in demo.stdout:
            seen += line
            if " rows " in line:
                break
        demo.send_signal(number)
        rest, err = demo.communicate(timeout=60)
    assert demo.returncode == 0, seen + rest + err
    assert "rows recorded" in rest
    assert "Traceback" not in err
    assert wait_until(lambda: processes_that_mention(str(tmp_path)) == [], 10)


def test_a_killed_demo_takes_its_exchange_and_database_along(tmp_path: Path) -> None:
    with spawn("demo", "--data-dir", str(tmp_path), "--api-port", "0", "--ws-port", "0") as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if " rows " in line:
                break
        demo.kill()
        demo.communicate(timeout=20)
    assert wait_until(lambda: processes_that_mention(str(tmp_path)) == [], 20)


def test_a_taken_port_is_said_and_has_its_exit_code(tmp_path: Path) -> None:
    with emulated("market") as place:
        env = {"ZVT_CRYPTO__BINANCE__REST": place["rest_url"], "ZVT_CRYPTO__BINANCE__WS": place["ws_url"]}
        port = place["rest_url"].rpartition(":")[2]
        with spawn("up", "--data-dir", str(tmp_path), "--api-port", port, "--ws-port", "0", **env) as process:
            _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert f"port {port} on 127.0.0.1 is taken" in err


def on_a_terminal(*arguments: str, until: str | None = None, **env: str) -> str:
    """All that a person sees who presses Ctrl-C when `until` is shown, or waits for the end."""
    ours, theirs = pty.openpty()
    env = clean_env(COLUMNS="200", LINES="60", TERM="xterm", **env)
    with subprocess.Popen([ZVT_CRYPTO, *arguments], stdout=theirs, stderr=theirs, env=env, start_new_session=True) as process:
        os.close(theirs)
        seen, asked = "", False
        try:
            while chunk := os.read(ours, 65_536):
                seen += chunk.decode(errors="replace")
                if until is not None and not asked and until in seen:
                    asked = True
                    process.send_signal(signal.SIGINT)
        except OSError:  # Linux says so when the other side is closed
            pass
    os.close(ours)
    assert process.returncode == 0, seen
    return seen


def test_a_backfill_shows_how_far_it_is(tmp_path: Path) -> None:
    with emulated("market") as place:
        env = {"ZVT_CRYPTO__BINANCE__REST": place["rest_url"], "ZVT_CRYPTO__BINANCE__WS": place["ws_url"]}
        seen = on_a_terminal("backfill", "-s", "BTCUSDT", "-i", "1d", "--data-dir", str(tmp_path), **env)
    assert re.search(r"cryptopair_binance_btcusdt .*100\.0 %.*rows", seen)
    assert re.search(r"cryptopair_binance_btcusdt kline 1d: [1-9]\d* rows written", seen)


def test_the_last_page_shows_the_market_and_then_what_was_stored(tmp_path: Path) -> None:
    with emulated("market") as place:
        env = {"ZVT_CRYPTO__BINANCE__REST": place["rest_url"], "ZVT_CRYPTO__BINANCE__WS": place["ws_url"]}
        arguments = ("up", "--data-dir", str(tmp_path), "--api-port", "0", "--ws-port", "0", "-s", "BTCUSDT")
        seen = on_a_terminal(*arguments, until=" live", **env)
    page, _, rest = seen.rpartition("recorded into")[2].partition("stopping …")
    assert "BTC/USDT" in page
    assert "resync" not in page.replace("book resyncs", "")
    assert "stopped" not in page
    assert re.search(r"stopped: [\d,]+ rows stored", rest)


def test_an_unknown_symbol_ends_up_with_its_name(tmp_path: Path) -> None:
    with emulated("market") as place:
        env = {"ZVT_CRYPTO__BINANCE__REST": place["rest_url"], "ZVT_CRYPTO__BINANCE__WS": place["ws_url"]}
        arguments = ("up", "--data-dir", str(tmp_path), "--api-port", "0", "--ws-port", "0", "--no-view", "-s", "NOPEUSDT")
        with spawn(*arguments, **env) as process:
            _, err = process.communicate(timeout=60)
    assert process.returncode == 2, err
    assert "NOPEUSDT" in err.splitlines()[-1]


def replay(folder: Path, *more: str, file: str = SPOT) -> dict[str, object]:
    done = subprocess.run(
        [ZVT_CRYPTO, "replay", file, "--data-dir", str(folder), "--json", *more],
        env=clean_env(),
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_capture_replayed_twice_leaves_its_rows_once(tmp_path: Path) -> None:
    first = replay(tmp_path)
    assert first["complete"] is True
    assert first["rows_written"]
    assert (first["refused"], first["dropped"], first["gaps_open"]) == (0, 0, 0)
    assert first["played"] is True
    told = subprocess.run([ZVT_CRYPTO, "replay", SPOT, "--data-dir", str(tmp_path)], env=clean_env(), capture_output=True, text=True)
    assert "nothing was new: it had been played before; --again" in told.stdout
    second = replay(tmp_path)
    assert (second["stored"], second["played"]) == (first["stored"], False)
    again = replay(tmp_path, "--again", "--serve")
    assert again["stored"] == first["stored"]
    assert again["complete"] is True


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What a replay that nobody disturbed leaves."""
    return replay(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("victim", ["platform", "emulator", "database"])
def test_a_replay_that_is_killed_goes_on_and_leaves_the_same_rows(tmp_path: Path, victim: str, whole: dict[str, object]) -> None:
    cut = tmp_path / "cut"
    with spawn("replay", SPOT, "--data-dir", str(cut), "--speed", "20") as process:
        place = cut / "replay"
        assert wait_until(lambda: any(position_of(file) > 0 for file in place.glob("position-*.json")), 60)
        time.sleep(0.3)  # in the middle of it, wherever that is
        if victim == "platform":
            process.kill()
        elif victim == "emulator":
            for pid in processes_that_mention("emulator\0replay"):
                if str(cut) in Path(f"/proc/{pid}/cmdline").read_text():
                    os.kill(pid, signal.SIGKILL)
        else:
            os.kill(int((place / "database" / "pgdata" / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
        if victim == "database":
            time.sleep(1.0)
            process.kill()  # the platform waits for its database; here nobody brings it back
        process.communicate(timeout=60)
    assert replay(cut)["stored"] == whole["stored"]


def test_trades_whose_ids_only_rise_are_all_stored_at_full_speed_and_when_it_was_cut(tmp_path: Path) -> None:
    trades = sum(frame.stream == "ethusdt@trade" for frame in read_capture(Path(USDM)).frames)
    whole = replay(tmp_path / "whole", file=USDM)
    assert [(row["trades"], row["entity_id"]) for row in whole["stored"]] == [(trades, "cryptoperp_binance_ethusdt")]  # type: ignore[attr-defined]
    assert whole["gaps_open"] == 0
    with spawn("replay", USDM, "--data-dir", str(tmp_path / "cut"), "--speed", "2") as process:
        place = tmp_path / "cut" / "replay"
        assert wait_until(lambda: any(position_of(file) > 0 for file in place.glob("position-*.json")), 60)
        process.kill()
        process.communicate(timeout=60)
    after = replay(tmp_path / "cut", file=USDM)
    assert (after["stored"], after["gaps_open"]) == (whole["stored"], 0)


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("bybit/spot_frames.txt.gz", r'"i":"()(\d+)"[^{}]*"s":"(\w+)"'),
        ("okx/frames_2022.txt.gz", r'"instId":"([\w-]+)","tradeId":"(\d+)"()'),
        ("coinbase/frames.txt.gz", r'"product_id":"([\w-]+)","trade_id":"(\d+)"()'),
    ],
)
def test_recordings_of_every_exchange_are_stored_whole(tmp_path: Path, file: str, pattern: str) -> None:
    path = FIXTURES.parent / file
    recorded: dict[str, set[str]] = {}
    for before, number, after in re.findall(pattern, gzip.decompress(path.read_bytes()).decode()):
        recorded.setdefault((before or after).replace("-", "").lower(), set()).add(number)
    done = replay(tmp_path, file=str(path))
    stored = {row["entity_id"].split("_", 2)[2].replace("_", ""): row["trades"] for row in done["stored"]}  # type: ignore[attr-defined]
    assert {name.replace("swap", ""): len(numbers) for name, numbers in recorded.items()} == {
        n: count for n, count in stored.items() if count
    }
    assert (done["complete"], done["gaps_open"], done["refused"], done["damage"]) == (True, 0, 0, [])
    assert sum(stored.values()) >= 20
    is_chained = "okx" not in file  # of before 2023
    for book in done["books"]:  # type: ignore[attr-defined]
        assert book["recorded"] > 10
        assert (book["applied"], book["has_ids"]) == (book["recorded"] if is_chained else 0, is_chained)


def test_trades_that_cannot_be_leave_the_others_stored(tmp_path: Path) -> None:
    """Each of the three made a replay hang or fill the memory."""
    lines = gzip.decompress(Path(USDM).read_bytes()).splitlines()
    traded = [at for at, line in enumerate(lines) if b'"e":"trade"' in line]
    for at, name, value in ((traded[20], b"p", b'"NaN"'), (traded[30], b"p", b'"1e300"'), (traded[40], b"T", b"9999999999999")):
        lines[at] = re.sub(rb'"%b":("[^"]*"|\d+)' % name, b'"%b":%b' % (name, value), lines[at], count=1)
    lines[traded[50]] = lines[traded[50]][:-9]
    (tmp_path / "damaged").write_bytes(b"\n".join(lines))
    done = replay(tmp_path, file=str(tmp_path / "damaged"))
    (row,) = done["stored"]  # type: ignore[misc]
    assert (done["complete"], row["trades"]) == (True, len(traded) - 4)
    (damage,) = done["damage"]  # type: ignore[misc]
    assert f"1 damaged line left out, first line {traded[50] + 1}: the frame is not whole JSON" in damage
    log = tmp_path / "replay" / "zvt-crypto.log"
    assert (done["unreadable"], done["refused"], done["dropped"], done["log"]) == (3, 0, 0, str(log))
    assert log.read_text().count('"venue_malformed"') == 3
    again = subprocess.run(
        [ZVT_CRYPTO, "replay", str(tmp_path / "damaged"), "--data-dir", str(tmp_path), "--again"],
        env=clean_env(), capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert f"not stored: 3 frames that could not be read; why is in {log}\n" in again.stdout
    assert "the recording: " + damage in again.stdout


def position_of(file: Path) -> int:
    try:
        return int(json.loads(file.read_text())["position"])
    except (OSError, ValueError, KeyError):
        return 0


def test_a_replay_told_to_stop_says_so(tmp_path: Path) -> None:
    with spawn("replay", SPOT, "--data-dir", str(tmp_path), "--speed", "0.5", "--serve") as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(1.0)
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "stopped midway" in out
