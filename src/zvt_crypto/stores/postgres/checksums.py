"""Checksums of chunks: signed once a chunk is old enough, compared whenever somebody asks.

What is signed is what was known at a moment, `known_until`. A write through the store does not change that: the version that it replaces
stays among the revisions, and trades are never changed. So writes need not wait for checksums; a trigger only notes that a signed chunk
was touched. Of an untouched chunk every row is compared; of a touched one what was signed, and then it may be signed anew. A write that
did not come through the store notes nothing, and its row is found.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import NamedTuple

import asyncpg
import msgspec

from zvt_crypto.domain.checks import CheckReport, WrongRow
from zvt_crypto.domain.errors import StoreError, StoreUnavailable
from zvt_crypto.domain.time import NS_PER_DAY
from zvt_crypto.stores.postgres.chunks import PACKABLE, list_chunks, read_chunks
from zvt_crypto.stores.postgres.pool import Connection, Pool
from zvt_crypto.stores.postgres.prints import Spot, digest_of, first_wrong, prints_of
from zvt_crypto.stores.postgres.signedrows import NOUNS, Noun, Rows, earliest_missing, read_rows, read_rows_known, say_row

SETTLED_NS = NS_PER_DAY  # a chunk that ended less than this ago still gets what is late
LOCK = 7_295_003  # as the triggers of revision 0009 hold it
_LOCK_MS, _LOCK_TURNS = 200, 25

_LIST = """
    SELECT c.noun, c.instrument_id, i.id, c.low, c.high, c.known_until, c.row_count, c.touched_at IS NOT NULL AS touched, c.digest, c.prints
    FROM chunk_checksum c JOIN instrument i USING (instrument_id)
    WHERE c.noun = $1 AND ($2::text[] IS NULL OR i.id = ANY($2)) AND c.digest IS NOT NULL
    ORDER BY c.instrument_id, c.low"""
# Chunks that hold rows and have no checksum. Rows that are packed are found in the catalogue.
_UNSIGNED = """
    SELECT held.instrument_id, i.id, held.low FROM (
        SELECT instrument_id, date_trunc('{unit}', {time}, 'UTC') AS low FROM {table} GROUP BY 1, 2
        {packed}
    ) held
    JOIN instrument i USING (instrument_id)
    LEFT JOIN chunk_checksum c ON c.noun = '{table}' AND c.instrument_id = held.instrument_id AND c.low = held.low AND c.digest IS NOT NULL
    WHERE c.noun IS NULL AND ($1::text[] IS NULL OR i.id = ANY($1)) AND held.low + interval '1 {unit}' < $2
    ORDER BY held.instrument_id, held.low"""
_PACKED = "UNION SELECT instrument_id, date_trunc('{unit}', low, 'UTC') FROM kline_packed WHERE slug = '{slug}'"
# Packed chunks that no checksum covers: each has the digest that it was packed with.
_PACKED_UNSIGNED = """
    SELECT p.instrument_id, i.id, p.low, p.high, p.first_open, p.row_count FROM kline_packed p JOIN instrument i USING (instrument_id)
    LEFT JOIN chunk_checksum c ON c.noun = $1 AND c.instrument_id = p.instrument_id AND c.low = date_trunc($4, p.low, 'UTC')
        AND c.digest IS NOT NULL
    WHERE p.slug = $3 AND c.noun IS NULL AND ($2::text[] IS NULL OR i.id = ANY($2))
    ORDER BY p.instrument_id, p.low"""
# From here on every write that was under way has ended, and every later one will touch the mark that this leaves.
_MARK = """
    INSERT INTO chunk_checksum (noun, instrument_id, low, high, known_until, row_count, signed_at)
    VALUES ($1, $2, $3, $4, $3, 0, clock_timestamp())
    ON CONFLICT (noun, instrument_id, low) DO UPDATE
    SET digest = NULL, prints = NULL, touched_at = NULL, signed_at = excluded.signed_at
    RETURNING signed_at"""
_SIGN = """
    UPDATE chunk_checksum SET known_until = $5, row_count = $6, digest = $7, prints = $8
    WHERE noun = $1 AND instrument_id = $2 AND low = $3 AND signed_at = $4 AND touched_at IS NULL AND digest IS NULL"""


class _Chunk(NamedTuple):
    noun: str
    key: int
    instrument: str
    low_ns: int
    high_ns: int
    known_ns: int
    rows: int
    touched: bool
    digest: bytes
    prints: bytes


class PostgresChecksums:
    """ports.ChecksumStore."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def verify(
        self,
        instruments: Sequence[str] | None = None,
        nouns: Sequence[str] | None = None,
        tell: Callable[[CheckReport], None] = lambda _: None,
    ) -> CheckReport:
        """As ports.ChecksumStore says."""
        report = CheckReport(unsigned=0)
        for name in nouns or NOUNS:
            async for chunk in self._listed(name, instruments):
                report = _plus(report, *await self._compare(chunk), touched=chunk.touched)
                tell(report)
            async for wrong in self._packed(NOUNS[name], instruments):
                report = msgspec.structs.replace(report, packed=report.packed + 1, wrong=_with(report.wrong, wrong))
                tell(report)
            unsigned = len(await self._unsigned(NOUNS[name], instruments))
            report = msgspec.structs.replace(report, unsigned=(report.unsigned or 0) + unsigned)
        return report

    async def sign(
        self,
        instruments: Sequence[str] | None = None,
        nouns: Sequence[str] | None = None,
        settled_ns: int = SETTLED_NS,
        tell: Callable[[CheckReport], None] = lambda _: None,
    ) -> CheckReport:
        """As ports.ChecksumStore says."""
        report = CheckReport()
        for name in nouns or NOUNS:
            async for chunk in self._listed(name, instruments):
                if chunk.touched:
                    rows, wrong = await self._compare(chunk)
                    report = _plus(report, rows, wrong, touched=True)
                    if wrong is None:
                        report = await self._signed(report, NOUNS[name], chunk.key, chunk.low_ns, chunk.instrument)
                    tell(report)
            for key, instrument, low_ns in await self._unsigned(NOUNS[name], instruments, settled_ns):
                report = await self._signed(report, NOUNS[name], key, low_ns, instrument)
                tell(report)
        return report

    async def _listed(self, noun: str, instruments: Sequence[str] | None) -> AsyncIterator[_Chunk]:
        """Checksums of one table, and their prints one at a time: those of all would fill the memory."""
        heads = _LIST.replace(", c.prints", "")
        rows = await self._pool.run("read checksums", lambda c: c.fetch(heads, noun, instruments))
        for row in rows:
            prints = await self._prints(row[0], row[1], row[3])
            if prints is not None:
                yield _Chunk._make((*row, prints))

    async def _prints(self, noun: str, key: int, low_ns: int) -> bytes | None:
        text = "SELECT prints FROM chunk_checksum WHERE noun = $1 AND instrument_id = $2 AND low = $3"
        found: bytes | None = await self._pool.run("read a checksum", lambda c: c.fetchval(text, noun, key, low_ns))
        return found

    async def _unsigned(self, noun: Noun, instruments: Sequence[str] | None, settled_ns: int = 0) -> list[tuple[int, str, int]]:
        packed = _PACKED.format(unit=noun.unit, slug=noun.interval.slug) if noun.interval is not None else ""
        text = _UNSIGNED.format(table=noun.table, time=noun.time, unit=noun.unit, packed=packed)

        async def work(connection: Connection) -> list[tuple[int, str, int]]:
            now_ns = await connection.fetchval("SELECT clock_timestamp()")
            return [tuple(row) for row in await connection.fetch(text, instruments, now_ns - settled_ns)]

        return await self._pool.run(f"find chunks of {noun.table} without a checksum", work)

    async def _packed(self, noun: Noun, instruments: Sequence[str] | None) -> AsyncIterator[WrongRow | None]:
        """What is wrong with each packed chunk that no checksum covers."""
        interval = noun.interval
        if interval not in PACKABLE:
            return
        values = (noun.table, instruments, interval.slug, noun.unit)
        for key, instrument, low_ns, high_ns, first_ns, rows in await self._pool.run(
            "list packed chunks", lambda c: c.fetch(_PACKED_UNSIGNED, *values)
        ):
            try:
                await self._pool.run(
                    f"compare a packed chunk of {noun.table} of {instrument}",
                    partial(read_chunks, key=key, interval=interval, start_ns=low_ns, end_ns=high_ns),
                )
            except StoreUnavailable:
                raise
            except StoreError as error:
                yield WrongRow(noun.table, instrument, low_ns, high_ns, "unreadable", first_ns, None, str(error), rows)
            else:
                yield None

    async def _compare(self, chunk: _Chunk) -> tuple[int, WrongRow | None]:
        """(rows compared, the first wrong one). What cannot be compared, since rows of the table are filled in, is not."""
        noun = NOUNS[chunk.noun]
        if chunk.touched and noun.interval is None and not noun.appended:
            return 0, None

        async def work(connection: Connection) -> tuple[int, WrongRow | None]:
            try:
                async with connection.transaction(isolation="repeatable_read", readonly=True):
                    span = (chunk.key, chunk.low_ns, chunk.high_ns)
                    if chunk.touched:
                        rows = await read_rows_known(connection, noun, *span, chunk.known_ns)
                    else:
                        rows = await read_rows(connection, noun, *span)
                    if digest_of(rows.words) == chunk.digest and len(rows.words) == chunk.rows:
                        return len(rows.words), None
                    return len(rows.words), await _named(connection, noun, chunk, rows, first_wrong(chunk.prints, rows.words))
            except StoreUnavailable:
                raise
            except StoreError as error:
                return 0, await _unreadable(connection, noun, chunk, str(error))

        return await self._pool.run(f"compare a chunk of {chunk.noun} of {chunk.instrument}", work)

    async def _signed(self, report: CheckReport, noun: Noun, key: int, low_ns: int, instrument: str) -> CheckReport:
        """Sign one chunk, unless a write comes between: then its turn comes again."""
        high_ns = noun.span_of(low_ns)[1]
        marked_ns = await self._marked(noun, key, low_ns, high_ns)
        if marked_ns is None:
            return report

        async def sign(connection: Connection) -> tuple[int, int]:
            rows = await read_rows(connection, noun, key, low_ns, high_ns)
            known_ns = int(rows.known_us.max()) * 1000 if len(rows.known_us) else low_ns
            values = (known_ns, len(rows.words), digest_of(rows.words), prints_of(rows.words))
            done = await connection.execute(_SIGN, noun.table, key, low_ns, marked_ns, *values)
            return len(rows.words), int(done.rsplit(" ", 1)[1])

        try:
            count, signed = await self._pool.run(f"sign a chunk of {noun.table} of {instrument}", sign)
        except StoreUnavailable:
            raise
        except StoreError as error:  # what cannot be read is not signed
            said = str(error)
            chunk = _Chunk(noun.table, key, instrument, low_ns, high_ns, 0, 0, touched=False, digest=b"", prints=b"")
            wrong = await self._pool.run("find what cannot be read", lambda c: _unreadable(c, noun, chunk, said))
            return _plus(report, 0, wrong, touched=False)
        return msgspec.structs.replace(report, rows=report.rows + count, signed=report.signed + signed)

    async def _marked(self, noun: Noun, key: int, low_ns: int, high_ns: int) -> int | None:
        """When the chunk was marked; None where writers hold on: those that come wait behind us, so we ask in short turns."""

        async def mark(connection: Connection) -> int | None:
            try:
                async with connection.transaction():
                    await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MS}")
                    await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                    at_ns: int = await connection.fetchval(_MARK, noun.table, key, low_ns, high_ns)
                    return at_ns
            except asyncpg.LockNotAvailableError:
                return None

        for _ in range(_LOCK_TURNS):
            marked_ns = await self._pool.run(f"mark a chunk of {noun.table}", mark)
            if marked_ns is not None:
                return marked_ns
            await asyncio.sleep(_LOCK_MS / 1000)
        return None


async def _named(connection: Connection, noun: Noun, chunk: _Chunk, rows: Rows, spot: Spot) -> WrongRow:
    times = rows.times_us
    if spot.fault == "missing":
        after_ns = int(times[spot.place - 1]) * 1000 if spot.place else None
        before_ns = int(times[spot.place]) * 1000 if spot.place < len(times) else None
        return _wrong(chunk, spot, earliest_missing(noun, after_ns, chunk.low_ns), before_ns, "")
    if spot.fault == "unnamed":
        return _wrong(chunk, spot, chunk.low_ns, None, "")
    said = await say_row(connection, noun, chunk.key, rows, spot.place)
    return _wrong(chunk, spot, int(times[spot.place]) * 1000, None, said)


async def _unreadable(connection: Connection, noun: Noun, chunk: _Chunk, said: str) -> WrongRow:
    """The first row of the first packed chunk that cannot be unpacked."""
    first_ns = chunk.low_ns
    interval = noun.interval
    assert interval is not None, "only klines are packed"
    for packed in await list_chunks(connection, chunk.key, interval, chunk.low_ns, chunk.high_ns):
        try:
            await read_chunks(connection, chunk.key, interval, packed.low_ns, packed.high_ns)
        except StoreError:
            first_ns = packed.first_ns
            break
    return _wrong(chunk, Spot("unreadable", 0), first_ns, None, said)


def _wrong(chunk: _Chunk, spot: Spot, at_ns: int, before_ns: int | None, said: str) -> WrongRow:
    return WrongRow(chunk.noun, chunk.instrument, chunk.low_ns, chunk.high_ns, spot.fault, at_ns, before_ns, said, chunk.rows)


def _plus(report: CheckReport, rows: int, wrong: WrongRow | None, *, touched: bool) -> CheckReport:
    return msgspec.structs.replace(
        report, chunks=report.chunks + 1, rows=report.rows + rows, touched=report.touched + touched, wrong=_with(report.wrong, wrong)
    )


def _with(found: list[WrongRow], wrong: WrongRow | None) -> list[WrongRow]:
    return found if wrong is None else [*found, wrong]
