"""What VERIFY finds: for each destination how much of what should be there is there, and where the rest comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import IO

from ..model import dead_letters
from ..model.dead_letters import DELIVER, DeadLetter
from ..util import console
from ..util.errors import ExitStatus, JobError
from ..util.formatting import count, printable

MISSING = "missing"
DIFFERENT = "different"
# So many of what is missing or different are named; the counts are of all.
MOST_NAMED = 20


@dataclass(frozen=True)
class Finding:
    """A statement that is not there, or is another one there."""

    kind: str
    statement: str
    object: str
    offset: int
    line: int
    """Its number in the object; 0 where that is not known."""
    raw: bytes


class MissingLines:
    """The lines that statements are missing of, kept in a file until they are sent again; ``None``: not kept."""

    def __init__(self, file: IO[bytes] | None) -> None:
        self._file = file
        self.count = 0
        self.others = False
        """Is there anything that a repair does not mend?"""

    def add(self, found: Finding, destination: str) -> None:
        self.count += 1
        if self._file is not None:
            detail = "not found at its destination"
            letter = DeadLetter(found.object, found.offset, found.line, DELIVER, MISSING, detail, "", found.raw)
            letter = replace(letter, statement=found.statement, destination=destination)
            self._file.write(dead_letters.dump([letter]))


@dataclass
class Verified:
    """What one destination holds of what should be there."""

    id: str
    name: str
    there: int = 0
    missing: int = 0
    different: int = 0
    voided: int = 0
    """Taken back by another statement; to be found all the same."""
    set_aside: int = 0
    """Dead letters: not expected to be there, and not looked for."""
    surplus: int = 0
    """Files: there more often than they should be."""
    findings: list[Finding] = field(default_factory=list)
    """The first of them."""
    broken: list[str] = field(default_factory=list)
    """Files that are lost or damaged, and how."""
    requests: int = 0
    stopped: JobError | None = None

    @property
    def looked_for(self) -> int:
        return self.there + self.missing + self.different + self.voided

    def add(self, found: Finding, missing: MissingLines) -> None:
        """Count what is not there, and keep it for a repair."""
        if len(self.findings) < MOST_NAMED:
            self.findings.append(found)
        if found.kind == DIFFERENT:
            self.different += 1
            missing.others = True
        else:
            self.missing += 1
            missing.add(found, self.name)


def exit_status(results: Iterable[Verified]) -> int:
    """0: all there; 3: something is missing or another; 4: not all could be asked; 1: not all may be asked."""
    statuses = {ExitStatus.DONE}
    for one in results:
        if one.stopped is not None:
            statuses.add(one.stopped.status)
        if one.missing or one.different or one.broken:
            statuses.add(ExitStatus.REJECTED)
    worst_first = (ExitStatus.FAILED, ExitStatus.STOPPED, ExitStatus.REJECTED, ExitStatus.DONE)
    return next(status for status in worst_first if status in statuses)


def after_repair(sent: int, looked: int, missing: MissingLines) -> int:
    """Say how a repair ended; gives the exit status of all of it. ``sent`` is that of the run that sent the lines."""
    if sent in (ExitStatus.DONE, ExitStatus.REJECTED):
        rejected = ", but for those that were rejected" if sent == ExitStatus.REJECTED else ""
        console.result(f"Repaired: {count(missing.count, 'missing statement')} sent again{rejected}.", "repaired")
    if sent == ExitStatus.DONE and looked == ExitStatus.REJECTED and missing.others:
        return ExitStatus.REJECTED
    return sent


def in_words(results: Sequence[Verified], sampled: int, lines: int, notes: Sequence[str], repair: bool) -> str:
    """The outcome for people. ``sampled``: how many lines were to be drawn, 0 for all; ``lines``: how many were."""
    text: list[str] = []
    for one in results:
        text += [*_destination(one), ""]
    text += [f"not verified: {printable(note)}" for note in notes]
    if sampled:
        text += _meaning(results, lines)
    text += _verdict(results, bool(notes), bool(sampled), repair)
    return "\n".join(text)


def _destination(one: Verified) -> Iterator[str]:
    asked = f" ({count(one.requests, 'request')})" if one.requests else ""
    yield f"statements looked for in {one.name}{asked}"
    rows = (
        ("there", one.there, ""),
        ("voided", one.voided, "  there, and taken back by another statement"),
        ("missing", one.missing, ""),
        ("different", one.different, "  another statement has the id"),
        ("set aside", one.set_aside, "  dead letters: not expected there"),
        ("surplus", one.surplus, "  more than once, or from before a --restart"),
    )
    for name, number, meaning in rows:
        if number or name in ("there", "missing"):
            yield f"  {name:<16}{number:>11,}{meaning}"
    for broken in one.broken:
        yield f"  {printable(broken)}"
    for kind in (MISSING, DIFFERENT):
        named = [found for found in one.findings if found.kind == kind]
        total = one.missing if kind == MISSING else one.different
        if named:
            yield f"  {kind}{'' if len(named) == total else f', the first {len(named)}'}:"
            yield from (f"    {found.statement}  {_place(found)}" for found in named)
    if one.stopped:
        yield f"  stopped: {printable(str(one.stopped))}"


def _place(found: Finding) -> str:
    where = f"line {found.line:,}" if found.line else f"byte {found.offset:,}"
    return f"{printable(found.object)}, {where}"


def _meaning(results: Sequence[Verified], lines: int) -> Iterator[str]:
    yield (
        f"Sample: {count(lines, 'line')}, drawn at random of all lines that make statements, each as likely as any "
        "other; the same ones every time."
    )
    for one in results:
        if one.looked_for and not one.missing:
            # The rule of three: what is missing at random in 3 of n escapes a sample of n in 5 cases of 100.
            share = min(1.0, 3 / one.looked_for)
            yield f"{one.name}: with 95 % confidence, less than {share:.2%} of all its statements are missing."
        elif one.looked_for:
            yield f"{one.name}: about {one.missing / one.looked_for:.2%} of all its statements are missing."


def _verdict(results: Sequence[Verified], notes: bool, sampled: bool, repair: bool) -> Iterator[str]:
    missing = sum(one.missing for one in results)
    different = sum(one.different for one in results)
    if any(one.stopped for one in results):
        yield "Not all could be looked for: mend what stopped it, and run the same command again."
    if different:
        yield (
            f"{count(different, 'statement')} of another content under the same id: never overwritten. Usually made by "
            "another version of event-routing-backends, or before a course was renamed."
        )
    if any(one.broken for one in results):
        yield "Lost and damaged files can be made anew, with everything else, by --restart."
    if missing and not repair:
        what = "this sample's missing lines" if sampled else "what is missing"
        yield f"{count(missing, 'statement')} missing. To send {what}: --verify --repair."
    if not missing and not different and not any(one.stopped or one.broken for one in results):
        yield "All that could be looked for is there." if notes else "All that was looked for is there."
