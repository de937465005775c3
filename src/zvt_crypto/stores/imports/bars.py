"""Rows of bars: klines, and mark prices and funding rates that come in the shape of bars."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from zvt_crypto.domain.imports import Hole, Rejected
from zvt_crypto.domain.market import Funding, Kline, MarkPrice
from zvt_crypto.domain.time import EARLIEST_NS, Interval, to_rfc3339
from zvt_crypto.stores.imports.judging import NS, Judged, Rule, number_rules, raw, sift, time_rules, with_numbers
from zvt_crypto.stores.imports.reading import NUMBER
from zvt_crypto.stores.imports.seen import SeenBars, closes_ns, on_grid

PRICES = ("open", "high", "low", "close")
EXTRA = ("turnover", "trades")
CLOSE_NS = "close ns"
_ON_GRID = "on grid"


class KlineJudge:
    """Klines of one instrument and interval, over all its files."""

    needs: tuple[str, ...] = ("time", *PRICES, "volume")
    takes: tuple[str, ...] = EXTRA

    def __init__(self, instrument: str, interval: Interval, now_ns: int) -> None:
        self._instrument = instrument
        self._interval = interval
        self._now_ns = now_ns
        self._seen = SeenBars(interval)

    def judge(self, frame: pl.DataFrame, file: str) -> Judged:
        """`frame`: NUMBER, NS, and the columns that are needed, as they stand."""
        extra = [column for column in self.takes if column in frame.columns]
        frame = with_numbers(_timed(frame, self._interval), [*self.needs[1:], *extra])
        sound, rejected = sift(frame, self._rules(extra), file)
        return self._judged(sound, extra, rejected, file)

    def holes(self) -> Sequence[Hole]:
        """Bars that no file had."""
        return list(self._seen.holes())

    def _rules(self, extra: Sequence[str]) -> list[Rule]:
        low, high = pl.col("low"), pl.col("high")
        within = [Rule((pl.col(c) < low) | (pl.col(c) > high), raw(c), f"{c} is not between low and high") for c in ("open", "close")]
        rules = [
            *_bar_rules(self._interval, self._now_ns),
            *number_rules([*PRICES, "volume"]),
            *(Rule(pl.col(price) <= 0, raw(price), f"{price} is not above zero") for price in PRICES),
            Rule(high < low, raw("high"), "high is below low"),
            *within,
            Rule(pl.col("volume") < 0, raw("volume"), "volume is below zero"),
        ]
        for column in extra:
            given = pl.col(raw(column)).cast(pl.String).str.strip_chars() != ""
            rules.append(Rule(given & ~pl.col(column).is_finite().fill_null(value=False), raw(column), f"{column} is not a number"))
            rules.append(Rule(pl.col(column) < 0, raw(column), f"{column} is below zero"))
        if "trades" in extra:
            count = pl.col("trades")
            rules.append(Rule((count != count.floor()) | (count >= 2**31), raw("trades"), "trades is not a count"))
            idle = (count > 0) & (pl.col("volume") == 0)
            rules.append(Rule(idle, raw("trades"), "trades without a volume: are these mark or index prices?"))
        return rules

    def _judged(self, sound: pl.DataFrame, extra: Sequence[str], rejected: list[Rejected], file: str) -> Judged:
        said = sound.select(*PRICES, "volume", *extra)
        new, same = self._seen.add(sound[NS].to_numpy(), said.hash_rows().to_numpy())
        other = sound.filter(pl.Series(~new & ~same))
        told = "this bar came before, with other values"
        rejected += [Rejected(file, number, to_rfc3339(at_ns), told) for number, at_ns in other.select(NUMBER, NS).rows()]
        taken = sound.filter(pl.Series(new))
        return Judged(_klines(taken, self._instrument, self._interval), taken[NUMBER].to_list(), int(same.sum()), rejected)


class MarkJudge(KlineJudge):
    """Bars of a mark price: what it was at each bar's close."""

    needs = ("time", "close")
    takes = ()

    def _rules(self, extra: Sequence[str]) -> list[Rule]:
        return [
            *_bar_rules(self._interval, self._now_ns),
            *number_rules(["close"]),
            Rule(pl.col("close") <= 0, raw("close"), "close is not above zero"),
        ]

    def _judged(self, sound: pl.DataFrame, extra: Sequence[str], rejected: list[Rejected], file: str) -> Judged:
        new, same = self._seen.add(sound[NS].to_numpy(), sound.select("close").hash_rows().to_numpy())
        other = sound.filter(pl.Series(~new & ~same))
        told = "this bar came before, with another close"
        rejected += [Rejected(file, number, str(close), told) for number, close in other.select(NUMBER, raw("close")).rows()]
        taken = sound.filter(pl.Series(new))
        rows = [MarkPrice(self._instrument, at_ns, close, None, None, None) for at_ns, close in taken.select(CLOSE_NS, "close").rows()]
        return Judged(rows, taken[NUMBER].to_list(), int(same.sum()), rejected)


class FundingJudge:
    """Funding rates of one instrument: few, so that all of them are kept in mind."""

    needs: tuple[str, ...] = ("time", "rate")
    takes: tuple[str, ...] = ()

    def __init__(self, instrument: str, now_ns: int) -> None:
        self._instrument = instrument
        self._now_ns = now_ns
        self._seen: dict[int, float] = {}

    def judge(self, frame: pl.DataFrame, file: str) -> Judged:
        """As KlineJudge."""
        rules = [*time_rules(EARLIEST_NS, self._now_ns, "funding of a time that has not come"), *number_rules(["rate"])]
        rules.append(Rule(pl.col("rate").abs() >= 1, raw("rate"), "rate is no fraction of the notional"))
        sound, rejected = sift(with_numbers(frame, ["rate"]), rules, file)
        rows: list[Funding] = []
        numbers: list[int] = []
        repeated = 0
        for number, at_ns, rate in sound.select(NUMBER, NS, "rate").rows():
            held = self._seen.get(at_ns)
            if held is None:
                self._seen[at_ns] = rate
                rows.append(Funding(self._instrument, at_ns, rate))
                numbers.append(number)
            elif held == rate:
                repeated += 1
            else:
                rejected.append(Rejected(file, number, str(rate), "this time came before, with another rate"))
        return Judged(rows, numbers, repeated, rejected)

    def holes(self) -> Sequence[Hole]:
        """Nobody can tell: funding intervals change."""
        return []


def _timed(frame: pl.DataFrame, interval: Interval) -> pl.DataFrame:
    opens = frame[NS].fill_null(0).to_numpy()
    return frame.with_columns(pl.Series(CLOSE_NS, closes_ns(interval, opens)), pl.Series(_ON_GRID, on_grid(interval, opens)))


def _bar_rules(interval: Interval, now_ns: int) -> list[Rule]:
    return [
        *time_rules(EARLIEST_NS, now_ns, "opens later than now"),
        Rule(~pl.col(_ON_GRID), "time", f"is no open of {interval}"),
        Rule(pl.col(CLOSE_NS) > now_ns, "time", "is still forming: it closes later than now"),
    ]


def _klines(taken: pl.DataFrame, instrument: str, interval: Interval) -> list[Kline]:
    turnover = taken["turnover"].to_list() if "turnover" in taken.columns else [None] * taken.height
    trades = taken["trades"].cast(pl.Int64).to_list() if "trades" in taken.columns else [None] * taken.height
    columns = [taken[name].to_list() for name in (NS, *PRICES, "volume")]
    return [
        Kline(instrument, interval, at, o, h, low, c, v, quote, count, True, "import")
        for at, o, h, low, c, v, quote, count in zip(*columns, turnover, trades, strict=True)
    ]
