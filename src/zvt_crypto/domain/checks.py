"""What a comparison of stored rows with their checksums has found."""

from __future__ import annotations

from typing import Literal

import msgspec

# changed: its values are not those that were signed · missing: it was signed and is gone · added: nobody signed it, and no write through
# the store told of it · unreadable: its packed chunk cannot be unpacked, or holds
# other rows than were packed · unnamed: the chunk differs, but no row shows it.
Fault = Literal["changed", "missing", "added", "unreadable", "unnamed"]


class WrongRow(msgspec.Struct, frozen=True):
    """The first wrong row of a chunk.

    at_ns: its time; of a missing one the earliest that it can have had. before_ns: of a missing one, the time of the row that follows
    (None: it was the last). said: its values as they are now; empty for one that is gone. rows: how many were signed.
    """

    noun: str
    instrument: str
    low_ns: int
    high_ns: int
    fault: Fault
    at_ns: int
    before_ns: int | None
    said: str
    rows: int


class CheckReport(msgspec.Struct, frozen=True):
    """What was looked at. touched: chunks that writes through the store have changed since they were signed; of these what was signed is
    compared, and what came later is not. unsigned: chunks without a checksum (None: nobody looked for them). packed: packed ones of
    these, each compared with what was packed; their rows are not among `rows`."""

    chunks: int = 0
    rows: int = 0
    signed: int = 0
    touched: int = 0
    unsigned: int | None = None
    packed: int = 0
    wrong: list[WrongRow] = []
