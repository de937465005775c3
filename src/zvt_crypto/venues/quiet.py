"""A fault of a library below us that would tell an error twice, the second time as a traceback of the logging module."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any


def quieten(loop: asyncio.AbstractEventLoop) -> None:
    """Let the loop be silent on TLS handshakes that the other side ended bare, and on nothing else; safe to call again.

    aiofastnet (1.2.0, below picows) raises such an end for its caller to tell, and also hands its class, where an instance belongs, to the
    loop's handler, whose logging then fails.
    """
    if not isinstance(loop.get_exception_handler(), _Quiet):
        loop.set_exception_handler(_Quiet(loop))


class _Quiet:
    """A handler of a loop: what it does not leave out goes to the handler before it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._before = loop.get_exception_handler()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        if context.get("message") == "SSL handshake failed" and isinstance(error, type) and issubclass(error, OSError):
            return
        if self._before is not None:
            self._before(loop, dict(context))
        else:
            loop.default_exception_handler(dict(context))
