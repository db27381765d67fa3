"""Delivery to files of JSON lines: one object for each batch. REPORT joins them if one file is wanted."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Sequence

from ..config.schema import StorageConfig
from ..model.delivery import Outcome, OutgoingStatement, SourcedStatement
from ..model.plan import OutputFormat
from ..storage.base import Storage, join_name, read_all, write_all
from ..util.errors import ObjectGone

MANIFEST = "manifest.log"
JOINED_NAME = r"\d\d-\d\d-\d\d_\d\d-\d\d-\d\d_{}(-\d+)?\.log(\.gz)?"
"""The file names that :func:`joined_stem` begins, for one type of statements."""


class Files:
    """A container and a prefix to which batches are written, one object each."""

    id = "files"

    def __init__(self, config: StorageConfig, storage: Storage, output: OutputFormat, job_key: str) -> None:
        self._storage = storage
        self._output = output
        self._directory = config.prefix
        if output.layout == "single":
            # These are not the user's files yet: REPORT joins them and deletes them.
            self._directory = parts_directory(config.prefix, job_key)
        self._job_key = job_key
        self.name = str(config)

    def route(self, made: SourcedStatement) -> bytes | None:
        return made.statement.body

    def deliver(self, batch_name: str, outgoing: Sequence[OutgoingStatement]) -> Outcome:
        content = b"".join(statement.body + b"\n" for statement in outgoing)
        if self._output.compression == "gzip":
            # Without a timestamp in the header, the same batch always gives the same bytes.
            content = gzip.compress(content, mtime=0)
        write_all(self._storage, self.object_name(batch_name), content)
        return Outcome(stored=len(outgoing))

    def object_name(self, batch_name: str) -> str:
        """The name of a batch's object. It never changes, and no other batch of any job has the same name."""
        return join_name(self._directory, f"{self._job_key}-{batch_name}{self._output.suffix}")


def parts_directory(prefix: str, job_key: str) -> str:
    """The directory where the batches of layout ``single`` wait to be joined."""
    return join_name(prefix, f".parts-{job_key}")


def joined_stem(prefix: str, created: float, transformer_type: str) -> str:
    """How the files into which a plan's batches are joined begin: with the time at which the plan was made.

    ERB's command names its files in the same way.
    """
    moment = time.strftime("%y-%m-%d_%H-%M-%S", time.localtime(created))
    return join_name(prefix, f"{moment}_{transformer_type}")


def is_joined_name(prefix: str, name: str, transformer_type: str) -> bool:
    """Is this the name of a file of joined batches, of whatever job and plan?"""
    base = name.rpartition("/")[2]
    return name == join_name(prefix, base) and re.fullmatch(JOINED_NAME.format(transformer_type), base) is not None


def group_parts(sizes: Sequence[tuple[str, int]], max_bytes: int) -> list[list[str]]:
    """Group parts into files, in order. A file has at most ``max_bytes``, unless a single part is larger."""
    groups: list[list[str]] = []
    room = 0
    for name, size in sizes:
        if not groups or size > room:
            groups.append([])
            room = max_bytes
        groups[-1].append(name)
        room -= size
    return groups


def manifest_line(name: str, size: int) -> str:
    """A source file's line in the manifest.

    Characters that can't be printed on one line of a terminal, and backslashes, are escaped as in Python, so every name
    can be read back. Bytes that are not UTF-8 stay as they are.
    """
    return f"{''.join(_escaped(c) for c in name)} - {size} bytes"


def _escaped(c: str) -> str:
    is_text = c.isprintable() or "\udc80" <= c <= "\udcff"
    return c if is_text and c != "\\" else c.encode("unicode_escape").decode("ascii")


def add_to_manifest(storage: Storage, prefix: str, lines: Sequence[str]) -> str:
    """Add lines to the manifest beside the output, and return the manifest's name. Lines of other jobs stay."""
    name = join_name(prefix, MANIFEST)
    try:
        content = read_all(storage, name).decode("utf-8", "surrogateescape")
        # Not splitlines(): earlier versions did not escape other line breaks.
        present = [line for line in content.split("\n") if line]
    except ObjectGone:
        present = []
    wanted = list(dict.fromkeys([*present, *lines]))
    if wanted != present:
        write_all(storage, name, "".join(f"{line}\n" for line in wanted).encode("utf-8", "surrogateescape"))
    return name
