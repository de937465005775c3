"""What PostgreSQL and its driver say, sorted into our errors by what the caller must do next."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from zvt_crypto.domain.errors import BadConfig, ConstraintViolated, StoreError, StoreFull, StoreUnavailable

_ROW = re.compile(r"Failing row contains \((.*)\)", re.DOTALL)


class LostConnection(StoreUnavailable):
    """The connection ended under us: a new one may work."""


class Contended(StoreUnavailable):
    """Another transaction was in the way (deadlock, serialisation failure): the same again may succeed."""


# SQLSTATE, or its class of two letters, → ours. The longer key wins.
FATES: dict[str, type[StoreError] | type[BadConfig]] = {
    "08": LostConnection,
    "22": ConstraintViolated,  # a value that its column cannot hold
    "23": ConstraintViolated,
    "25006": StoreUnavailable,  # read-only: a standby
    "28": BadConfig,  # who we say we are
    "3D000": BadConfig,  # no such database
    "40": Contended,
    "53": StoreUnavailable,  # memory, connections
    "53100": StoreFull,
    "57": StoreUnavailable,  # cancelled
    "57P01": LostConnection,  # shutdown
    "57P02": LostConnection,  # crash of another session
    "57P03": LostConnection,  # starting up
    "58": StoreUnavailable,  # the server's own I/O
    "XX": StoreUnavailable,
}


@contextmanager
def mapped(what: str, place: str = "") -> Iterator[None]:
    """Raise our errors instead of the driver's. `what` says what was being done, and `place` where, for those who set addresses."""
    try:
        yield
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
        raise ours(error, f"{what} at {place}" if place else what) from error


def ours(error: BaseException, what: str) -> Exception:
    """The error of ours that stands for the driver's."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or "XX000"
        kind = FATES.get(state) or FATES.get(state[:2], StoreError)
        return kind(f"cannot {what}: {_told(error)} [{state}]")
    if isinstance(error, asyncpg.ClientConfigurationError):
        return BadConfig(f"cannot {what}: {error}")
    if isinstance(error, asyncpg.DataError):
        return ConstraintViolated(f"cannot {what}: {error}")
    return LostConnection(f"cannot {what}: {_why(error)}")


def _why(error: BaseException) -> str:
    """Why there is no connection, in words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        # An event loop may put its own words into strerror: those of the number are the same everywhere.
        said = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else error.strerror
        return said[:1].lower() + said[1:]
    return str(error) or type(error).__name__


def failing_row(error: asyncpg.PostgresError) -> list[str]:
    """The values of the row that a check refused, in column order; empty where the server does not tell."""
    found = _ROW.search(getattr(error, "detail", None) or "")
    return found[1].split(", ") if found else []


def _told(error: asyncpg.PostgresError) -> str:
    detail = getattr(error, "detail", None)
    return f"{error.args[0]}: {detail}" if detail else str(error.args[0])


def driver_error(error: BaseException) -> BaseException:
    """The driver's error at the root of one that a library wrapped; itself where there is none."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
        cause = getattr(cause, "orig", None) or cause.__cause__
    return cause or error
