"""A watch on the names of fields: what a venue adds to its messages is ignored by the decoders, so that somebody else must see it.

Only some messages are looked at: of each connection the beginning, and after that so few a second that a busy one does not feel it; of
each kind one a minute. Such a message is decoded generically, and its names are held against those that are known of its kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import msgspec

from zvt_crypto.domain.errors import shown
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.ports import Observer
from zvt_crypto.venues.decode import BROKEN

# A kind that was looked at is looked at again after this.
AGAIN_NS = 60 * NS_PER_S
# Frames of a connection that are all asked for their kind, so that the first of each is seen; then at most one batch in LOOK_NS, and no
# more of it than BATCH_MOST: eighty a second cost less than a ten-thousandth of a core.
OPENING = 200
LOOK_NS = NS_PER_S // 20
BATCH_MOST = 4
# A name that was told is told again after this. More names than these are counted, and not told.
TOLD_NS = 3_600 * NS_PER_S
NAMES_MOST = 500
# Of a list so many are looked at from its beginning, and the last. In one message so many names are reported, and so deep are they sought.
FIRST_ROWS = 3
REPORTED_MOST = 20
DEPTH_MOST = 8
NAME_MOST = 80


class Shape(msgspec.Struct, frozen=True):
    """The known names of an object, and of what stands in it; of every object of a list.

    row: how many elements a list in this list has at most, 0 where nobody counts. is_open: its names are data.
    """

    names: Mapping[str, Shape]
    row: int = 0
    is_open: bool = False


Kind = tuple[str, Shape]
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ELEMENTS = msgspec.json.Decoder(list[msgspec.Raw])
_OBJECT, _LIST = ord("{"), ord("[")


def shape(text: str) -> Shape:
    """Names with spaces between. `b[2]`: lists of at most two; `k{t o}`: an object, or objects; `k{*}`: one whose names are data.

    `[12]` alone is a message that is itself a list of such lists.
    """
    tokens = iter(text.replace("{", " { ").replace("}", " } ").split())
    return _shape(tokens)


def _shape(tokens: Iterator[str]) -> Shape:
    names: dict[str, Shape] = {}
    last, row, is_open = "", 0, False
    for part in tokens:
        if part == "}":
            break
        if part == "{":
            names[last] = _shape(tokens)
        elif part == "*":
            is_open = True
        else:
            last, _, length = part.partition("[")
            most = int(length[:-1] or 0) if length else 0
            if last:
                names[last] = Shape({}, most)
            else:
                row = most
    return Shape(names, row, is_open)


def unknown_names(body: bytes | msgspec.Raw, known: Shape) -> list[str]:
    """The paths of what is not known in a message, `data.k.zz`, each once; none where it is no JSON."""
    try:
        return sorted(dict.fromkeys(_sought(msgspec.Raw(body), known, "", DEPTH_MOST)))[:REPORTED_MOST]
    except BROKEN:
        return []  # who reads the message says so


def _sought(raw: msgspec.Raw, known: Shape, path: str, deep: int) -> Iterator[str]:
    first = _first(raw)
    if deep == 0:
        return
    if first == _OBJECT:
        for name, value in _MEMBERS.decode(raw).items():
            at = f"{path}.{name}" if path else name
            if known.is_open:
                continue
            if (below := known.names.get(name)) is None:
                yield at if at.isprintable() and len(at) <= NAME_MOST else shown(at, NAME_MOST)
            elif _first(value) in (_OBJECT, _LIST):
                yield from _sought(value, below, at, deep - 1)
    elif first == _LIST:
        elements = _ELEMENTS.decode(raw)
        for element in [*elements[:FIRST_ROWS], *elements[FIRST_ROWS:][-1:]]:
            if _first(element) == _LIST and known.row:
                if (length := len(_ELEMENTS.decode(element))) > known.row:
                    yield f"{path}[{length}]"
            elif _first(element) == _OBJECT:
                yield from _sought(element, known, path, deep - 1)


def _first(raw: msgspec.Raw) -> int:
    return bytes(memoryview(raw)[:64]).lstrip()[:1].ljust(1)[0]


class FieldLog:
    """Counts every sight of an unknown name of one exchange, and tells each once a while."""

    def __init__(self, exchange: str, observer: Observer) -> None:
        self._exchange, self._observer = exchange, observer
        self._told_ns: dict[tuple[str, str], int] = {}

    def take(self, kind: str, names: Iterable[str], at_ns: int) -> None:
        """What a message of the kind had."""
        news: list[str] = []
        for name in names:
            self._observer.count("venue_drift", exchange=self._exchange, what="field")
            told_ns = self._told_ns.get((kind, name))
            if (told_ns is None and len(self._told_ns) < NAMES_MOST) or (told_ns is not None and at_ns - told_ns >= TOLD_NS):
                self._told_ns[kind, name] = at_ns
                news.append(name)
        if news:
            value = ", ".join(news)
            self._observer.note("warning", "venue_drift", exchange=self._exchange, what="field", kind=kind, value=value)


class FieldWatch:
    """Looks at the messages of one connection, or of one REST caller.

    looked_ns: frames that were received within LOOK_NS after it need not be shown.
    """

    def __init__(self, log: FieldLog) -> None:
        self.looked_ns = 0
        self._log = log
        self._left = OPENING
        self._seen_ns: dict[str, int] = {}

    def look(self, frames: Sequence[tuple[bytes, int]], kind_of: Callable[[bytes], Kind | None]) -> None:
        """Some of these frames."""
        opening = self._left > 0
        self._left -= len(frames)
        now_ns = frames[-1][1]
        for payload, _ in frames if opening else frames[:: 1 + (len(frames) - 1) // BATCH_MOST]:
            try:
                kind = kind_of(payload)
            except BROKEN:
                continue
            if kind is not None:
                self.see(kind, payload, now_ns)
        if not opening:
            self.looked_ns = now_ns

    def see(self, kind: Kind, body: bytes, now_ns: int) -> None:
        """A message, if its kind was not looked at just now."""
        name, known = kind
        if 0 <= now_ns - self._seen_ns.get(name, now_ns - AGAIN_NS) < AGAIN_NS:
            return
        self._seen_ns[name] = now_ns  # bounded: as many as the venue's tables have kinds
        if found := unknown_names(body, known):
            self._log.take(name, found, now_ns)
