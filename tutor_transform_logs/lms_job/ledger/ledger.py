"""The job's memory: the plan, and how far each destination is in each segment. In a directory or an object store.

:mod:`.names` says which objects there are. Each has one writer at a time and is replaced as a whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from ..config.schema import JobConfig
from ..model import dead_letters
from ..model.dead_letters import INCOMPLETE_LINE, DeadLetter
from ..model.delivery import NamedDestination
from ..model.plan import Plan, Segment, plan_name, segment_of_batch
from ..read.filters import Filters
from ..read.lines import split_lines
from ..storage.base import ObjectChanged, Storage, StoredObject, join_name, read_all
from ..util.errors import ObjectGone
from . import names
from .entries import Entries, Entry
from .json_objects import LedgerError, load, serialised, unreadable, with_plan
from .lease import Lease, lease_lost


def job_identity(config: JobConfig) -> dict[str, object]:
    """What makes two runs the same job. No secret, and nothing that may change between runs of one job."""
    destination = config.destination or config.clickhouse
    identity: dict[str, object] = {
        "source": config.source.identity(),
        "destination": destination.identity() if destination else "LRS",
        "transformer_type": config.transformer_type,
        "dry_run": config.dry_run,
    }
    # A job without filters keeps the identity that it had before there were filters.
    filters = Filters.of(config).identity()
    return {**identity, "filters": filters} if filters else identity


def job_key(identity: Mapping[str, object]) -> str:
    """A short name for the job, the same on every machine."""
    text = json.dumps(identity, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class Ledger:
    """The ledger of one job in a storage."""

    def __init__(self, storage: Storage, prefix: str, key: str) -> None:
        self.storage = storage
        self.key = key
        self.directory = join_name(prefix, key)
        self.lease: Lease | None = None
        """The lock of the job, while this run holds it."""
        self._plan_version: str | None = None
        """The version of the plan's object that was read or written last."""

    def where(self, *parts: str) -> str:
        """The place of an object of the ledger, for people."""
        return self.storage.where(join_name(self.directory, *parts))

    def hold(self, certain: bool = False) -> None:
        """Called before each change of the ledger or of a destination. ``certain``: before one that matters most.

        Raises :class:`~.lease.LeaseLost` if this run no longer holds the job's lock.
        """
        if self.lease is not None:
            self.lease.ensure(self.storage, certain)

    # The job and its plans.

    def load_plan(self) -> Plan | None:
        """``None`` if the job has not run yet.

        Raises :class:`LedgerError` if it has, and its plan is missing, or older than what else the ledger has.
        """
        # In this order: a run that is going on saves a plan before anything else of it.
        last = self.last_number()
        self._plan_version = self.storage.version_of(join_name(self.directory, names.PLAN))
        plan: Plan | None = self._load(names.PLAN, Plan.from_json)
        if plan is None and last:
            raise LedgerError(
                f"{self.where(names.PLAN)} is missing, but the ledger has files of plan {plan_name(last)}: "
                "restore the ledger from a backup, or start over with --restart "
                "(what was delivered is then sent again)."
            )
        if plan is not None and plan.number < last:
            raise LedgerError(
                f"{self.where(names.PLAN)} is of plan {plan.name}, but the ledger has files of plan {plan_name(last)}: "
                f"restore the plan.json of plan {plan_name(last)}, or start over with --restart "
                "(what was delivered is then sent again)."
            )
        return plan

    def save_plan(self, plan: Plan) -> None:
        """Raises :class:`~.lease.LeaseLost` if another run has saved one since this one read or saved it."""
        self.hold(certain=True)
        name = join_name(self.directory, names.PLAN)
        if self._plan_version is None:
            self._plan_version = self.storage.version_of(name)  # it starts over: whatever is there is replaced
        try:
            self._plan_version = self.storage.write_if(name, serialised(plan.to_json()), self._plan_version)
        except ObjectChanged:
            raise lease_lost(self.where()) from None

    def last_number(self) -> int:
        """The highest number of a plan that has left something; 0 if none. Works on a damaged ledger.

        The lines that a plan is to send again, written or half written, do not count: they are saved before it.
        """
        found = self._objects_of_plans()
        return max((int(plan) for plan, name in found if names.MISSING_LINES not in name), default=0)

    def save_identity(self, identity: Mapping[str, object], first_plan: int) -> None:
        """Remember what the job is; ``first_plan`` is the number of the plan that it started, or started over, with."""
        self._save(names.IDENTITY, {**identity, "first_plan": first_plan})

    def first_plan(self) -> int:
        """The number of the plan that the job started, or started over, with: earlier plans no longer count."""
        plan: Plan | None = self._load(names.PLAN, Plan.from_json)
        if plan is not None and not plan.finished and plan.starts_from_nothing:
            return plan.number  # the run that saved it may have ended before it could save this, too
        return int(self._load(names.IDENTITY, lambda values: int(values.get("first_plan", 1))) or 1)

    def transformer_type(self) -> str:
        """That of the job; ``""`` if it has not run yet."""
        return str(self._load(names.IDENTITY, lambda values: values["transformer_type"]) or "")

    def finished_plans(self) -> list[str]:
        """The names of the finished plans, from the first one that counts on. Each has left something in the ledger."""
        current = self.load_plan()
        last = 0 if current is None else current.number if current.finished else current.number - 1
        return [plan_name(number) for number in range(self.first_plan(), last + 1)]

    # How far the work is.

    def load_entry(self, plan: Plan, segment: Segment, destination: str) -> Entry:
        """The entry, or a new one for a segment that was not started."""
        name = names.entry_name(plan, segment, destination)
        entry = self._load_of(plan, name, Entry.from_json)
        return entry or Entry(position=segment.first_offset(destination))

    def load_entries(self, plan: Plan, destinations: Sequence[NamedDestination]) -> Entries:
        """Every entry of the plan."""
        each = [(segment, to.id) for segment in plan.segments for to in destinations]
        with self.storage.reading_ahead([join_name(self.directory, names.entry_name(plan, *one)) for one in each]):
            return {
                segment.id: {to.id: self.load_entry(plan, segment, to.id) for to in destinations}
                for segment in plan.segments
            }

    def save_entry(self, plan: Plan, segment: Segment, destination: str, entry: Entry) -> None:
        self._save(names.entry_name(plan, segment, destination), {"plan": plan.uuid, **entry.to_json()})

    def batches_of(self, destination: str, first: int) -> Iterator[tuple[str, list[str]]]:
        """From plan ``first`` on: the plan's name, and the names of the batches that one of its entries counts."""
        for plan, name in self._objects_of_plans(first):
            segment = names.segment_of_entry(name, destination)
            if segment is not None:
                uuid, entry = self._load(f"{plan}/{name}", with_plan(Entry.from_json)) or ("", Entry(0))
                yield plan, [names.batch_name_of(plan, uuid, segment, n) for n in range(1, entry.batches + 1)]

    def destination_ids(self, plan: Plan) -> list[str]:
        """The destinations that have entries in ``plan``, in order."""
        of_plan = (name for number, name in self._objects_of_plans(plan.number) if number == plan.name)
        found = (names.destination_of_entry(name) for name in of_plan)
        return sorted({destination for destination in found if destination})

    # What is known of the destinations.

    def takes_arrays(self, destination: str) -> bool | None:
        """Does this Caliper endpoint take arrays of envelopes? ``None`` if that is not known."""
        known: bool | None = self._load(names.endpoint_name(destination), lambda values: bool(values["takes_arrays"]))
        return known

    def save_takes_arrays(self, destination: str, takes_arrays: bool) -> None:
        self._save(names.endpoint_name(destination), {"takes_arrays": takes_arrays})

    def load_sent(self, batch: str, destination: str) -> frozenset[str]:
        """The ids of what a destination has accepted of the segment of ``batch`` in unfinished deliveries.

        Batches of a resumed run may have other limits. The plan's uuid is in their names.
        """
        segment = segment_of_batch(batch)
        ids: list[str] | None = self._load(
            names.sent_name(batch, destination),
            lambda values: values["ids"] if segment_of_batch(values["batch"]) == segment else [],
        )
        return frozenset(ids or ())

    def save_sent(self, batch: str, destination: str, ids: Sequence[str]) -> None:
        """All others of the same segment are forgotten."""
        self._save(names.sent_name(batch, destination), {"batch": batch, "ids": [*ids]})

    # Dead letters.

    def save_dead_letters(
        self, plan: Plan, segment: Segment, destination: str, batch: int, letters: list[DeadLetter]
    ) -> None:
        """Save the dead letters of a batch, before the entry that counts them: a second try overwrites them."""
        name = join_name(self.directory, names.dead_letters_name(plan, segment, destination, batch))
        self._write(name, lambda: (dead_letters.dump(letters),), private=True)

    def load_dead_letters(self, plan: Plan, segment: Segment, destination: str, entry: Entry) -> Iterator[DeadLetter]:
        """The dead letters of one destination in one segment of the current plan."""
        for batch in range(1, entry.dead_batches + 1):
            name = names.dead_letters_name(plan, segment, destination, batch)
            try:
                yield from self._dead_letters_in(join_name(self.directory, name))
            except ObjectGone as error:
                raise unreadable(self.where(name), error) from None

    def drop_batches(self) -> None:
        """Remove what is kept by batch: what was sent, and dead letters, which are joined by now (personal data)."""
        for stored in list(self.storage.listing(f"{self.directory}/")):
            if names.is_dead_letters_name(stored.name) or names.is_sent_name(stored.name):
                self.delete(stored.name)

    def write_dead_letters(self, plan: Plan, chunks: Callable[[], Iterable[bytes]]) -> str:
        """Write a plan's joined dead letters; returns where they are."""
        name = join_name(self.directory, plan.name, names.DEAD_LETTERS)
        self._write(name, chunks, private=True)
        return self.storage.where(name)

    def dead_letter_files(self) -> list[StoredObject]:
        """The joined dead letters of every plan that has some."""
        return [
            stored for stored in self.storage.listing(f"{self.directory}/") if names.is_dead_letters_file(stored.name)
        ]

    def keep_dead_letters(self, name: str, wanted: Callable[[DeadLetter], bool]) -> None:
        """Remove those that are not ``wanted`` from a file of joined dead letters, and the file with the last one."""

        def kept() -> Iterator[bytes]:
            return dead_letters.dump_in_pieces(filter(wanted, self._dead_letters_in(name)))

        with contextlib.suppress(ObjectGone):
            if next(kept(), None) is not None:
                self._write(name, kept, private=True)
                return
        self.delete(name)

    def joined_dead_letters(self, plan: Plan) -> str:
        """Where a plan's joined dead letters are; ``""`` if it has none."""
        name = join_name(self.directory, plan.name, names.DEAD_LETTERS)
        return self.storage.where(name) if any(stored.name == name for stored in self.storage.listing(name)) else ""

    def load_joined_dead_letters(self, plan: Plan) -> Iterator[DeadLetter]:
        """A plan's joined dead letters, one after the other; none if it has none."""
        name = join_name(self.directory, plan.name, names.DEAD_LETTERS)
        with contextlib.suppress(ObjectGone):
            yield from self._dead_letters_in(name)

    def all_dead_letters(self, plan: Plan, entries: Entries) -> Iterator[DeadLetter]:
        """Those that REPORT has joined, and those of the current plan. ``entries`` are read if it is not finished."""
        for file in self.dead_letter_files():
            yield from self._dead_letters_in(file.name)
        if plan.finished:
            return
        for segment in plan.segments:
            for destination, entry in entries[segment.id].items():
                yield from self.load_dead_letters(plan, segment, destination, entry)

    def every_dead_letter(self) -> Iterator[DeadLetter]:
        """Those of every plan, joined or not, read without a plan: some may be there twice."""
        for file in list(self.storage.listing(f"{self.directory}/")):
            if names.has_dead_letters(file.name):
                # It may be joined, or delivered, by now.
                with contextlib.suppress(ObjectGone):
                    yield from self._dead_letters_in(file.name)

    def _dead_letters_in(self, name: str) -> Iterator[DeadLetter]:
        """Read a file of joined dead letters. Raises :class:`~.errors.ObjectGone` and :class:`LedgerError`."""
        for line in split_lines(self.storage.read(name), limit=names.MAX_DEAD_LETTER_BYTES):
            try:
                yield from dead_letters.parse(line.raw)
            except ValueError as error:
                raise LedgerError(
                    f"{self.storage.where(name)} is damaged at byte {line.offset} ({error}): "
                    "restore the file from a backup, or remove that line, and run the command again."
                ) from None

    def drop_incomplete_lines(self, plan: Plan, places: Collection[tuple[str, int]]) -> None:
        """Remove the joined dead letters of incomplete lines at ``places`` (object, offset) from plans before ``plan``.

        A file without any other is deleted.
        """
        own = join_name(self.directory, plan.name, names.DEAD_LETTERS)
        for file in self.dead_letter_files() if places else []:
            kept = partial(self._lines_elsewhere, file.name, places)
            if file.name == own or all(keep for _, keep in kept()):
                continue
            if any(keep for _, keep in kept()):
                self._write(file.name, partial(_kept_lines, kept), private=True)
            else:
                self.delete(file.name)

    def _lines_elsewhere(self, name: str, places: Collection[tuple[str, int]]) -> Iterator[tuple[bytes, bool]]:
        """The lines of a file of joined dead letters; for each, is it something else than an incomplete line there?"""
        for line in split_lines(self.storage.read(name), limit=names.MAX_DEAD_LETTER_BYTES):
            letters: list[DeadLetter] = []
            # Few lines have to be parsed: there may be millions.
            if INCOMPLETE_LINE.encode() in line.raw:
                with contextlib.suppress(ValueError):
                    letters = dead_letters.parse(line.raw)
            there = any(
                letter.reason == INCOMPLETE_LINE and (letter.object, letter.offset) in places for letter in letters
            )
            yield line.raw + b"\n", not there

    def save_missing(self, plan: Plan, chunks: Callable[[], Iterable[bytes]]) -> str:
        """Save the lines that ``plan`` sends again; returns the object's name."""
        name = join_name(self.directory, plan.name, names.MISSING_LINES)
        self._write(name, chunks, private=True)
        return name

    # What REPORT writes.

    def save_joining(self, plan: Plan, joining: Sequence[Mapping[str, Any]]) -> None:
        """Remember which batches are joined into which output files."""
        self._save(f"{plan.name}/{names.JOINING}", {"plan": plan.uuid, "files": list(joining)})

    def load_joining(self, plan: Plan) -> list[dict[str, Any]] | None:
        """What :meth:`save_joining` saved; ``None`` before that."""
        files: list[dict[str, Any]] | None = self._load_of(plan, f"{plan.name}/{names.JOINING}", _files)
        return files

    def joined_files(self, first: int) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        """For each plan from number ``first`` on whose batches are joined: its name and the files with their parts."""
        for plan, name in self._objects_of_plans(first):
            if name == names.JOINING:
                yield plan, self._load(f"{plan}/{name}", _files) or []

    def save_result(self, plan: Plan, result: Mapping[str, Any]) -> str:
        """Write the plan's result for people and programs to read; returns where it is."""
        name = join_name(self.directory, plan.name, names.RESULT)
        self._write(name, lambda: (json.dumps(result, indent=2).encode(), b"\n"))
        return self.storage.where(name)

    def load_result(self, plan: str) -> Mapping[str, Any]:
        """What :meth:`save_result` wrote for the plan of this name; empty if it was deleted or damaged since."""
        try:
            result = json.loads(read_all(self.storage, join_name(self.directory, plan, names.RESULT)))
        except (ObjectGone, ValueError, RecursionError):
            return {}
        return result if isinstance(result, dict) else {}

    def save_report_page(self, plan: Plan, page: str) -> str:
        """Write the plan's report for a browser; returns where it is."""
        name = join_name(self.directory, plan.name, names.REPORT_PAGE)
        self._write(name, lambda: (page.encode("utf-8", "backslashreplace"),))
        return self.storage.where(name)

    # Reading and writing.

    def _objects_of_plans(self, first: int = 1) -> Iterator[tuple[str, str]]:
        """The objects of all plans from number ``first`` on: the plan's name, and the object's name below it."""
        for stored in list(self.storage.listing(f"{self.directory}/")):
            plan, _, name = stored.name[len(self.directory) + 1 :].partition("/")
            if plan.isdecimal() and int(plan) >= first:
                yield plan, name

    def delete(self, name: str) -> None:
        """Delete an object of the ledger; ``name`` is its whole name."""
        self.hold()
        self.storage.delete(name)

    def _write(self, name: str, chunks: Callable[[], Iterable[bytes]], private: bool = False) -> None:
        """``name`` is the object's whole name."""
        self.hold()
        self.storage.write(name, chunks, private)

    def _save(self, name: str, values: Mapping[str, Any]) -> None:
        self._write(join_name(self.directory, name), lambda: (serialised(values),))

    def _load_of(self, plan: Plan, name: str, make: Callable[[Mapping[str, Any]], Any]) -> Any:
        """Like :meth:`_load`, for an object of ``plan``. Raises :class:`LedgerError` for one of another plan."""
        uuid, made = self._load(name, with_plan(make)) or (plan.uuid, None)
        if uuid != plan.uuid:
            raise LedgerError(
                f"The ledger {self.where(name)} is of another plan {plan.name} than {self.where(names.PLAN)}: "
                "restore the job's whole folder from one backup, or start over with --restart "
                "(what was delivered is then sent again)."
            )
        return made

    def _load(self, name: str, make: Callable[[Mapping[str, Any]], Any]) -> Any:
        return load(self.storage, join_name(self.directory, name), make)


def _kept_lines(lines: Callable[[], Iterable[tuple[bytes, bool]]]) -> Iterator[bytes]:
    return (raw for raw, keep in lines() if keep)


def _files(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(values["files"])
