"""What the emulator's tests share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zvt_crypto.emulator.binance.dialect import BinanceDialect
from zvt_crypto.emulator.binance.sessions import Session
from zvt_crypto.emulator.market import DEFAULT_SYMBOLS, MarketWorld

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures" / "emulator"
START_NS = 1_735_689_600_000_000_000  # 2025-01-01T00:00:00Z
START_MS = START_NS // 1_000_000
SECOND_NS = 1_000_000_000
MINUTE_MS = 60_000


class ClockedDesk:
    """Any dialect, and a clock in hand."""

    def __init__(self, dialect: Any, now_ns: int = START_NS) -> None:
        self.dialect = dialect
        self.world: Any = dialect.world
        self.now_ns = now_ns

    def wait(self, seconds: float, *, step: float | None = None) -> None:
        """Time passes, at once or in steps, as a carrier would poll."""
        end_ns = self.now_ns + int(seconds * 1e9)
        while step is not None and self.now_ns + int(step * 1e9) < end_ns:
            self.now_ns += int(step * 1e9)
            self.dialect.poll(self.now_ns)
        self.now_ns = end_ns
        self.dialect.poll(self.now_ns)

    def read(self, session: Any) -> list[Any]:
        frames = [json.loads(frame) for frame in session.outbox]
        session.outbox.clear()
        return frames


class Desk:
    """A dialect and a clock in hand: what a client would send and see, without a carrier."""

    def __init__(self, dialect: BinanceDialect, now_ns: int = START_NS) -> None:
        self.dialect = dialect
        self.now_ns = now_ns

    def http(self, path: str, query: str = "", method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        return self.dialect.handle_http(method, path, query, {}, self.now_ns)

    def get(self, path: str, query: str = "") -> Any:
        status, _, body = self.http(path, query)
        assert status == 200, body
        return json.loads(body)

    def refused(self, path: str, query: str = "") -> tuple[int, int]:
        status, _, body = self.http(path, query)
        return status, json.loads(body)["code"]

    def open(self, url: str, host: str = "") -> Session:
        path, _, query = url.partition("?")
        return self.dialect.open(path, query, self.now_ns, host)

    def say(self, session: Session, message: object) -> list[Any]:
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        return [json.loads(frame) for frame in self.dialect.on_text(session, payload, self.now_ns)]

    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)
        self.dialect.poll(self.now_ns)

    def read(self, session: Session) -> list[Any]:
        frames = [json.loads(frame) for frame in session.outbox]
        session.outbox.clear()
        return frames


def market_desk(seed: int = 1, events_per_s: float = 2.0, history_days: int = 3, symbols: Any = DEFAULT_SYMBOLS, **more: Any) -> Desk:
    world = MarketWorld(seed, symbols, start_ns=START_NS, events_per_s=events_per_s, history_days=history_days)
    return Desk(BinanceDialect(world, **more))
