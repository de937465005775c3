"""Logs: one JSON object a line on stderr, UTC, control characters escaped, secrets redacted."""

from __future__ import annotations

import json
import logging
import sys
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from zvt_crypto.telemetry.redact import REDACTED, is_secret_name, redact

LEVELS: dict[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
# Libraries that tell every connection or statement at INFO: what we want of it, we count ourselves.
QUIET = ("picows", "uvicorn.access", "aiohttp.access", "sqlalchemy.engine", "alembic", "asyncio", "httpx", "httpcore")


def _clean(_: object, __: str, event: EventDict) -> EventDict:
    return {str(key): REDACTED if is_secret_name(str(key)) else redact(value) for key, value in event.items()}


def _render(_: object, __: str, event: EventDict) -> str:
    # ensure_ascii escapes ESC, line breaks and U+2028 alike, so that no value can begin a line of its own.
    return json.dumps(event, default=str, ensure_ascii=True)


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
    ]


def make_logger(stream: TextIO | None = None, level: str = "info", **fields: object) -> FilteringBoundLogger:
    """A logger that writes to `stream` (stderr when None) and touches nothing global. `fields` stand on every line."""
    logger = structlog.wrap_logger(
        structlog.PrintLogger(stream or sys.stderr),
        processors=[*_shared(), _clean, _render],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        **cast(Any, fields),
    )
    return cast(FilteringBoundLogger, logger)


def setup_logs(level: str = "info", stream: TextIO | None = None) -> FilteringBoundLogger:
    """Send everything there: our own logger (returned), and what libraries tell Python's logging.

    `level` is one of LEVELS; libraries in QUIET speak from WARNING on. Call once, at the start of a process; calling again
    replaces the former set-up.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *_shared()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _clean, _render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name in QUIET:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    return make_logger(stream, level)
