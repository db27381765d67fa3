"""``python -m tutor_transform_logs.demo.preview FILE...``: what logs hold, in the embedded LMS. See ``previewer``."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from tutor_transform_logs.lms_job.model import dead_letters
from tutor_transform_logs.lms_job.model.activity import NO_DAY, day_of
from tutor_transform_logs.lms_job.model.records import Event, Line
from tutor_transform_logs.lms_job.read.events import Unparsable, parse
from tutor_transform_logs.lms_job.read.lines import BrokenObject, compression, decompressed, split_lines

MAX_LINE_BYTES = 16 * 1024**2
CHUNK = 1024**2
WINDOW = 1000
# Requests have their path for a name: thousands of different ones.
REQUESTS = "(requests: the path is the name)"
MOST_UNKNOWN_NAMES = 200
OTHER_NAMES = "(other names)"
NO_NAME = "(no name)"
# Nobody is looked up here, so nobody is unknown.
NO_USER, NO_COURSE = "names_no_user", "names_no_course"
RENAMED = {dead_letters.UNKNOWN_USER: NO_USER, dead_letters.UNKNOWN_COURSE: NO_COURSE}


@dataclass
class Read:
    """One file: how it is stored, and how much of it was read."""

    name: str
    size: int | None
    compression: str = ""
    lines: int = 0
    first_day: str = ""
    last_day: str = ""
    problem: str = ""


@dataclass
class Type:
    """The events of one name."""

    name: str
    known: bool
    lines: int = 0
    transformed: int = 0
    statements: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    detail: dict[str, str] = field(default_factory=dict)
    """Reason -> what ERB says of the first event that failed for it."""
    first: dict[str, Any] | None = None
    """The first statement."""


@dataclass
class Preview:
    """All that was found."""

    type: str
    files: list[Read] = field(default_factory=list)
    blank: int = 0
    unparsable: Counter[str] = field(default_factory=Counter)
    types: dict[str, Type] = field(default_factory=dict)
    cut_at: int = 0
    """The limit at which reading ended before the end; 0 if it did not."""
    left_out: list[str] = field(default_factory=list)
    """Files of which nothing was read."""

    @property
    def lines(self) -> int:
        return sum(one.lines for one in self.files)

    def of(self, name: str, known: bool) -> Type:
        """The row for events of this name."""
        if not known:
            name = REQUESTS if name.startswith("/") else name or NO_NAME
            if name not in self.types and len(self.types) >= MOST_UNKNOWN_NAMES:
                name = OTHER_NAMES
        return self.types.setdefault(name, Type(name, known))

    def to_json(self) -> dict[str, Any]:
        return {
            "type": self.type,
            "lines": self.lines,
            "cut_at_lines": self.cut_at or None,
            "files": [vars(one) for one in self.files],
            "files_left_out": self.left_out,
            "blank": self.blank,
            "unparsable": dict(self.unparsable),
            "look_ups_checked": False,
            "events": [
                {
                    "name": one.name,
                    "known": one.known,
                    "lines": one.lines,
                    "transformed": one.transformed,
                    "statements": one.statements,
                    "failed": dict(one.failed),
                    "first_statement": one.first,
                }
                for one in in_order(self.types.values())
            ],
        }


def in_order(types: Iterable[Type]) -> list[Type]:
    """Those that are transformed first, then by how many there are."""
    return sorted(types, key=lambda one: (not one.known, -one.lines, one.name))


class Previewer:
    """Reads files as the job does, and has ERB transform what it can."""

    def __init__(self, type_: str, most_lines: int) -> None:
        """``most_lines``: 0 for all."""
        from tutor_transform_logs.demo.crowd import FixtureUsers
        from tutor_transform_logs.lms_job.transform.transformer import Transformer

        self.preview = Preview(type_)
        self._left = most_lines or sys.maxsize
        self._most = most_lines
        self._transformer = Transformer(type_, stable_ids=True, max_wait_secs=1.0)
        self._crowd = FixtureUsers()

    def read(self, name: str, size: int | None, file: IO[bytes]) -> None:
        """Take a file up."""
        if self._left <= 0:
            self.preview.left_out.append(name)
            return
        one = Read(name, size)
        self.preview.files.append(one)
        chunks: Iterator[bytes] = iter(lambda: file.read(CHUNK), b"")
        head = next(chunks, b"")
        one.compression = compression(head)
        chunks = itertools.chain([head], chunks)
        try:
            lines = split_lines(decompressed(chunks, one.compression), limit=MAX_LINE_BYTES)
            for window in _windows(lines, self._left):
                self._look_at(one, window)
                self._left -= len(window)
            if self._left <= 0 and next(lines, None) is not None:
                self.preview.cut_at = self._most
        except BrokenObject as error:
            one.problem = str(error)

    def _look_at(self, one: Read, window: Sequence[Line]) -> None:
        parsed: list[tuple[Line, Event]] = []
        for line in window:
            one.lines += 1
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
                one.first_day, one.last_day = min(one.first_day or day, day), max(one.last_day, day)
            row = self.preview.of(event.name, self._transformer.known(event.name))
            row.lines += 1
            if row.known:
                parsed.append((line, event))
        self._crowd.ensure(event.fields for _, event in parsed)
        self._transformer.look_up(event for _, event in parsed)
        for line, event in parsed:
            self._transform(self.preview.types[event.name], line, event)

    def _transform(self, row: Type, line: Line, event: Event) -> None:
        from tutor_transform_logs.lms_job.transform.transformer import Untransformable

        try:
            made = self._transformer.statements(event, line.raw)
        except Untransformable as error:
            reason = RENAMED.get(error.reason, error.reason)
            row.failed[reason] += 1
            row.detail.setdefault(reason, error.detail)
            return
        row.transformed += 1
        row.statements += len(made)
        if row.first is None and made:
            row.first = dict(made[0].fields)


def _windows(lines: Iterator[Line], most: int) -> Iterator[list[Line]]:
    """At most ``most`` of the lines, some at a time; those before a break in the file, too."""
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
    """Read the files and print what they hold."""
    parser = argparse.ArgumentParser(prog="tutor_transform_logs.demo.preview")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--type", choices=["xapi", "caliper"], default="xapi")
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--format", choices=["text", "json"], default="text")
    parser.add_argument("--statements", action="store_true")
    parser.add_argument("--width", type=int, default=80)
    options = parser.parse_args()
    # As for any filter: when nobody reads on, that is all.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)

    import django

    django.setup()
    from tutor_demo_lms import seed  # type: ignore[import-not-found, unused-ignore]

    from tutor_transform_logs.demo.preview_text import in_words

    seed.migrate()
    seed.seed(0, 0)
    previewer = Previewer(options.type, options.lines)
    for name in options.files:
        if sys.stderr.isatty():
            print(f"Reading {name} ...", file=sys.stderr, flush=True)
        try:
            if name == "-":
                previewer.read("standard input", None, sys.stdin.buffer)
            else:
                with Path(name).open("rb") as file:
                    previewer.read(name, os.fstat(file.fileno()).st_size, file)
        except OSError as error:
            print(f"{name} can't be read: {error.strerror}.", file=sys.stderr)
            return 1
    if options.format == "json":
        print(json.dumps(previewer.preview.to_json(), indent=2))
    else:
        print("\n".join(in_words(previewer.preview, options.width, options.statements)))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
