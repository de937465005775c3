"""What a list of tickers tells of one instrument. To be on a list wakes nobody: who sleeps is shown as it last was."""

from __future__ import annotations

from zvt_crypto.emulator.model import BookImage, Day, Listing, Mark, World


def listed_day(world: World, listing: Listing) -> Day | None:
    """The last 24 hours; None where nothing is known yet."""
    resting = world.resting(listing)
    return world.day(listing) if resting is None else resting.day


def listed_mark(world: World, listing: Listing) -> Mark | None:
    """Mark, index and funding."""
    resting = world.resting(listing)
    return world.mark(listing) if resting is None else resting.mark


def listed_best(world: World, listing: Listing) -> BookImage:
    """The best level of each side."""
    resting = world.resting(listing)
    return world.book(listing, 1) if resting is None else resting.best
