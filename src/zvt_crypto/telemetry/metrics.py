"""Metrics in Prometheus' text format, with a bound on how many series one name may have."""

from __future__ import annotations

import re
from typing import Literal, Protocol, runtime_checkable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from structlog.typing import FilteringBoundLogger

from zvt_crypto.telemetry.redact import redact

PREFIX = "zvt_crypto_"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
MOST_SERIES = 1_000  # per name: a label fed by strangers cannot fill our memory, nor Prometheus'
MOST_NAMES = 500
OTHER = "other"
MOST_LABEL = 80
# Seconds: the promises are 3 ms for an answer and 100 ms for an update, so most borders lie around them.
BUCKETS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)

_BAD = re.compile(r"[^a-zA-Z0-9_]")
_Family = Counter | Gauge | Histogram
_Key = tuple[str, tuple[tuple[str, str], ...]]


@runtime_checkable
class Timer(Protocol):
    """An observer that keeps durations, too."""

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """Add to a histogram of durations."""
        ...


def metric_name(name: str) -> str:
    """`binance.spot.weight` → `zvt_crypto_binance_spot_weight`."""
    return PREFIX + _BAD.sub("_", name)


class PrometheusObserver:
    """ports.Observer over a registry of its own. Never raises: watching must not break what is watched.

    A name's label names are those of its first use; what does not fit them, and series beyond the bound, are counted under
    `zvt_crypto_observer_refused_total` or fall together under the label value `other`.
    """

    def __init__(self, logger: FilteringBoundLogger | None = None) -> None:
        self.registry = CollectorRegistry()
        self._logger = logger
        self._families: dict[str, tuple[_Family, tuple[str, ...]]] = {}
        self._series: dict[_Key, Counter | Gauge | Histogram] = {}
        self._sizes: dict[str, int] = {}
        self._refused = Counter(PREFIX + "observer_refused", "Observations that could not be kept", registry=self.registry)

    def count(self, name: str, amount: int = 1, **labels: str) -> None:
        """Add to a counter; a negative amount is refused."""
        series = self._find(Counter, name, labels)
        if isinstance(series, Counter) and amount >= 0:
            series.inc(amount)
        else:
            self._refused.inc()

    def gauge(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        series = self._find(Gauge, name, labels)
        if isinstance(series, Gauge):
            series.set(value)
        else:
            self._refused.inc()

    def time(self, name: str, seconds: float, **labels: str) -> None:
        """Add to a histogram of durations (not part of the port)."""
        series = self._find(Histogram, name, labels)
        if isinstance(series, Histogram):
            series.observe(seconds)
        else:
            self._refused.inc()

    def note(self, level: Literal["debug", "info", "warning", "error"], event: str, **fields: object) -> None:
        """A line for the log, redacted; also counted by level."""
        self.count("notes", level=level)
        if self._logger is not None:
            getattr(self._logger, level)(event, **{key: redact(value) for key, value in fields.items() if key != "event"})

    def render(self) -> bytes:
        """Everything, as Prometheus reads it (`CONTENT_TYPE`)."""
        return generate_latest(self.registry)

    def _find(self, of: type[_Family], name: str, labels: dict[str, str]) -> _Family | None:
        key = (name, tuple(labels.items()))
        found = self._series.get(key)
        return found if found is not None else self._make(of, name, labels)

    def _make(self, of: type[_Family], name: str, labels: dict[str, str]) -> _Family | None:
        names = tuple(sorted(labels))
        family = self._family(of, name, names)
        if family is None:
            return None
        if self._sizes.get(name, 0) >= MOST_SERIES:
            return family.labels(*(OTHER for _ in names)) if names else family
        values = [str(labels[label])[:MOST_LABEL] for label in names]
        series = family.labels(*values) if names else family
        self._series[(name, tuple(labels.items()))] = series
        self._sizes[name] = self._sizes.get(name, 0) + 1
        return series

    def _family(self, of: type[_Family], name: str, names: tuple[str, ...]) -> _Family | None:
        held = self._families.get(name)
        if held is not None:
            return held[0] if held[1] == names and isinstance(held[0], of) else None
        if len(self._families) >= MOST_NAMES:
            return None
        try:
            made: _Family = (
                Histogram(metric_name(name), name, names, registry=self.registry, buckets=BUCKETS)
                if of is Histogram
                else of(metric_name(name), name, names, registry=self.registry)
            )
        except ValueError:  # two names that fold to one, or a label name that Prometheus reserves
            return None
        self._families[name] = (made, names)
        return made
