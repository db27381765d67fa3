"""Counts by course the events of users who are not there any more, and of whom no external id is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from ..model.dead_letters import UNKNOWN_USER, DeadLetter
from ..read.events import Unparsable, course_of, parse, person_of
from ..util.formatting import count, printable

MOST_COURSES = 1000
OTHER_COURSES = "(other courses)"
OUTSIDE_OF_COURSES = ""
# How many are named one by one.
MOST_COURSES_NAMED = 5


class DeletedUserEvents:
    """How many such events there are in each course. Events of visitors, who are nobody's, are not among them."""

    def __init__(self) -> None:
        self.by_course: Counter[str] = Counter()

    def add(self, letter: DeadLetter) -> None:
        """Count the event of a dead letter, if it names a user whom the LMS does not know."""
        if letter.reason != UNKNOWN_USER:
            return
        try:
            event = parse(letter.raw).fields
        except Unparsable:
            return
        if person_of(event):
            course = course_of(event)
            name = course if isinstance(course, str) else OUTSIDE_OF_COURSES
            known = name in self.by_course or len(self.by_course) < MOST_COURSES
            self.by_course[name if known else OTHER_COURSES] += 1

    def collect(self, letters: Iterable[DeadLetter]) -> Iterator[DeadLetter]:
        """Pass ``letters`` through, and count them alone: what is written again is read again."""
        self.by_course.clear()
        for letter in letters:
            self.add(letter)
            yield letter


def describe(by_course: Mapping[str, int]) -> list[str]:
    """A sentence for each course, those with the most events first; a last one for all that are not named."""
    ranked = sorted(by_course.items(), key=lambda item: (-item[1], item[0]))
    named, rest = ranked[:MOST_COURSES_NAMED], ranked[MOST_COURSES_NAMED:]
    sentences = [f"{count(number, 'event')} of deleted users {_where(course)}" for course, number in named]
    if rest:
        courses = count(len(rest), "more course")
        sentences.append(f"{count(sum(number for _, number in rest), 'event')} of deleted users in {courses}")
    return sentences


def _where(course: str) -> str:
    if course in (OUTSIDE_OF_COURSES, OTHER_COURSES):
        return "outside of courses" if course == OUTSIDE_OF_COURSES else "in other courses"
    return f"in course {printable(course)}"
