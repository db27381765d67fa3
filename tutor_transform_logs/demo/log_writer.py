"""Writes big tracking logs quickly, for tests and benchmarks, and counts the expected outcomes of their lines.

An event is built and dumped once per event type and course, and a line is that text with the user and the time put in.
"""

from __future__ import annotations

import array
import bz2
import gzip
import json
import lzma
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import IO, Any

from tutor_transform_logs.demo import events, outcomes
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster
from tutor_transform_logs.demo.outcomes import Expected, ExpectedOutcome, Kind
from tutor_transform_logs.demo.scene import LoggedEvent, Scene

LOG_START = datetime(2026, 2, 1, tzinfo=timezone.utc)
GOOD_NAMES = tuple(sorted(events.BUILDERS.keys() - events.WITHOUT_XAPI_TRANSFORMER))
"""The event types of which ERB makes an xAPI statement."""
CALIPER_GOOD_NAMES = tuple(sorted(events.CALIPER_NAMES - events.WITHOUT_CALIPER_TRANSFORMER))
"""The event types of which ERB makes a Caliper event (and an xAPI statement)."""

# Numbers and texts that no event has: where they are in a dumped event, the line's own values go.
_USER_ID, _USERNAME, _TIME = 918_273_645, "put-the-username-here", "put-the-time-here"
_WRITE_EVERY = 20_000
_COMPRESSORS: dict[str, Callable[[IO[bytes], str], Any]] = {".bz2": bz2.open, ".xz": lzma.open}


@dataclass(frozen=True)
class Mix:
    """How many lines of each sort a log has."""

    good: int = 0
    page_view: int = 0
    unknown_user: int = 0
    unknown_course: int = 0
    type_error: int = 0
    broken: int = 0
    blank: int = 0
    # Good lines, drawn at random, that are written a second time further down, byte for byte.
    copies: int = 0

    @classmethod
    def like_a_site(cls, lines: int) -> Mix:
        """A log as sites have them: half of it page views, hardly anything broken."""
        rare = lines // 1000
        return cls(
            good=lines - lines // 2 - 3 * rare,
            page_view=lines // 2,
            unknown_user=rare,
            broken=rare,
            type_error=rare,
        )

    @property
    def lines(self) -> int:
        """All of them."""
        return sum(getattr(self, field.name) for field in fields(self))


@dataclass(frozen=True)
class BigLog:
    """A written log and what should become of it."""

    path: Path
    lines: int
    bytes: int
    xapi: Expected
    caliper: Expected

    def expected(self, kind: Kind) -> Expected:
        """What should become of it under this transformer type."""
        return self.xapi if kind == "xapi" else self.caliper


@dataclass(frozen=True, eq=False)
class _Template:
    """A line with blanks for ``(user id, user name, time)`` and, with the LMS's prefix, for those it needs."""

    text: str
    prefixed: bool
    xapi: ExpectedOutcome
    caliper: ExpectedOutcome

    def expected_outcome(self, kind: Kind) -> ExpectedOutcome:
        return self.xapi if kind == "xapi" else self.caliper

    def fill(self, user_id: int, username: str, second: str, micros: int) -> str:
        time = f"{second}.{micros:06d}+00:00"
        line = self.text % {"id": user_id, "name": username, "time": time}
        if not self.prefixed:
            return line
        stamp = second.replace("T", " ")
        return f"{stamp},{micros // 1000:03d} INFO 16 [tracking] [user {user_id}] [ip 10.0.0.1] logger.py:41 - {line}"


def _template(event: LoggedEvent, xapi: ExpectedOutcome, caliper: ExpectedOutcome, *, prefixed: bool) -> _Template:
    text = events.to_json(event).replace("%", "%%")
    text = text.replace(str(_USER_ID), "%(id)d").replace(_USERNAME, "%(name)s").replace(_TIME, "%(time)s")
    return _Template(text, prefixed, xapi, caliper)


def _scene(course: str, number: int) -> Scene:
    return Scene(user_id=_USER_ID, username=_USERNAME, course=course, time=_TIME, number=number)


def _of_names(names: Iterable[str], courses: Iterable[str]) -> list[_Template]:
    made: list[_Template] = []
    for course in courses:
        for name in names:
            event = events.build(name, _scene(course, len(made)))
            expected_outcomes = outcomes.of_good_event(name, "xapi"), outcomes.of_good_event(name, "caliper")
            made.append(_template(event, *expected_outcomes, prefixed=len(made) % 2 == 0))
    return made


def _page_views(courses: Iterable[str]) -> list[_Template]:
    made: list[_Template] = []
    for course in courses:
        for path in (f"/courses/{course}/progress", f"/xblock/{course}/handler/problem_check", "/dashboard"):
            event = events.page_view(path, _scene(course, len(made)))
            made.append(
                _template(
                    event,
                    ExpectedOutcome("unknown_event"),
                    ExpectedOutcome("unknown_event"),
                    prefixed=len(made) % 2 == 0,
                )
            )
    return made


def _type_errors(courses: Iterable[str]) -> list[_Template]:
    """Two sorts of input on which both of ERB's transformers raise TypeError."""
    made: list[_Template] = []
    error = ExpectedOutcome("type_error")
    for course in courses:
        event = events.build("play_video", _scene(course, len(made)))
        made.append(_template(event | {"event": json.dumps({"id": "x", "duration": [1]})}, error, error, prefixed=True))
        context = event["context"] | {"user_id": [_USER_ID]}
        made.append(_template(event | {"context": context, "username": [_USERNAME]}, error, error, prefixed=True))
    return made


def _with_outcome(templates: Iterable[_Template], xapi: ExpectedOutcome, caliper: ExpectedOutcome) -> list[_Template]:
    return [_Template(template.text, template.prefixed, xapi, caliper) for template in templates]


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    with path.open("wb") as raw:
        if path.suffix == ".gz":
            # Neither the name nor the time in the header: the same lines are the same bytes.
            with gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as file:
                yield file
        elif path.suffix in _COMPRESSORS:
            with _COMPRESSORS[path.suffix](raw, "wb") as file:
                yield file
        else:
            yield raw


def _lines(
    sorts: Iterable[str],
    templates: dict[str, list[_Template]],
    people: list[roster.User],
    chance: random.Random,
    start: datetime,
    used: Counter[_Template],
    copied: Counter[_Template],
) -> Iterator[str]:
    """The lines, one for each of ``sorts``; how often each template was used (and copied) goes into the counters.

    Seven parameters: the state of the one loop that has to be fast.
    """
    moment, second, tick = start, start.isoformat()[:19], 0
    good: list[tuple[_Template, str]] = []
    draw = chance.random
    for index, sort in enumerate(sorts):
        if sort == "blank":
            yield ""
            continue
        # A new time for every line, so that no two statements share an id.
        tick += 1
        if tick == 1000:
            moment, tick = moment + timedelta(seconds=1), 0
            second = moment.isoformat()[:19]
        if sort == "broken":
            yield f'{second} INFO 16 [tracking] {{"name": "play_video", "event": "{{cut off {index}'
            continue
        if sort == "copies" and good:
            template, line = good[int(draw() * len(good))]
            used[template] += 1
            copied[template] += 1
            yield line
            continue
        choices = templates["good" if sort == "copies" else sort]
        template = choices[int(draw() * len(choices))]
        person = people[int(draw() * len(people))]
        if sort == "unknown_user":
            number = roster.UNKNOWN_USER_BASE + index
            line = template.fill(number, f"ghost{number}", second, tick * 1000)
        else:
            line = template.fill(person.id, json.dumps(person.logged_as)[1:-1], second, tick * 1000)
        used[template] += 1
        if sort == "good" and len(good) < 100:
            good.append((template, line))
        yield line


def write_log(
    path: Path,
    mix: Mix | int,
    *,
    seed: int = 0,
    users: int = 50,
    courses: int = 5,
    names: Iterable[str] = GOOD_NAMES,
    start: datetime = LOG_START,
) -> BigLog:
    """Write a log of these lines in random order (the same for the same arguments).

    :param path: ends in ``.gz``, ``.bz2`` or ``.xz`` for a compressed log.
    :param mix: how many lines of each sort, or the number of lines of a log like a site's.
    :param users: how many of the roster's users the events are of; the database has to have them.
    :param courses: the same for courses.
    :param names: the event types of the good lines.
    :param start: the time of the first line; logs that are read together must not overlap (1,000 lines a second).

    Seven parameters: what tests vary, all but two by name.
    """
    mix = Mix.like_a_site(mix) if isinstance(mix, int) else mix
    chance = random.Random(seed)
    keys = [course.key for course in roster.courses(courses)]
    one_statement = ExpectedOutcome("transformed", 1)
    templates = {
        "good": _of_names(names, keys),
        "page_view": _page_views(keys),
        "unknown_user": _with_outcome(
            _of_names(["play_video"], keys), ExpectedOutcome("unknown_user"), ExpectedOutcome("unknown_user")
        ),
        # Caliper does not look the course of a video up.
        "unknown_course": _with_outcome(
            _of_names(["play_video"], [roster.UNKNOWN_COURSE]), ExpectedOutcome("unknown_course"), one_statement
        ),
        "type_error": _type_errors(keys),
    }
    sorts = [field.name for field in fields(mix)]
    order = array.array("B", b"".join(bytes([i]) * getattr(mix, sort) for i, sort in enumerate(sorts)))
    chance.shuffle(order)
    used: Counter[_Template] = Counter()
    copied: Counter[_Template] = Counter()
    written = 0
    lines = _lines((sorts[i] for i in order), templates, list(roster.users(users)), chance, start, used, copied)
    with _open(path) as file:
        while some := list(islice(lines, _WRITE_EVERY)):
            written += file.write(("\n".join(some) + "\n").encode())
    broken = [(ExpectedOutcome("blank"), mix.blank), (ExpectedOutcome("unparsable"), mix.broken)]

    def expected(kind: Kind) -> Expected:
        duplicates = sum(template.expected_outcome(kind).statements * n for template, n in copied.items())
        return outcomes.add_up(
            [*broken, *((template.expected_outcome(kind), n) for template, n in used.items())], duplicates
        )

    return BigLog(path, mix.lines, written, expected("xapi"), expected("caliper"))
