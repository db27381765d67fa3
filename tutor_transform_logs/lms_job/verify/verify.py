"""VERIFY: transform the delivered lines again, and compare the statements with what the destinations have."""

from __future__ import annotations

import json
import time
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..config.schema import JobConfig
from ..deliver.clickhouse import ClickHouse
from ..deliver.lrs import Lrs
from ..deliver.lrs_search import LrsSearch
from ..model.delivery import Destination, Held, OutgoingStatement
from ..model.plan import ContentIndex, Plan
from ..model.progress_events import BatchDone, Message
from ..plan.discovery import identify_objects
from ..plan.planner import select_objects
from ..read.filters import Filters
from ..transform.transformer import Transformer
from ..util.collector import collect_rarely
from ..util.errors import JobError
from ..util.formatting import count, size
from ..work.opened import OpenJob
from ..work.prefetch import Prefetcher
from ..work.progress import Progress, watched
from ..work.throttle import Throttle
from .dead_letter_index import DeadLetterIndex
from .delivered import delivered, ranges
from .expected import ExpectedStatement, ExpectedStatements
from .multiset_diff import DiffCounts, MultisetDiff, hashed
from .output_files import OutputFiles
from .search import Search
from .table_search import TableSearch
from .verify_result import DIFFERENT, MISSING, Mismatch, MissingLines, VerifyResult, describe_results, verify_status

# How many statements an LRS is searched for at a time.
SEARCH_SIZE = 1000


def check_verifiable(config: JobConfig) -> None:
    """Raise :class:`~.errors.JobError` if the destination can't be verified."""
    if config.dry_run:
        raise JobError("A dry run delivers nothing, so there is nothing to verify. Leave --dry-run out.")
    if config.transformer_type != "caliper":
        return
    if config.destination is None:
        raise JobError(
            "A Caliper endpoint can't be verified, since Caliper has no way to read events. Count its events there; if "
            "some are missing, send all of them again with --restart: they keep their ids."
        )
    if not config.caliper_stable_ids:
        raise JobError(
            "Caliper events can't be verified without stable ids, since every transformation gives them new ones: "
            "set TRANSFORM_LOGS_CALIPER_STABLE_IDS to true and deliver again with --restart."
        )


@dataclass(frozen=True)
class Verifier:
    """Compares expected statements with what the destinations have: all, or those of ``sample_size`` random lines."""

    expected: ExpectedStatements
    dead_letters: DeadLetterIndex
    sample_size: int
    throttle: Throttle

    def verify(
        self, destinations: Sequence[Destination], outputs: OutputFiles | None, missing: MissingLines
    ) -> tuple[list[VerifyResult], int]:
        """The result of each destination, and how many lines were drawn."""
        lines = self.expected.sample(self.sample_size) if self.sample_size else []
        statements = self.expected.of_lines(lines) if self.sample_size else self.expected.everything()
        if outputs is not None:
            [files] = destinations
            return [self._in_files(statements, files, outputs, missing)], len(lines)
        results = [VerifyResult(destination.id, destination.name) for destination in destinations]
        verifiers = [
            SearchVerifier(destination, self, result, missing)
            for destination, result in zip(destinations, results, strict=True)
        ]
        made = Prefetcher(statements)
        try:
            for batch in made:
                for verifier in verifiers:
                    verifier.add(batch)
                if all(result.stopped for result in results):
                    break
        finally:
            made.close()
        for verifier in verifiers:
            verifier.search()
        return results, len(lines)

    def expected_at(
        self, expected: ExpectedStatement, destination: Destination, result: VerifyResult
    ) -> OutgoingStatement | None:
        """The statement as ``destination`` should have it; ``None`` if it should not have it."""
        if not self.expected.ranges[expected.source.range].concerns(destination.id, expected.made.line.offset):
            return None
        body = destination.route(expected.made)
        if body is None:
            return None
        if self.dead_letters.contains(expected.made, destination.name):
            result.dead_letters += 1
            return None
        return OutgoingStatement(expected.made, body)

    def mismatch(self, kind: str, expected: ExpectedStatement) -> Mismatch:
        segment, line = self.expected.ranges[expected.source.range].segment, expected.made.line
        return Mismatch(kind, expected.made.statement.id, segment.object, line.offset, expected.source.number, line.raw)

    def _in_files(
        self,
        statements: Iterable[Sequence[ExpectedStatement]],
        files: Destination,
        outputs: OutputFiles,
        missing: MissingLines,
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
        result.surplus = 0 if self.sample_size else counts.surplus
        self._name(result, files, sorted(places), array("Q", sorted(lost)), array("Q", sorted(different)), missing)
        return result

    def _name(
        self,
        result: VerifyResult,
        files: Destination,
        places: Sequence[int],
        lost: Sequence[int],
        different: Sequence[int],
        missing: MissingLines,
    ) -> None:
        """Read the lines of missing and different statements again, to say which statements they are.

        Six parameters: the outcome of one comparison, which only this function takes.
        """
        if not places:
            return
        for batch in self.expected.at(places):
            for expected in batch:
                key = _key(expected.source.key, hashed(expected.made.statement.id.lower()))
                if _has(lost, key):
                    result.add(self.mismatch(MISSING, expected), missing)
                elif _has(different, key):
                    result.add(self.mismatch(DIFFERENT, expected), missing)


class SearchVerifier:
    """Searches one destination for statements, some at a time."""

    def __init__(
        self, destination: Destination, verifier: Verifier, result: VerifyResult, missing: MissingLines
    ) -> None:
        self._destination = destination
        self._search = _search_of(destination)
        self._verifier = verifier
        self._result = result
        self._missing = missing
        self._waiting: list[tuple[ExpectedStatement, OutgoingStatement]] = []

    def add(self, batch: Iterable[ExpectedStatement]) -> None:
        """Search for these, now or together with later ones."""
        if self._result.stopped:
            return
        for expected in batch:
            statement = self._verifier.expected_at(expected, self._destination, self._result)
            if statement is not None:
                self._waiting.append((expected, statement))
                if len(self._waiting) >= SEARCH_SIZE:
                    self.search()

    def search(self) -> None:
        """Search for all statements that are waiting. After an error the destination is not asked again."""
        waiting, self._waiting = self._waiting, []
        if not waiting or self._result.stopped:
            return
        try:
            self._compare(waiting)
        except JobError as error:
            self._result.stopped = error
        finally:
            self._result.requests = self._search.requests
            self._result.surplus = self._search.surplus
        time.sleep(self._verifier.throttle.after_batch(len(waiting), True))

    def _compare(self, waiting: Sequence[tuple[ExpectedStatement, OutgoingStatement]]) -> None:
        held = self._search.held([statement for _, statement in waiting])
        for (expected, _), what in zip(waiting, held, strict=True):
            if what is Held.SAME:
                self._result.found += 1
            elif what is Held.VOIDED:
                self._result.voided += 1
            else:
                kind = DIFFERENT if what is Held.DIFFERENT else MISSING
                self._result.add(self._verifier.mismatch(kind, expected), self._missing)


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


def verify_delivered(job: OpenJob, plan: Plan, transformer: Transformer, missing: MissingLines) -> tuple[int, str]:
    """Compare everything that ``plan`` and those before it have delivered: exit status, and a description.

    Raises :class:`~.errors.JobError` if the source fails.
    """
    collect_rarely()
    config, ledger = job.config, job.ledger
    entries = {} if plan.finished else ledger.load_entries(plan, job.destinations)
    found, _ = select_objects(config, job.source, must_exist=False)
    seen = identify_objects(job.source, found, ContentIndex(plan.contents))
    parts, gone = ranges(plan, delivered(plan, entries, job.destination_ids), seen)
    if not parts and not gone:
        raise JobError("Nothing has been delivered by this job yet, so there is nothing to verify: run it first.")
    total = sum(part.segment.stored_bytes for part in parts)
    progress = Progress(total)
    emit = progress.emit
    what = f"a sample of {count(config.verify_sample, 'line')} of" if config.verify_sample else "all of"
    emit(Message(f"Verifying {what} what was delivered: {count(len(parts), 'part')} of logs, {size(total)}."))
    expected = ExpectedStatements(
        watched(job.source, emit),
        transformer,
        config.max_line_bytes,
        parts,
        lambda counts: emit(BatchDone(counts)),
        Filters.of(config),
    )
    dead_letters = DeadLetterIndex(ledger.all_dead_letters(plan, entries))
    throttle = Throttle(config.sleep_between_batches_secs, config.max_events_per_second)
    verifier = Verifier(expected, dead_letters, config.verify_sample, throttle)
    outputs = None
    if job.store is not None and config.destination is not None:
        outputs = OutputFiles(ledger, job.store, config.destination.prefix, config.transformer_type)
    try:
        results, drawn = verifier.verify(job.destinations, outputs, missing)
    finally:
        progress.close()
    notes = [*(f"{name}: not in the source any more" for name in gone), *expected.problems]
    return verify_status(results), describe_results(results, config.verify_sample, drawn, notes, config.repair)
