"""The delivery of a segment: batches wait, made, for a destination that turns out to take more of them at once."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.harness.held_destination import Destination
from tests.harness.process import wait_for
from tutor_transform_logs.lms_job.ledger import names
from tutor_transform_logs.lms_job.ledger.entries import Entry
from tutor_transform_logs.lms_job.ledger.ledger import Ledger
from tutor_transform_logs.lms_job.model.delivery import SourcedStatement
from tutor_transform_logs.lms_job.model.plan import OutputFormat, Plan, Segment
from tutor_transform_logs.lms_job.model.records import Event, Line, Statement
from tutor_transform_logs.lms_job.storage.local import LocalStorage
from tutor_transform_logs.lms_job.util.errors import JobError, Unavailable
from tutor_transform_logs.lms_job.work.batches import LETTER_BYTES, Batch
from tutor_transform_logs.lms_job.work.in_flight import InFlight
from tutor_transform_logs.lms_job.work.recorder import Recorder
from tutor_transform_logs.lms_job.work.segment_delivery import SegmentDelivery

SEGMENT = Segment(0, 0, "tracking.log", 0, 1000, 1000, "")
PLAN = Plan(1, 0.0, (), (), (SEGMENT,), OutputFormat("batches", "none", 0), uuid="0" * 32)
MOST = 4


class Delivering:
    """A segment that is delivered to some destinations, which hold back each batch but the first."""

    def __init__(self, folder: Path, *destinations: Destination, max_bytes: int = 10**6, may_wait: bool = True) -> None:
        self.ledger = Ledger(LocalStorage(str(folder)), "", "job")
        self.stopped: dict[str, JobError] = {}
        interruptions = cast(Any, SimpleNamespace(deferred=nullcontext))
        self.logged: list[SourcedStatement] = []
        logger = cast(Any, SimpleNamespace(write=self.logged.extend))
        recorder = Recorder(
            PLAN, self.ledger, cast(Any, destinations), logger, interruptions, lambda *_: None, stopped=self.stopped
        )
        self.in_flight = InFlight(MOST, max_bytes, may_wait)
        self.entries = {destination.id: Entry(0) for destination in destinations}
        known_to = dict.fromkeys(self.entries, 0)
        self.delivery = SegmentDelivery(recorder, self.in_flight, SEGMENT, self.entries, known_to)
        self.destinations = destinations
        self._numbers = itertools.count()
        self.start()
        for destination, number in itertools.product(destinations, range(2, 20)):
            destination.releases[names.batch_name(PLAN, SEGMENT, number)] = threading.Event()

    def start(self) -> None:
        number = next(self._numbers)
        made = SourcedStatement(Statement(str(number), b"x" * 100), Event("e", {}), Line(number, number + 1, 1, b""))
        self.delivery.start(Batch(number, number + 1, 1, made=[made], last=False))

    def release(self, destination: Destination, first: int, last: int) -> None:
        """Let it answer to these batches."""
        for number in range(first, last + 1):
            destination.releases[names.batch_name(PLAN, SEGMENT, number)].set()

    def saved(self, destination: Destination) -> int:
        return self.ledger.load_entry(PLAN, SEGMENT, destination.id).batches


@pytest.fixture
def slow() -> Iterator[Destination]:
    destination = Destination(id="slow")
    destination.traffic.limit = 2
    yield destination
    for release in destination.releases.values():
        release.set()


def test_batches_are_made_while_the_destination_takes_no_more(tmp_path: Path, slow: Destination) -> None:
    """And are sent at once when it does. Statements are logged when they are sent."""
    delivering = Delivering(tmp_path, slow)
    for _ in range(2 * MOST - 1):
        delivering.start()
    assert delivering.delivery.waits
    assert len(delivering.logged) == 1 + 2
    slow.traffic.limit = MOST
    delivering.delivery.record()
    assert delivering.delivery.waits
    assert len(delivering.logged) == 1 + MOST
    wait_for(lambda: len(slow.given) == 1 + MOST)
    delivering.release(slow, 2, 19)
    delivering.delivery.finish()
    assert (delivering.saved(slow), len(slow.given)) == (2 * MOST, 2 * MOST)


@pytest.mark.parametrize(
    ("max_bytes", "may_wait", "made"),
    [
        (10**6, True, 2 * MOST),
        (7 * (100 + LETTER_BYTES) // 2, True, 4),
        (1, True, 2),
        (10**6, False, 3),
    ],
)
def test_as_many_wait_as_are_counted_with_those_in_flight(
    tmp_path: Path, slow: Destination, max_bytes: int, may_wait: bool, made: int
) -> None:
    """By their number and by their bytes; none where a batch must not be sent later than it is made."""
    delivering = Delivering(tmp_path, slow, max_bytes=max_bytes, may_wait=may_wait)
    started = []

    def start_all() -> None:
        for number in range(2 * MOST + 3):
            delivering.start()
            started.append(number)

    thread = threading.Thread(target=start_all)
    thread.start()
    while thread.is_alive() and len(started) < made - 1:
        thread.join(0.01)
    thread.join(0.3)
    assert len(started) == made - 1
    delivering.release(slow, 2, 19)
    thread.join(30)
    delivering.delivery.finish()
    assert delivering.saved(slow) == 2 * MOST + 4


def test_what_waits_for_a_destination_that_fails_is_not_sent_to_it(tmp_path: Path, slow: Destination) -> None:
    """The other destination gets all of it."""
    failing = Destination(id="failing")
    failing.traffic.limit = 2
    delivering = Delivering(tmp_path, failing, slow)
    failing.errors[names.batch_name(PLAN, SEGMENT, 2)] = Unavailable("it is away")
    for _ in range(2 * MOST - 1):
        delivering.start()
    delivering.release(failing, 2, 2)
    delivering.release(slow, 2, 2)
    while not delivering.stopped:
        delivering.in_flight.wait(30)
        delivering.delivery.record()
    delivering.release(failing, 3, 19)
    delivering.release(slow, 3, 19)
    delivering.delivery.finish()
    assert list(delivering.entries) == ["slow"]
    assert str(delivering.stopped["failing"]) == "it is away"
    assert (delivering.saved(failing), delivering.saved(slow)) == (1, 2 * MOST)
    assert len(failing.given) == 3


def test_after_a_failure_nothing_of_what_waits_is_sent(tmp_path: Path, slow: Destination) -> None:
    delivering = Delivering(tmp_path, slow)
    slow.errors[names.batch_name(PLAN, SEGMENT, 3)] = Unavailable("it is away")
    for _ in range(2 * MOST - 1):
        delivering.start()
    delivering.release(slow, 2, 3)
    threading.Timer(0.3, delivering.release, (slow, 4, 19)).start()
    delivering.delivery.finish()
    assert (delivering.saved(slow), delivering.delivery.waits, bool(delivering.in_flight)) == (2, False, False)
    assert len(slow.given) <= 4
