"""What every answer has in common: hosts, bounds, faults, metrics, the API page and its document."""

from __future__ import annotations

import asyncio
import errno
import json
import re
from typing import Any

import aiohttp
import msgspec
import pytest

from api.api_parts import BTC, NOW, Api, make_kline
from zvt_crypto.api import errors as api_errors
from zvt_crypto.api import examples, shapes
from zvt_crypto.api.server import RestServer, listen, listening_error
from zvt_crypto.domain import errors
from zvt_crypto.domain.errors import BadConfig, PortTaken, StoreUnavailable
from zvt_crypto.domain.market import BookSnapshot, Kline, Ticker
from zvt_crypto.domain.time import NS_PER_MS, Interval, parse_time


async def raw_answer(api: Api, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    writer.write(request)
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


async def test_only_hosts_that_name_us_are_answered(api: Api) -> None:
    for host, status in (
        (b"127.0.0.1:8000", b"200"),
        (b"LOCALHOST", b"200"),
        (b"[::1]:9", b"200"),
        (b"evil.example", b"421"),
        (b"", b"421"),
    ):
        answer = await raw_answer(api, b"GET /health HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n")
        assert answer.split()[1] == status, host


async def test_a_page_of_another_origin_may_read_us_only_if_it_is_named(api: Api) -> None:
    for origin, allowed in (("https://charts.example", "https://charts.example"), ("https://evil.example", None), ("null", None)):
        async with api.http.get(f"{api.url}/health", headers={"Origin": origin}) as answer:
            assert answer.headers.get("access-control-allow-origin") == allowed
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-credentials" not in answer.headers


async def test_too_much_is_refused(api: Api) -> None:
    status, problem = await api.get("//health", x="y" * 8_200)
    assert (status, problem["code"]) == (414, "uri_too_long")
    async with api.http.get(f"{api.url}/health", data=b"x" * (64 * 1024 + 1)) as answer:
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (413, "body_too_large")
    status, problem = await api.get("/kdata", **{f"p{i}": "1" for i in range(40)})
    assert (status, problem["code"]) == (422, "bad_input")


async def test_a_parameter_that_a_path_does_not_have_is_refused_by_name(api: Api) -> None:
    for path, known in (
        ("kdata", {"symbol": BTC.id, "interval": "1m"}),
        ("orderbook", {"symbol": BTC.id}),
        ("ticker", {"symbol": BTC.id}),
        ("pairs", {}),
        ("assets", {}),
        ("assets/search", {"q": "btc"}),
        ("exchanges", {}),
    ):
        status, problem = await api.get(f"/{path}", **known, foo="1")
        assert (status, problem["code"]) == (400, "bad_query"), path
        assert "'foo'" in problem["detail"]
    assert "interval, limit, start" in (await api.get("/kdata", limmit="5"))[1]["detail"]


async def test_a_parameter_given_twice_is_refused_with_its_value(api: Api) -> None:
    for path in (f"kdata?symbol={BTC.id}&interval=1m&limit=5&limit=6", "pairs?limit=5&limit=6", "pairs?limit=&limit=6"):
        async with api.http.get(f"{api.url}/api/v1/crypto/{path}") as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"]) == (400, "bad_query"), path
            assert "'limit' is given twice, again with '6'" in problem["detail"]
            assert answer.headers["content-type"] == "application/problem+json"


async def every_parameter(api: Api) -> list[tuple[str, dict[str, str], str]]:
    """(path, what it needs, parameter) of the whole document."""
    _, document = await api.get("//openapi.json")
    needs = {"kdata": {"symbol": BTC.id, "interval": "1m"}, "ticker": {"symbol": BTC.id}, "orderbook": {"symbol": BTC.id}}
    needs["assets/search"] = {"q": "btc"}
    found = []
    for path, spec in document["paths"].items():
        name = path.removeprefix("/api/v1/crypto/")
        found += [(name, needs.get(name, {}), p["name"]) for p in spec["get"].get("parameters", [])]
    return found


async def test_an_empty_parameter_is_refused_by_name_on_every_path(api: Api) -> None:
    asked = await every_parameter(api)
    assert len(asked) > 20
    for path, needed, name in asked:
        for empty in ("", " "):
            status, problem = await api.get(f"/{path}", **{**needed, name: empty})
            assert (status, problem["code"]) == (422, "bad_input"), (path, name)
            assert f"parameter '{name}' is empty: '{empty}'" in problem["detail"]


async def test_rubbish_in_any_parameter_is_refused_with_its_value_on_every_path(api: Api) -> None:
    for path, needed, name in await every_parameter(api):
        for rubbish in ("zzzz", "-1", "1.0", "1_0", "nul\x00", "9" * 300, "٣"):
            if name == "q" and rubbish.isprintable() and len(rubbish) < 100:
                continue  # a text that nothing answers to is a good question
            status, problem = await api.get(f"/{path}", **{**needed, name: rubbish})
            assert status in (404, 422), (path, name, rubbish, status, problem)
            assert rubbish[:3] in problem["detail"], (path, name, problem)


async def test_a_cursor_is_of_a_page_of_the_same_listing(api: Api) -> None:
    for path, key in (("/pairs", "pairs"), ("/assets", "assets")):
        _, first = await api.get(path, limit="1")
        status, second = await api.get(path, limit="1", cursor=first["next"])
        assert (status, second["count"], second[key][0]["id"] > first["next"]) == (200, 1, True)
        for foreign in ("zzzz", first["next"] + "x", first["next"].upper()):
            status, problem = await api.get(path, limit="1", cursor=foreign)
            assert (status, problem["code"]) == (422, "bad_input")
            assert f"cursor '{foreign}'" in problem["detail"]
    _, first = await api.get("/pairs", limit="1")
    assert (await api.get("/pairs", kind="perp", cursor=first["next"]))[0] == 422
    assert (await api.get("/pairs", status="delisted", cursor=first["next"]))[0] == 200  # a status may change between two pages


async def test_probes_may_ask_with_what_they_like(api: Api) -> None:
    async with api.http.get(f"{api.url}/health?probe=1&probe=2") as answer:
        assert answer.status == 200


async def test_a_query_that_is_not_utf8_is_refused(api: Api) -> None:
    answer = await raw_answer(api, b"GET /api/v1/crypto/kdata?symbol=%ff HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b" 422 " in answer.partition(b"\r\n")[0]


async def test_there_is_nothing_elsewhere_and_only_reading_is_possible(api: Api) -> None:
    status, problem = await api.get("//nowhere")
    assert (status, problem["code"]) == (404, "no_such_path")
    for path in ("/kdata", "/pairs"):
        async with api.http.post(f"{api.url}/api/v1/crypto{path}") as answer:
            problem = await answer.json(content_type=None)
            assert (answer.status, problem["code"]) == (405, "method_not_allowed")
            assert "GET" in answer.headers["allow"]


async def test_a_fault_tells_a_correlation_id_and_nothing_else_and_the_log_tells_the_rest(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[dict[str, Any]] = []
    monkeypatch.setattr(api.observer, "note", lambda level, event, **fields: noted.append({"level": level, **fields}))
    for path, params in (("/kdata", {"symbol": BTC.id, "interval": "1m"}), ("/assets", {})):

        def broken(*_: object) -> None:
            raise RuntimeError("SELECT secret FROM /etc/passwd")

        monkeypatch.setattr(api.store.klines, "read", broken)
        monkeypatch.setattr(api.store.instruments, "load_assets", broken)
        status, problem = await api.get(path, **params)
        assert (status, problem["code"], set(problem)) == (
            500,
            "internal",
            {"type", "title", "status", "detail", "code", "instance", "correlation_id"},
        )
        assert "SELECT" not in json.dumps(problem)
        assert noted[-1]["correlation_id"] == problem["correlation_id"]
        assert "SELECT secret" in noted[-1]["exception"]


async def test_an_error_of_the_store_that_is_our_own_fault_is_a_fault(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise errors.ConstraintViolated("kline_1m row 7")

    monkeypatch.setattr(api.store.instruments, "load_assets", broken)
    status, problem = await api.get("/assets")
    assert (status, problem["code"]) == (500, "internal")
    assert "kline_1m" not in json.dumps(problem)


async def test_liveness_answers_whatever_fails_and_readiness_says_what(api: Api) -> None:
    assert (await api.get("//ready"))[1]["status"] == "ok"
    await api.store.close()
    api.clock.ns += 2_000 * NS_PER_MS
    api.health.report("binance spot 1", "degraded", "reconnecting")
    status, readiness = await api.get("//ready")
    assert (status, readiness["status"]) == (503, "failed")
    by_name = {check["name"]: check for check in readiness["checks"]}
    assert by_name["database"]["reason"].startswith("store_unavailable")
    assert by_name["binance spot 1"] == {
        "name": "binance spot 1",
        "state": "degraded",
        "reason": "reconnecting",
        "age_ms": 0,
        "since_ms": 0,
    }
    status, alive = await api.get("//health")
    assert (status, alive["status"], alive["uptime_ms"]) == (200, "ok", 2_000)


async def test_requests_are_counted_by_path_and_status_and_strange_paths_together(api: Api) -> None:
    await api.get("/exchanges")
    await api.get("//a"), await api.get("//b")
    async with api.http.get(f"{api.url}/metrics") as answer:
        text = await answer.text()
        assert answer.content_type == "text/plain"
    assert 'zvt_crypto_api_requests_total{path="/api/v1/crypto/exchanges",status="200"} 1.0' in text
    assert 'zvt_crypto_api_requests_total{path="other",status="404"} 2.0' in text
    assert 'zvt_crypto_api_seconds_count{path="other"} 2.0' in text


async def test_the_api_page_asks_no_other_host(api: Api) -> None:
    async with api.http.get(f"{api.url}/") as answer:
        assert (answer.status, answer.url.path, answer.content_type) == (200, "/docs", "text/html")
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        page = await answer.text()
    files = re.findall(r'(?:src|href)="([^"#]+)"', page)
    assert sorted(files) == ["/docs/page.css", "/docs/page.js", "/openapi.json"]
    for file in files:
        async with api.http.get(api.url + file) as answer:
            assert answer.status == 200
            assert "http://" not in await answer.text() or file == "/openapi.json"


async def test_the_page_explains_every_code_that_an_answer_can_have(api: Api) -> None:
    async with api.http.get(f"{api.url}/docs") as answer:
        explained = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"<td>([a-z_, ]+)</td>", await answer.text()))))
    reachable = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.BadInput)}
    reachable |= {kind.code for kind in api_errors.STATUS if issubclass(kind, errors.ZvtCryptoError)}
    reachable |= {errors.Banned.code, errors.GeoBlocked.code, errors.Malformed.code, errors.Refused.code, errors.StoreFull.code}
    # Codes of other doors (imports, settings, our own orders) never reach a client of the API.
    reachable -= {"bad_capture", "bad_config", "venue_error", "overflow"}
    assert reachable - explained == set()


def test_statuses_follow_the_table() -> None:
    assert api_errors.status_of(errors.UnknownSymbol("x")) == 404
    assert api_errors.status_of(errors.AmbiguousSymbol("x", [])) == 422
    assert api_errors.status_of(errors.Banned("x", 1)) == 503
    assert api_errors.status_of(StoreUnavailable("x")) == 503
    assert api_errors.status_of(errors.StoreError("x")) == 500
    assert api_errors.status_of(RuntimeError("x")) == 500


async def test_the_examples_of_the_document_are_what_the_server_answers(api: Api) -> None:
    """The example data, told to a server: every market and asset example comes back word for word."""
    instrument = BTC.id
    bars = [
        Kline(
            instrument, Interval.MIN_1, parse_time("2024-08-09"), 61640.0, 61740.5, 61600.0, 61700.1, 12.345, 761234.56, 1234, True, "venue"
        ),
        Kline(
            instrument,
            Interval.MIN_1,
            parse_time("2024-08-09T00:01Z"),
            61700.1,
            61710.0,
            61695.0,
            61709.99,
            0.5,
            30852.0,
            17,
            False,
            "venue",
        ),
    ]
    event_ns, recv_ns = parse_time("2024-08-09T00:01:15.087Z"), NOW - 12 * NS_PER_MS
    bids, asks = [(61709.99, 1.5), (61709.5, 0.2)], [(61710.0, 0.75), (61710.4, 2.0)]
    await api.store.klines.upsert(bars[:1], NOW)
    for event in (
        bars[1],
        BookSnapshot(instrument, 50310425861, bids, asks, event_ns, recv_ns),
        Ticker(instrument, 61709.99, 25310.12345, 1512345678.9, 57200.0, 62745.14, 56986.0, 61709.99, 61710.0, event_ns, recv_ns),
    ):
        api.live.apply(event)
    asked = {
        "/exchanges": {},
        "/pairs": {"exchange": "binance", "kind": "pair"},
        "/kdata": {"symbol": instrument, "interval": "1m", "limit": "2"},
        "/ticker": {"symbol": instrument},
        "/orderbook": {"symbol": instrument, "depth": "2"},
        "/assets/search": {"q": "bitcoin"},
    }
    _, document = await api.get("//openapi.json")
    for path, params in asked.items():
        example = document["paths"][f"/api/v1/crypto{path}"]["get"]["responses"]["200"]["content"]["application/json"]["example"]
        assert (await api.get(path, **params))[1] == example, path
    row = examples.plain(examples.EXAMPLES["/assets"])["assets"][0]
    assert row in (await api.get("/assets"))[1]["assets"]
    assert msgspec.convert(examples.plain(examples.ALIVE), shapes.Alive)


async def test_a_taken_port_is_said_by_name(api: Api) -> None:
    port = int(api.url.rpartition(":")[2])
    server = RestServer(lambda: None, port=port)  # type: ignore[arg-type]
    with pytest.raises(PortTaken, match=f"port {port}"):
        await server.start()
    await server.stop()


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("192.0.2.1", "cannot listen on 192.0.2.1 port 8000: no interface of this machine has that address"),
        ("2001:db8::1", "cannot listen on 2001:db8::1 port 8000: no interface"),
        ("nobody.invalid", "cannot listen on 'nobody.invalid': it is neither an address nor a name"),
    ],
)
def test_an_address_that_is_not_ours_is_no_taken_port(host: str, said: str) -> None:
    with pytest.raises(BadConfig, match=re.escape(said)):
        listen(host, 8000)


def test_a_port_that_the_system_keeps_is_no_taken_port() -> None:
    denied = OSError(errno.EACCES, "Permission denied")
    assert "port 80: permission denied; ports below 1024" in str(listening_error("127.0.0.1", 80, denied))
    assert str(listening_error("::1", 9_000, denied)).endswith("permission denied; the system does not let us")
    assert isinstance(listening_error("::1", 80, denied), BadConfig)
    full = OSError(errno.EMFILE, "Too many open files")
    assert listening_error("::1", 80, full) is full


async def test_a_head_request_has_the_headers_of_the_answer_and_no_body(api: Api) -> None:
    await api.store.klines.upsert([make_kline("2024-08-09T00:00:00Z")], NOW)
    async with api.http.head(f"{api.url}/api/v1/crypto/kdata", params={"symbol": BTC.id, "interval": "1m"}) as answer:
        assert (answer.status, await answer.read()) == (200, b"")
        assert int(answer.headers["content-length"]) > 100


async def test_a_client_that_hangs_up_midway_harms_nobody(api: Api) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(api.url.rpartition(":")[2]))
    writer.write(b"GET /api/v1/crypto/pairs HTTP/1.1\r\nHost: localhost\r\n\r\n")
    writer.close()
    del reader
    async with aiohttp.ClientSession() as http, http.get(f"{api.url}/health") as answer:
        assert answer.status == 200
