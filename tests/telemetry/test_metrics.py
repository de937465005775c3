"""Metrics: counted right, bounded, and never a fault of their own."""

from __future__ import annotations

import io
import json

import pytest

from zvt_crypto.telemetry.logs import make_logger
from zvt_crypto.telemetry.metrics import MOST_NAMES, MOST_SERIES, PrometheusObserver, Timer, metric_name

CANARY = "c4n4ry-5ecr3t"


def value(observer: PrometheusObserver, line: str) -> float | None:
    """The value of the series that is written as `line`."""
    found = [row.rpartition(" ")[2] for row in observer.render().decode().splitlines() if row.rpartition(" ")[0] == line]
    return float(found[0]) if found else None


def test_counters_add_and_gauges_hold() -> None:
    observer = PrometheusObserver()
    observer.count("trades", 3, exchange="binance")
    observer.count("trades", exchange="binance")
    observer.gauge("lag_seconds", 1.5)
    observer.gauge("lag_seconds", 0.5)
    assert value(observer, 'zvt_crypto_trades_total{exchange="binance"}') == 4
    assert value(observer, "zvt_crypto_lag_seconds") == 0.5


def test_durations_fall_into_buckets_around_what_we_promise() -> None:
    observer = PrometheusObserver()
    assert isinstance(observer, Timer)
    observer.time("answers", 0.002, path="/kdata")
    observer.time("answers", 0.004, path="/kdata")
    assert value(observer, 'zvt_crypto_answers_bucket{le="0.003",path="/kdata"}') == 1
    assert value(observer, 'zvt_crypto_answers_count{path="/kdata"}') == 2


def test_names_are_made_fit_for_prometheus() -> None:
    assert metric_name("binance.spot weight-1m") == "zvt_crypto_binance_spot_weight_1m"


def test_the_order_of_labels_does_not_make_another_series() -> None:
    observer = PrometheusObserver()
    observer.count("x", a="1", b="2")
    observer.count("x", b="2", a="1")
    assert value(observer, 'zvt_crypto_x_total{a="1",b="2"}') == 2


@pytest.mark.parametrize("step", ["labels", "kind", "negative", "folded", "reserved"])
def test_what_cannot_be_kept_is_counted_and_raises_nothing(step: str) -> None:
    observer = PrometheusObserver()
    observer.count("x", a="1")
    match step:
        case "labels":
            observer.count("x", b="1")
        case "kind":
            observer.gauge("x", 1.0, a="1")
            observer.time("y", 1.0)
            observer.count("y")
        case "negative":
            observer.count("x", -1, a="1")
        case "folded":
            observer.gauge("a.b", 1.0)
            observer.gauge("a_b", 1.0)
        case "reserved":
            observer.time("z", 1.0, le="1")
    assert (value(observer, "zvt_crypto_observer_refused_total") or 0) >= 1
    assert value(observer, 'zvt_crypto_x_total{a="1"}') == 1


def test_labels_that_strangers_feed_cannot_grow_for_ever() -> None:
    observer = PrometheusObserver()
    for i in range(MOST_SERIES + 50):
        observer.count("x", path=f"/{i}" + "y" * 200)
    assert value(observer, 'zvt_crypto_x_total{path="other"}') == 50
    rows = [row for row in observer.render().decode().splitlines() if row.startswith("zvt_crypto_x_total{")]
    assert len(rows) == MOST_SERIES + 1
    assert max(map(len, rows)) < 150


def test_names_are_bounded_too() -> None:
    observer = PrometheusObserver()
    for i in range(MOST_NAMES + 5):
        observer.gauge(f"n{i}", 1.0)
    assert value(observer, "zvt_crypto_observer_refused_total") == 5


def test_notes_are_redacted_logged_and_counted() -> None:
    stream = io.StringIO()
    observer = PrometheusObserver(make_logger(stream))
    observer.note("warning", "reconnect", url=f"wss://user:{CANARY}@host", attempt=2)
    PrometheusObserver().note("info", "nobody listens")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["attempt"]) == ("reconnect", "warning", 2)
    assert CANARY not in stream.getvalue()
    assert value(observer, 'zvt_crypto_notes_total{level="warning"}') == 1


def test_a_note_with_a_field_called_event_or_level_does_not_fail() -> None:
    stream = io.StringIO()
    observer = PrometheusObserver(make_logger(stream))
    observer.note("info", "x", level_name="y", event_ns=5)
    assert json.loads(stream.getvalue())["event_ns"] == 5
