"""Frames of four exchanges a CPU-second, from the bytes of the socket to typed events and books: ours, ccxt.pro, cryptofeed.

    python benchmarks/decode_venues.py [--quick] [CASE ...]

The same recorded frames of spot BTC for all, through the handler that each library has for a connection, warm, in one process each,
rounds taking turns, the best round counting. CPU time is compared. All must end with the same numbers. `<venue>_book` is decoding alone:
the peers' book is one that takes levels and drops them, since they cannot read a book without one; `<venue>_book_applied` begins with
the snapshot (not timed) and reads the best of both sides after each frame. Each ends with what its users are given: our events, ccxt.pro's
trades, candles, tickers and levels in its caches, cryptofeed's objects in a callback. What a connection of ours does with an event after
that (refuse a time ahead of the clock, hand it on) is not in it, nor is what the peers' loops do.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from _venues_frames import NOTES, write_frames
from peers import PeerMissing, peer_venv

HERE = Path(__file__).resolve().parent
PEERS = {"ccxt": ("ccxt==4.5.90", "orjson"), "cryptofeed": ("cryptofeed==2.4.1",)}
CASES = (
    *(f"binance_{name}" for name in ("trade", "agg", "kline", "quote", "book", "book_applied")),
    *(f"bybit_{name}" for name in ("trade", "kline", "ticker", "book", "book_applied")),
    *(f"okx_{name}" for name in ("trade", "kline", "ticker", "book", "book_applied")),
    *(f"coinbase_{name}" for name in ("trade", "ticker", "book", "book_applied")),
)
CANNOT = {
    ("cryptofeed", "binance_trade"): "it reads aggregates alone",
    ("cryptofeed", "bybit_ticker"): "it takes spot's tickers for those of contracts and looks for a best bid, which they have not",
    ("cryptofeed", "coinbase_ticker"): "it has no tickers of Coinbase",
}
# What we are out for: ours over ccxt.pro's. Everything else: ahead.
AIMS = {"trade": 20.0, "agg": 20.0, "book": 8.0, "book_applied": 4.0}
Answer = tuple[float, list[float]]
Ask = Callable[[str, float], Answer]


def main() -> int:
    """Print the figures, the last line as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true")
    chosen = parser.parse_args()
    if unknown := set(chosen.cases) - set(CASES):
        parser.error(f"no case {', '.join(sorted(unknown))}")
    rounds, seconds = (2, 0.12) if chosen.quick else (5, 0.8)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        write_frames(Path(name))
        readers = {who: asked(who, python, Path(name), stack) for who, python in pythons().items()}
        best = {case: measured(case, readers, rounds, seconds) for case in chosen.cases or CASES}
    print(NOTES, "Candles of Coinbase are left out: neither peer has them.", sep="\n")
    for who, case in CANNOT:
        print(f"{who} is left out of {case}: {CANNOT[who, case]}.")
    report(best)
    return 0


def pythons() -> dict[str, Path]:
    """The Python of each reader; a peer that cannot be installed is left out."""
    made = {"ours": Path(sys.executable)}
    for who, requirements in PEERS.items():
        try:
            made[who] = peer_venv(who, requirements)
        except PeerMissing as reason:
            print(f"{who} is left out: {reason}", file=sys.stderr)
    return made


def asked(who: str, python: Path, folder: Path, stack: contextlib.ExitStack) -> Ask:
    """A reader in a process of its own, which ends with the stack."""
    command = [str(python), str(HERE / f"_venues_{who}.py"), str(folder)]
    process = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    assert process.stdin is not None
    assert process.stdout is not None
    questions, answers = process.stdin, process.stdout
    stack.callback(questions.close)  # the end of its input ends it

    def ask(case: str, seconds: float) -> Answer:
        questions.write(f"{case} {seconds}\n")
        questions.flush()
        line = answers.readline()
        if not line:
            sys.exit(f"{who} ended over {case}")
        told = json.loads(line)
        return told["rate"], told["last"]

    return ask


def measured(case: str, readers: dict[str, Ask], rounds: int, seconds: float) -> dict[str, float]:
    """Frames a CPU-second of each reader's best round. Exits when two made different numbers of the same frames."""
    best: dict[str, float] = {}
    ends: dict[str, list[float]] = {}
    for _ in range(rounds):
        for who, ask in readers.items():
            if (who, case) not in CANNOT:
                rate, ends[who] = ask(case, seconds)
                best[who] = max(best.get(who, 0.0), rate)
    if any(end != ends["ours"] for end in ends.values()):
        sys.exit(f"{case}: the readers disagree about the last numbers: {ends}")
    return best


def report(best: dict[str, dict[str, float]]) -> None:
    """A line a case, the aims that are missed, the figures as JSON."""
    ratios = {f"{who}.{case}": round(rates["ours"] / rates[who], 2) for case, rates in best.items() for who in rates if who != "ours"}
    for case, rates in best.items():
        told = [f"{who} {rate:>10,.0f} ({rates['ours'] / rate:5.1f}x)" for who, rate in rates.items() if who != "ours"]
        print(f"{case:22} ours {rates['ours']:>10,.0f}   {'   '.join(told)}")
    for key, ratio in ratios.items():
        who, _, case = key.partition(".")
        aim = AIMS.get(case.partition("_")[2], 1.0) if who == "ccxt" else 1.0
        if ratio < aim:
            print(f"below the aim of {aim:g}: {key} {ratio}")
    figures = {f"{who}.{case}_frames_per_s": round(rate) for case, rates in best.items() for who, rate in rates.items()}
    print(json.dumps({"benchmark": "decode_venues", "figures": figures, "ratios": ratios}))


if __name__ == "__main__":
    sys.exit(main())
