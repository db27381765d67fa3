"""The output files of a job, according to its ledger: which there are, which are lost, the statements in them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..deliver.files import Files, is_joined_name, parts_directory
from ..ledger import names
from ..ledger.json_objects import LedgerError
from ..ledger.ledger import Ledger
from ..model.records import statement_id
from ..read.decompress import BrokenObject, compression, decompressed
from ..read.lines import split_lines
from ..storage.base import Storage, join_name
from ..util.errors import ObjectGone
from ..util.formatting import count

MAX_STATEMENT_BYTES = 256 * 1024**2


class OutputFiles:
    """What the plans of a job have written since it was started, or started over."""

    def __init__(self, ledger: Ledger, store: Storage, prefix: str, transformer_type: str) -> None:
        self._ledger = ledger
        self._store = store
        self._prefix = prefix
        self._type = transformer_type
        self.broken: list[str] = []
        """A description of each file that is lost or can't be read to its end."""

    def statements(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Id (in lower case) and fields of every statement in the files, in no particular order."""
        for name in self._names():
            lines = 0
            try:
                for line in split_lines(self._content(name), limit=MAX_STATEMENT_BYTES):
                    fields = json.loads(line.raw)
                    if not isinstance(fields, dict):
                        raise ValueError("not an object")
                    yield statement_id(fields).lower(), fields
                    lines += 1
            except ObjectGone:
                self.broken.append(f"lost: {self._store.where(name)}")
            except (BrokenObject, ValueError, RecursionError) as error:
                self.broken.append(f"damaged after {count(lines, 'line')}: {self._store.where(name)} ({error})")

    def _content(self, name: str) -> Iterator[bytes]:
        chunks = self._store.read(name)
        first = next(chunks, b"")

        def all_chunks() -> Iterator[bytes]:
            yield first
            yield from chunks

        return decompressed(all_chunks(), compression(first))

    def _names(self) -> Iterator[str]:
        """The files, each once: joined files, and batches that stay separate files or are not joined yet."""
        batches = self._batches()
        recorded = dict(self._ledger.joined_files(self._ledger.first_plan()))
        for files in recorded.values():
            for file in files:
                parts = [part for part in file["parts"] if part in batches.values()]
                # The parts are removed once the joined file is written. Until then the parts are read.
                yield from parts if len(parts) == len(file["parts"]) else [file["name"]]
        finished = self._ledger.finished_plans()
        stems = self._stems(batches, finished)
        for plan in dict.fromkeys([*stems, *finished]):
            if plan in recorded:
                continue
            of_plan = stems.get(plan, ())
            lost = [stem for stem in of_plan if stem not in batches]
            if lost or plan not in stems:
                joined = self._joined_without_record(plan, {file["name"] for of in recorded.values() for file in of})
                if joined is not None:
                    yield from joined
                    continue
            self.broken += [f"lost: {stem} in {self._store.where(self._prefix)}" for stem in lost]
            yield from (batches[stem] for stem in of_plan if stem in batches)

    def _stems(self, batches: Mapping[str, str], finished: Collection[str]) -> dict[str, dict[str, None]]:
        """Plan -> its batches: those that its entries count, and those that exist although their entry is lost."""
        stems: dict[str, dict[str, None]] = {}
        for stem in batches:
            plan = stem.removeprefix(f"{self._ledger.key}-").partition("-")[0]
            # A batch of an unfinished plan that no entry counts is delivered again.
            if plan in finished:
                stems.setdefault(plan, {})[stem] = None
        for plan, written in self._ledger.batches_of(Files.id, self._ledger.first_plan()):
            counted = (f"{self._ledger.key}-{name}" for name in written)
            stems.setdefault(plan, {}).update(dict.fromkeys(counted))
        return stems

    def _joined_without_record(self, plan: str, recorded: Collection[str]) -> list[str] | None:
        """The joined files of a plan whose record of them is lost, as its result names them; ``None`` if it has none.

        ``recorded``: the joined files of the other plans. Raises :class:`~.json_objects.LedgerError` if the result is
        lost, too, and there is a file that may be one of them: what is in it would count as missing, and a repair
        would write it again.
        """
        present = {
            self._store.where(stored.name): stored.name
            for stored in self._store.listing(self._prefix)
            if is_joined_name(self._prefix, stored.name, self._type)
        }
        outputs = self._ledger.load_result(plan).get("outputs")
        if outputs and isinstance(outputs, list):
            if not any(is_joined_name("", str(output).rpartition("/")[2], self._type) for output in outputs):
                return None
            self.broken += [f"lost: {output}" for output in outputs if output not in present]
            return [present[output] for output in outputs if output in present]
        free = [where for where, name in present.items() if name not in recorded]
        if free:
            raise LedgerError(
                f"{self._ledger.where(plan, names.JOINING)} is missing, and {free[0]} may hold what plan {plan} has "
                "delivered: restore the ledger's file from a backup, or start over with --restart (what was delivered "
                "is then sent again)."
            )
        return None

    def _batches(self) -> dict[str, str]:
        """The files with one batch each: name without directory and suffix -> object name."""
        own = join_name(self._prefix, f"{self._ledger.key}-")
        parts = f"{parts_directory(self._prefix, self._ledger.key)}/"
        found = [stored.name for where in (own, parts) for stored in self._store.listing(where)]
        return {name.rpartition("/")[2].partition(".")[0]: name for name in found}
