"""What every venue's connector must do, whatever its protocol. Parametrised over the table of venues."""

from __future__ import annotations

import inspect
from itertools import pairwise

import pytest

from zvt_crypto import ports
from zvt_crypto.domain.errors import (
    BadInput,
    Banned,
    Disconnected,
    GeoBlocked,
    OutOfRange,
    Refused,
    Throttled,
    UnknownInterval,
    UnknownSymbol,
    Unreachable,
    Unsupported,
)
from zvt_crypto.domain.market import BookDelta, BookSnapshot, BookStale, Kline, Trade
from zvt_crypto.domain.time import NS_PER_MINUTE, NS_PER_S, Interval, next_ns
from zvt_crypto.engine.book import Book
from zvt_crypto.ports import Subscription
from zvt_crypto.venues import CAPABILITIES, VENUES


def claims_native(at_venue, market: str, *features: str) -> bool:
    """Whether the venue states all of these as its own."""
    return all(CAPABILITIES[at_venue.name][market][feature].how == "native" for feature in features)


def test_every_venue_stands_in_this_suite(desks):
    assert set(desks) == set(VENUES)


def test_has_every_method_of_the_contract_with_its_arguments(at_venue):
    made = VENUES[at_venue.name]
    for name, wanted in inspect.getmembers(ports.ExchangeConnector, inspect.isfunction):
        if name.startswith("_"):
            continue
        has = getattr(made, name)
        expected = inspect.signature(wanted).parameters
        assert list(inspect.signature(has).parameters)[: len(expected)] == list(expected), name
        assert inspect.iscoroutinefunction(has) == inspect.iscoroutinefunction(wanted), name


# ── Instruments and time ──


def test_symbols_map_both_ways_and_ids_never_change(at_venue):
    async def scenario(desk):
        first = await desk.connector.fetch_instruments()
        again = await desk.connector.fetch_instruments()
        return first, again, desk.connector.instruments

    first, again, table = at_venue.run(scenario)
    assert [i.id for i in first] == [i.id for i in again]
    assert len({i.id for i in first}) == len(first)
    for one in first:
        assert one.exchange == at_venue.name
        assert table.resolve(one.id) is table.get(one.id)
        assert one.tick > 0
        assert one.lot > 0


def test_server_time_is_near(at_venue):
    async def scenario(desk):
        return await desk.connector.fetch_server_time(), desk.clock.now_ns()

    theirs, ours = at_venue.run(scenario)
    assert abs(theirs - ours) < NS_PER_S


# ── Klines ──


@pytest.mark.parametrize("which", ["pair", "perp"])
def test_klines_page_without_hole_or_repetition_and_only_the_newest_is_open(at_venue, which):
    async def scenario(desk):
        symbol = getattr(desk, which)
        await desk.clock.sleep(30)
        since = desk.clock.now_ns() - 2_500 * NS_PER_MINUTE
        whole = await desk.connector.fetch_kdata(symbol, "1m", since=since)
        part = await desk.connector.fetch_kdata(symbol, "1m", since=whole[700].open_ns, until=whole[900].open_ns)
        newest = await desk.connector.fetch_kdata(symbol, "1m", limit=1_700)
        return whole, part, newest, desk.clock.now_ns(), getattr(desk, "leaves_silence_out", False)

    whole, part, newest, now_ns, leaves_silence_out = at_venue.run(scenario)
    assert len(whole) == 2_500
    for before, after in pairwise(whole):
        assert after.open_ns == next_ns(Interval.MIN_1, before.open_ns)
    assert part == whole[700:900]
    assert [k.open_ns for k in newest] == [k.open_ns for k in whole[-1_700:]]
    assert [k.final for k in whole] == [k.open_ns + NS_PER_MINUTE <= now_ns for k in whole]
    assert all(k.low <= min(k.open, k.close) <= max(k.open, k.close) <= k.high for k in whole)
    made = [k for k in whole if k.source != "venue"]
    # A minute without trades that a venue leaves out is a flat row of ours, which says so.
    assert all((k.source, k.volume, k.trades, k.high - k.low) == ("derived", 0, 0, 0) for k in made)
    assert bool(made) <= leaves_silence_out


def test_a_minute_is_not_final_before_the_venues_clock_passed_it(at_venue):
    async def scenario(desk):
        flags = []
        await desk.clock.sleep(60 - (desk.clock.now_ns() % NS_PER_MINUTE) / NS_PER_S - 3)
        minute = desk.clock.now_ns() // NS_PER_MINUTE * NS_PER_MINUTE
        for _ in range(12):
            (kline,) = await desk.connector.fetch_kdata(desk.pair, "1m", since=minute, limit=1)
            flags.append((desk.clock.now_ns() >= minute + NS_PER_MINUTE, kline.final, kline))
            await desk.clock.sleep(0.5)
        return flags

    flags = at_venue.run(scenario)
    assert not any(final and not past for past, final, _ in flags)
    finals = [kline for _, final, kline in flags if final]
    assert finals
    assert all(kline == finals[0] for kline in finals)


def test_no_minute_is_final_while_the_venues_clock_stands_still(at_venue):
    """A recording's clock stands at its last frame; ours goes on, or is set."""

    async def scenario(desk):
        await desk.clock.sleep(60 - (desk.clock.now_ns() % NS_PER_MINUTE) / NS_PER_S - 20)
        minute = desk.clock.now_ns() // NS_PER_MINUTE * NS_PER_MINUTE
        await desk.connector.fetch_kdata(desk.pair, "1m", since=minute, limit=1)
        finals = []
        for _ in range(4):
            desk.faults.skew(desk.faults.skew_ns / NS_PER_S - 30)
            await desk.clock.sleep(30)
            finals += [k.final for k in await desk.connector.fetch_kdata(desk.pair, "1m", since=minute, limit=1)]
        return finals

    finals = at_venue.run(scenario)
    assert True not in finals


def test_streamed_klines_close_once_and_equal_the_rows_of_rest(at_venue):
    if not claims_native(at_venue, "spot", "stream.klines.1m"):
        pytest.skip(f"{at_venue.name} streams no klines of a minute")

    async def scenario(desk):
        stream = await desk.connector.open_stream([Subscription(desk.pair, "kline", Interval.MIN_1)])
        closed: list[Kline] = []
        while len(closed) < 4:
            closed += [k for k in await stream.receive() if isinstance(k, Kline) and k.final]
        await stream.close()
        await desk.clock.sleep(2)
        rows = await desk.connector.fetch_kdata(desk.pair, "1m", since=closed[0].open_ns, until=closed[-1].open_ns + 1)
        return closed, rows

    closed, rows = at_venue.run(scenario)
    assert len({k.open_ns for k in closed}) == len(closed)

    def values(k):
        return (k.open_ns, k.open, k.high, k.low, k.close, k.volume, k.turnover, k.trades)

    assert [values(k) for k in closed] == [values(k) for k in rows]
    assert all(k.final for k in rows)


# ── Trades ──


@pytest.mark.parametrize("which", ["pair", "perp"])
def test_streamed_trades_equal_the_rows_of_rest_by_id_and_by_time(at_venue, which):
    async def scenario(desk):
        symbol = getattr(desk, which)
        kind = desk.connector.trade_stream(symbol)
        stream = await desk.connector.open_stream([Subscription(symbol, kind)])
        seen: list[Trade] = []
        while len(seen) < many:
            seen += await stream.receive()
        await stream.close()
        by_time = await desk.connector.fetch_trades(symbol, seen[0].event_ns, until=seen[-1].event_ns)
        if not has_ids:
            return kind, seen, seen, by_time
        first, last = int(seen[0].trade_id), int(seen[-1].trade_id)
        return kind, seen, await desk.connector.fetch_trades(symbol, from_id=first, to_id=last), by_time

    market = "spot" if which == "pair" else "perp"
    has_ids = claims_native(at_venue, market, "trades.by_id")
    newest = CAPABILITIES[at_venue.name][market]["trades.since"].newest
    many = 1_200 if newest is None else newest * 4 // 5  # nearly all that can be had
    kind, seen, by_id, by_time = at_venue.run(scenario)

    def values(trade):
        return (trade.trade_id, trade.stream, trade.price, trade.quantity, trade.side, trade.event_ns)

    if has_ids:
        ids = [int(t.trade_id) for t in seen]
        assert ids == list(range(ids[0], ids[-1] + 1))
    assert len({t.trade_id for t in seen}) == len(seen)
    assert {t.stream for t in seen} == {kind}
    assert [values(t) for t in by_id] == [values(t) for t in seen]
    assert {values(t) for t in seen if seen[0].event_ns <= t.event_ns < seen[-1].event_ns} <= {values(t) for t in by_time}


def test_klines_agree_with_their_trades(at_venue):
    async def fetched(desk):
        await desk.clock.sleep(125)
        minute = (desk.clock.now_ns() // NS_PER_MINUTE - 1) * NS_PER_MINUTE
        return minute, await desk.connector.fetch_trades(desk.pair, minute, until=minute + NS_PER_MINUTE)

    async def streamed(desk):
        minute = (desk.clock.now_ns() // NS_PER_MINUTE + 1) * NS_PER_MINUTE
        stream = await desk.connector.open_stream([Subscription(desk.pair, "trade")])
        trades: list[Trade] = []
        while not trades or trades[-1].event_ns < minute + NS_PER_MINUTE:
            trades += await stream.receive()
        await stream.close()
        return minute, [t for t in trades if minute <= t.event_ns < minute + NS_PER_MINUTE]

    async def scenario(desk):
        # A minute's trades by REST, or from the stream where only the newest few can be asked for.
        few = CAPABILITIES[at_venue.name]["spot"]["trades.since"].newest is not None
        minute, trades = await (streamed if few else fetched)(desk)
        await desk.clock.sleep(2)
        (kline,) = await desk.connector.fetch_kdata(desk.pair, "1m", since=minute, limit=1)
        return trades, kline

    trades, kline = at_venue.run(scenario)
    assert trades
    assert (trades[0].price, trades[-1].price) == (kline.open, kline.close)
    assert (max(t.price for t in trades), min(t.price for t in trades)) == (kline.high, kline.low)
    assert sum(t.quantity for t in trades) == pytest.approx(kline.volume, rel=1e-12)


# ── Books ──


async def compared(desk, stream, instrument: str, book: Book, times: int) -> int:
    """Follow the stream; each time our book stands at the exchange's own update, they must be equal."""
    equal = 0
    for _ in range(3_000):
        for event in await stream.receive():
            if getattr(event, "instrument", None) == instrument:
                book.apply_event(event)
        last_id, bids, asks = desk.true_book(instrument, 20)
        if book.is_valid and book.last_id == last_id:
            ours = book.top(20)
            assert [list(side) for side in ours] == [bids, asks]
            equal += 1
            if equal == times:
                return equal
    return equal


@pytest.mark.parametrize("which", ["pair", "perp"])
def test_the_streamed_book_is_the_exchanges_own(at_venue, which):
    async def scenario(desk):
        instrument = getattr(desk, which)
        stream = await desk.connector.open_stream([Subscription(instrument, "depth")])
        return await compared(desk, stream, instrument, Book(instrument), 50)

    assert at_venue.run(scenario) == 50


@pytest.mark.parametrize("which", ["pair", "perp"])
def test_a_lost_update_shows_on_the_next_message_and_the_book_comes_back(at_venue, which):
    async def scenario(desk):
        instrument = getattr(desk, which)
        stream = await desk.connector.open_stream([Subscription(instrument, "depth")])
        book = Book(instrument)
        await compared(desk, stream, instrument, book, 5)
        desk.faults.drop_frame(desk.is_update)
        kinds = []
        while BookStale not in kinds or BookSnapshot not in kinds:
            try:
                events = await stream.receive()
            except Disconnected:  # what a venue does that proves its books by the connection: only a new one can be whole
                await stream.close()
                stream = await desk.connector.open_stream([Subscription(instrument, "depth")])
                continue
            for event in events:
                if desk.dialect.faults.dropped:
                    kinds.append(type(event))
                book.apply_event(event)
        return kinds, await compared(desk, stream, instrument, book, 20)

    kinds, equal = at_venue.run(scenario)
    # The first message after the lost one is the one that tells: nothing was applied in between.
    assert kinds[0] is BookStale
    assert kinds[1] is BookSnapshot
    assert set(kinds[2:]) <= {BookDelta}
    assert equal == 20


def test_a_book_by_rest_is_as_deep_as_asked(at_venue):
    async def scenario(desk):
        book = await desk.connector.get_order_book(desk.pair, depth=7)
        return book, desk.true_book(desk.pair, 7)

    book, (_, bids, asks) = at_venue.run(scenario)
    assert (len(book.bids), len(book.asks)) == (7, 7)
    assert book.bids[0][0] < book.asks[0][0]
    assert [price for price, _ in book.bids] == sorted((price for price, _ in book.bids), reverse=True)
    assert {price for price, _ in bids} & {price for price, _ in book.bids}
    assert asks


# ── Connections ──


def test_a_cut_is_a_disconnect_after_stale_books_and_a_new_connection_goes_on(at_venue):
    async def scenario(desk):
        depth, trades = Subscription(desk.pair, "depth"), Subscription(desk.pair, "trade")
        # One connection where the venue has both on one, else that of the books.
        (wanted,) = [route for route in desk.connector.routes([depth, trades]) if depth in route]
        stream = await desk.connector.open_stream(wanted)
        await compared(desk, stream, desk.pair, Book(desk.pair), 3)
        desk.faults.cut_all()
        events = []

        async def read_on():
            while True:
                events.extend(await stream.receive())

        with pytest.raises(Disconnected):
            await read_on()
        await stream.close()
        again = await desk.connector.open_stream(wanted)
        return events, await compared(desk, again, desk.pair, Book(desk.pair), 3)

    events, equal = at_venue.run(scenario)
    assert isinstance(events[-1], BookStale)
    assert equal == 3


def test_routes_divide_all_channels_and_each_opens(at_venue):
    async def scenario(desk):
        wanted = [Subscription(name, "depth") for name in (desk.pair, desk.other_pair, desk.perp)]
        channels = [c for c in ("mark", "ticker", "quote") if claims_native(at_venue, "perp", f"stream.{c}")]
        wanted += [Subscription(desk.perp, channel) for channel in (*channels, desk.connector.trade_stream(desk.perp))]
        lengths = [i for i in Interval if claims_native(at_venue, "spot", f"stream.klines.{i}")]
        wanted += [Subscription(desk.pair, "kline", interval) for interval in lengths]
        routes = desk.connector.routes(wanted)
        assert sorted(s for route in routes for s in route) == sorted(wanted)
        heard = set()
        for route in routes:
            stream = await desk.connector.open_stream(route)
            assert set(stream.subscriptions) == set(route)
            for _ in range(200):
                heard |= {(e.instrument, type(e).__name__) for e in await stream.receive()}
            await stream.close()
        return heard

    heard = at_venue.run(scenario)
    wanted = {"BookSnapshot", "BookDelta", "Ticker", "BestQuote", "Trade", "Kline"}
    assert {kind for _, kind in heard} >= wanted | ({"MarkPrice"} if claims_native(at_venue, "perp", "stream.mark") else set())


def test_the_three_iterators(at_venue):
    async def scenario(desk):
        seen = []
        for events in (
            desk.connector.subscribe_trades([desk.pair, desk.perp]),
            desk.connector.subscribe_kdata([desk.pair], "5m"),
            desk.connector.subscribe_order_book([desk.perp]),
        ):
            async for event in events:
                seen.append(event)
                break
            await events.aclose()
        return seen, len(desk.dialect.sessions)

    seen, open_sessions = at_venue.run(scenario)
    assert [type(event) for event in seen] == [Trade, Kline, BookSnapshot]
    assert open_sessions == 0


@pytest.mark.parametrize("channel", ["trade", "depth"])
@pytest.mark.parametrize("ahead_s", [5, 7_200])
def test_clocks_may_differ_by_seconds_and_a_time_that_has_not_come_is_refused(at_venue, ahead_s, channel):
    async def scenario(desk):
        desk.faults.skew(ahead_s)
        events, ended = [], ""

        async def read_on():
            stream = await desk.connector.open_stream([Subscription(desk.pair, channel)])
            until_ns = desk.clock.now_ns() + 20 * NS_PER_S
            try:
                while desk.clock.now_ns() < until_ns:
                    events.extend(await stream.receive())
            finally:
                await stream.close()

        if ahead_s > 600:
            with pytest.raises(Disconnected, match="s ahead of our clock") as error:
                await read_on()
            ended = str(error.value)
        else:
            await read_on()
        return events, ended, desk.notes.counts.get("venue_malformed", 0)

    events, ended, refused = at_venue.run(scenario)
    if ahead_s > 600:
        assert not any(isinstance(event, Trade | BookSnapshot | BookDelta) for event in events)
        # A connection that cannot bring a book back is of no use from the first doubt on; others are given twenty.
        assert refused >= (1 if "only a new connection brings" in ended else 20)
    else:
        assert any(isinstance(event, Trade | BookDelta) for event in events)
        assert refused == 0


# ── Fates and wrong calls ──


@pytest.mark.parametrize(
    ("status", "kind"), [(429, Throttled), (418, Banned), (451, GeoBlocked), (502, Unreachable), (503, None), (400, Refused)]
)
def test_what_the_venue_answers_has_its_fate(at_venue, status, kind):
    async def scenario(desk):
        desk.faults.http(status, times=1, body=b'{"code":-1100,"msg":"no"}' if status == 400 else None)
        with pytest.raises(kind or desk.unavailable) as error:
            await desk.connector.fetch_ticker(desk.pair)
        return error.value, kind or desk.unavailable

    error, wanted = at_venue.run(scenario)
    assert type(error) is wanted
    assert str(status) in str(error)


def test_after_a_throttle_the_same_works_once_the_wait_is_over(at_venue):
    async def scenario(desk):
        desk.faults.http(429, headers={"Retry-After": "3"})
        with pytest.raises(Throttled) as error:
            await desk.connector.fetch_ticker(desk.pair)
        before = desk.clock.now_ns()
        ticker = await desk.connector.fetch_ticker(desk.pair)  # the budget sits the rest of the wait out
        return error.value.wait_ms, desk.clock.now_ns() - before, ticker.price

    wait_ms, waited_ns, price = at_venue.run(scenario)
    assert wait_ms == 3_000
    assert waited_ns >= 3 * NS_PER_S
    assert price > 0


def test_a_heavy_backfill_is_never_throttled_and_uses_the_budget(at_venue):
    async def scenario(desk):
        before, rows = desk.clock.now_ns(), 0
        for _ in range(150):
            rows += len(await desk.connector.fetch_trades(desk.perp, limit=1_000))
        return rows, (desk.clock.now_ns() - before) / NS_PER_MINUTE, desk

    rows, minutes, desk = at_venue.run(scenario)
    assert "venue_errors" not in desk.notes.counts
    assert rows
    least, most = desk.heavy_minutes
    assert least < minutes < most


def test_wrong_calls_are_named(at_venue):
    async def scenario(desk):
        asked = desk.dialect.requests
        for call, error in (
            (desk.connector.fetch_kdata("nope", "1m"), UnknownSymbol),
            (desk.connector.fetch_kdata(desk.pair, "9m"), UnknownInterval),
            (desk.connector.fetch_kdata(desk.pair, "1m", limit=-1), OutOfRange),
            (desk.connector.get_order_book(desk.pair, 0), OutOfRange),
            (desk.connector.fetch_funding(desk.pair), Unsupported),
        ):
            with pytest.raises(error):
                await call
        return desk.dialect.requests - asked

    assert at_venue.run(scenario) == 0


def test_arguments_of_a_wrong_kind_are_bad_input_that_names_them(at_venue):
    async def scenario(desk):
        asked, venue = desk.dialect.requests, desk.connector
        for call, named in (
            (lambda: venue.fetch_trades(desk.pair, stream="zzz"), "stream 'zzz'"),
            (lambda: venue.fetch_trades(desk.pair, limit="x"), "limit 'x'"),
            (lambda: venue.fetch_kdata(desk.pair, "1m", limit=1.5), "limit '1.5'"),
            (lambda: venue.get_order_book(desk.pair, "x"), "depth 'x'"),
            (lambda: venue.get_order_book(desk.pair, None), "depth 'None'"),
            (lambda: venue.get_order_book(desk.pair, True), "depth 'True'"),
            (lambda: venue.fetch_ticker(5), "symbol '5'"),
        ):
            with pytest.raises(BadInput, match=named):
                await call()
        for subscribe in (venue.subscribe_trades, venue.subscribe_kdata, venue.subscribe_order_book):
            for symbols, named in (([], "symbols '\\[\\]'"), (None, "symbols 'None'"), (desk.pair, desk.pair), ([5], "symbol '5'")):
                with pytest.raises(BadInput, match=named):
                    subscribe(symbols)
        return desk.dialect.requests - asked

    assert at_venue.run(scenario) == 0


def test_funding_and_marks_of_a_perpetual(at_venue):
    if not claims_native(at_venue, "perp", "funding", "mark", "mark.history"):
        pytest.skip(f"{at_venue.name} has no history of funding and mark prices")

    async def scenario(desk):
        funding = await desk.connector.fetch_funding(desk.perp)
        mark = await desk.connector.fetch_mark(desk.perp)
        since = desk.clock.now_ns() - 90 * NS_PER_MINUTE
        minutes = await desk.connector.fetch_mark_kdata(desk.perp, since=since)
        return funding, mark, minutes, desk.clock.now_ns()

    funding, mark, minutes, now_ns = at_venue.run(scenario)
    assert funding == sorted(funding, key=lambda row: row.event_ns)
    assert funding
    assert mark.mark_price > 0
    assert [b.event_ns - a.event_ns for a, b in pairwise(minutes)] == [NS_PER_MINUTE] * (len(minutes) - 1)
    assert minutes[-1].event_ns <= now_ns
    assert 89 <= len(minutes) <= 90
