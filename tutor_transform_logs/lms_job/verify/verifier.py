"""Compares the statements that are expected with what the destinations have."""

from __future__ import annotations

import json
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.db import connections

from ..deliver.clickhouse import ClickHouse
from ..deliver.lrs import Lrs
from ..deliver.lrs_search import LrsSearch
from ..model.delivery import Destination, Held, OutgoingStatement
from ..util.errors import JobError
from ..util.prefetch import Prefetcher
from ..work.throttle import Throttle
from .dead_letter_index import DeadLetterIndex
from .expected import ExpectedStatement, ExpectedStatements
from .multiset_diff import DiffCounts, MultisetDiff, hashed
from .output_files import OutputFiles
from .search import Search
from .table_search import TableSearch
from .verify_result import DIFFERENT, MISSING, Mismatch, VerifyResult

# How many statements a destination is searched for at a time.
SEARCH_SIZE = 1000

# Takes each line whose statement is missing, and the name of the destination that misses it.
KeepLine = Callable[[Mismatch, str], None]


@dataclass(frozen=True)
class Verifier:
    """Compares expected statements with what the destinations have: all, or those of ``sample_size`` random lines."""

    expected: ExpectedStatements
    dead_letters: DeadLetterIndex
    sample_size: int
    throttle: Throttle
    keep: KeepLine | None
    """``None``: missing lines are counted only."""

    def verify(
        self, destinations: Sequence[Destination], outputs: OutputFiles | None
    ) -> tuple[list[VerifyResult], int]:
        """The result of each destination, and how many lines were drawn."""
        lines = self.expected.sample(self.sample_size) if self.sample_size else []
        statements = self.expected.of_lines(lines) if self.sample_size else self.expected.everything()
        if outputs is not None:
            [files] = destinations
            return [self._in_files(statements, files, outputs)], len(lines)
        return self.search(statements, destinations), len(lines)

    def search(
        self, statements: Iterator[list[ExpectedStatement]], destinations: Sequence[Destination]
    ) -> list[VerifyResult]:
        """Search for ``statements`` at each destination."""
        verifiers = [SearchVerifier(destination, self) for destination in destinations]
        made = Prefetcher(statements, at_end=connections.close_all)
        try:
            for batch in made:
                for verifier in verifiers:
                    verifier.search(batch)
                if all(verifier.result.stopped for verifier in verifiers):
                    break
        finally:
            made.close()
        return [verifier.result for verifier in verifiers]

    def expected_at(
        self, expected: ExpectedStatement, destination: Destination, result: VerifyResult
    ) -> OutgoingStatement | None:
        """The statement as ``destination`` should have it; ``None`` if it should not have it."""
        if not self.expected.ranges[expected.source.range].concerns(destination.id, expected.made.line.offset):
            return None
        body = destination.route(expected.made)
        if body is None:
            return None
        if self.dead_letters.contains(expected.made, destination.names):
            result.dead_letters += 1
            return None
        return OutgoingStatement(expected.made, body)

    def add_mismatch(self, kind: str, expected: ExpectedStatement, result: VerifyResult) -> None:
        """Count a statement that is missing or different, and keep its line if it can be sent again."""
        source, made = expected.source, expected.made
        name = self.expected.ranges[source.range].segment.object
        mismatch = Mismatch(kind, made.statement.id, name, made.line.offset, source.number, made.line.raw, source.key)
        result.add(mismatch)
        if self.keep is not None and kind == MISSING:
            self.keep(mismatch, result.name)

    def _in_files(
        self,
        statements: Iterable[Sequence[ExpectedStatement]],
        files: Destination,
        outputs: OutputFiles,
    ) -> VerifyResult:
        result = VerifyResult(files.id, files.name)
        with MultisetDiff() as diff:
            expected_ids: set[int] = set()
            for batch in statements:
                for expected in batch:
                    statement = self.expected_at(expected, files, result)
                    if statement is not None:
                        fields = json.loads(statement.body)
                        diff.expect(fields, expected.source.key)
                        if self.sample_size:
                            expected_ids.add(hashed(statement.id.lower()))
            for name, fields in outputs.statements():
                if not self.sample_size or hashed(name) in expected_ids:
                    diff.add_found(fields)
            result.broken = outputs.broken
            counts = DiffCounts()
            lost = array("Q")
            different = array("Q")
            places = array("Q")
            for number, statement_hash, another in diff.compare(counts):
                places.append(number)
                (different if another else lost).append(_key(number, statement_hash))
        result.found = counts.found
        result.surplus_in_files = 0 if self.sample_size else counts.surplus
        self._name(result, sorted(places), array("Q", sorted(lost)), array("Q", sorted(different)))
        return result

    def _name(self, result: VerifyResult, places: Sequence[int], lost: Sequence[int], different: Sequence[int]) -> None:
        """Read the lines of missing and different statements again, to say which statements they are."""
        if not places:
            return
        for batch in self.expected.at(places):
            for expected in batch:
                key = _key(expected.source.key, hashed(expected.made.statement.id.lower()))
                if _has(lost, key):
                    self.add_mismatch(MISSING, expected, result)
                elif _has(different, key):
                    self.add_mismatch(DIFFERENT, expected, result)


class SearchVerifier:
    """Searches one destination for statements."""

    def __init__(self, destination: Destination, verifier: Verifier) -> None:
        self.result = VerifyResult(destination.id, destination.name)
        self._destination = destination
        self._search = _search_of(destination)
        self._verifier = verifier

    def search(self, batch: Iterable[ExpectedStatement]) -> None:
        """Search for these. After an error the destination is not asked again.

        Nothing is kept for a later search: so the searches are the same whoever does which batches.
        """
        wanted = []
        for expected in batch:
            statement = self._verifier.expected_at(expected, self._destination, self.result)
            if statement is not None:
                wanted.append((expected, statement))
        for start in range(0, len(wanted), SEARCH_SIZE):
            if self.result.stopped:
                return
            self._search_for(wanted[start : start + SEARCH_SIZE])

    def _search_for(self, wanted: Sequence[tuple[ExpectedStatement, OutgoingStatement]]) -> None:
        try:
            self._compare(wanted)
        except JobError as error:
            self.result.stopped = error
        finally:
            self.result.requests = self._search.requests
            self.result.surplus_rows = self._search.surplus_rows
        time.sleep(self._verifier.throttle.after_batch(len(wanted), True))

    def _compare(self, wanted: Sequence[tuple[ExpectedStatement, OutgoingStatement]]) -> None:
        held = self._search.held([statement for _, statement in wanted])
        for (expected, _), what in zip(wanted, held, strict=True):
            if what is Held.SAME:
                self.result.found += 1
            elif what is Held.VOIDED:
                self.result.voided += 1
            else:
                kind = DIFFERENT if what is Held.DIFFERENT else MISSING
                self._verifier.add_mismatch(kind, expected, self.result)


def _search_of(destination: Destination) -> Search:
    if isinstance(destination, ClickHouse):
        return TableSearch(destination)
    assert isinstance(destination, Lrs)
    return LrsSearch(destination.client)


def _key(number: int, statement: int) -> int:
    return (number * 0x9E3779B97F4A7C15 ^ statement) & (1 << 64) - 1


def _has(keys: Sequence[int], key: int) -> bool:
    at = bisect_left(keys, key)
    return at < len(keys) and keys[at] == key
