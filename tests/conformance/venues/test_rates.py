"""Rate limits at every venue: what is planned, what a refusal costs, whose word counts, and who goes first."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, get_args

import pytest

from conformance.venues.spending import book_call, flood, published, watched
from faults.every_venue import connector_of
from zvt_crypto.domain.errors import Banned, GeoBlocked, Throttled, VenueError
from zvt_crypto.domain.time import NS_PER_S
from zvt_crypto.engine.limits import UNTOLD_SHARE
from zvt_crypto.ports import HISTORY_PRIORITY, Priority, Subscription
from zvt_crypto.venues.budget import LimitBudget

SHUT_OUT = (403, 418)
# What an exchange says of our use with its answers: requests of somebody else's, and what must be counted after one of ours.
REPORTS = {"binance": (960, 4_800), "coinbase": (12, 8)}
FIREWALL = b"<html><title>Access denied</title>Too many requests from your network</html>"
COUNTRY = b"<html>The Amazon CloudFront distribution is configured to block access from your country.</html>"


def test_half_is_planned_where_the_first_excess_shuts_out_and_no_more_than_all_elsewhere(at_venue):
    async def scenario(desk):
        call, url = await book_call(desk)
        await desk.clock.sleep(61)
        return call, await flood(desk, url, 1_500)

    call, statuses = at_venue.run(scenario)
    planned, _ = published(at_venue.name, call.bucket)
    assert set(statuses) <= {200, 429, *SHUT_OUT}
    # Equal times have no order: where somebody was told to wait, that came before the ban.
    shuts_out_at_once = 429 not in statuses
    assert planned <= statuses.count(200) * call.weight * (UNTOLD_SHARE if shuts_out_at_once else 1.0)
    assert len(set(statuses)) > 1


def test_two_programs_that_know_nothing_of_each_other_are_not_banned(at_venue):
    async def scenario(desk):
        statuses: list[int] = []
        request = desk.transport.request

        async def counted(method: str, url: str, **named: Any) -> Any:
            answer = await request(method, url, **named)
            statuses.append(answer.status)
            return answer

        desk.transport.request = counted
        other = connector_of(at_venue.name, desk.transport, desk.clock, LimitBudget(desk.clock, desk.notes), desk.notes)
        await other.fetch_instruments()
        until_ns = desk.clock.now_ns() + 130 * NS_PER_S

        async def want(connector: Any) -> None:
            while desk.clock.now_ns() < until_ns:
                try:
                    await connector.get_order_book(desk.pair, 5)
                except VenueError as error:
                    await desk.clock.sleep(error.wait_ms / 1_000 if isinstance(error, Throttled) else 1.0)

        await asyncio.gather(*(want(connector) for connector in (desk.connector, other) for _ in range(2)))
        return statuses

    statuses = at_venue.run(scenario)
    assert statuses.count(200) > 200
    assert [status for status in statuses if status in SHUT_OUT] == []


@pytest.mark.parametrize("stated_s", [3, None])
def test_a_429_is_sat_out_as_told_or_as_the_venues_windows_are(at_venue, stated_s):
    async def scenario(desk):
        desk.faults.http(429, headers={"Retry-After": "" if stated_s is None else str(stated_s)})
        with pytest.raises(Throttled) as error:
            await desk.connector.get_order_book(desk.pair, 5)
        before = desk.clock.now_ns()
        await desk.connector.get_order_book(desk.pair, 5)
        return error.value.wait_ms / 1_000, (desk.clock.now_ns() - before) / NS_PER_S

    told_s, waited_s = at_venue.run(scenario)
    if stated_s is not None:
        assert told_s == stated_s
    assert 1.0 <= told_s <= 60.0
    assert waited_s >= told_s


@pytest.mark.parametrize("status", SHUT_OUT)
def test_nothing_is_sent_until_a_ban_is_over(at_venue, status):
    """A 403 that speaks of no region is how firewalls ban, and Bybit."""

    async def scenario(desk):
        desk.faults.http(status, headers={"Retry-After": "300"}, body=FIREWALL if status == 403 else None)
        with pytest.raises(Throttled) as error:
            await desk.connector.get_order_book(desk.pair, 5)
        asked = desk.dialect.requests
        for _ in range(20):
            with pytest.raises(Banned):
                await desk.connector.get_order_book(desk.pair, 5)
            await desk.clock.sleep(9)
        silent = desk.dialect.requests - asked
        await desk.clock.sleep(121)
        return error.value.wait_ms, silent, await desk.connector.get_order_book(desk.pair, 5)

    wait_ms, sent, book = at_venue.run(scenario)
    assert wait_ms == 300_000
    assert sent == 0
    assert book.bids


@pytest.mark.parametrize(("status", "body"), [(451, None), (403, COUNTRY)])
def test_a_region_that_is_not_served_is_named_and_neither_retried_nor_waited_for(at_venue, status, body):
    async def scenario(desk):
        desk.faults.http(status, times=2, body=body)
        asked, before = desk.dialect.requests, desk.clock.now_ns()
        with pytest.raises(GeoBlocked, match="other exchanges") as error:
            await desk.connector.get_order_book(desk.pair, 5)
        with pytest.raises(GeoBlocked):
            await desk.connector.fetch_kdata(desk.perp, "1m", limit=2)
        sent, waited_s = desk.dialect.requests - asked, (desk.clock.now_ns() - before) / NS_PER_S
        desk.faults.http(status, body=body)
        with pytest.raises(GeoBlocked):
            await desk.connector.open_stream([Subscription(desk.pair, "depth")])
        return str(error.value), sent, waited_s, await desk.connector.get_order_book(desk.pair, 5)

    said, sent, waited_s, book = at_venue.run(scenario)
    assert str(status) in said
    assert at_venue.name not in said.partition("other exchanges")[2]
    assert sent == 2
    assert waited_s < 1.0
    assert book.bids


def test_pages_of_the_past_survive_outages_and_pages_of_html_in_between(at_venue):
    async def scenario(desk):
        for status in (502, 503):
            desk.faults.http(status, body=b"<html>maintenance</html>")
        rows = await desk.connector.fetch_kdata(desk.pair, "1m", limit=10)
        desk.faults.http(502, times=50)
        with pytest.raises(VenueError) as error:
            await desk.connector.fetch_kdata(desk.pair, "1m", limit=10)
        return rows, type(error.value).__name__, str(error.value)

    rows, kind, said = at_venue.run(scenario)
    assert len(rows) == 10
    assert kind == "Unreachable"
    assert "502" in said


def test_a_page_of_html_with_status_200_is_an_error_of_the_venue_and_no_data(at_venue):
    async def scenario(desk):
        for call in (
            lambda: desk.connector.get_order_book(desk.pair, 5),
            lambda: desk.connector.fetch_ticker(desk.pair),
            lambda: desk.connector.fetch_kdata(desk.pair, "1m", limit=2),
        ):
            desk.faults.http(200, times=20, body=b"<html>We will be back soon</html>")
            with pytest.raises(VenueError):
                await call()
            while desk.faults.answer("/any") is not None:
                pass
        return await desk.connector.get_order_book(desk.pair, 5)

    assert at_venue.run(scenario).bids


def test_the_venues_own_count_is_believed_where_it_tells_one(at_venue):
    """Somebody else behind the address has used most of what there is."""
    elsewhere, known = REPORTS.get(at_venue.name, (10, 1))

    async def scenario(desk):
        call, url = await book_call(desk)
        await desk.clock.sleep(60 - desk.clock.now_ns() % (60 * NS_PER_S) / NS_PER_S + 1)
        assert set(await flood(desk, url, elsewhere)) == {200}
        await desk.connector.get_order_book(desk.pair, 5)
        return desk.budget.used(call.bucket)

    used = at_venue.run(scenario)
    assert used >= known
    assert at_venue.name in REPORTS or used == 1


def test_cancels_go_before_orders_before_live_data_before_backfill(at_venue):
    async def scenario(desk):
        call, _ = await book_call(desk)
        limit, window_ms = published(at_venue.name, call.bucket)
        # Nobody waits: who finds no room is told so.
        budget = LimitBudget(desk.clock, desk.notes, patience_ms=dict.fromkeys(get_args(Priority), 0))
        budget.set_limit("b", limit, window_ms)
        await desk.clock.sleep(window_ms / 1_000)
        filled = []
        for priority in ("backfill", "live", "order", "cancel"):
            with contextlib.suppress(Throttled):
                for _ in range(limit + 1):
                    await budget.acquire("b", 1, priority)
            filled.append(budget.used("b"))
        return limit, filled

    limit, filled = at_venue.run(scenario)
    backfill, live, order, cancel = filled
    assert 0.85 * limit <= backfill < live <= order <= cancel == limit
    if limit >= 100:
        assert live < order < cancel


def test_the_past_is_asked_for_behind_the_present_unless_the_live_path_lost_it(at_venue):
    async def scenario(desk):
        spent, _ = watched(desk)
        used = {}

        async def note(name, call):
            del spent[:]
            await call
            used[name] = {one.priority for one in spent}

        await note("book", desk.connector.get_order_book(desk.pair, 5))
        await note("ticker", desk.connector.fetch_ticker(desk.pair))
        stream = desk.connector.open_stream([Subscription(desk.pair, "trade")])
        await note("stream", stream)
        await desk.connector.fetch_server_time()  # the venue's clock is known from here on
        for name in ("backfill", "live"):
            HISTORY_PRIORITY.set(name)
            await note(f"klines {name}", desk.connector.fetch_kdata(desk.pair, "1m", limit=2))
            await note(f"trades {name}", desk.connector.fetch_trades(desk.pair, limit=10))
        return used

    used = at_venue.run(scenario)
    assert [name for name, priorities in used.items() if priorities == {"live"}] == [
        "book",
        "ticker",
        "stream",
        "klines live",
        "trades live",
    ]
    assert [name for name, priorities in used.items() if priorities == {"backfill"}] == ["klines backfill", "trades backfill"]


@pytest.mark.parametrize(("status", "kind"), [(429, Throttled), (418, Banned), (403, Throttled)])
def test_a_handshake_refused_for_haste_keeps_everybody_from_connecting_until_the_wait_is_over(at_venue, status, kind):
    async def scenario(desk):
        wanted = [Subscription(desk.pair, "depth")]
        desk.faults.http(status, headers={"Retry-After": "300"}, body=FIREWALL if status == 403 else None)
        with pytest.raises(kind) as error:
            await desk.connector.open_stream(wanted)
        before, wait_s = desk.clock.now_ns(), error.value.wait_ms / 1_000
        tried = []
        connect = desk.transport.connect

        async def noted(url: str, **named: Any) -> Any:
            tried.append((desk.clock.now_ns() - before) / NS_PER_S)
            return await connect(url, **named)

        desk.transport.connect = noted
        while not tried:
            try:
                await (await desk.connector.open_stream(wanted)).close()
            except Throttled:
                await desk.clock.sleep(7)
        return wait_s, tried

    wait_s, tried = at_venue.run(scenario)
    assert wait_s >= 60
    assert tried[0] >= wait_s
