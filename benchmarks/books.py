"""Depth messages a second, decoded, checked for gaps and applied, with the best bid and ask read after each: ours, ccxt.pro, cryptofeed.

    python benchmarks/books.py [--quick]

All three get the same Binance spot frames, rounds taking turns. `depth` frames hold 25 + 25 levels, made of recorded ones; `recorded`
frames are as Binance sent them; `top` is the same with the best 20 of both sides read after each. Every reader keeps its own usual book (ours and ccxt.pro float, cryptofeed Decimal) behind its own
message handler; the three must end with the same best bid and ask. Counted is the time on the processor, the best round of each.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from peers import PeerMissing, peer_venv

from zvt_crypto.domain.market import BookDelta
from zvt_crypto.engine.book import BookSync
from zvt_crypto.venues.binance.book import SpotContinuity
from zvt_crypto.venues.binance.parse import FrameParser, parse_depth

HERE = Path(__file__).resolve().parent
PEERS = {"ccxt": ("ccxt==4.5.90", "orjson"), "cryptofeed": ("cryptofeed==2.4.1",)}
CASES = ("depth", "recorded", "top")
TOP = 20  # read by the peers as they are read most cheaply
LEVELS = 25
INSTRUMENT = "cryptopair_binance_btcusdt"
Best = list[list[float]]
Reader = Callable[[str], tuple[float, Best]]  # case → (seconds, best bid and ask at the end)
Texts = dict[str, str]


def main() -> int:
    """Print the figures, the last line as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        write_frames(folder, most=1_000 if quick else 3_500)
        readers = {"ours": ours(folder)} | {who: theirs(folder, who, python, stack) for who, python in installed().items()}
        rates = {case: measured(case, readers, folder, rounds=3 if quick else 10) for case in CASES}
    figures = {f"{who}.{case}_messages_per_s": rate for case in CASES for who, rate in rates[case].items()}
    ratios = {
        f"{who}.binance_{case}": round(rates[case]["ours"] / rates[case][who], 2) for who in readers if who != "ours" for case in CASES
    }
    for label, rate in figures.items():
        print(f"{label:36} {rate:>10,}")
    print(json.dumps({"benchmark": "books", "figures": figures, "ratios": ratios}))
    return 0


def installed() -> dict[str, Path]:
    """The Python of each peer that can be installed."""
    made = {}
    for who, requirements in PEERS.items():
        try:
            made[who] = peer_venv(who, requirements)
        except PeerMissing as reason:
            print(f"{who} is left out: {reason}", file=sys.stderr)
    return made


def measured(case: str, readers: dict[str, Reader], folder: Path, rounds: int) -> dict[str, int]:
    """Messages a second of the best round, by reader. Exits when two readers end with different books."""
    count = len((folder / f"{case}.jsonl").read_bytes().splitlines())
    best: dict[str, float] = {}
    ends: dict[str, Best] = {}
    for _ in range(rounds):
        for who, read in readers.items():
            seconds, ends[who] = read(case)
            best[who] = min(best.get(who, seconds), seconds)
    if any(end != ends["ours"] for end in ends.values()):
        sys.exit(f"{case}: the books differ at the end: {ends}")
    return {who: round(count / seconds) for who, seconds in best.items()}


def ours(folder: Path) -> Reader:
    """Our own pass over the frames of a case."""
    snapshot = parse_depth((folder / "snapshot.json").read_bytes(), INSTRUMENT, 0, 0)  # not cut: prices leave it, and nobody has another

    def read(case: str) -> tuple[float, Best]:
        frames = (folder / f"{case}.jsonl").read_bytes().splitlines()
        sync = BookSync(INSTRUMENT, SpotContinuity())
        parse, on_delta, best = FrameParser("spot", {"BTCUSDT": INSTRUMENT}).parse, sync.on_delta, sync.book.best
        look = partial(sync.book.top, TOP) if case == "top" else best
        sync.on_snapshot(snapshot)
        sync.on_delta(BookDelta(INSTRUMENT, snapshot.last_id, snapshot.last_id, None, [], [], 0))  # it is taken once the stream is there
        begin = time.process_time()
        for frame in frames:
            delta = parse(frame, 0)
            assert isinstance(delta, BookDelta)
            on_delta(delta)
            look()
        seconds = time.process_time() - begin
        return seconds, [list(level) for level in best() if level is not None]

    return read


def theirs(folder: Path, who: str, python: Path, stack: contextlib.ExitStack) -> Reader:
    """The same by a peer, in a process of its own that is asked for one pass at a time."""
    command = [str(python), str(HERE / f"_books_{who}.py"), str(folder)]
    process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    assert process.stdin is not None
    assert process.stdout is not None
    asked, told = process.stdin, process.stdout
    stack.callback(asked.close)  # the end of its input ends it

    def read(case: str) -> tuple[float, Best]:
        asked.write(f"{case}\n")
        asked.flush()
        line = told.readline()
        if not line:
            sys.exit(f"{who} ended before it answered")
        answer = json.loads(line)
        return answer["seconds"], answer["best"]

    return read


# ── Frames ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_frames(folder: Path, most: int) -> None:
    """snapshot.json, depth.jsonl, and recorded.jsonl, as top.jsonl too: from the whole recording where it is present, else from the tests' excerpt."""
    data = Path(os.environ.get("ZVT_CRYPTO_TEST_DATA") or HERE.parent.parent / "shared" / "data")
    file = data / "hftbacktest/examples/spot/btcusdt_20240808.gz"
    if not file.exists():
        file = HERE.parent / "tests/fixtures/engine/spot_btcusdt.gz"
    with gzip.open(file) as lines:
        raw = [line.partition(b" ")[2].strip() for line in lines]
    snapshot = next(line for line in raw if b"lastUpdateId" in line)
    last_id = json.loads(snapshot)["lastUpdateId"]
    recorded = [line for line in raw if b"@depth" in line and json.loads(line)["data"]["u"] > last_id][:most]
    (folder / "snapshot.json").write_bytes(snapshot)
    for case in ("recorded", "top"):
        (folder / f"{case}.jsonl").write_bytes(b"\n".join(recorded))
    (folder / "depth.jsonl").write_bytes(b"\n".join(even_frames(json.loads(snapshot), recorded)[:most]))


def even_frames(snapshot: dict[str, object], recorded: list[bytes]) -> list[bytes]:
    """The recorded changes, regrouped into frames of exactly LEVELS a side.

    Removals go first, so that no frame crosses the book, then new sizes, nearest to the best first; a side that has too few is filled
    up with its best levels, told again.
    """
    waiting: tuple[Texts, Texts] = ({}, {})
    books: tuple[Texts, Texts] = (dict(snapshot["bids"]), dict(snapshot["asks"]))  # type: ignore[call-overload]
    last_id = int(str(snapshot["lastUpdateId"]))
    made: list[bytes] = []
    for line in recorded:
        frame = json.loads(line)
        for changes, name in zip(waiting, "ba", strict=True):
            changes.update(frame["data"][name])
        while max(map(len, waiting)) >= LEVELS:
            removals_left = any(sum(not float(size) for size in changes.values()) > LEVELS for changes in waiting)
            sides = [taken(*each, removals_only=removals_left) for each in zip(waiting, books, (-1, 1), strict=True)]
            frame["data"] |= {"U": last_id + 1, "u": last_id + 5, "b": sides[0], "a": sides[1]}
            last_id += 5
            made.append(json.dumps(frame, separators=(",", ":")).encode())
    return made


def taken(changes: Texts, book: Texts, sign: int, *, removals_only: bool) -> list[list[str]]:
    """LEVELS levels for a frame, best first: taken out of `changes` and entered in `book`."""

    def order(price: str) -> float:
        return sign * float(price)

    wanted = [price for price in changes if not (removals_only and float(changes[price]))]
    chosen = sorted(wanted, key=lambda price: (float(changes[price]) > 0, order(price)))[:LEVELS]
    told = {price: changes.pop(price) for price in chosen}
    for price, size in told.items():
        if float(size):
            book[price] = size
        else:
            book.pop(price, None)
    for price in sorted(book, key=order)[: 2 * LEVELS]:
        if len(told) < LEVELS:
            told.setdefault(price, book[price])
    return [[price, told[price]] for price in sorted(told, key=order)]


if __name__ == "__main__":
    sys.exit(main())
