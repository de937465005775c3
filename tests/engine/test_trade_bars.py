"""TradeBars: minutes from trades, final only on evidence."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.domain.market import Kline, Trade, TradeStream
from zvt_crypto.domain.time import NS_PER_DAY, NS_PER_MINUTE, NS_PER_MS, NS_PER_S, Interval
from zvt_crypto.engine.bars import MAX_SILENCE_NS, TradeBars, klines_from_trades

START = 1_700_000_040 * NS_PER_S  # 2023-11-14T22:14:00Z, a whole minute
Brief = tuple[int, float, float, float, float, float, bool]


def trade(number: int | str, at_s: float, price: float = 10.0, quantity: float = 1.0, stream: TradeStream = "trade") -> Trade:
    """A trade `at_s` seconds after START."""
    event_ns = START + round(at_s * 1_000) * NS_PER_MS
    return Trade("x", stream, str(number), price, quantity, "buy", event_ns, event_ns + 1)


def brief(kline: Kline) -> Brief:
    """(minute since START, open, high, low, close, volume, final)."""
    minute = (kline.open_ns - START) // NS_PER_MINUTE
    return minute, kline.open, kline.high, kline.low, kline.close, kline.volume, kline.final


def fed(bars: TradeBars, *trades: Trade) -> list[Brief]:
    return [brief(kline) for each in trades for kline in bars.on_trade(each)]


def test_knows_nothing_before_the_first_trade() -> None:
    assert TradeBars("x").forming is None
    assert klines_from_trades([]) == []


def test_sums_a_minute_and_shows_it_while_it_forms() -> None:
    bars = TradeBars("x")
    assert fed(bars, trade(1, -1), trade(2, 0, 10.0, 1.0)) == [(-1, 10.0, 10.0, 10.0, 10.0, 1.0, False)]
    assert fed(bars, trade(3, 1, 12.0, 0.5), trade(4, 2, 9.0, 0.25), trade(5, 59.999, 11.0, 2.0)) == []
    forming = bars.forming
    assert forming is not None
    assert brief(forming) == (0, 10.0, 12.0, 9.0, 11.0, 3.75, False)
    assert (forming.interval, forming.source, forming.trades) == (Interval.MIN_1, "trades", 4)
    assert forming.turnover == 10.0 + 6.0 + 2.25 + 22.0
    assert (forming.event_ns, forming.recv_ns) == (START + 59_999 * NS_PER_MS, START + 59_999 * NS_PER_MS + 1)


def test_is_final_when_the_run_began_before_the_open_and_a_later_trade_passed_the_close() -> None:
    bars = TradeBars("x")
    fed(bars, trade(1, -0.001), trade(2, 30))
    closed = bars.on_trade(trade(3, 60))
    assert [brief(kline) for kline in closed] == [(0, 10.0, 10.0, 10.0, 10.0, 1.0, True)]
    assert closed[0].event_ns == START + 60 * NS_PER_S  # the trade that is the evidence


def test_a_first_partial_minute_is_not_final() -> None:
    assert fed(TradeBars("x"), trade(1, 10), trade(2, 60)) == [(0, 10.0, 10.0, 10.0, 10.0, 1.0, False)]


def test_a_first_trade_at_the_very_open_is_no_evidence_that_none_came_before_it_in_that_instant() -> None:
    assert fed(TradeBars("x"), trade(1, 0), trade(2, 60)) == [(0, 10.0, 10.0, 10.0, 10.0, 1.0, False)]


def test_a_first_minute_is_final_when_the_run_is_said_to_be_complete_from_its_open() -> None:
    bars = TradeBars("x", complete_from_ns=START)
    assert fed(bars, trade(1, 10), trade(2, 60)) == [(0, 10.0, 10.0, 10.0, 10.0, 1.0, True)]
    late = TradeBars("x", complete_from_ns=START + 1)
    assert fed(late, trade(1, 10), trade(2, 60)) == [(0, 10.0, 10.0, 10.0, 10.0, 1.0, False)]


def test_minutes_without_trades_inside_the_run_are_flat_and_final() -> None:
    bars = TradeBars("x")
    fed(bars, trade(1, -5), trade(2, 5, 12.0))
    made = bars.on_trade(trade(3, 185, 15.0))
    assert [brief(kline) for kline in made] == [
        (0, 12.0, 12.0, 12.0, 12.0, 1.0, True),
        (1, 12.0, 12.0, 12.0, 12.0, 0.0, True),
        (2, 12.0, 12.0, 12.0, 12.0, 0.0, True),
    ]
    assert [(kline.turnover, kline.trades) for kline in made[1:]] == [(0.0, 0), (0.0, 0)]


def test_an_id_jump_leaves_the_minutes_it_touches_not_final_and_makes_nothing_between() -> None:
    bars = TradeBars("x")
    assert fed(bars, trade(1, -5), trade(2, 5), trade(4, 185), trade(5, 245), trade(6, 305)) == [
        (-1, 10.0, 10.0, 10.0, 10.0, 1.0, False),
        (0, 10.0, 10.0, 10.0, 10.0, 1.0, False),
        (3, 10.0, 10.0, 10.0, 10.0, 1.0, False),
        (4, 10.0, 10.0, 10.0, 10.0, 1.0, True),
    ]


def test_an_id_jump_inside_a_minute_leaves_that_one_alone_not_final() -> None:
    bars = TradeBars("x")
    made = fed(bars, trade(1, -5), trade(2, 5), trade(4, 6), trade(5, 65), trade(6, 125))
    assert [(minute, final) for minute, *_, final in made] == [(-1, False), (0, False), (1, True)]


def test_a_hole_filled_later_makes_the_same_minutes_final_anew() -> None:
    stored = [trade(1, -5), trade(2, 5), trade(3, 70), trade(4, 185), trade(5, 245)]
    assert [brief(kline)[6] for kline in klines_from_trades(stored)] == [False, True, True, True, True, False]


def test_trades_given_again_change_nothing() -> None:
    bars = TradeBars("x")
    fed(bars, trade(1, -5), trade(2, 5))
    before = bars.forming
    assert fed(bars, trade(2, 5), trade(1, -5)) == []
    assert bars.forming == before


def test_a_stream_that_leaves_ids_out_is_unbroken_until_told() -> None:
    bars = TradeBars("x", continuity="increasing")
    assert [b[6] for b in fed(bars, trade(1, -5), trade(5, 5), trade(9, 65))] == [False, True]
    bars.on_gap()
    assert fed(bars, trade(12, 70), trade(13, 125), trade(20, 185)) == [
        (1, 10.0, 10.0, 10.0, 10.0, 2.0, False),
        (2, 10.0, 10.0, 10.0, 10.0, 1.0, True),
    ]


def test_ids_that_are_no_numbers_need_a_stream_that_is_opaque() -> None:
    bars = TradeBars("x", continuity="opaque")
    assert [b[6] for b in fed(bars, trade("7b0c-a", -5), trade("11aa-b", 5), trade("0f-c", 65))] == [False, True]
    for continuity in ("dense", "increasing"):
        with pytest.raises(AssertionError, match=f"7b0c-a.*{continuity}"):
            TradeBars("x", continuity=continuity).on_trade(trade("7b0c-a", 1))


def test_numbers_without_an_order_are_no_repeats_of_one_another() -> None:
    bars = TradeBars("x", continuity="opaque")
    assert [b[5:] for b in fed(bars, trade(9, -5), trade(3, 5), trade(7, 6), trade(1, 65))] == [(1.0, False), (2.0, True)]


def test_a_gap_that_lies_behind_what_was_given_is_ignored() -> None:
    bars = TradeBars("x")
    fed(bars, trade(10, -5), trade(11, 5))
    bars.on_gap(3, 9)
    assert fed(bars, trade(12, 65)) == [(0, 10.0, 10.0, 10.0, 10.0, 1.0, True)]
    bars.on_gap(13, 20)
    assert fed(bars, trade(21, 125)) == [(1, 10.0, 10.0, 10.0, 10.0, 1.0, False)]


def test_a_trade_timed_into_the_minute_closed_last_gives_that_minute_again() -> None:
    bars = TradeBars("x")
    fed(bars, trade(1, -5), trade(2, 5), trade(3, 60, 11.0))
    assert fed(bars, trade(4, 59.999, 13.0)) == [(0, 10.0, 13.0, 10.0, 13.0, 2.0, True)]
    assert fed(bars, trade(5, 61, 12.0), trade(6, 120)) == [(1, 11.0, 12.0, 11.0, 12.0, 2.0, True)]


def test_a_trade_timed_into_a_flat_minute_opens_it() -> None:
    bars = TradeBars("x")
    fed(bars, trade(1, -5), trade(2, 5), trade(3, 120, 11.0))
    assert fed(bars, trade(4, 119, 13.0)) == [(1, 13.0, 13.0, 13.0, 13.0, 1.0, True)]


def test_a_trade_timed_further_back_is_counted_and_in_no_kline() -> None:
    bars = TradeBars("x")
    fed(bars, trade(1, -5), trade(2, 5), trade(3, 120, 11.0))
    assert fed(bars, trade(4, 6)) == []
    assert bars.misplaced == 1


def test_a_hole_that_ends_back_in_time_reaches_up_to_the_newest_trade() -> None:
    bars = TradeBars("x")
    fed(bars, trade(1, -5), trade(2, 5), trade(3, 65))
    assert fed(bars, trade(9, 59)) == [(0, 10.0, 10.0, 10.0, 10.0, 2.0, False)]
    assert [b[6] for b in fed(bars, trade(10, 125), trade(11, 185))] == [False, True]


def test_a_silence_beyond_the_bound_is_a_hole_rather_than_a_flood_of_flat_minutes() -> None:
    bars = TradeBars("x")
    days = (MAX_SILENCE_NS + NS_PER_DAY) // NS_PER_S
    assert fed(bars, trade(1, -5), trade(2, 5), trade(3, days)) == [
        (-1, 10.0, 10.0, 10.0, 10.0, 1.0, False),
        (0, 10.0, 10.0, 10.0, 10.0, 1.0, False),
    ]


def test_agg_rows_do_not_pretend_to_count_trades() -> None:
    made = klines_from_trades([trade(i, at, stream="agg") for i, at in ((1, -5), (2, 5), (3, 125))])
    assert [kline.trades for kline in made] == [None, None, 0, None]


def test_takes_trades_of_its_own_stream_and_instrument_only() -> None:
    with pytest.raises(AssertionError):
        TradeBars("x", "trade").on_trade(trade(1, 0, stream="agg"))
    with pytest.raises(AssertionError):
        TradeBars("y").on_trade(trade(1, 0))


def test_sums_of_decimal_sizes_have_no_float_noise() -> None:
    made = klines_from_trades([trade(i, i, price=0.1, quantity=0.1) for i in range(1, 11)])
    assert (made[-1].volume, made[-1].turnover) == (1.0, 0.1)


def test_finer_digits_than_eight_can_be_asked_for() -> None:
    trades = [trade(1, 1, price=2.0, quantity=3e-10), trade(2, 2, price=2.0, quantity=1e-10)]
    assert klines_from_trades(trades, decimals=12)[0].volume == 4e-10


_TRADES = st.lists(
    st.tuples(
        st.sampled_from([0, 0, 1, 400, 9_000, 61_000, 200_000]),  # ms since the trade before
        st.integers(1, 10**7),  # price in 0.01
        st.integers(1, 10**9),  # quantity in 0.00001
    ),
    min_size=1,
    max_size=40,
)


def made_trades(rows: list[tuple[int, int, int]]) -> list[Trade]:
    trades, at_ns = [], START + 7 * NS_PER_S
    for number, (wait_ms, ticks, lots) in enumerate(rows, 100):
        at_ns += wait_ms * NS_PER_MS
        trades.append(Trade("x", "trade", str(number), ticks / 100, lots / 100_000, "buy", at_ns))
    return trades


def by_hand(rows: list[tuple[int, int, int]]) -> list[tuple[int, Decimal, Decimal, Decimal, Decimal, Decimal, Decimal, int]]:
    """Minutes in exact decimals: grouped by time, gaps filled with the close before."""
    groups: dict[int, list[tuple[Decimal, Decimal]]] = defaultdict(list)
    at_ms = 7_000
    for wait_ms, ticks, lots in rows:
        at_ms += wait_ms
        groups[at_ms // 60_000].append((Decimal(ticks).scaleb(-2), Decimal(lots).scaleb(-5)))
    made, close, nothing = [], Decimal(0), Decimal(0)
    for minute in range(min(groups), max(groups) + 1):
        prices = [p for p, _ in groups[minute]] if minute in groups else [close]
        group = groups.get(minute, [])
        close = prices[-1]
        volume, turnover = sum((q for _, q in group), nothing), sum((p * q for p, q in group), nothing)
        made.append((minute, prices[0], max(prices), min(prices), close, volume, turnover, len(group)))
    return made


@given(_TRADES)
def test_minutes_equal_those_worked_out_in_decimals_to_the_last_digit(rows: list[tuple[int, int, int]]) -> None:
    made = klines_from_trades(made_trades(rows))
    expected = by_hand(rows)
    assert [(brief(kline)[:6], kline.turnover, kline.trades) for kline in made] == [
        ((minute, *(float(x) for x in numbers)), float(turnover), count) for minute, *numbers, turnover, count in expected
    ]
    assert sum(Decimal(repr(kline.volume)) for kline in made) == sum(Decimal(lots).scaleb(-5) for _, _, lots in rows)
    assert [kline.final for kline in made] == [0 < i < len(made) - 1 for i in range(len(made))]


@given(_TRADES, st.data())
def test_started_anew_at_any_trade_from_what_is_stored_gives_the_same_klines(rows: list[tuple[int, int, int]], data: st.DataObject) -> None:
    trades = made_trades(rows)
    whole = {kline.open_ns: kline for kline in klines_from_trades(trades)}
    cut = data.draw(st.integers(0, len(trades) - 1))
    bars = TradeBars("x")
    until = [kline for each in trades[:cut] for kline in bars.on_trade(each)]
    forming = bars.forming
    # What is stored since the open of the minute that was not final, and one trade before it; some of it is delivered twice.
    open_ns = forming.open_ns if forming is not None else 0
    first = next((i for i, each in enumerate(trades) if each.event_ns >= open_ns), 0)
    begin = max(0, first - 1)
    again = data.draw(st.integers(0, cut))
    after = klines_from_trades([*trades[begin:cut], *trades[again:cut], *trades[cut:]])
    made = {kline.open_ns: kline for kline in until} | {kline.open_ns: kline for kline in after if kline.open_ns >= open_ns}
    assert made == whole


@given(_TRADES, st.data())
def test_any_trade_lost_leaves_no_final_kline_that_differs(rows: list[tuple[int, int, int]], data: st.DataObject) -> None:
    trades = made_trades(rows)
    whole = {kline.open_ns: kline for kline in klines_from_trades(trades)}
    lost = data.draw(st.sets(st.integers(0, len(trades) - 1)))
    kept = [each for i, each in enumerate(trades) if i not in lost]
    for kline in klines_from_trades(kept):
        if kline.final:
            assert brief(kline) == brief(whole[kline.open_ns])


def test_a_span_that_lacks_trades_is_in_no_final_minute_whatever_trades_of_it_are_there() -> None:
    bars = TradeBars("x", continuity="opaque")
    bars.on_missing(START + 70 * NS_PER_S, START + 400 * NS_PER_S)
    made = fed(bars, *(trade(f"a{at_s}", at_s) for at_s in (-5, 5, 65, 75, 130, 395, 405, 425, 490, 610)))
    # -1 was come into; from 1 to 6 (up to 400 s) something is missing; 7 to 9 are whole again, 9 without trades
    assert [minute for minute, *_, final in made if final] == [0, 7, 8, 9]


def test_what_was_told_missing_before_the_last_trade_of_before_is_no_silence_after_it() -> None:
    bars = TradeBars("x", continuity="opaque")
    fed(bars, trade("a", -5), trade("b", 5))
    bars.on_gap()
    bars.on_missing(START + 65 * NS_PER_S, START + 300 * NS_PER_S + 1)
    made = fed(bars, trade("c", 65), trade("d", 300), trade("e", 425))
    # Whether 6 was silent is known from the trade at 300 s on.
    assert [minute for minute, *_, final in made if final] == [6]
    assert bars.forms_whole
