"""``python -m tutor_transform_logs.demo.preview FILE...``: shows what is in logs. Runs in the embedded LMS."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tutor_transform_logs.demo.preview_model import NO_COURSE, NO_USER, EventType, Preview, PreviewedFile
from tutor_transform_logs.demo.wrapping import LOOKED_AT_BYTES, describe_wrapping
from tutor_transform_logs.lms_job.config.settings import BY_KEY
from tutor_transform_logs.lms_job.model import dead_letters
from tutor_transform_logs.lms_job.model.activity import NO_DAY, day_of
from tutor_transform_logs.lms_job.model.records import Event, Line
from tutor_transform_logs.lms_job.read.archives import Archives
from tutor_transform_logs.lms_job.read.decompress import TAR, BrokenObject, decompressed
from tutor_transform_logs.lms_job.read.events import Unparsable, parse
from tutor_transform_logs.lms_job.read.head import HEAD_STORED_BYTES, archive_kind, head_of
from tutor_transform_logs.lms_job.read.log_lines import log_lines
from tutor_transform_logs.lms_job.read.wrong_kind import FIRST_LINES, describe_wrong_kind
from tutor_transform_logs.lms_job.storage.base import StoredObject
from tutor_transform_logs.lms_job.storage.local import LocalStorage

MAX_LINE_BYTES = 16 * 1024**2
CHUNK = 1024**2
WINDOW = FIRST_LINES
MAX_INVALID_RATIO = float(BY_KEY["max_invalid_ratio"].default)
UNREAD = 3
"""The exit status if nothing could be read: that of a run whose logs could not be read."""
RENAMED = {dead_letters.UNKNOWN_USER: NO_USER, dead_letters.UNKNOWN_COURSE: NO_COURSE}


class Previewer:
    """Reads files and transforms their events as the job does."""

    def __init__(self, type_: str, most_lines: int) -> None:
        """``most_lines``: 0 for all."""
        from tutor_transform_logs.demo.fixture_users import FixtureUsers
        from tutor_transform_logs.lms_job.transform.transformer import Transformer

        self.preview = Preview(type_)
        self._left = most_lines or sys.maxsize
        self._most = most_lines
        self._transformer = Transformer(type_, stable_ids=True, max_wait_secs=1.0)
        self._fixture_users = FixtureUsers()

    def read_file(self, path: Path) -> None:
        """Add a file to the preview, or all that is in an archive. Raises ``OSError``."""
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            kind = archive_kind(file.read(HEAD_STORED_BYTES))
            file.seek(0)
            if not kind:
                self.read(str(path), size, iter(lambda: file.read(CHUNK), b""))
                return
        source = Archives(LocalStorage(str(path.parent)))
        try:
            for member in source.members(StoredObject(path.name, size), kind):
                name = f"{path}{member.name.removeprefix(path.name)}"
                if member.problem:
                    self.preview.files.append(PreviewedFile(name, member.size, problem=member.problem))
                else:
                    self.read(name, member.size, source.read(member.name), kind if kind.endswith(f"+{TAR}") else "")
        except BrokenObject as error:
            self.preview.files.append(PreviewedFile(str(path), size, problem=str(error)))

    def read(self, name: str, size: int | None, chunks: Iterator[bytes], outside: str | None = None) -> None:
        """Add what is in ``chunks`` to the preview. ``outside``: as for :func:`~.head.head_of`."""
        if self._left <= 0:
            self.preview.left_out.append(name)
            return
        file_row = PreviewedFile(name, size)
        self.preview.files.append(file_row)
        try:
            begin = _first(chunks, HEAD_STORED_BYTES)
            file_row.compression, first, file_row.problem, _ = head_of(begin, outside)
            if file_row.problem:
                return
            chunks = itertools.chain([begin], chunks)
            head = bytearray()
            read = log_lines(_watched(decompressed(chunks, file_row.compression), head), limit=MAX_LINE_BYTES)
            lines = (line for line in read if isinstance(line, Line))
            for window in _windows(lines, self._left):
                file_row.problem = "" if file_row.lines else describe_wrong_kind(first, window, MAX_INVALID_RATIO)
                if file_row.problem:
                    return
                file_row.wrapping = file_row.wrapping if file_row.lines else describe_wrapping(bytes(head))
                self._preview_lines(file_row, window)
                self._left -= len(window)
            if self._left <= 0 and next(lines, None) is not None:
                self.preview.cut_at = self._most
        except BrokenObject as error:
            file_row.problem = str(error)

    def _preview_lines(self, file_row: PreviewedFile, window: Sequence[Line]) -> None:
        parsed: list[tuple[Line, Event]] = []
        for line in window:
            file_row.lines += 1
            if not line.raw.strip():
                self.preview.blank += 1
                continue
            try:
                if line.overlong:
                    raise Unparsable("line_too_long", "")
                event = parse(line.raw)
            except Unparsable as error:
                self.preview.unparsable[error.reason] += 1
                continue
            day = day_of(event.fields.get("timestamp"))
            if day != NO_DAY:
                file_row.first_day, file_row.last_day = min(file_row.first_day or day, day), max(file_row.last_day, day)
            row = self.preview.of(event.name, self._transformer.known(event.name))
            row.lines += 1
            if row.known:
                parsed.append((line, event))
        self._fixture_users.ensure(event.fields for _, event in parsed)
        self._transformer.look_up(event for _, event in parsed)
        for line, event in parsed:
            self._transform(self.preview.types[event.name], line, event)

    def _transform(self, row: EventType, line: Line, event: Event) -> None:
        from tutor_transform_logs.lms_job.transform.transformer import Untransformable
        from tutor_transform_logs.lms_job.work.parse import ParsedLine
        from tutor_transform_logs.lms_job.work.statements import statements_of

        try:
            made = [each.statement for each in statements_of(ParsedLine(line, event), self._transformer)]
        except Untransformable as error:
            reason = RENAMED.get(error.reason, error.reason)
            row.failed[reason] += 1
            row.detail.setdefault(reason, error.detail)
            return
        row.transformed += 1
        row.statements += len(made)
        if row.first is None and made:
            row.first = dict(made[0].fields)


def _watched(chunks: Iterable[bytes], head: bytearray) -> Iterator[bytes]:
    """``chunks``; the first bytes of them go into ``head``."""
    for chunk in chunks:
        head += chunk[: LOOKED_AT_BYTES - len(head)]
        yield chunk


def _first(chunks: Iterator[bytes], count: int) -> bytes:
    """At least the first ``count`` bytes, if there are that many."""
    found = b""
    while len(found) < count and (chunk := next(chunks, b"")):
        found += chunk
    return found


def _windows(lines: Iterator[Line], most: int) -> Iterator[list[Line]]:
    """At most ``most`` of the lines, some at a time; if the file is damaged, the lines before the damage."""
    window: list[Line] = []
    try:
        for line in itertools.islice(lines, most):
            window.append(line)
            if len(window) == WINDOW:
                yield window
                window = []
    except BrokenObject:
        yield window
        raise
    yield window


def main() -> int:
    """Preview the files and print what is in them."""
    parser = argparse.ArgumentParser(prog="tutor_transform_logs.demo.preview")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--type", choices=["xapi", "caliper"], default="xapi")
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--statements", action="store_true")
    parser.add_argument("--width", type=int, default=80)
    options = parser.parse_args()
    # As for any filter: end when nobody reads the output any more.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    import django

    django.setup()
    from tutor_demo_lms import seed  # type: ignore[import-not-found, unused-ignore]

    from tutor_transform_logs.demo.preview_text import format_preview

    seed.migrate()
    seed.seed(0, 0)
    previewer = Previewer(options.type, options.lines)
    for name in options.files:
        if sys.stderr.isatty():
            print(f"Reading {name} ...", file=sys.stderr, flush=True)
        try:
            if name == "-":
                previewer.read("standard input", None, iter(lambda: sys.stdin.buffer.read(CHUNK), b""))
            else:
                previewer.read_file(Path(name))
        except OSError as error:
            print(f"{name} can't be read: {error.strerror or error}.", file=sys.stderr)
            return 1
    if options.format == "json":
        print(json.dumps(previewer.preview.to_json(), indent=2))
    else:
        print("\n".join(format_preview(previewer.preview, options.width, options.statements)))
    return UNREAD if previewer.preview.is_unread else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
