"""What an operator of Aspects runs after a backfill, so that the charts show it as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..deliver import dashboards
from ..model.delivery import NamedDestination

# The models of aspects-dbt that keep the row inserted last for a key, whatever its time. With "+", those built on it.
MOST_RECENT = (
    "dim_most_recent_enrollment",
    "dim_learner_most_recent_course_grade",
    "dim_learner_most_recent_course_state",
    "dim_learner_last_course_visit",
    "dim_learner_last_response+",
    "dim_problem_responses",
    "fact_video_segments+",
)
REBUILD = f'tutor local do dbt --only_changed False -c "run --full-refresh --select {" ".join(MOST_RECENT)}"'
_DUMP = "tutor local do dump-data-to-clickhouse"


@dataclass(frozen=True)
class NextStep:
    """A command, and why it is to be run."""

    command: str
    reason: str


# In this order: the rebuilt tables take the names of course blocks from the table of courses.
FOR_ASPECTS = (
    NextStep(
        f'{_DUMP} --service cms --options "--object course_overviews"',
        "The names of courses and their blocks are not in the logs.",
    ),
    NextStep(
        f'{_DUMP} --options "--object user_profile"',
        "Nor are the profiles of learners. Only where Aspects shows personal data (ASPECTS_ENABLE_PII).",
    ),
    NextStep(
        f'{_DUMP} --options "--object external_id"',
        "Which learner a statement is about. Only where Aspects shows personal data.",
    ),
    NextStep(
        REBUILD,
        "These tables keep, for each learner, what was stored last, and now that may be an older state: an enrollment, "
        "a grade, a response. They are rebuilt from all that Aspects keeps (ASPECTS_DATA_TTL_EXPRESSION). Run it once, "
        "after the last replay: it takes time and memory, and charts are incomplete meanwhile.",
    ),
)


def next_steps(destinations: Sequence[NamedDestination], stored: Sequence[int]) -> tuple[NextStep, ...]:
    """The steps after ``stored`` statements, as many as each destination has stored."""
    fed = any(count and dashboards.are_fed_by(to) for to, count in zip(destinations, stored, strict=True))
    return FOR_ASPECTS if fed else ()
