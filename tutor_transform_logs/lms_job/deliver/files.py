"""Delivery to files of JSON lines: one object for each batch. REPORT joins them if one file is wanted."""

from __future__ import annotations

import gzip
import re
import time
from collections.abc import Sequence

from ..config.schema import StorageConfig
from ..model.delivery import Outcome, OutgoingStatement, SourcedStatement
from ..model.plan import OutputFormat, Plan
from ..storage.base import Storage, join_name, write_all

MANIFEST = "manifest.log"
JOINED_NAME = r"\d\d-\d\d-\d\d_\d\d-\d\d-\d\d_{}(_[0-9a-f]{{12}}-[0-9a-f]{{4,8}})?(-\d+)?\.log(\.gz)?"
"""The file names that :func:`joined_stem` begins, for one type of statements.

Earlier versions left out job and plan.
"""


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
        self.names = (self.name,)
        self.traffic = None

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


def joined_stem(prefix: str, plan: Plan, transformer_type: str, job_key: str) -> str:
    """How the files of a plan begin: those into which its batches are joined, and its manifest.

    With the time at which the plan was made, as ERB's command names its files. Several plans, of one job or of several,
    may be made in the same second: the job's key and the plan's uuid tell their files apart. (Its number may
    come again, where the ledger was restored from a backup.)
    """
    moment = time.strftime("%y-%m-%d_%H-%M-%S", time.localtime(plan.created))
    return join_name(prefix, f"{moment}_{transformer_type}_{job_key}-{plan.uuid[:8] or plan.name}")


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


def write_manifest(storage: Storage, stem: str, lines: Sequence[str]) -> None:
    """Write the manifest of one plan, which begins with ``stem`` (see :func:`joined_stem`), beside the output.

    Each plan has its own, since no store can add a line to an object that another job is writing.
    """
    content = "".join(f"{line}\n" for line in dict.fromkeys(lines))
    write_all(storage, f"{stem}_{MANIFEST}", content.encode("utf-8", "surrogateescape"))
