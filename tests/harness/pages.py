"""Results of runs that never were, for tests of the report: as big and as odd as one likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from tutor_transform_logs.lms_job.config.schema import JobConfig, load
from tutor_transform_logs.lms_job.model.activity import Activity
from tutor_transform_logs.lms_job.model.counts import Counts
from tutor_transform_logs.lms_job.model.dead_letters import DeadLetter
from tutor_transform_logs.lms_job.model.plan import OutputFormat, Plan
from tutor_transform_logs.lms_job.report.next_steps import FOR_ASPECTS
from tutor_transform_logs.lms_job.report.result import DestinationResult, ObjectResult, Result

BEGUN = 1_770_000_000.0
FIRST = date(2024, 9, 2)
# Days without a single event: one in term, a week, and the winter.
GAPS = ((40, 1), (80, 7), (110, 21))


COURSES = ("", *(f"course-v1:University+Subject{n}+2024_T{n % 3}" for n in range(20)))
VERBS = tuple(
    f'{{"verb": {{"id": "https://w3id.org/xapi/verbs/{name}"}}}}'.encode() for name in ("played", "paused", "viewed")
)
SKIPPED = {
    "/": 20_000,
    "edx.ui.lms.outline.selected": 5_000,
    "openedx.course.student_notes.viewed_in_a_new_window": 2_000,
    "page_close": 1_800,
    "a" * 90: 3,
}


def job_config(**values: Any) -> JobConfig:
    """A config whose source and destination are local."""
    return load({"destination_provider": "LOCAL", "destination_container": "out", **values})


def result(objects: Sequence[ObjectResult], activity: Activity, **values: Any) -> Result:
    """A result of these objects, to one destination that has got everything."""
    counts = Counts()
    for obj in objects:
        counts.add(obj.counts)
    plan = Plan(1, BEGUN, (), (), (), OutputFormat.of(job_config()))
    destination = DestinationResult("lrs-0", "https://lrs.example.com/xAPI/statements", counts, done=True)
    made = Result(plan, "3f2a9c41d0be", counts, activity, [destination], list(objects), [], [], reported=BEGUN + 9000)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def big_history(days: int, names: Sequence[str]) -> Activity:
    """Terms and holidays, weekdays and weekends, some failures, and a run that was stopped once."""
    activity = Activity()
    missing = {start + offset for start, length in GAPS for offset in range(length)}
    for number in range(days):
        day = FIRST + timedelta(number)
        if number in missing:
            continue
        busy = (120 + (number * 37) % 80) // (4 if day.weekday() >= 5 else 1)
        for place in range(busy):
            name = names[(place * place + number) % len(names)]
            activity.transformed(name, f"{day}T10:00:00+00:00", 1, COURSES[place % len(COURSES)])
            activity.made(VERBS[place % len(VERBS)])
        for place in range(number % 9):
            activity.failed(names[place % len(names)], f"{day}T10:00:00+00:00", COURSES[0])
    for name, number in SKIPPED.items():
        activity.skip(name, number * days)
    for number in range(400):
        activity.spent(f"pod-{number % 4}", (1.0 + number % 4, 6.5, 1.5 - (number % 4) / 4))
        at = BEGUN + number * 10 + (5000 if number > 250 else 0)
        activity.worked(at, 9.0, 60_000 + (number * 7919) % 25_000, 20_000)
    return activity


def big_table(activity: Activity) -> dict[date, int]:
    """The rows of a table that has some live events more, and lacks half of a fortnight."""
    rows = {date.fromisoformat(day): made + 5 for day, (made, _) in activity.days.items()}
    return {day: count // 2 if date(2024, 10, 14) <= day < date(2024, 10, 28) else count for day, count in rows.items()}


def big_result(days: int = 150) -> tuple[Result, Mapping[str, Sequence[DeadLetter]]]:
    """A run of some hours over the logs of ``days`` days, and its examples."""
    names = ["play_video", "problem_check", *(f"edx.course.tool_{n}.accessed" for n in range(18))]
    activity = big_history(days, names)
    objects = []
    for number in range(24):
        own = big_history(days, names[:1])
        own.secs = 30.0 + number * 11
        lines = Counts(lines=250_000, unknown_event=180_000, transformed=69_000, untransformable=900, unparsable=100)
        lines.reasons = {"unknown_user": 900, "no_json": 100}
        lines.made = lines.stored = 69_000
        name = f"tracking/2025/tracking.log-202501{number + 1:02d}-1738368000.gz"
        objects.append(ObjectResult(name, 38_000_000 + number * 1_000_000, lines, own, done=True))
    objects[3].notes.append("the gzip stream ends early")
    line = b'{"name": "play_video", "username": "ann", "event": "{\\"id\\": \\"i4x\\"}", "context": {"user_id": null}}'
    name, detail = objects[0].name, "User with username ann does not exist."
    examples = {
        "unknown_user": [
            DeadLetter(name, 123456 * n, 789 * n, "transform", "unknown_user", detail, "play_video", line)
            for n in (1, 2, 3)
        ],
        "no_json": [
            DeadLetter(name, 5, 1, "parse", "no_json", "no JSON object in the line", "", b'ann {"username": "ann'),
        ],
    }
    return result(
        objects,
        activity,
        dead_letters="/openedx/data/transform-logs/3f/0001/dead-letters.jsonl",
        next_steps=FOR_ASPECTS,
        site={
            "Site": "https://lms.example.com",
            "Versions": "plugin 1.2.3, event-routing-backends 10.1.0, LMS verawood",
        },
        rows_by_day=big_table(activity),
    ), examples
