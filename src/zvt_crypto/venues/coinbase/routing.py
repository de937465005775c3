"""Which subscriptions share a connection. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zvt_crypto.domain.instrument import Instrument
from zvt_crypto.ports import Subscription
from zvt_crypto.venues.coinbase import spec
from zvt_crypto.venues.coinbase.symbols import family_of

Resolve = Callable[[str], Instrument]


def divided(subscriptions: Sequence[Subscription], resolve: Resolve, books_most: int) -> list[tuple[Subscription, ...]]:
    """One tuple a connection: products with books apart from those without, at most `books_most` of them together, one of a family."""
    by_product: dict[str, list[Subscription]] = {}
    for subscription in subscriptions:
        by_product.setdefault(resolve(subscription.instrument).id, []).append(subscription)
    made: list[tuple[Subscription, ...]] = []
    for has_book, most in ((True, books_most), (False, spec.PRODUCTS_MOST)):
        groups: list[dict[str, list[Subscription]]] = []  # of each connection: family → its subscriptions
        for product, wanted in by_product.items():
            if any(s.channel == "depth" for s in wanted) is not has_book:
                continue
            family = family_of(resolve(product))
            group = next((one for one in groups if len(one) < most and family not in one), None)
            if group is None:
                groups.append(group := {})
            group[family] = wanted
        made += [tuple(s for wanted in group.values() for s in wanted) for group in groups]
    return made


def is_route(subscriptions: Sequence[Subscription], resolve: Resolve, books_most: int) -> bool:
    """Whether all of them may share a connection."""
    products = {resolve(s.instrument).id for s in subscriptions}
    with_books = {resolve(s.instrument).id for s in subscriptions if s.channel == "depth"}
    families = {family_of(resolve(product)) for product in products}
    return 0 < len(products) <= spec.PRODUCTS_MOST and len(with_books) <= books_most and len(families) == len(products)
