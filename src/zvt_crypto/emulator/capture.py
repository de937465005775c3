"""Recordings of an exchange's wire, read by content: frames as received, and the REST answers that were recorded beside them.

Four formats, each plain, gzip or zstandard: hftbacktest lines (`ns raw_json`), cryptofeed's old lines (`ts: raw`, `url -> ts: body`),
its JSON lines (`{"t":"recv",…}`), and bare frames as Bybit's archive of books has them. Several files make one capture, in the order given.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import zstandard

from zvt_crypto.domain.errors import BadCapture, shown
from zvt_crypto.domain.time import NS_PER_MS
from zvt_crypto.emulator.binance.capture import BinancePlacer
from zvt_crypto.emulator.bybit.capture import BybitPlacer
from zvt_crypto.emulator.coinbase.capture import CoinbasePlacer
from zvt_crypto.emulator.frames import ENVELOPES, Frame, Line, Placer, RestAnswer
from zvt_crypto.emulator.model import Market
from zvt_crypto.emulator.okx.capture import OkxPlacer
from zvt_crypto.emulator.origin import origin_of

MOST_BYTES = 2 << 30  # of a capture, unpacked: it is held in memory


class Channel(NamedTuple):
    """A channel that a capture holds: `trade`, `aggTrade`, `kline_1m`, `depth`, `bookTicker`, …"""

    market: Market
    symbol: str
    name: str
    frames: int


class _Record(msgspec.Struct):
    t: str
    ts: float = 0.0
    conn: str = ""
    data: str = ""
    url: str = ""
    addr: str = ""
    exchange: str = ""


class _Stamped(msgspec.Struct):
    ts: int


_RECORDS = msgspec.json.Decoder(_Record)
_STAMPED = msgspec.json.Decoder(_Stamped)
_PLACERS: Mapping[str, type[Placer]] = MappingProxyType(
    {"binance": BinancePlacer, "bybit": BybitPlacer, "okx": OkxPlacer, "coinbase": CoinbasePlacer}
)
_TORN = (msgspec.MsgspecError, UnicodeError)  # what a line raises that is damaged
_TORN_LEAST = 10  # lines that may be damaged however few are whole
_HEAD_BYTES = 256 * 1024  # that tell whose recording it is


class Capture:
    """All frames and answers of one or several recordings."""

    def __init__(self, frames: list[Frame], answers: list[RestAnswer], damage: list[str], exchange: str = "binance") -> None:
        self.exchange = exchange
        self.frames = frames
        self.answers = answers
        self.damage = damage
        ends = b"".join(frame.payload for frame in (frames[:3] + frames[-3:]))
        self.digest = hashlib.sha256(b"%d %d " % (len(frames), len(answers)) + ends).hexdigest()[:16]

    @property
    def first_ns(self) -> int:
        """When the first frame was received."""
        return self.frames[0].recv_ns

    @property
    def last_ns(self) -> int:
        """When the last frame was received."""
        return self.frames[-1].recv_ns

    def channels(self) -> tuple[Channel, ...]:
        """What it holds, by market, symbol and channel."""
        counts: dict[tuple[Market, str, str], int] = {}
        for frame in self.frames:
            key = (frame.market, frame.symbol, frame.stream.partition("@")[2])
            counts[key] = counts.get(key, 0) + 1
        return tuple(Channel(*key, count) for key, count in sorted(counts.items()))


def read_capture(paths: Sequence[Path | str] | Path | str, *, salvage: bool = False) -> Capture:
    """Read recordings, in the order given.

    Raises BadCapture, naming file, line and reason, where one is cut off or in no known format. With `salvage`, what is whole
    before the damage is served. Lines in the midst that are no whole JSON are left out, as long as most are whole. `damage` says what
    was wrong.
    """
    listed = [paths] if isinstance(paths, Path | str) else list(paths)
    frames: list[Frame] = []
    answers: list[RestAnswer] = []
    damage: list[str] = []
    exchanges: list[str] = []
    room = MOST_BYTES
    for path in map(Path, listed):
        lines: list[Line] = []
        head = bytearray()
        torn = _Torn(path)
        room = _collect(path, lines, head, damage, torn, salvage, room)
        exchanges.append(_exchange_of(path, bytes(head)))
        _place(exchanges[-1], lines, frames, answers, torn)
        damage += torn.told()
    if not frames:
        raise BadCapture(f"{', '.join(str(path) for path in listed)}: no frames of market data in it")
    if len(set(exchanges)) > 1:
        raise BadCapture(
            f"{', '.join(str(path) for path in listed)}: recordings of {' and '.join(sorted(set(exchanges)))}: play them apart"
        )
    return Capture(frames, answers, damage, exchanges[0])


class _Torn:
    """Lines of a file that cannot be read. `waiting`: those that no whole line has followed yet: the file may be cut off there."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.count = 0
        self.first = ""
        self.waiting: list[tuple[int, Exception]] = []

    def leave_out(self, what: str, error: Exception) -> None:
        """One line."""
        self.count += 1
        self.first = self.first or f"{what}: {_reason(error)}"

    def follow(self) -> None:
        """A whole line came."""
        for number, error in self.waiting:
            self.leave_out(f"line {number}", error)
        self.waiting.clear()

    def told(self) -> list[str]:
        """How many were left out, and the first of them."""
        return [f"{self._path}: {self.count} damaged {'line' if self.count == 1 else 'lines'} left out, first {self.first}"] * (
            self.count > 0
        )


def _collect(path: Path, lines: list[Line], head: bytearray, damage: list[str], torn: _Torn, salvage: bool, room: int) -> int:
    number = 0  # of whole lines read
    parse: Callable[[bytes], list[Line]] | None = None
    try:
        for text in _lines(path):
            number += 1
            room -= len(text)
            if room < 0:
                raise BadCapture(f"larger than {MOST_BYTES} bytes unpacked: replay it in parts")
            if not text.strip():
                continue
            if len(head) < _HEAD_BYTES:
                head += text[:_HEAD_BYTES] + b"\n"
            parse = parse or _format_of(text)
            try:
                lines += parse(text)
            except _TORN as error:
                torn.waiting.append((number, error))
                if torn.count + len(torn.waiting) > max(_TORN_LEAST, len(lines)):
                    break
            else:
                if torn.waiting:
                    torn.follow()
        if torn.waiting:
            number, torn_error = torn.waiting[0]
            raise torn_error
    except (BadCapture, msgspec.MsgspecError, ValueError, EOFError, zlib.error, zstandard.ZstdError) as error:
        where = f"{path}, line {number + 1 if isinstance(error, EOFError | zlib.error | zstandard.ZstdError) else number}: {_reason(error)}"
        if not salvage or not lines:
            raise BadCapture(where) from error
        damage.append(where)
    except OSError as error:
        raise BadCapture(f"{path}: cannot be read: {error.strerror}") from error
    return room


def _reason(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "the compressed file ends in the middle (cut off)"
    if isinstance(error, zlib.error | zstandard.ZstdError):
        return f"the compressed data is damaged ({error})"
    if isinstance(error, msgspec.MsgspecError):
        return f"the frame is not whole JSON ({error})"
    return str(error)


# ── Bytes to lines ────────────────────────────────────────────────────────────────────────────────────────────────────


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a plain, gzip or zstandard file. Raises EOFError after the last whole line of one that is cut off."""
    rest = b""
    cut = False
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        blocks = iter(lambda: file.read(1 << 20), b"")
        if magic[:2] == b"\x1f\x8b":
            chunks = _unpacked(blocks, lambda: zlib.decompressobj(31))
        elif magic == b"\x28\xb5\x2f\xfd":
            chunks = _unpacked(blocks, lambda: zstandard.ZstdDecompressor().decompressobj())
        else:
            chunks = blocks
        try:
            for chunk in chunks:
                *whole, rest = (rest + chunk).split(b"\n")
                yield from whole
        except EOFError:
            cut = True
    if cut:
        raise EOFError
    if rest:
        yield rest


def _unpacked(blocks: Iterator[bytes], fresh: Callable[[], object]) -> Iterator[bytes]:
    """Decompress members one after the other; EOFError if the last one does not end."""
    tool: object = None
    for block in blocks:
        while block:
            tool = tool or fresh()
            yield tool.decompress(block)  # type: ignore[attr-defined]
            if not tool.eof:  # type: ignore[attr-defined]
                break
            block = tool.unused_data  # type: ignore[attr-defined]
            tool = None
    if tool is not None:
        raise EOFError


# ── Lines to frames ───────────────────────────────────────────────────────────────────────────────────────────────────

_HEARTBEATS = (b"ping", b"pong")
_HFT = re.compile(rb"(\d{16,19}) (\{.*)")
_OLD_FRAME = re.compile(rb"(\d+)\.(\d+): (.*)")
_OLD_ANSWER = re.compile(rb"(https?://\S+) -> (\d+)\.(\d+): (.*)")
_OLD_NOTE = b"configuration: "  # what the recorder was told to do
_OLD_CONNECT = re.compile(rb"(wss?://\S+) <-> (\d+)\.(\d+)")


def _format_of(line: bytes) -> Callable[[bytes], list[Line]]:
    """The parser of a recording, told by its first line."""
    if _HFT.match(line):
        return _hft
    if line.startswith(b'{"t":'):
        return _JsonLines()
    if line.startswith(b'{"topic":'):
        return _bare
    if _OLD_FRAME.match(line) or _OLD_ANSWER.match(line) or _OLD_CONNECT.match(line):
        return _OldLines()
    known = "`nanoseconds json`, cryptofeed's JSON lines, or its older `time: json`"
    raise BadCapture(f"in no known format: {shown(line[:60].decode('utf-8', 'replace'))}; known are lines of {known}")


def _hft(line: bytes) -> list[Line]:
    found = _HFT.fullmatch(line.rstrip(b"\r"))
    if found is None:
        raise BadCapture(f"not `ns json`: {shown(line[:60].decode('utf-8', 'replace'))}")
    ENVELOPES.decode(found[2])
    return [Line(int(found[1]), "", "", found[2])]


def _bare(line: bytes) -> list[Line]:
    """Bybit's archive: nobody received these frames, so the exchange's own time stands for it."""
    return [Line(_STAMPED.decode(line).ts * NS_PER_MS, "", "", line.rstrip(b"\r"))]


class _OldLines:
    """cryptofeed's lines of 2021: the market is that of the last connection."""

    def __init__(self) -> None:
        self._address = ""

    def __call__(self, line: bytes) -> list[Line]:
        if (found := _OLD_FRAME.fullmatch(line)) is not None:
            ENVELOPES.decode(found[3])
            return [Line(_ns(found[1], found[2]), self._address, "", found[3])]
        if (found := _OLD_ANSWER.fullmatch(line)) is not None:
            msgspec.json.decode(found[4], type=msgspec.Raw)
            return [Line(_ns(found[2], found[3]), "", found[1].decode(), found[4])]
        if (found := _OLD_CONNECT.fullmatch(line)) is not None:
            self._address = found[1].decode()
            return []
        if line.startswith(_OLD_NOTE):
            return []
        raise BadCapture(f"not `time: json`: {shown(line[:60].decode('utf-8', 'replace'))}")


class _JsonLines:
    """cryptofeed's JSON lines: each connection's record names its address."""

    def __init__(self) -> None:
        self._addresses: dict[str, str] = {}

    def __call__(self, line: bytes) -> list[Line]:
        record = _RECORDS.decode(line)
        recv_ns = round(record.ts * 1_000_000) * 1_000  # float seconds hold microseconds
        if record.t == "connect":
            self._addresses[record.conn] = record.addr
        elif record.t == "recv":
            payload = record.data.encode()
            if payload in _HEARTBEATS:
                return []
            ENVELOPES.decode(payload)
            return [Line(recv_ns, self._addresses.get(record.conn, ""), "", payload)]
        elif record.t == "http":
            return [Line(recv_ns, "", record.url, record.data.encode())]
        return []


def _ns(seconds: bytes, fraction: bytes) -> int:
    return int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0"))


def _place(exchange: str, lines: list[Line], frames: list[Frame], answers: list[RestAnswer], torn: _Torn) -> None:
    """Add one file's frames and answers; the answers find their places by time, since some formats write them first."""
    start = len(frames)
    placer = _PLACERS[exchange](lines)
    asked: list[Line] = []
    for line in lines:
        try:
            frame = None if line.url else placer.frame(line)
        except _TORN as error:
            torn.leave_out(f"frame of {line.recv_ns} ns", error)
            continue
        if frame is not None:
            frames.append(frame)
        else:
            asked.append(line)
    symbols = {(frame.market, frame.symbol) for frame in frames[start:]}
    order = sorted(frame.recv_ns for frame in frames[start:])
    for line in sorted(asked, key=lambda one: one.recv_ns):
        answer = placer.answer(line, start + bisect_right(order, line.recv_ns), symbols)
        if answer is not None:
            answers.append(answer)


def _exchange_of(path: Path, head: bytes) -> str:
    """Whose recording it is, by its beginning; Binance's where nothing tells. Raises BadCapture for one that nobody here can play."""
    exchange = origin_of(head) or "binance"
    if exchange not in _PLACERS:
        raise BadCapture(f"{path}: a recording of {shown(exchange)}; those of {', '.join(_PLACERS)} can be played")
    return exchange
