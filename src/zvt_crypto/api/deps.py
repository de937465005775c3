"""What the API is given: it makes none of these itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from zvt_crypto.domain.instrument import Instruments
from zvt_crypto.ports import Clock, ExchangeConnector, KlineStore, LiveState, Observer, Store
from zvt_crypto.telemetry.health import Health

# Names under which a browser on this machine reaches us. Others must be named: it is what stops DNS rebinding.
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True, kw_only=True)
class AccessRules:
    """Who may call. `hosts`: accepted Host names, without port (`*`: any). `origins`: web pages of other origins that may read
    us, whole (`https://charts.example`). Pages that we serve ourselves need no entry."""

    hosts: tuple[str, ...] = LOOPBACK_HOSTS
    origins: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ApiDeps:
    """`instruments` returns the newest table. `connectors` by exchange id, for what is not live. `metrics` renders /metrics
    (None: there is none). `ws_url` is where clients find the WebSocket, for the API page. `klines`: the
    store's, with the newest in memory (None: as the store reads them)."""

    store: Store
    live: LiveState
    instruments: Callable[[], Instruments]
    connectors: Mapping[str, ExchangeConnector]
    health: Health
    observer: Observer
    clock: Clock
    metrics: Callable[[], bytes] | None = None
    access: AccessRules = field(default_factory=AccessRules)
    klines: KlineStore | None = None
    version: str = "0.1.0"
    ws_url: str = "ws://127.0.0.1:8001/ws/v1"
