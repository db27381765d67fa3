"""What VERIFY finds at each destination: how many of the expected statements are there, and which are missing."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain, groupby
from operator import attrgetter
from typing import IO, Any

from ..model import dead_letters
from ..model.dead_letters import DELIVER, DeadLetter
from ..util import console
from ..util.errors import ExitStatus, JobError, without_resuming
from ..util.formatting import count, printable
from ..util.temporary import explained

MISSING = "missing"
DIFFERENT = "different"
# At most this many missing or different statements are listed; the counts are of all.
MOST_NAMED = 20


@dataclass(frozen=True)
class Mismatch:
    """A statement that is missing, or has other content at the destination."""

    kind: str
    statement: str
    object: str
    offset: int
    line: int
    """Its number in the object; 0 where that is not known."""
    raw: bytes
    place: int
    """Mismatches with a lower one come before it in the logs."""


class MissingLines:
    """The lines whose statements are missing, kept in a file until they are sent again."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def add(self, mismatch: Mismatch, destination: str) -> None:
        detail = "not found at its destination"
        letter = DeadLetter(mismatch.object, mismatch.offset, mismatch.line, DELIVER, MISSING, detail, "", mismatch.raw)
        letter = replace(letter, statement=mismatch.statement, destination=destination)
        with explained():
            self._file.write(dead_letters.dump([letter]))
            # Each by itself, so that the error is this one's.
            self._file.flush()


@dataclass
class VerifyResult:
    """How many of the expected statements one destination has."""

    id: str
    name: str
    found: int = 0
    missing: int = 0
    different: int = 0
    voided: int = 0
    """Voided by another statement (xAPI); the LRS still has them."""
    dead_letters: int = 0
    """Not expected at the destination, so not searched for."""
    surplus_in_files: int = 0
    """Found more often than expected."""
    surplus_rows: array[int] = field(default_factory=partial(array, "Q"))
    """As :attr:`~.search.Search.surplus_rows`."""
    mismatches: list[Mismatch] = field(default_factory=list)
    """The first :data:`MOST_NAMED` missing or different statements."""
    broken: list[str] = field(default_factory=list)
    """Files that are lost or damaged, and how."""
    requests: int = 0
    stopped: JobError | None = None

    @property
    def expected(self) -> int:
        return self.found + self.missing + self.different + self.voided

    @property
    def surplus(self) -> int:
        """A line that is in the logs twice is searched for twice, and what it has in surplus counts once."""
        return self.surplus_in_files + sum(1 for _ in groupby(sorted(self.surplus_rows)))

    def add(self, mismatch: Mismatch) -> None:
        """Count a statement that is missing or different. Those of earlier lines come before those of later ones."""
        if len(self.mismatches) < MOST_NAMED:
            self.mismatches.append(mismatch)
        if mismatch.kind == DIFFERENT:
            self.different += 1
        else:
            self.missing += 1

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "expected": self.expected,
            **{name: getattr(self, name) for name in COUNTS},
            "broken": self.broken,
            "mismatches": [
                {
                    "kind": mismatch.kind,
                    "statement": mismatch.statement,
                    "object": mismatch.object,
                    "offset": mismatch.offset,
                    "line": mismatch.line or None,
                }
                for mismatch in self.mismatches
            ],
            "stopped": None if self.stopped is None else without_resuming(str(self.stopped)),
        }


# What is counted of a destination; the sums of several workers' counts are those of one, but that of ``surplus``.
COUNTS = ("found", "voided", "missing", "different", "dead_letters", "surplus", "requests")


def total_result(results: Sequence[VerifyResult]) -> VerifyResult:
    """The result of one destination, from those of all workers."""
    mismatches = sorted((mismatch for result in results for mismatch in result.mismatches), key=attrgetter("place"))
    return replace(
        results[0],
        **{name: sum(getattr(result, name) for result in results) for name in COUNTS if name != "surplus"},
        surplus_rows=array("Q", chain.from_iterable(result.surplus_rows for result in results)),
        mismatches=mismatches[:MOST_NAMED],
        stopped=next((result.stopped for result in results if result.stopped), None),
    )


@dataclass(frozen=True)
class Verification:
    """What was found at all destinations."""

    results: Sequence[VerifyResult]
    not_verified: Sequence[str]
    """What could not be read of the logs, for people."""
    sample_size: int
    """How many lines were to be drawn; 0: all."""
    drawn: int
    left_out: bool = False
    """Is there a log that may hold lines that were never read?"""

    @property
    def missing(self) -> int:
        return sum(result.missing for result in self.results)

    @property
    def different(self) -> int:
        return sum(result.different for result in self.results)

    @property
    def status(self) -> int:
        status = verify_status(self.results)
        return int(ExitStatus.REJECTED) if self.left_out and status == ExitStatus.DONE else status

    def to_json(self) -> dict[str, Any]:
        """The numbers for programs."""
        return {
            "status": self.status,
            "sample": self.drawn if self.sample_size else None,
            "destinations": [result.to_json() for result in self.results],
            "not_verified": list(self.not_verified),
        }


def verify_status(results: Iterable[VerifyResult]) -> int:
    """0: all found; 3: some are missing or different; 4: a destination is unavailable; 1: one refuses to answer."""
    statuses = {ExitStatus.DONE}
    for result in results:
        if result.stopped is not None:
            statuses.add(result.stopped.status)
        if result.missing or result.different or result.broken:
            statuses.add(ExitStatus.REJECTED)
    worst_first = (ExitStatus.FAILED, ExitStatus.STOPPED, ExitStatus.REJECTED, ExitStatus.DONE)
    return next(status for status in worst_first if status in statuses)


def after_repair(sent: int, before: Verification) -> int:
    """Say how ``--repair`` ended; returns the exit status of the command.

    ``sent`` is the exit status of the run that sent the missing lines; ``before`` is what was found before it.
    """
    if sent in (ExitStatus.DONE, ExitStatus.REJECTED):
        rejected = ", except those that were rejected" if sent == ExitStatus.REJECTED else ""
        text = f"Repaired: {count(before.missing, 'missing statement')} sent again{rejected}."
        console.result(text, "repaired", fields={"message": text, "sent": before.missing})
    # Sending lines again does not change what is different.
    if sent == ExitStatus.DONE and before.status == ExitStatus.REJECTED and before.different:
        return ExitStatus.REJECTED
    return sent


def describe(verification: Verification, repair: bool) -> str:
    """The outcome for people."""
    text: list[str] = []
    for result in verification.results:
        text += [*_destination(result), ""]
    text += [f"not verified: {printable(note)}" for note in verification.not_verified]
    if verification.sample_size:
        text += _sample_notes(verification.results, verification.drawn)
    text += _verdict(verification, repair)
    return "\n".join(text)


def _destination(result: VerifyResult) -> Iterator[str]:
    asked = f" ({count(result.requests, 'request')})" if result.requests else ""
    yield f"statements expected in {result.name}{asked}"
    rows = (
        ("found", result.found, ""),
        ("voided", result.voided, "  there, but voided by another statement"),
        ("missing", result.missing, ""),
        ("different", result.different, "  another statement has the id"),
        ("dead letters", result.dead_letters, "  not expected there"),
        ("surplus", result.surplus, "  more than once, or from before a --restart"),
    )
    for name, number, meaning in rows:
        if number or name in ("found", "missing"):
            yield f"  {name:<16}{number:>11,}{meaning}"
    if not result.expected and not result.stopped:
        yield "  what was delivered there had no statements for it"
    for broken in result.broken:
        yield f"  {printable(broken)}"
    for kind in (MISSING, DIFFERENT):
        named = [mismatch for mismatch in result.mismatches if mismatch.kind == kind]
        total = result.missing if kind == MISSING else result.different
        if named:
            yield f"  {kind}{'' if len(named) == total else f', the first {len(named)}'}:"
            yield from (f"    {mismatch.statement}  {_location(mismatch)}" for mismatch in named)
    if result.stopped:
        yield f"  stopped: {printable(without_resuming(str(result.stopped)))}"


def _location(mismatch: Mismatch) -> str:
    where = f"line {mismatch.line:,}" if mismatch.line else f"byte {mismatch.offset:,}"
    return f"{printable(mismatch.object)}, {where}"


def _sample_notes(results: Sequence[VerifyResult], lines: int) -> Iterator[str]:
    yield (
        f"Sample: {count(lines, 'line')}, drawn at random from all lines that make statements; the same ones every "
        "time."
    )
    for result in results:
        if result.expected and not result.missing:
            # The rule of three: if 3 in n statements were missing, a sample of n would miss that in 5 % of cases.
            share = min(1.0, 3 / result.expected)
            yield f"{result.name}: with 95 % confidence, less than {share:.2%} of all its statements are missing."
        elif result.expected:
            yield f"{result.name}: about {result.missing / result.expected:.2%} of all its statements are missing."


def _verdict(verification: Verification, repair: bool) -> Iterator[str]:
    results, missing, different = verification.results, verification.missing, verification.different
    if any(result.stopped for result in results):
        yield "Not everything could be verified: fix what stopped it, and run the same command again."
    if different:
        yield (
            f"{count(different, 'statement')} with other content under the same id: never overwritten. Usually made by "
            "another version of event-routing-backends, or before a course was renamed."
        )
    if any(result.broken for result in results):
        yield "To write lost and damaged files again, with everything else: --restart."
    if missing and not repair:
        what = "this sample's missing lines" if verification.sample_size else "what is missing"
        yield f"{count(missing, 'statement')} missing. To send {what}: --repair."
    if not missing and not different and not any(result.stopped or result.broken for result in results):
        if not any(result.expected for result in results):
            yield "No statements were expected."
        elif verification.not_verified:
            yield "All statements that could be verified were found."
        else:
            yield "All expected statements were found."
