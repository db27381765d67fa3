"""VERIFY: transform what was delivered once more, and look whether the destinations hold it."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..config.schema import JobConfig
from ..deliver.lrs import Lrs
from ..ledger.ledger import Ledger
from ..model.delivery import Destination, OutgoingStatement
from ..model.plan import ContentIndex, Plan
from ..plan.discovery import identify_objects
from ..plan.planner import select_objects
from ..read.filters import Filters
from ..storage.base import Storage
from ..transform.transformer import Transformer
from ..util.errors import JobError
from ..util.formatting import count, size
from ..work.progress import Progress
from ..work.throttle import Pace
from .dead_letter_index import SetAside
from .delivered import delivered, ranges
from .equivalence import comparable
from .expected import ExpectedStatement, ExpectedStatements
from .lrs_search import Search
from .multiset_diff import Compared, MultisetDiff, hashed
from .outcome import DIFFERENT, MISSING, Finding, MissingLines, Verified, exit_status, in_words
from .output_files import OutputFiles

# So many statements are looked for together.
TOGETHER = 1000


def check_verifiable(config: JobConfig) -> None:
    """Raise :class:`~.errors.JobError` where a destination can't be asked what it holds."""
    if config.dry_run:
        raise JobError("A dry run delivers nothing, so there is nothing to verify: leave --dry-run out.")
    if config.transformer_type != "caliper":
        return
    if config.destination is None:
        raise JobError(
            "A Caliper endpoint can't be verified, since Caliper has no way to read: count its events by its own "
            "means; where some are missing, --restart sends all again with the ids that they had."
        )
    if not config.caliper_stable_ids:
        raise JobError(
            "Caliper events can't be verified without stable ids, since every transformation gives them new ones: "
            "set TRANSFORM_LOGS_CALIPER_STABLE_IDS to true and deliver anew with --restart."
        )


@dataclass(frozen=True)
class Verifier:
    """Looks for what ``recall`` gives, all of it or a sample of ``sampled`` lines."""

    recall: ExpectedStatements
    set_aside: SetAside
    sampled: int
    pace: Pace

    def verify(
        self, destinations: Sequence[Destination], outputs: OutputFiles | None, missing: MissingLines
    ) -> tuple[list[Verified], int]:
        """What each destination holds, and how many lines were drawn."""
        chosen = self.recall.sample(self.sampled) if self.sampled else []
        recalled = self.recall.of_lines(chosen) if self.sampled else self.recall.everything()
        if outputs is not None:
            [files] = destinations
            return [self._in_files(recalled, files, outputs, missing)], len(chosen)
        results = [Verified(one.id, one.name) for one in destinations]
        searches = [LrsVerifier(one, self, result, missing) for one, result in zip(destinations, results, strict=True)]
        for batch in recalled:
            for search in searches:
                search.add(batch)
            if all(result.stopped for result in results):
                break
        for search in searches:
            search.ask()
        return results, len(chosen)

    def should_be_at(
        self, one: ExpectedStatement, destination: Destination, result: Verified
    ) -> OutgoingStatement | None:
        """The statement as ``destination`` should hold it; ``None`` if it should not."""
        if not self.recall.ranges[one.source.range].concerns(destination.id, one.made.line.offset):
            return None
        body = destination.route(one.made)
        if body is None:
            return None
        if self.set_aside.holds(one.made, destination.name):
            result.set_aside += 1
            return None
        return OutgoingStatement(one.made, body)

    def found(self, kind: str, one: ExpectedStatement) -> Finding:
        segment, line = self.recall.ranges[one.source.range].segment, one.made.line
        return Finding(kind, one.made.statement.id, segment.object, line.offset, one.source.number, line.raw)

    def _in_files(
        self,
        recalled: Iterable[Sequence[ExpectedStatement]],
        files: Destination,
        outputs: OutputFiles,
        missing: MissingLines,
    ) -> Verified:
        result = Verified(files.id, files.name)
        with MultisetDiff() as heaps:
            expected: set[int] = set()
            for batch in recalled:
                for one in batch:
                    statement = self.should_be_at(one, files, result)
                    if statement is not None:
                        fields = json.loads(statement.body)
                        heaps.expect(fields, one.source.key)
                        if self.sampled:
                            expected.add(hashed(statement.id.lower()))
            for name, fields in outputs.statements():
                if not self.sampled or hashed(name) in expected:
                    heaps.find(fields)
            result.broken = outputs.broken
            compared = Compared()
            lost = array("Q")
            others = array("Q")
            places = array("Q")
            for number, one_id, another in heaps.compare(compared):
                places.append(number)
                (others if another else lost).append(_key(number, one_id))
        result.there = compared.there
        result.surplus = 0 if self.sampled else compared.surplus
        self._name(result, files, sorted(places), array("Q", sorted(lost)), array("Q", sorted(others)), missing)
        return result

    def _name(
        self,
        result: Verified,
        files: Destination,
        places: Sequence[int],
        lost: Sequence[int],
        others: Sequence[int],
        missing: MissingLines,
    ) -> None:
        """Read the lines once more whose statements are not there, to say which they are."""
        if not places:
            return
        for batch in self.recall.at(places):
            for one in batch:
                key = _key(one.source.key, hashed(one.made.statement.id.lower()))
                if _has(lost, key):
                    result.add(self.found(MISSING, one), missing)
                elif _has(others, key):
                    result.add(self.found(DIFFERENT, one), missing)


class LrsVerifier:
    """Looks for statements in one LRS, some at a time."""

    def __init__(self, destination: Destination, verifier: Verifier, result: Verified, missing: MissingLines) -> None:
        assert isinstance(destination, Lrs)
        self._lrs = destination
        self._search = Search(destination)
        self._verifier = verifier
        self._result = result
        self._missing = missing
        self._waiting: list[tuple[ExpectedStatement, OutgoingStatement]] = []

    def add(self, batch: Iterable[ExpectedStatement]) -> None:
        """Look for these, at once or together with those that follow."""
        if self._result.stopped:
            return
        for one in batch:
            statement = self._verifier.should_be_at(one, self._lrs, self._result)
            if statement is not None:
                self._waiting.append((one, statement))
                if len(self._waiting) >= TOGETHER:
                    self.ask()

    def ask(self) -> None:
        """Look for all that wait. An LRS that can't be asked is left out from then on."""
        waiting, self._waiting = self._waiting, []
        if not waiting or self._result.stopped:
            return
        try:
            self._look_for(waiting)
        except JobError as error:
            self._result.stopped = error
        finally:
            self._result.requests = self._search.requests
        self._verifier.pace.after_batch(len(waiting), True)

    def _look_for(self, waiting: Sequence[tuple[ExpectedStatement, OutgoingStatement]]) -> None:
        sent = [(one, statement.id.lower(), json.loads(statement.body)) for one, statement in waiting]
        found = self._search.find({statement: fields.get("timestamp") for _, statement, fields in sent})
        result = self._result
        for one, statement, fields in sent:
            held = found.get(statement)
            if held is None and self._search.is_voided(statement):
                result.voided += 1
            elif held is None:
                result.add(self._verifier.found(MISSING, one), self._missing)
            elif comparable(held) != comparable(fields):
                result.add(self._verifier.found(DIFFERENT, one), self._missing)
            else:
                result.there += 1


def _key(number: int, statement: int) -> int:
    return (number * 0x9E3779B97F4A7C15 ^ statement) & (1 << 64) - 1


def _has(keys: Sequence[int], key: int) -> bool:
    at = bisect_left(keys, key)
    return at < len(keys) and keys[at] == key


def look(
    config: JobConfig,
    plan: Plan,
    ledger: Ledger,
    source: Storage,
    store: Storage | None,
    destinations: Sequence[Destination],
    transformer: Transformer,
    missing: MissingLines,
) -> tuple[int, str]:
    """Look for everything that ``plan`` and those before it have delivered: exit status and words.

    ``store``: the destination's storage, where it has one. Raises :class:`~.errors.JobError` if the source fails.
    """
    entries = {} if plan.finished else ledger.load_entries(plan, destinations)
    found, _ = select_objects(config, source, must_exist=False)
    seen = identify_objects(source, found, ContentIndex(plan.contents))
    parts, gone = ranges(plan, delivered(plan, entries, [one.id for one in destinations]), seen)
    if not parts and not gone:
        raise JobError("Nothing has been delivered by this job yet, so there is nothing to verify: run it first.")
    total = sum(part.segment.stored_bytes for part in parts)
    progress = Progress(total)
    what = f"a sample of {count(config.verify_sample, 'line')} of" if config.verify_sample else "all of"
    progress.say(f"Verifying {what} what was delivered: {count(len(parts), 'part')} of logs, {size(total)}.")
    recall = ExpectedStatements(
        progress.watch(source), transformer, config.max_line_bytes, parts, progress.add_counts, Filters.of(config)
    )
    set_aside = SetAside(ledger.all_dead_letters(plan, entries))
    pace = Pace(config.sleep_between_batches_secs, config.max_events_per_second)
    verifier = Verifier(recall, set_aside, config.verify_sample, pace)
    outputs = None
    if store is not None and config.destination is not None:
        outputs = OutputFiles(ledger, store, config.destination.prefix)
    try:
        results, drawn = verifier.verify(destinations, outputs, missing)
    finally:
        progress.close()
    notes = [*(f"{name}: not in the source any more" for name in gone), *recall.problems]
    detail = in_words(results, config.verify_sample, drawn, notes, config.repair)
    return exit_status(results), detail
