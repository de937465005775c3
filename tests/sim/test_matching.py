"""The matching book: price, then time; the maker's price; nothing lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zvt_crypto.sim.matching import MatchingBook


def test_better_price_is_filled_before_an_older_order() -> None:
    book = MatchingBook()
    older, _ = book.limit("sell", 102, 5)
    better, _ = book.limit("sell", 101, 5)
    _, fills = book.limit("buy", 102, 7)
    assert [(f.maker_id, f.price, f.quantity) for f in fills] == [(better, 101, 5), (older, 102, 2)]


def test_at_one_price_the_older_order_is_filled_first() -> None:
    book = MatchingBook()
    first, _ = book.limit("buy", 100, 3)
    second, _ = book.limit("buy", 100, 3)
    _, fills = book.market("sell", 4)
    assert [(f.maker_id, f.quantity) for f in fills] == [(first, 3), (second, 1)]
    assert book.quantity_of(first) == 0
    assert book.quantity_of(second) == 2


def test_the_makers_price_holds() -> None:
    book = MatchingBook()
    book.limit("sell", 100, 1)
    _, fills = book.limit("buy", 150, 1)
    assert fills[0].price == 100


def test_a_limit_order_rests_with_what_is_left() -> None:
    book = MatchingBook()
    book.limit("sell", 100, 2)
    order, fills = book.limit("buy", 100, 5)
    assert sum(f.quantity for f in fills) == 2
    assert book.top("buy", 5) == [(100, 3)]
    assert book.best("sell") is None
    assert book.quantity_of(order) == 3


def test_a_market_order_that_finds_nobody_leaves_nothing() -> None:
    book = MatchingBook()
    _, fills = book.market("buy", 5)
    assert fills == []
    assert len(book) == 0


def test_cancel_returns_what_was_left_and_only_once() -> None:
    book = MatchingBook()
    order, _ = book.limit("buy", 100, 5)
    book.market("sell", 2)
    assert book.cancel(order) == 3
    assert book.cancel(order) == 0
    assert book.best("buy") is None


def test_trade_ids_count_up_from_the_given_one() -> None:
    book = MatchingBook(first_trade_id=77)
    book.limit("sell", 100, 1)
    book.limit("sell", 101, 1)
    _, fills = book.market("buy", 2)
    assert [f.trade_id for f in fills] == [77, 78]


def test_every_touched_level_is_reported_in_order() -> None:
    book = MatchingBook()
    book.limit("sell", 100, 1)
    book.limit("buy", 101, 2)
    assert book.changes == [("sell", 100), ("sell", 100), ("buy", 101)]


@pytest.mark.parametrize("quantity", [0, -1])
def test_an_order_without_quantity_is_the_callers_mistake(quantity: int) -> None:
    with pytest.raises(AssertionError):
        MatchingBook().limit("buy", 100, quantity)


ORDERS = st.lists(
    st.tuples(st.sampled_from(["buy", "sell"]), st.integers(95, 105), st.integers(1, 9), st.sampled_from("lllmc")), max_size=80
)


@given(ORDERS)
def test_the_book_never_stands_crossed_and_every_lot_is_accounted_for(orders: list[tuple[str, int, int, str]]) -> None:
    book = MatchingBook()
    put_in = traded = taken_out = 0
    ids: list[int] = []
    for side, price, quantity, kind in orders:
        if kind == "c":
            taken_out += book.cancel(ids.pop(0)) if ids else 0
            continue
        order, fills = book.limit(side, price, quantity) if kind == "l" else book.market(side, quantity)  # type: ignore[arg-type]
        filled = sum(fill.quantity for fill in fills)
        traded += filled
        put_in += quantity if kind == "l" else filled
        ids.append(order)
        bid, ask = book.best("buy"), book.best("sell")
        assert bid is None or ask is None or bid < ask
    resting = sum(lots for side in ("buy", "sell") for _, lots in book.top(side, 100))  # type: ignore[arg-type]
    assert put_in == 2 * traded + taken_out + resting
