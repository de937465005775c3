"""The watch on names: what is known, what is told, how often it is looked at."""

from __future__ import annotations

import json

import pytest

from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.venues.fields import (
    AGAIN_NS,
    BATCH_MOST,
    LOOK_NS,
    NAMES_MOST,
    OPENING,
    REPORTED_MOST,
    TOLD_NS,
    FieldLog,
    FieldWatch,
    shape,
    unknown_names,
)

KNOWN = shape("e s k{t o} b[2] data{*} list{id}")
AT_NS = 1_800_000_000 * NS_PER_S


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({"e": 1, "s": "x", "k": {"t": 1, "o": 2}, "b": [["1", "2"]], "data": {"any": {"thing": 1}}, "list": [{"id": 1}]}, []),
        ({}, []),
        ({"e": 1, "zz": 2}, ["zz"]),
        ({"k": {"t": 1, "zz": {"deeper": 1}}}, ["k.zz"]),
        ({"list": [{"id": 1}, {"id": 2, "zz": 3}, {"zz": 4}]}, ["list.zz"]),
        ({"list": [{"id": 1}] * 10 + [{"zz": 4}]}, ["list.zz"]),
        ({"b": [["1", "2"], ["1", "2", "3"]]}, ["b[3]"]),
        ({"e": {"was": "a number"}}, ["e.was"]),
        ({"k": None, "b": [], "list": None}, []),
    ],
)
def test_names_that_are_not_known_come_with_their_path(message, named):
    assert unknown_names(json.dumps(message).encode(), KNOWN) == named


def test_a_row_that_grew_is_told_at_the_top_too():
    assert unknown_names(b"[[1,2],[1,2]]", shape("[2]")) == []
    assert unknown_names(b"[[1,2],[1,2,3]]", shape("[2]")) == ["[3]"]
    assert unknown_names(b'[{"a":1},{"a":1,"zz":2}]', shape("a")) == ["zz"]


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"e":', b'"text"', b"5", b"null", b"\xff\xfe", b"[" * 5_000, b'{"k":' * 5_000])
def test_what_is_no_message_has_no_names_and_does_no_harm(body):
    assert unknown_names(body, KNOWN) == []


def test_names_are_cut_and_counted_so_that_nobody_floods_a_log():
    assert len(unknown_names(json.dumps({f"n{n}": 1 for n in range(1_000)}).encode(), KNOWN)) == REPORTED_MOST
    (name,) = unknown_names(json.dumps({"x" * 10_000 + "\n": 1}).encode(), KNOWN)
    assert len(name) < 200
    assert "\n" not in name


def test_a_name_is_counted_each_time_and_told_once_an_hour(kit):
    observer = kit.ListObserver()
    log = FieldLog("binance", observer)
    for at_ns in (AT_NS, AT_NS + 1, AT_NS + TOLD_NS - 1, AT_NS + TOLD_NS):
        log.take("trade", ["zz"], at_ns)
    log.take("kline", ["zz", "k.zz"], AT_NS)
    assert observer.counted["venue_drift"] == 6
    said = {"exchange": "binance", "what": "field"}
    trade, kline = said | {"kind": "trade", "value": "zz"}, said | {"kind": "kline", "value": "zz, k.zz"}
    assert observer.noted("venue_drift") == [trade, trade, kline]


def test_a_venue_that_invents_names_without_end_is_counted_and_no_more(kit):
    observer = kit.ListObserver()
    log = FieldLog("okx", observer)
    for n in range(2 * NAMES_MOST):
        log.take("books", [f"n{n}"], AT_NS)
    assert len(observer.noted("venue_drift")) == NAMES_MOST
    assert observer.counted["venue_drift"] == 2 * NAMES_MOST


class Looks:
    """A watch, and which frames it asked the kind of. A frame is `{"kind":"a","zz":1}`."""

    def __init__(self, kit) -> None:
        self.observer = kit.ListObserver()
        self.watch = FieldWatch(FieldLog("bybit", self.observer))
        self.asked = 0

    def kind_of(self, payload: bytes):
        self.asked += 1
        return json.loads(payload)["kind"], shape("kind")

    def receive(self, at_ns: int, *kinds: str) -> None:
        """As a stream does with a batch."""
        frames = [(b'{"kind":"%s","zz":1}' % kind.encode(), at_ns) for kind in kinds]
        if not 0 <= at_ns - self.watch.looked_ns < LOOK_NS:
            self.watch.look(frames, self.kind_of)

    def told(self) -> list[str]:
        return [fields["kind"] for fields in self.observer.noted("venue_drift")]

    def counted(self) -> int:
        return self.observer.counted.get("venue_drift", 0)


def test_the_first_of_each_kind_is_seen_and_then_one_a_minute(kit):
    looks = Looks(kit)
    looks.receive(AT_NS, "a", "a", "b")
    looks.receive(AT_NS + NS_PER_S, "a", "c", "b")
    assert looks.told() == ["a", "b", "c"]
    assert looks.counted() == 3
    looks.receive(AT_NS + AGAIN_NS, "a", "b", "c")
    assert looks.counted() == 5  # c was seen a second later
    looks.receive(AT_NS + 2 * AGAIN_NS, "a")
    assert looks.counted() == 6


def test_a_busy_connection_is_looked_at_twenty_times_a_second(kit):
    looks = Looks(kit)
    looks.receive(AT_NS, *["a"] * OPENING)
    assert looks.asked == OPENING
    for n in range(1_000):  # a second, a batch of a hundred each millisecond
        looks.receive(AT_NS + n * 1_000_000, *["a"] * 100)
    assert looks.asked <= OPENING + BATCH_MOST * (NS_PER_S // LOOK_NS)
    looks.receive(AT_NS + 2 * NS_PER_S, *["a"] * 99, "rare")
    looks.receive(AT_NS + 3 * NS_PER_S, "rare")
    assert looks.told() == ["a", "rare"]


def test_a_clock_that_is_set_back_does_not_end_the_watch(kit):
    looks = Looks(kit)
    looks.receive(AT_NS, *["a"] * OPENING)
    for n in range(3):
        looks.receive(AT_NS + n * LOOK_NS, "a")
    looks.receive(AT_NS - 3_600 * NS_PER_S, "a")
    assert looks.counted() == 2
    looks.receive(AT_NS - 3_600 * NS_PER_S + AGAIN_NS, "a")
    assert looks.counted() == 3


def test_a_frame_whose_kind_cannot_be_told_is_passed_over(kit):
    from zvt_crypto.venues.okx.fields import frame_kind

    observer = kit.ListObserver()
    watch = FieldWatch(FieldLog("okx", observer))
    frames = [b"pong", b"nonsense", b'{"arg":5}', b'{"arg":{"channel":"never-heard"},"zz":1}', b'{"event":"error","code":"1","zz":1}']
    watch.look([(frame, AT_NS) for frame in frames], frame_kind)
    (noted,) = observer.noted("venue_drift")
    assert noted == {"exchange": "okx", "what": "field", "kind": "answer", "value": "zz"}
