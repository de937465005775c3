"""Recorded frames of every exchange, changed in all the ways a frame can be wrong, read by the parsers that the connectors use."""

from __future__ import annotations

import gzip
import json
import math
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zvt_crypto.domain.errors import Malformed
from zvt_crypto.domain.instrument import Instruments, assign_ids
from zvt_crypto.domain.market import BookDelta, BookSnapshot, Kline, Trade
from zvt_crypto.venues.binance import parse as binance_parse
from zvt_crypto.venues.binance import symbols as binance_symbols
from zvt_crypto.venues.bybit import parse as bybit_parse
from zvt_crypto.venues.bybit import symbols as bybit_symbols
from zvt_crypto.venues.coinbase import parse as coinbase_parse
from zvt_crypto.venues.coinbase.product import Product
from zvt_crypto.venues.okx import parse as okx_parse
from zvt_crypto.venues.okx import symbols as okx_symbols
from zvt_crypto.venues.okx.units import traded_of

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
RECV_NS = 1_800_000_000_000_000_000
LONGEST = 4_000  # bytes: whole books are few and take long
Read = Callable[[bytes], Iterable[object]]


@dataclass
class Pool:
    """Frames of one connection, and how they are read."""

    read: Read
    frames: list[bytes]


def lines(path: Path) -> list[bytes]:
    content = path.read_bytes()
    rows = (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines()
    return [row if row.startswith(b"{") else row.split(b" ", 1)[1] for row in rows]


def listed(instruments: Iterable[Any]) -> Instruments:
    return Instruments(assign_ids(list(instruments), Instruments()))


def binance() -> list[Pool]:
    made = []
    for market in ("spot", "usdm"):
        info = gzip.decompress((FIXTURES / f"binance/{market}_exchangeInfo.json.gz").read_bytes())
        table = listed(binance_symbols.parse_exchange_info(info, market).instruments)  # type: ignore[arg-type]
        parser = binance_parse.FrameParser(market, binance_symbols.natives_of(table, market))  # type: ignore[arg-type]
        frames = [raw for kind in ("trade", "agg", "kline", "quote", "book") for raw in lines(FIXTURES / f"binance/{market}_{kind}.txt")]
        made.append(Pool(lambda raw, parser=parser: [parser.parse(raw, RECV_NS)], frames))  # type: ignore[misc]
    return made


def bybit() -> list[Pool]:
    table = listed(
        bybit_symbols.parse_instruments(gzip.decompress((FIXTURES / "bybit/spot_instruments.json.gz").read_bytes()), "spot").instruments
    )
    spot = bybit_parse.FrameParser("spot", bybit_symbols.natives_of(table, "spot"))
    linear = bybit_parse.FrameParser("linear", {"XRPUSDT": "cryptoperp_bybit_xrpusdt"})
    made = []
    for parser, name in ((spot, "spot_frames.txt"), (linear, "linear_ob500.txt")):
        frames = lines(FIXTURES / f"bybit/{name}.gz")
        parser.expect(sorted({json.loads(raw).get("topic", "none") for raw in frames}))
        made.append(Pool(lambda raw, parser=parser: parser.parse(raw, RECV_NS), frames))  # type: ignore[misc]
    return made


def okx() -> list[Pool]:
    bodies = {market: (FIXTURES / f"okx/instruments_{market}.json").read_bytes() for market in ("spot", "swap", "futures")}
    table = listed(one for market, body in bodies.items() for one in okx_symbols.parse_instruments(body, market).instruments)  # type: ignore[arg-type]
    parser = okx_parse.FrameParser(traded_of(table))

    def read(raw: bytes) -> Sequence[object]:
        try:
            return parser.parse(raw, RECV_NS)
        finally:
            parser.doubted(raw)

    # The channel of all trades came after this recording; its rows are the same.
    return [Pool(read, [raw.replace(b'"trades"', b'"trades-all"') for raw in lines(FIXTURES / "okx/frames_2022.txt.gz")])]


def coinbase() -> list[Pool]:
    names = {"BTC-USD": "cryptopair_coinbase_btcusd", "ETH-USD": "cryptopair_coinbase_ethusd"}
    products = {native: Product(instrument, tick=0.01, tick_digits=2) for native, instrument in names.items()}
    everything = frozenset(names.values())
    parser = coinbase_parse.FrameParser(products, {}, tickers=everything, quotes=everything)
    return [Pool(lambda raw: parser.read(raw, RECV_NS)[1], lines(FIXTURES / "coinbase/frames.txt.gz"))]


POOLS: dict[str, Callable[[], list[Pool]]] = {"binance": binance, "bybit": bybit, "okx": okx, "coinbase": coinbase}

# ── Ways to be wrong ──────────────────────────────────────────────────────────────────────────────────────────────────

NUMBERS = (b"0", b"-1", b"1e400", b"-0.0", b"NaN", b"Infinity", b"9" * 40, b"0." + b"9" * 400, b"1e-400", b"99999999999999999999", b"1.5")
TYPES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    2**70,
    1.5,
    "",
    "x",
    "NaN",
    "-1",
    "1e999",
    "\ud83d",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    "9" * 400,
)


def flip(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + bytes([rng.randrange(256)]) + raw[at + 1 :]


def cut(rng: random.Random, raw: bytes) -> bytes:
    return raw[: rng.randrange(len(raw))]


def hole(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + raw[at + rng.randrange(1, 40) :]


def twice(rng: random.Random, raw: bytes) -> bytes:
    at = rng.randrange(len(raw))
    return raw[:at] + raw[at : at + rng.randrange(1, 60)] * rng.choice((2, 3, 50)) + raw[at:]


def number(rng: random.Random, raw: bytes) -> bytes:
    """Another number in place of one that is there."""
    at = rng.randrange(len(raw))
    while at < len(raw) and not 48 <= raw[at] <= 57:
        at += 1
    end = at
    while end < len(raw) and raw[end] in b"0123456789.eE+-":
        end += 1
    return raw[:at] + rng.choice(NUMBERS) + raw[end:]


def nested(rng: random.Random, raw: bytes) -> bytes:
    """A value that is deeper than anybody reads."""
    at, depth = raw.find(b":", rng.randrange(len(raw))) + 1, rng.choice((3, 100, 1_500, 20_000))
    left, right = rng.choice(((b"[", b"]"), (b'{"a":', b"}")))
    return raw[:at] + left * depth + right * rng.choice((depth, depth - 1, 0)) + raw[at:]


def value(rng: random.Random, raw: bytes) -> bytes:
    """Another type, a key that is missing, a row that is there twice: still JSON."""
    try:
        message = json.loads(raw)
    except (ValueError, RecursionError):
        return flip(rng, raw)
    holder, key = None, None
    at: Any = message
    while isinstance(at, dict | list) and at and (holder is None or rng.random() < 0.85):
        holder, key = at, rng.choice(list(at)) if isinstance(at, dict) else rng.randrange(len(at))
        at = holder[key]
    if holder is None:
        return flip(rng, raw)
    match rng.randrange(4):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, list):
            holder.insert(key, at)
        case 2 if isinstance(holder, dict):
            holder[rng.choice(("", "e", "topic", "arg", "channel", "events", "data", "x" * 300))] = holder.pop(key)
        case _:
            holder[key] = rng.choice(TYPES)
    return json.dumps(message, separators=(",", ":"), ensure_ascii=rng.random() < 0.9).encode(errors="surrogatepass")


WAYS = (flip, cut, hole, twice, number, number, nested, value, value, value)

# ── The proof ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Outcome:
    frames: int = 0
    malformed: int = 0
    events: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0  # of the processor
    undeclared: list[str] = field(default_factory=list)  # errors that are none of ours, and events that cannot be


def fuzz(venue: str, count: int, seed: int) -> Outcome:
    """`count` frames, each wrong in one to three ways."""
    rng, made = random.Random(seed), Outcome()
    pools = [Pool(pool.read, [raw for raw in pool.frames if len(raw) <= LONGEST] or pool.frames) for pool in POOLS[venue]()]
    for turn in range(count):
        pool = rng.choice(pools)
        raw = rng.choice(pool.frames)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            raw = rng.choice(WAYS)(rng, raw) or b" "
        made.frames += 1
        began = time.thread_time()
        try:
            found = list(pool.read(raw))
        except Malformed:
            made.malformed += 1
            found = []
        except Exception as error:
            made.undeclared.append(f"{venue} seed {seed} turn {turn}: {error!r} of {raw[:300]!r}")
            continue
        made.slowest_s = max(made.slowest_s, time.thread_time() - began)
        for event in found:
            made.events[type(event).__name__] += 1
            if not is_possible(event):
                made.undeclared.append(f"{venue} seed {seed} turn {turn}: {event} of {raw[:300]!r}")
    return made


def is_possible(event: object) -> bool:
    """Whether an event may be served: numbers that are numbers, prices above zero, highs above lows."""
    match event:
        case Trade():
            return positive(event.price) and positive(event.quantity) and event.side in ("buy", "sell") and bool(event.trade_id)
        case Kline():
            prices = (event.open, event.high, event.low, event.close)
            return all(map(positive, prices)) and event.low <= min(prices) <= max(prices) <= event.high and 0 <= event.volume < math.inf
        case BookSnapshot() | BookDelta():
            return all(positive(price) and 0 <= size < math.inf for price, size in [*event.bids, *event.asks])
    return True


def positive(number: float) -> bool:
    return 0 < number < math.inf
