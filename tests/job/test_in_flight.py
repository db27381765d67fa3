"""Batches in flight: their order, their number, what they take of memory, and ids that two of them share."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.harness.held_destination import Destination, Limit
from tutor_transform_logs.lms_job.model.delivery import OutgoingStatement, SourcedStatement
from tutor_transform_logs.lms_job.model.records import Event, Line, Statement
from tutor_transform_logs.lms_job.util.errors import Unavailable
from tutor_transform_logs.lms_job.work.batches import Batch
from tutor_transform_logs.lms_job.work.in_flight import Delivery, IdsInFlight, InFlight, Parcel


@pytest.fixture
def destination() -> Destination:
    return Destination()


def parcel(destination: Destination, name: str, ids: str = "", size: int = 10) -> Parcel:
    """A batch of this name, with a statement for each letter of ``ids``."""
    made = [SourcedStatement(Statement(each, b"x" * size), Event("e", {}), Line(0, 1, 1, b"")) for each in ids or name]
    outgoing = [OutgoingStatement(each, each.statement.body) for each in made]
    batch = Batch(0, 1, 1, made=made)
    return Parcel(batch, {destination.id: Delivery(destination, name, outgoing, 0)})


def met(in_flight: InFlight, destination: Destination) -> None:
    """The first batch is delivered before others are begun."""
    in_flight.start(parcel(destination, "!"))
    # It counts as ended a moment later, unless it was delivered by this thread.
    in_flight.wait(0 if threading.current_thread().name in destination.threads else 30)
    assert in_flight.take() is not None


def begun(in_flight: InFlight, destination: Destination, names: str) -> list[Parcel]:
    """Batches that are held back."""
    parcels = []
    for name in names:
        destination.releases[name] = threading.Event()
        parcels.append(parcel(destination, name))
        assert in_flight.has_room(parcels[-1])
        in_flight.start(parcels[-1])
    return parcels


def released(in_flight: InFlight, destination: Destination, name: str) -> None:
    destination.releases[name].set()
    in_flight.wait(30)


def test_the_first_batch_is_delivered_alone(destination: Destination) -> None:
    in_flight = InFlight(16, 10**6)
    met(in_flight, destination)
    assert len(destination.threads) == 1
    begun(in_flight, destination, "ab")
    for name in "ab":
        released(in_flight, destination, name)
    assert len(destination.threads) == 2
    assert "MainThread" not in destination.threads


def test_other_batches_begin_once_a_request_of_the_first_one_is_answered(destination: Destination) -> None:
    in_flight = InFlight(16, 10**6)
    answer = threading.Timer(0.2, lambda: setattr(destination.traffic, "has_answered", True))
    answer.start()
    first, second = begun(in_flight, destination, "ab")
    assert destination.traffic.has_answered
    assert in_flight.take() is None
    for name in "ba":
        released(in_flight, destination, name)
    assert (in_flight.take(), in_flight.take()) == (first, second)


def test_while_there_is_no_answer_the_first_batch_is_the_only_one(destination: Destination) -> None:
    """It ends with an error, and so does the next one, which is the first again."""
    in_flight = InFlight(16, 10**6)
    destination.errors = {name: Unavailable("nobody there") for name in "ab"}
    for name in "ab":
        each = parcel(destination, name)
        assert in_flight.has_room(each)
        in_flight.start(each)
        assert each.ended
        assert not in_flight.has_room(parcel(destination, "z"))
        assert in_flight.take() is each


def test_they_come_out_in_the_order_in_which_they_went_in(destination: Destination) -> None:
    in_flight = InFlight(16, 10**6)
    met(in_flight, destination)
    first, second, third = begun(in_flight, destination, "abc")
    released(in_flight, destination, "c")
    assert in_flight.take() is None
    released(in_flight, destination, "a")
    assert in_flight.take() is first
    assert in_flight.take() is None
    released(in_flight, destination, "b")
    assert (in_flight.take(), in_flight.take(), in_flight.take()) == (second, third, None)


def test_an_error_is_that_of_its_batch(destination: Destination) -> None:
    in_flight = InFlight(16, 10**6)
    met(in_flight, destination)
    destination.errors = {"b": Unavailable("gone"), "c": ValueError("a bug")}
    parcels = begun(in_flight, destination, "abc")
    for name in "abc":
        released(in_flight, destination, name)
    assert [in_flight.take() for _ in "abc"] == parcels
    assert [str(each.deliveries["one"].error) for each in parcels] == ["None", "gone", "a bug"]


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_destination_says_how_many_it_takes(destination: Destination, limit: int) -> None:
    in_flight = InFlight(16, 10**6)
    met(in_flight, destination)
    destination.traffic.limit = limit
    begun(in_flight, destination, "abcde"[:limit])
    assert not in_flight.has_room(parcel(destination, "z"))
    released(in_flight, destination, "a")
    assert in_flight.has_room(parcel(destination, "z"))
    in_flight.close(0)


def test_behind_a_slow_one_only_a_number_of_them_waits(destination: Destination) -> None:
    in_flight = InFlight(3, 10**6)
    met(in_flight, destination)
    begun(in_flight, destination, "a")
    for name in "bcdef":
        assert in_flight.has_room(parcel(destination, name))
        in_flight.start(parcel(destination, name))
        in_flight.wait(30)
    assert not in_flight.has_room(parcel(destination, "g"))
    released(in_flight, destination, "a")


def test_what_they_take_of_memory_is_bounded(destination: Destination) -> None:
    in_flight = InFlight(16, 3 * 100_000)
    met(in_flight, destination)
    large = parcel(destination, "z", size=100_000)
    assert in_flight.has_room(large)
    begun(in_flight, destination, "a")
    destination.releases["z"] = threading.Event()
    in_flight.start(large)
    assert in_flight.has_room(parcel(destination, "y", size=100_000))
    assert not in_flight.has_room(parcel(destination, "y", size=300_000))
    in_flight.close(0)
    # One alone may always be delivered.
    assert in_flight.has_room(parcel(destination, "y", size=300_000))


def test_batches_that_share_an_id_are_not_in_flight_together(destination: Destination) -> None:
    in_flight = InFlight(16, 10**6)
    met(in_flight, destination)
    begun(in_flight, destination, "ab")
    assert not in_flight.has_room(parcel(destination, "c", ids="cB"))
    assert in_flight.has_room(parcel(destination, "c", ids="cd"))
    released(in_flight, destination, "b")
    # Delivered, and not recorded yet: it is out of the way only then.
    assert not in_flight.has_room(parcel(destination, "c", ids="cB"))
    released(in_flight, destination, "a")
    assert in_flight.take() is not None
    assert in_flight.take() is not None
    assert in_flight.has_room(parcel(destination, "c", ids="cB"))


def test_ids_in_flight() -> None:
    ids = IdsInFlight()
    ids.add({"a", "b"})
    assert (ids.has_any({"b", "c"}), ids.has_any({"c"}), ids.has_any(())) == (True, False, False)
    ids.remove({"b"})
    assert not ids.has_any({"b", "c"})


@pytest.mark.parametrize("traffic", [None, Limit()])
def test_one_at_a_time_is_delivered_in_the_calling_thread(destination: Destination, traffic: Any) -> None:
    destination.traffic = traffic
    in_flight = InFlight(1 if traffic else 16, 10**6)
    for name in "abc":
        each = parcel(destination, name)
        assert in_flight.has_room(each)
        in_flight.start(each)
        assert in_flight.take() is each
    assert destination.threads == {"MainThread"}


def test_after_a_failure_what_is_in_flight_is_awaited_and_forgotten(destination: Destination) -> None:
    in_flight = InFlight(16, 10**6)
    met(in_flight, destination)
    begun(in_flight, destination, "ab")
    threading.Timer(0.2, destination.releases["b"].set).start()
    threading.Timer(0.1, destination.releases["a"].set).start()
    in_flight.abandon()
    assert not in_flight


def test_in_the_end_no_request_is_left_to_go_on(destination: Destination) -> None:
    in_flight = InFlight(16, 10**6)
    met(in_flight, destination)
    begun(in_flight, destination, "ab")
    in_flight.close(0.1)
    assert (bool(in_flight), destination.traffic.closed) == (False, True)
    for release in destination.releases.values():
        release.set()


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    """How many the system starts."""
    start, started, most = threading.Thread.start, list[threading.Thread](), int(request.param)

    def start_some(self: threading.Thread) -> None:
        if len(started) == most:
            raise RuntimeError("can't start new thread")
        started.append(self)
        start(self)

    monkeypatch.setattr(threading.Thread, "start", start_some)
    return most


@pytest.mark.parametrize("threads", [0, 1, 2], indirect=True)
def test_fewer_threads_deliver_everything(destination: Destination, threads: int) -> None:
    """Without any, the worker delivers each one itself."""
    in_flight = InFlight(8, 10_000)
    met(in_flight, destination)
    destination.threads.clear()
    destination.errors["c"] = Unavailable("it is away")
    parcels = [parcel(destination, name) for name in "abcd"]
    for each in parcels:
        assert in_flight.has_room(each)
        in_flight.start(each)
    taken = []
    while in_flight:
        if (ended := in_flight.take()) is None:
            in_flight.wait(10)
        else:
            taken.append(ended)
    assert taken == parcels
    outcomes = [each.deliveries["one"] for each in taken]
    assert [each.outcome.stored for each in outcomes] == [1, 1, 0, 1]
    assert str(outcomes[2].error) == "it is away"
    if not threads:
        assert destination.threads == {threading.current_thread().name}
    assert len(destination.threads) <= max(threads, 1)
