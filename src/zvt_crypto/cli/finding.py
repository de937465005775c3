"""A line of `doctor`."""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """What was looked at, how it is, and what to do."""

    name: str
    state: State
    said: str
    hint: str = ""
