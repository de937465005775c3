"""Files of one series as batches of sound rows: opened, laid out, judged."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import polars as pl

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.imports import Hole, ImportBatch, Rejected
from zvt_crypto.stores.imports.arrays import ArrayReader
from zvt_crypto.stores.imports.bars import FundingJudge, KlineJudge, MarkJudge
from zvt_crypto.stores.imports.delimited import CsvReader, Naming
from zvt_crypto.stores.imports.judging import NS, Judged
from zvt_crypto.stores.imports.layouts import ALIASES, FREQTRADE_ORDER, ImportOptions, Source
from zvt_crypto.stores.imports.prints import TradeJudge
from zvt_crypto.stores.imports.reading import NUMBER, RowReader
from zvt_crypto.stores.imports.tables import TableReader
from zvt_crypto.stores.imports.times import to_ns
from zvt_crypto.stores.imports.wrapped import Member, check_whole, members_of

ROWS = 50_000  # of a batch: some 20 MB while it is read, judged and stored


class Judge(Protocol):
    """What knows a series: which columns its files must and may have, and which of their rows are sound."""

    needs: tuple[str, ...]
    takes: tuple[str, ...]

    def judge(self, frame: pl.DataFrame, file: str) -> Judged: ...

    def holes(self) -> Sequence[Hole]: ...


class Series:
    """All files of one instrument and noun (and interval, or id space), in the order of their names."""

    def __init__(self, instrument: str, source: Source, options: ImportOptions, now_ns: int) -> None:
        self.instrument = instrument
        self.noun = source.noun
        self.interval = source.interval
        self.stream = source.stream
        self._options = options
        self._judge = _judge_of(instrument, source, now_ns)

    def batches(self, source: Source, rows: int = ROWS) -> Iterator[ImportBatch]:
        """Of one of its files. Raises BadInput, naming the file, where it cannot be read (on)."""
        check_whole(source.path)
        for member in members_of(source.path):
            for batch in _reader(member, source, self._options).batches(rows):
                judged = self._judge.judge(self._laid_out(batch.frame, source, member.label), member.label)
                broken = [Rejected(member.label, b.number, b.value, b.reason) for b in batch.broken]
                read = batch.frame.height + len(broken)
                yield ImportBatch(member.label, judged.rows, judged.numbers, read, judged.repeated, [*broken, *judged.rejected])

    def holes(self) -> Sequence[Hole]:
        """What its files lack, once all were read."""
        return self._judge.holes()

    def _laid_out(self, frame: pl.DataFrame, source: Source, label: str) -> pl.DataFrame:
        chosen = _columns(frame, source, self._options, self._judge, label)
        for theirs in chosen.values():
            if (kind := frame.schema[theirs]).is_nested() or kind in (pl.Binary, pl.Object):
                raise BadInput(f"{label}: column {shown(theirs)} is of type {kind}, which holds neither numbers nor times")
        picked = frame.select(NUMBER, *(pl.col(theirs).alias(ours) for ours, theirs in chosen.items()))
        try:
            return picked.with_columns(to_ns(picked["time"], self._options.time).alias(NS))
        except BadInput as error:
            raise BadInput(f"{label}: {error}") from None


def _judge_of(instrument: str, source: Source, now_ns: int) -> Judge:
    if source.noun == "trades":
        return TradeJudge(instrument, source.stream, now_ns, dense=source.dense)
    if source.noun == "funding":
        return FundingJudge(instrument, now_ns)
    if source.interval is None:
        raise BadInput(f"{source.path}: says of no interval")
    return (MarkJudge if source.noun == "mark" else KlineJudge)(instrument, source.interval, now_ns)


def _reader(member: Member, source: Source, options: ImportOptions) -> RowReader:
    match member.suffix:
        case ".csv" | ".txt" | ".tsv":
            return CsvReader(member.label, member.opened, _naming(member.label, source, options))
        case ".parquet":
            return TableReader(member.label, member.placed, "parquet")
        case ".feather" | ".arrow" | ".ipc":
            return TableReader(member.label, member.placed, "ipc")
        case ".json" if options.format == "freqtrade":
            return ArrayReader(member.label, member.opened, FREQTRADE_ORDER[7 if source.noun == "trades" else 6])
        case other:
            raise BadInput(f"{member.label}: files of the kind {shown(other)} are not read in the format {options.format}")


def _naming(label: str, source: Source, options: ImportOptions) -> Naming | None:
    """How a CSV's columns are named, where its header does not say."""
    positions = source.positions
    if positions is not None:

        def by_count(count: int) -> Sequence[str]:
            if count not in positions:
                raise BadInput(f"{label}: has {count} columns; {source.noun} have {' or '.join(map(str, positions))}")
            return positions[count]

        return by_count
    if options.columns and all(name.isdigit() for name in options.columns.values()):
        return lambda count: [str(place) for place in range(1, count + 1)]
    return None


def _columns(frame: pl.DataFrame, source: Source, options: ImportOptions, judge: Judge, label: str) -> Mapping[str, str]:
    """Our word → the file's column, of what is needed and there. Raises BadInput for what is missing."""
    there = [name for name in frame.columns if name != NUMBER]
    known = source.columns if source.columns is not None else _guessed(there, source, options)
    chosen = {ours: known[ours] for ours in (*judge.needs, *judge.takes, "buyer_maker") if known.get(ours) in there}
    for ours in judge.needs:
        if ours in chosen or (ours == "side" and "buyer_maker" in chosen):
            continue
        why = f"no column {shown(known[ours])}" if ours in known else "no column is named so"
        if ours == "trade_id":
            why += "; trades are told apart by the exchange's ids, and are not taken without"
        raise BadInput(f"{label}: {ours} is missing: {why} (it has {shown(', '.join(there), 200)}); say which with --columns {ours}=…")
    return chosen


def _guessed(there: Sequence[str], source: Source, options: ImportOptions) -> dict[str, str]:
    if source.positions is not None:
        return {name: name for name in there}
    folded = {name.strip().lower().replace(" ", "_"): name for name in reversed(there)}
    made = {ours: next((folded[word] for word in words if word in folded), None) for ours, words in ALIASES.items()}
    return {ours: theirs for ours, theirs in made.items() if theirs is not None} | dict(options.columns)
