"""The output files of a job, according to its ledger: which there are, which are lost, the statements in them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ..deliver.files import Files, parts_directory
from ..ledger.ledger import Ledger
from ..model.records import statement_id
from ..read.lines import BrokenObject, compression, decompressed, split_lines
from ..storage.base import Storage, join_name
from ..util.errors import ObjectGone
from ..util.formatting import count

MAX_STATEMENT_BYTES = 256 * 1024**2


class OutputFiles:
    """What the plans of a job have written since it was started, or started over."""

    def __init__(self, ledger: Ledger, store: Storage, prefix: str) -> None:
        self._ledger = ledger
        self._store = store
        self._prefix = prefix
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
        first = self._ledger.first_plan()
        batches = self._batches()
        joined = set()
        for plan, files in self._ledger.joined_files(first):
            joined.add(plan)
            for file in files:
                parts = [part for part in file["parts"] if part in batches.values()]
                # The parts are removed once the joined file is written. Until then the parts are read.
                yield from parts if len(parts) == len(file["parts"]) else [file["name"]]
        for plan, segment, written in self._ledger.batches_of(Files.id, first):
            if plan in joined:
                continue
            for number in range(1, written + 1):
                stem = f"{self._ledger.key}-{plan}-{segment}-{number:06d}"
                if stem in batches:
                    yield batches[stem]
                else:
                    self.broken.append(f"lost: {stem} in {self._store.where(self._prefix)}")

    def _batches(self) -> dict[str, str]:
        """The files with one batch each: name without directory and suffix -> object name."""
        own = join_name(self._prefix, f"{self._ledger.key}-")
        parts = f"{parts_directory(self._prefix, self._ledger.key)}/"
        names = [stored.name for where in (own, parts) for stored in self._store.listing(where)]
        return {name.rpartition("/")[2].partition(".")[0]: name for name in names}
