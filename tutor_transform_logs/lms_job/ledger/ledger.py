"""The job's memory: the plan, and for each segment and destination how far it is. In a directory or an object store.

    <job key>/job.json                          what the job is
    <job key>/plan.json                         the plan in hand, with all that is known from the plans before
    <job key>/NNNN/<segment>.<destination>.json how far a segment of plan NNNN is
    <job key>/NNNN/dead/...                     its dead letters, an object a batch
    <job key>/NNNN/result.json, report.html, dead-letters.jsonl   made by REPORT
    <job key>/NNNN/missing.jsonl                the lines of a repair, while it runs

Each object has one writer at a time and is replaced whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..config.schema import JobConfig
from ..model import dead_letters
from ..model.activity import Activity
from ..model.counts import Counts
from ..model.dead_letters import DeadLetter
from ..model.delivery import Destination
from ..model.plan import Plan, Segment
from ..read.filters import Filters
from ..read.lines import split_lines
from ..storage.base import Storage, StoredObject, join_name, read_all, write_all
from ..util.errors import JobError, ObjectGone
from .versions import VERSION, UnknownVersion, upgraded

LONGEST_LETTER = 256 * 1024**2

DEAD_LETTERS = "dead-letters.jsonl"
PAGE = "report.html"
# Far above what a line may have (max_line_bytes), even where each of its bytes is escaped.
MOST_LETTER_BYTES = 1024**3


class LedgerError(JobError):
    """The ledger can't be read as this version writes it; never a reason to start over silently."""


def job_identity(config: JobConfig) -> dict[str, object]:
    """What makes two runs the same job. No secret, and nothing that may change between runs of one job."""
    identity: dict[str, object] = {
        "source": config.source.identity(),
        "destination": config.destination.identity() if config.destination else "LRS",
        "transformer_type": config.transformer_type,
        "dry_run": config.dry_run,
    }
    # Without filters, a job is the one that it was before there were any.
    filters = Filters.of(config).identity()
    return {**identity, "filters": filters} if filters else identity


def job_key(identity: Mapping[str, object]) -> str:
    """A short name for the job, the same on every machine."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass
class Entry:
    """How far one destination is in one segment."""

    position: int
    """Decompressed offset up to which everything is delivered; a line start."""
    line: int = 1
    """Number, in the segment, of the line that begins there."""
    batches: int = 0
    dead_batches: int = 0
    """How many batches have dead letters; they are numbered from 1."""
    counts: Counts = field(default_factory=Counts)
    done: bool = False
    resume_at: int | None = None
    unterminated: bool = False
    """The last line done had no newline."""
    problem: str = ""
    """Why the object could not be read to its end, if so."""
    activity: Activity = field(default_factory=Activity)

    def to_json(self) -> dict[str, Any]:
        return {**self.__dict__, "counts": self.counts.to_json(), "activity": self.activity.to_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Entry:
        if set(values) != set(cls.__dataclass_fields__):
            raise ValueError("not the fields of an entry")
        counts, activity = Counts.from_json(values["counts"]), Activity.from_json(values["activity"])
        return cls(**{**values, "counts": counts, "activity": activity})


Entries = Mapping[int, Mapping[str, Entry]]


class Ledger:
    """The ledger of one job in a storage."""

    def __init__(self, storage: Storage, prefix: str, key: str) -> None:
        self.storage = storage
        self.key = key
        self.directory = join_name(prefix, key)

    def where(self, *names: str) -> str:
        return self.storage.where(join_name(self.directory, *names))

    def load_plan(self) -> Plan | None:
        plan: Plan | None = self._load("plan.json", Plan.from_json)
        return plan

    def save_plan(self, plan: Plan) -> None:
        self._save("plan.json", plan.to_json())

    def last_number(self) -> int:
        """The highest number of a plan that this ledger has ever had; 0 if none. Works on a damaged ledger."""
        names = (entry.name[len(self.directory) + 1 :] for entry in self.storage.listing(f"{self.directory}/"))
        heads = {name.partition("/")[0] for name in names}
        return max((int(head) for head in heads if head.isdecimal()), default=0)

    def save_identity(self, identity: Mapping[str, object], first_plan: int) -> None:
        """Remember what the job is; ``first_plan`` is the number of the plan that it began with, or began anew."""
        self._save("job.json", {**identity, "first_plan": first_plan})

    def first_plan(self) -> int:
        """What was before this plan is of no account any more."""
        number: int | None = self._load("job.json", lambda values: int(values.get("first_plan", 1)))
        return number or 1

    def load_entry(self, plan: Plan, segment: Segment, destination: str) -> Entry:
        """The entry, or a fresh one for a segment not begun."""
        entry = self._load(_entry_name(plan, segment, destination), Entry.from_json)
        return entry or Entry(position=segment.first_offset(destination))

    def save_entry(self, plan: Plan, segment: Segment, destination: str, entry: Entry) -> None:
        self._save(_entry_name(plan, segment, destination), entry.to_json())

    def save_dead_letters(
        self, plan: Plan, segment: Segment, destination: str, batch: int, letters: list[DeadLetter]
    ) -> None:
        """Written before the entry that counts them, under a name that a second try overwrites."""
        name = _dead_name(plan, segment, destination, batch)
        write_all(self.storage, join_name(self.directory, name), dead_letters.dump(letters), private=True)

    def load_dead_letters(self, plan: Plan, segment: Segment, destination: str, entry: Entry) -> list[DeadLetter]:
        letters = []
        for batch in range(1, entry.dead_batches + 1):
            name = _dead_name(plan, segment, destination, batch)
            try:
                letters += dead_letters.parse(read_all(self.storage, join_name(self.directory, name)))
            except (ObjectGone, ValueError, KeyError) as error:
                raise self._unreadable(name, error) from None
        return letters

    def dead_letter_files(self) -> list[StoredObject]:
        """The joined dead letters of every plan that has some."""
        return [one for one in self.storage.listing(f"{self.directory}/") if one.name.endswith(f"/{DEAD_LETTERS}")]

    def write_dead_letters(self, plan: Plan, chunks: Callable[[], Iterable[bytes]]) -> str:
        """Join a plan's dead letters into one object; returns where it is."""
        name = join_name(self.directory, plan.name, DEAD_LETTERS)
        self.storage.write(name, chunks, private=True)
        return self.storage.where(name)

    def joined_dead_letters(self, plan: Plan) -> str:
        """Where a plan's joined dead letters are; ``""`` if it has none."""
        name = join_name(self.directory, plan.name, DEAD_LETTERS)
        return self.storage.where(name) if any(one.name == name for one in self.storage.listing(name)) else ""

    def load_joined_dead_letters(self, plan: Plan) -> Iterator[DeadLetter]:
        """A plan's joined dead letters, one after the other; none if it has none."""
        name = f"{plan.name}/{DEAD_LETTERS}"
        try:
            for line in split_lines(self.storage.read(join_name(self.directory, name)), 0, 1, MOST_LETTER_BYTES):
                yield from dead_letters.parse(line.raw)
        except ObjectGone:
            return
        except (ValueError, KeyError) as error:
            raise self._unreadable(name, error) from None

    def drop_dead_batches(self) -> None:
        """Remove the dead letters by batch, once they are joined: they hold personal data."""
        for one in list(self.storage.listing(f"{self.directory}/")):
            if "/dead/" in one.name:
                self.storage.delete(one.name)

    def save_joining(self, plan: Plan, joining: Sequence[Mapping[str, Any]]) -> None:
        self._save(f"{plan.name}/joining.json", {"files": list(joining)})

    def load_joining(self, plan: Plan) -> list[dict[str, Any]] | None:
        joining: list[dict[str, Any]] | None = self._load(f"{plan.name}/joining.json", lambda values: values["files"])
        return joining

    def joined_files(self, first: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """For each plan from number ``first`` on whose batches are joined: its name and the files with their parts."""
        for plan, name in self._names_of_plans(first):
            if name == "joining.json":
                yield plan, self._load(f"{plan}/{name}", lambda values: values["files"])

    def batches_of(self, destination: str, first: int) -> Iterator[tuple[str, str, int]]:
        """Plan and segment, as they are in names, with the number of batches delivered, from plan ``first`` on."""
        for plan, name in self._names_of_plans(first):
            segment, _, rest = name.partition(".")
            if rest == f"{destination}.json" and segment.isdecimal():
                entry: Entry | None = self._load(f"{plan}/{name}", Entry.from_json)
                yield plan, segment, entry.batches if entry else 0

    def _names_of_plans(self, first: int) -> Iterator[tuple[str, str]]:
        for one in list(self.storage.listing(f"{self.directory}/")):
            plan, _, name = one.name[len(self.directory) + 1 :].partition("/")
            if plan.isdecimal() and int(plan) >= first:
                yield plan, name

    def save_missing(self, plan: Plan, chunks: Callable[[], Iterable[bytes]]) -> str:
        """Put the lines in place that ``plan`` is to send again; returns the object's name."""
        name = join_name(self.directory, plan.name, "missing.jsonl")
        self.storage.write(name, chunks, private=True)
        return name

    def save_result(self, plan: Plan, result: Mapping[str, Any]) -> str:
        """Write the plan's result for people and programs to read; returns where it is."""
        name = f"{plan.name}/result.json"
        write_all(self.storage, join_name(self.directory, name), json.dumps(result, indent=2).encode() + b"\n")
        return self.where(name)

    def save_page(self, plan: Plan, page: str) -> str:
        """Write the plan's report for a browser; returns where it is."""
        name = f"{plan.name}/{PAGE}"
        write_all(self.storage, join_name(self.directory, name), page.encode("utf-8", "backslashreplace"))
        return self.where(name)

    def _save(self, name: str, values: Mapping[str, Any]) -> None:
        content = json.dumps({"version": VERSION, **values}, sort_keys=True).encode("ascii")
        write_all(self.storage, join_name(self.directory, name), content)

    def _load(self, name: str, make: Callable[[Mapping[str, Any]], Any]) -> Any:
        """``None`` if there is no such object. Raises :class:`LedgerError` for one that can't be read."""
        try:
            values = json.loads(read_all(self.storage, join_name(self.directory, name)))
        except ObjectGone:
            return None
        except ValueError as error:
            raise self._unreadable(name, error) from None
        if not isinstance(values, dict):
            raise self._unreadable(name, ValueError())
        try:
            return make(upgraded(values))
        except UnknownVersion as error:
            raise LedgerError(
                f"The ledger {self.where(name)} is of version {error.version}, and this release reads up to {VERSION}: "
                "finish the job with the release that started it, or start over with --restart."
            ) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._unreadable(name, error) from None

    def _unreadable(self, name: str, error: Exception) -> LedgerError:
        return LedgerError(
            f"The ledger {self.where(name)} is damaged ({type(error).__name__}): "
            "restore it, or begin anew with --restart (what was delivered is then sent again)."
        )


def _entry_name(plan: Plan, segment: Segment, destination: str) -> str:
    return f"{plan.name}/{segment.id:06d}.{destination}.json"


def _dead_name(plan: Plan, segment: Segment, destination: str, batch: int) -> str:
    return f"{plan.name}/dead/{segment.id:06d}.{destination}.{batch:06d}.jsonl"


def load_entries(plan: Plan, ledger: Ledger, destinations: Sequence[Destination]) -> Entries:
    """Every entry of the plan: segment id -> destination id -> entry."""
    return {
        segment.id: {d.id: ledger.load_entry(plan, segment, d.id) for d in destinations} for segment in plan.segments
    }


def letters_of(ledger: Ledger, plan: Plan, entries: Entries) -> Iterable[DeadLetter]:
    """All dead letters of the job: those that REPORT has joined, and those of the plan in hand.

    Raises :class:`~.errors.JobError` for a file that is damaged.
    """
    for file in ledger.dead_letter_files():
        for line in split_lines(ledger.storage.read(file.name), limit=LONGEST_LETTER):
            try:
                yield from dead_letters.parse(line.raw)
            except (ValueError, KeyError) as error:
                raise JobError(
                    f"{ledger.storage.where(file.name)} is damaged at byte {line.offset} ({error}): remove that line."
                ) from None
    if plan.finished:
        return
    for segment in plan.segments:
        for destination, entry in entries[segment.id].items():
            yield from ledger.load_dead_letters(plan, segment, destination, entry)
