"""The sample logs of the demo: three days of a small site, with everything that real logs have in them.

``python -m tutor_transform_logs.demo.samples DIRECTORY`` writes them. They are the same bytes each time; the ones in
``demo/logs`` were written by this module. Every line carries what should become of it, for tests to compare.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from tutor_transform_logs.demo import events, outcomes
from tutor_transform_logs.demo.lms.tutor_demo_lms import roster
from tutor_transform_logs.demo.outcomes import Expected, ExpectedOutcome, Kind
from tutor_transform_logs.demo.scene import LoggedEvent, Scene

USERS, COURSES = 50, 5


@dataclass(frozen=True)
class SampleLine:
    """One line of a log with its line ending, and what should become of it."""

    data: bytes
    xapi: ExpectedOutcome
    caliper: ExpectedOutcome
    ending: bytes = b"\n"
    # A second copy of an earlier line: its statements have the ids of the first one's.
    is_copy: bool = False

    def expected_outcome(self, kind: Kind) -> ExpectedOutcome:
        """Its outcome with this transformer type."""
        return self.xapi if kind == "xapi" else self.caliper


class _Clock:
    """Scenes one after the other: a new time each, users and courses in turn."""

    def __init__(self, start: str) -> None:
        self._start = datetime.fromisoformat(start).replace(tzinfo=timezone.utc)
        self._day = int(start[8:10])
        self._ticks = 0

    def scene(self, **changes: Any) -> Scene:
        self._ticks += 1
        moment = self._start + timedelta(seconds=self._ticks * 37, microseconds=self._ticks * 1237)
        person = roster.user(1 + (self._ticks * 7 + self._day) % USERS)
        scene = Scene(
            user_id=person.id,
            username=person.logged_as,
            course=roster.course(self._ticks % COURSES).key,
            time=moment.isoformat(),
            number=self._day * 10_000 + self._ticks,
            ip=f"10.0.{self._ticks % 7}.{1 + self._ticks % 250}",
        )
        return replace(scene, **changes)


def _line(
    event: LoggedEvent, scene: Scene, xapi: ExpectedOutcome, caliper: ExpectedOutcome, *, style: int = 0
) -> SampleLine:
    """A line in one of the forms that logs have: with the LMS's prefix, bare, or bare with the text as UTF-8."""
    if style % 3 == 0:
        text = events.with_prefix(events.to_json(event), scene, scene.number % 1000)
    else:
        text = events.to_json(event, ascii_only=style % 3 == 1)
    return SampleLine(text.encode(), xapi, caliper)


def _good(name: str, scene: Scene, *, style: int = 0) -> SampleLine:
    event = events.build(name, scene)
    return _line(
        event,
        scene,
        outcomes.of_good_event(name, "xapi"),
        outcomes.of_good_event(name, "caliper"),
        style=style,
    )


_UNKNOWN = ExpectedOutcome("unknown_event")
_PAGES = (
    "/courses/{course}/progress",
    "/courses/{course}/xblock/{block}/handler/xmodule_handler/problem_check",
    "/api/courseware/course/{course}",
    "/dashboard",
    "/search?q=数据 لغة",
)


def _page(scene: Scene) -> SampleLine:
    path = _PAGES[scene.number % len(_PAGES)].format(course=scene.course, block=scene.block("problem"))
    return _line(events.page_view(path, scene), scene, _UNKNOWN, _UNKNOWN, style=scene.number % 3)


def _every_event(clock: _Clock, rounds: int) -> Iterator[SampleLine]:
    """Each event type once a round, and as many page views between them."""
    for _ in range(rounds):
        for index, name in enumerate(events.BUILDERS):
            yield _good(name, clock.scene(), style=index)
            yield _page(clock.scene())


def _problem_checks(clock: _Clock) -> Iterator[SampleLine]:
    one_statement = ExpectedOutcome("transformed", 1)
    for style in range(3):
        scene = clock.scene()
        many = events.problem_check_many("problem_check", scene)
        yield _line(many, scene, ExpectedOutcome("transformed", 4), one_statement, style=style)
        scene = clock.scene()
        form = events.problem_check_browser("problem_check", scene)
        yield _line(form, scene, one_statement, ExpectedOutcome("value_error"), style=style)
        scene = clock.scene()
        form = events.problem_check_browser_with_referer("problem_check", scene)
        yield _line(form, scene, one_statement, one_statement, style=style)


def _people(clock: _Clock) -> Iterator[SampleLine]:
    """Events that find their user in other ways than by a known id."""
    names = (roster.RETIRED_ORIGINAL_USERNAME, *(roster.user(number).username for number in (3, 4, 5, 8)))
    for name in names:
        yield _good("play_video", clock.scene(user_id=None, username=name))
    yield _good("play_video", clock.scene(user_id="12", username="learner0012"))
    unknown = ExpectedOutcome("unknown_user")
    for index, (user_id, username) in enumerate(
        [
            (roster.UNKNOWN_USER_BASE, "ghost"),
            (None, "幽灵"),
            (None, ""),
            (roster.UNKNOWN_USER_BASE + 1, "ghost2"),
        ]
    ):
        scene = clock.scene(user_id=user_id, username=username)
        yield _line(events.build("play_video", scene), scene, unknown, unknown, style=index)


def _with_data(name: str, **data: Any) -> Callable[[Scene], LoggedEvent]:
    """A browser event with these data instead of its own."""
    return lambda scene: events.build(name, scene) | {"event": json.dumps(data)}


def _without_completion(scene: Scene) -> LoggedEvent:
    event = events.build("edx.completion.block_completion.changed", scene)
    return event | {"event": event["event"] | {"completion": None}}


def _grade_as_text(scene: Scene) -> LoggedEvent:
    event = events.build("problem_check", scene)
    return event | {"event": event["event"] | {"grade": "1"}}


def _failures(clock: _Clock) -> Iterator[SampleLine]:
    """Known events on which ERB raises: (event, exception of the xAPI transformer, of the Caliper one)."""
    type_error, value_error, one_statement = (
        ExpectedOutcome("type_error"),
        ExpectedOutcome("value_error"),
        ExpectedOutcome("transformed", 1),
    )
    cases: list[tuple[Callable[[Scene], LoggedEvent], ExpectedOutcome, ExpectedOutcome]] = [
        (_with_data("pause_video", id="x", duration=[195]), type_error, type_error),
        (_with_data("pause_video", id="x", duration="3:15"), value_error, type_error),
        (_with_data("speed_change_video", id="x", duration=195), type_error, _UNKNOWN),
        (_without_completion, type_error, _UNKNOWN),
        (_grade_as_text, type_error, one_statement),
        (
            lambda scene: events.build("play_video", replace(scene, user_id=["7"], username=["x"])),
            type_error,
            type_error,
        ),
        (lambda scene: events.build("play_video", scene) | {"event": ""}, value_error, value_error),
        (lambda scene: events.build("showanswer", scene) | {"event": None}, value_error, value_error),
    ]
    for index, (make, xapi, caliper) in enumerate(cases):
        scene = clock.scene()
        yield _line(make(scene), scene, xapi, caliper, style=index)
    gone = ExpectedOutcome("unknown_course")
    # Caliper looks a course up for enrolments alone.
    for name, caliper in ("load_video", one_statement), ("edx.course.enrollment.activated", gone):
        scene = clock.scene(course=roster.UNKNOWN_COURSE)
        yield _line(events.build(name, scene), scene, gone, caliper)
    scene = clock.scene(course="no course key")
    yield _line(
        events.build("load_video", scene), scene, ExpectedOutcome("other_error"), ExpectedOutcome("other_error")
    )


def _traps(clock: _Clock) -> Iterator[SampleLine]:
    """Lines that mislead someone who looks for the event's name without parsing."""
    scene = clock.scene()
    page = events.page_view("/event", scene)
    page["event"] = json.dumps({"GET": {}, "POST": {"name": ["load_video"], "event": ['{"name": "load_video"}']}})
    yield _line(page, scene, _UNKNOWN, _UNKNOWN)
    # ERB can transform these, but they are in none of its white lists.
    for name in "edx.grades.problem.submitted", "edx.problem.completed":
        scene = clock.scene()
        event = events.build("showanswer", scene) | {"name": name, "event_type": name}
        yield _line(event, scene, _UNKNOWN, _UNKNOWN)
    # As logs before 2014 had them.
    scene = clock.scene()
    nameless = {key: value for key, value in events.build("play_video", scene).items() if key != "name"}
    yield _line(nameless, scene, _UNKNOWN, _UNKNOWN)
    # The name last, without a space after its colon, or with an escape in it: still the same JSON.
    one_statement = ExpectedOutcome("transformed", 1)
    scene = clock.scene()
    event = events.build("play_video", scene)
    name_last = {key: event[key] for key in [*(key for key in event if key != "name"), "name"]}
    yield SampleLine(json.dumps(name_last, separators=(",", ":")).encode(), one_statement, one_statement)
    scene = clock.scene()
    text = events.to_json(events.build("play_video", scene)).replace('"play_video"', '"play\\u005fvideo"')
    yield SampleLine(text.encode(), one_statement, one_statement)


def _broken(clock: _Clock) -> Iterator[SampleLine]:
    unparsable = ExpectedOutcome("unparsable")
    scene = clock.scene()
    whole = events.with_prefix(events.to_json(events.build("play_video", scene), ascii_only=False), scene).encode()
    chinese = json.dumps({"name": "play_video", "event": {"title": "数据"}}, ensure_ascii=False).encode()
    for data in (
        whole[: len(whole) // 2],
        chinese[:-5],
        b"Traceback (most recent call last):",
        b'  File "/openedx/edx-platform/lms/wsgi.py", line 21, in <module>',
        b"\xff\xfe not a text at all \x80",
        bytes(200),
        b'["play_video", {"event": {}}]',
        whole[:-1],
    ):
        yield SampleLine(data, unparsable, unparsable)


def _blank(count: int = 1, ending: bytes = b"\n") -> list[SampleLine]:
    return [SampleLine(b"", ExpectedOutcome("blank"), ExpectedOutcome("blank"), ending)] * count


def _oldest() -> list[SampleLine]:
    return list(_every_event(_Clock("2026-01-01T08:00:00"), rounds=3))


def _older() -> list[SampleLine]:
    clock = _Clock("2026-01-02T08:00:00")
    lines = [*_problem_checks(clock), *_people(clock)]
    for name in sorted(events.CALIPER_NAMES):
        lines += [_good(name, clock.scene(), style=1), _page(clock.scene())]
    # A log that passed through a machine with other line ends.
    return [replace(line, ending=b"\r\n") for line in lines] + _blank(ending=b"\r\n")


def _newest() -> list[SampleLine]:
    clock = _Clock("2026-01-03T08:00:00")
    lines = list(_every_event(clock, rounds=1))
    lines += [*_blank(2), *_failures(clock), *_traps(clock), *_broken(clock), *_blank()]
    # Sent twice by a log forwarder.
    lines += [replace(line, is_copy=True) for line in (lines[0], lines[2], lines[4])]
    # The file is still being written: its last line has no end yet.
    return [*lines, replace(_good("stop_video", clock.scene(), style=2), ending=b"")]


FILES: dict[str, Callable[[], list[SampleLine]]] = {
    "tracking.log-20260101.gz": _oldest,
    "tracking.log.1": _older,
    "tracking.log": _newest,
}
"""The sample files by name, oldest first."""


def content(name: str) -> bytes:
    """The (uncompressed) text of a sample file."""
    return b"".join(line.data + line.ending for line in FILES[name]())


def expected(kind: Kind, *names: str) -> Expected:
    """The expected outcome of these sample files (all of them by default)."""
    lines = [line for name in names or FILES for line in FILES[name]()]
    copies = sum(line.expected_outcome(kind).statements for line in lines if line.is_copy)
    return outcomes.add_up(((line.expected_outcome(kind), 1) for line in lines), copies)


def write(directory: Path) -> list[Path]:
    """Write all sample files into ``directory`` (made if need be), the same bytes each time."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name in FILES:
        data = content(name)
        path = directory / name
        # No name and no time in the gzip header: they would differ from run to run.
        path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
        written.append(path)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tutor_transform_logs.demo.samples DIRECTORY")
    for sample in write(Path(sys.argv[1])):
        print(sample)
