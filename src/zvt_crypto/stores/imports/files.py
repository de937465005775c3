"""Which files are meant, and which series they make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import msgspec

from zvt_crypto.domain.errors import BadInput, shown
from zvt_crypto.domain.instrument import CryptoPair, Instrument, Instruments, Kind, kind_of
from zvt_crypto.stores.imports.layouts import ImportOptions, Source, source_of, stem_of
from zvt_crypto.stores.imports.series import Series


class FileSeries(msgspec.Struct, frozen=True):
    """A series, and its files in the order in which they are read."""

    series: Series
    sources: list[Source]


class FilePlan(msgspec.Struct, frozen=True):
    """What is to be imported, and what of the named files cannot be: each with the reason."""

    series: list[FileSeries]
    failed: list[tuple[Path, str]]


def plan_files(paths: Sequence[Path], options: ImportOptions, table: Instruments, now_ns: int) -> FilePlan:
    """Files and folders (with all that is in them) as series. Raises BadInput for a path that is not there, or holds no file of rows."""
    failed: list[tuple[Path, str]] = []
    found: dict[tuple[object, ...], FileSeries] = {}
    named: dict[str, Path] = {}
    for path in dict.fromkeys(_files(paths)):
        try:
            source = source_of(path, options)
            if options.symbol is not None and len(named | {source.named: path}) > 1:
                raise BadInput(f"{path}: --symbol names one instrument, and {next(iter(named.values()))} is of another")
            named[source.named] = path
            instrument = instrument_of(source, table, options)
        except BadInput as error:
            failed.append((path, str(error)))
            continue
        key = (instrument.id, source.noun, source.interval, source.stream)
        if key not in found:
            found[key] = FileSeries(Series(instrument.id, source, options, now_ns), [])
        found[key].sources.append(source)
    for one in found.values():
        one.sources.sort(key=lambda source: source.path.name)
    return FilePlan(sorted(found.values(), key=lambda one: (one.series.instrument, one.series.noun, str(one.series.interval))), failed)


def instrument_of(source: Source, table: Instruments, options: ImportOptions) -> Instrument:
    """Raises BadInput, naming the file: for a name that is not stored, or fits several."""
    try:
        instrument = _native(source, table) if source.is_native else table.resolve(source.symbol, source.exchange, source.kind)
    except BadInput as error:
        hint = "; `zvt-crypto pairs sync` stores what an exchange lists, `zvt-crypto pairs add` what it lists no more"
        raise BadInput(f"{source.path}: {error}{hint}") from None
    _check_fits(source, instrument, options)
    return instrument


def _check_fits(source: Source, instrument: Instrument, options: ImportOptions) -> None:
    """Raises BadInput where what the file holds is not of such an instrument."""
    if source.kind is not None and kind_of(instrument) != source.kind:
        raise BadInput(f"{source.path}: holds a {source.kind}, and {instrument.id} is none")
    if source.noun in ("mark", "funding") and isinstance(instrument, CryptoPair):
        raise BadInput(f"{source.path}: {instrument.id} is a pair, and has no {source.noun}")
    if source.noun == "trades" and instrument.exchange == "binance" and options.format == "generic" and options.stream is None:
        raise BadInput(f"{source.path}: binance has two kinds of trade ids: say --stream trade or --stream agg")
    size = Decimal(1) if isinstance(instrument, CryptoPair) else instrument.contract_size
    if options.format == "freqtrade" and size != 1 and source.noun in ("klines", "trades"):
        raise BadInput(
            f"{source.path}: a contract of {instrument.id} is {size}, and freqtrade's files do not say whether they count contracts"
        )


def _native(source: Source, table: Instruments) -> Instrument:
    assert source.exchange is not None
    kinds: tuple[Kind, ...] = (source.kind,) if source.kind else ("pair", "perp")
    fits = [found for kind in kinds if (found := table.find_native(source.exchange, kind, source.symbol)) is not None]
    if not fits:
        what = f"{source.kind or 'pair or perp'} {shown(source.symbol)} of {source.exchange}"
        raise BadInput(f"no {what} is stored")
    if len(fits) > 1:
        said = " and ".join(f"a {kind_of(one)}" for one in fits)
        raise BadInput(f"{shown(source.symbol)} names {said}: say --market spot or --market usdm")
    return fits[0]


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            inside = sorted(found for found in path.rglob("*") if stem_of(found) is not None and found.is_file())
            if not inside:
                raise BadInput(f"{path}: holds no file of rows")
            yield from inside
        elif path.exists():
            yield path
        else:
            raise BadInput(f"{path}: is not there")
