"""Frames of Binance a CPU-second, from the bytes of the socket to a typed event: ours, ccxt.pro, cryptofeed.

    python benchmarks/decode.py [--quick]

The same recorded events for all, each in the form that the library receives in life (ccxt.pro bare, ours and cryptofeed in the envelope
of a combined stream), through the library's own handler, warm, in one process each, rounds taking turns, the best round counting. CPU
time is compared. All must end with the same numbers. A book cannot be decoded by the peers without being applied: books.py compares
that; here `depth` (25 + 25 levels) is ours alone. cryptofeed reads no single trades, only aggregates.
"""

from __future__ import annotations

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from itertools import cycle, islice
from pathlib import Path

from peers import PeerMissing, peer_venv

from zvt_crypto.domain.instrument import Instruments, assign_ids
from zvt_crypto.venues.binance.parse import FrameParser
from zvt_crypto.venues.binance.symbols import natives_of, parse_exchange_info

HERE = Path(__file__).resolve().parent
FIXTURES = HERE.parent / "tests" / "fixtures" / "binance"
PEERS = {"ccxt": ("ccxt==4.5.90", "orjson"), "cryptofeed": ("cryptofeed==2.4.1",)}
READS = {
    "ours": ("trade", "agg", "kline", "quote", "depth"),
    "ccxt": ("trade", "agg", "kline", "quote"),
    "cryptofeed": ("agg", "kline", "quote"),
}
FRAMES = 400  # a turn
LEVELS = 25
# What of our event stands beside the peers' numbers.
LAST = {
    "trade": ("price", "quantity"),
    "agg": ("price", "quantity"),
    "kline": ("close", "volume"),
    "quote": ("bid", "ask"),
    "depth": ("last_id",),
}


def main() -> int:
    """Print the figures, the last line as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    rounds, seconds = (2, 0.5) if parser.parse_args().quick else (6, 1.5)
    print(__doc__.split("\n\n")[2], file=sys.stderr)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_frames(folder)
        readers = {"ours": None, **installed()}
        best = measured(folder, readers, rounds, seconds)
    for (case, who), rate in best.items():
        print(f"{case:8} {who:12} {rate:>12,.0f} frames a CPU-second")
    figures = {f"{who}.{case}_frames_per_s": round(rate) for (case, who), rate in best.items()}
    ratios = {f"{who}.binance_{case}": round(best[case, "ours"] / rate, 2) for (case, who), rate in best.items() if who != "ours"}
    print(json.dumps({"benchmark": "decode", "figures": figures, "ratios": ratios}))
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


def measured(folder: Path, readers: dict[str, Path | None], rounds: int, seconds: float) -> dict[tuple[str, str], float]:
    """Frames a CPU-second of the best round, by (case, reader). Exits when two readers made different numbers of the same frames."""
    best: dict[tuple[str, str], float] = {}
    for case in READS["ours"]:
        ends = {}
        for _ in range(rounds):
            for who, python in readers.items():
                if case in READS[who]:
                    rate, ends[who] = ours(folder, case, seconds) if python is None else theirs(folder, case, seconds, who, python)
                    best[case, who] = max(best.get((case, who), 0.0), rate)
        if any(end != ends["ours"] for end in ends.values()):
            sys.exit(f"{case}: the readers disagree about the last frame: {ends}")
    return best


def ours(folder: Path, case: str, seconds: float) -> tuple[float, list[float]]:
    """Our rate, and the numbers of the last event."""
    found = parse_exchange_info((folder / "info.json").read_bytes(), "spot").instruments
    parser = FrameParser("spot", natives_of(Instruments(assign_ids(found, Instruments())), "spot"))
    frames = (folder / f"{case}.jsonl").read_bytes().splitlines()
    handle, turns = parser.parse, 0
    for frame in frames:
        event = handle(frame, 1)
    begin = time.process_time()
    while time.process_time() - begin < seconds:
        for frame in frames:
            event = handle(frame, 1)
        turns += 1
    rate = turns * len(frames) / (time.process_time() - begin)
    return rate, [getattr(event, name) for name in LAST[case]]


def theirs(folder: Path, case: str, seconds: float, who: str, python: Path) -> tuple[float, list[float]]:
    """A peer's rate, and the numbers of its last event."""
    command = [str(python), str(HERE / f"_decode_{who}.py"), str(folder), case, str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{who} {case}: {done.stderr.strip()[-1000:]}")
    told = json.loads(done.stdout.splitlines()[-1])
    return told["rate"], told["last"]


def write_frames(folder: Path) -> None:
    """Each case as `<case>.jsonl` (in the envelope) and `<case>.bare.jsonl`, and the recorded exchangeInfo."""
    (folder / "info.json").write_bytes(gzip.decompress((FIXTURES / "spot_exchangeInfo.json.gz").read_bytes()))
    for case in ("trade", "agg", "kline", "quote"):
        recorded = [line.split(" ", 1)[1] for line in (FIXTURES / f"spot_{case}.txt").read_text("utf-8").splitlines()]
        write(folder, case, [raw for raw in recorded if raw.startswith('{"stream":"btcusdt@')])
    write(folder, "depth", [depth_frame()])


def write(folder: Path, case: str, raws: list[str]) -> None:
    raws = list(islice(cycle(raws), FRAMES))
    (folder / f"{case}.jsonl").write_text("\n".join(raws), "utf-8")
    bare = [json.dumps(json.loads(raw)["data"], separators=(",", ":")) for raw in raws]
    (folder / f"{case}.bare.jsonl").write_text("\n".join(bare), "utf-8")


def depth_frame() -> str:
    """A depth update of 25 + 25 recorded levels."""
    frames = [line.split(" ", 1)[1] for line in (FIXTURES / "spot_book.txt").read_text("utf-8").splitlines() if "depthUpdate" in line]
    frame = json.loads(frames[-1])
    for side in ("b", "a"):
        levels = [level for raw in frames for level in json.loads(raw)["data"][side]]
        frame["data"][side] = levels[:LEVELS]
    return json.dumps(frame, separators=(",", ":"))


if __name__ == "__main__":
    sys.exit(main())
