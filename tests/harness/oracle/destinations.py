"""Where the statements of a round go, and what has arrived there."""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any, Protocol

from tests.harness.clickhouse import ClickHouse, Fault
from tests.harness.http_sinks import Answer, CaliperSink, ScriptedLrs, start_caliper_sink, start_scripted_lrs
from tests.harness.oracle.events import number_at, recognised
from tests.harness.oracle.places import Place
from tests.harness.oracle.reference import Arrived
from tests.harness.site import is_manifest, unpacked


class Target(Protocol):
    """A destination."""

    name: str
    once: bool
    """Does it store a statement once, from however many logs it comes?"""

    def settings(self, kind: str) -> dict[str, Any]:
        """The job's settings that make it the destination of statements of this type."""

    def disturb(self, dice: random.Random) -> None:
        """Fail now and then from now on."""

    def calm(self) -> None:
        """Do not fail any more."""

    def arrived(self) -> Arrived:
        """The statements that it has."""

    def left_over(self) -> list[str]:
        """What no finished job leaves in it."""

    def can_be_read(self, kind: str) -> bool:
        """Can the job verify what it has delivered of this type?"""


class Files:
    """Files in a folder or a bucket."""

    once = False

    def __init__(self, place: Place) -> None:
        self._place = place
        self.name = "files" if place.local else "nanio"

    def settings(self, kind: str) -> dict[str, Any]:
        return self._place.settings("destination")

    def disturb(self, dice: random.Random) -> None:
        """A disk does not fail."""

    def calm(self) -> None:
        """It has not failed."""

    def arrived(self) -> Arrived:
        found: Arrived = Counter()
        for name, content in self._place.contents().items():
            if not is_manifest(name):
                found.update(recognised(json.loads(line)) for line in unpacked(content).splitlines())
        return found

    def left_over(self) -> list[str]:
        return [name for name in self._place.contents() if ".parts-" in name or name.endswith(".unfinished")]

    def can_be_read(self, kind: str) -> bool:
        return True


class Http:
    """An LRS that remembers ids and answers as Ralph does, and beside it an endpoint for Caliper's envelopes."""

    name = "LRS"
    once = True

    def __init__(self, lrs: ScriptedLrs, sink: CaliperSink) -> None:
        self._lrs = lrs
        self._sink = sink

    def settings(self, kind: str) -> dict[str, Any]:
        url = self._lrs.url if kind == "xapi" else self._sink.url
        return {"destination_provider": "LRS", "lrs_endpoints": [{"url": url, "username": "u", "password": "p"}]}

    def disturb(self, dice: random.Random) -> None:
        for server, answers in ((self._lrs, _trouble_of_lrs), (self._sink, _trouble)):
            server.script[:] = [dice.choice(answers(dice)) if dice.random() < 0.2 else None for _ in range(40)]
        # So that answers come in another order than the requests.
        own, longest = random.Random(dice.random()), dice.choice([0.0, 0.02, 0.1])
        self._lrs.delay = lambda _request: own.uniform(0.0, longest)

    def calm(self) -> None:
        for server in (self._lrs, self._sink):
            server.script.clear()

    def arrived(self) -> Arrived:
        events = {envelope["data"][0]["id"]: envelope for envelope in self._sink.envelopes}
        return Counter(recognised(statement) for statement in [*self._lrs.statements.values(), *events.values()])

    def left_over(self) -> list[str]:
        return []

    def can_be_read(self, kind: str) -> bool:
        return kind == "xapi"


def _trouble(dice: random.Random) -> list[Answer]:
    """Answers that say nothing of the outcome; what was sent may be stored."""
    store = dice.random() < 0.5
    return [
        Answer(503, store=store),
        Answer(502, b"<html>Bad Gateway</html>", store=store),
        Answer(429, headers={"Retry-After": dice.choice(["0", "1", "600"])}),
        Answer(no_answer=True, store=store),
        Answer(200, [], cut_off=True, store=store),
    ]


def _trouble_of_lrs(dice: random.Random) -> list[Answer]:
    """Also those that no LRS gives. (From a Caliper endpoint, any status from 200 to 299 counts.)"""
    store = dice.random() < 0.5
    return [*_trouble(dice), Answer(200, {"error": "not a list of ids"}, store=store), Answer(202, store=store)]


@contextlib.contextmanager
def http() -> Iterator[Http]:
    """Run both servers."""
    with start_scripted_lrs() as lrs, start_caliper_sink() as sink:
        yield Http(lrs, sink)


class Table:
    """Aspects' table of xAPI statements. What it has twice has come twice: nothing is merged."""

    name = "ClickHouse"
    once = True

    def __init__(self, server: ClickHouse) -> None:
        self._server = server
        server.clear()

    def settings(self, kind: str) -> dict[str, Any]:
        return self._server.destination()

    def disturb(self, dice: random.Random) -> None:
        faults = [
            Fault("answer_only", status=500),
            Fault("answer", status=500, text="stored all the same"),
            Fault("answer", secs=0.3),
            Fault("no_answer"),
            Fault("cut_body", store=False),
            Fault("answer_only", on="SELECT", status=502, text="Bad Gateway"),
            Fault.exception(252, "Too many parts (3000)"),
        ]
        self._server.set_faults(*dice.choices(faults, k=dice.choice([0, 0, 1, 3])))

    def calm(self) -> None:
        self._server.set_faults()

    def arrived(self) -> Arrived:
        columns = "toUnixTimestamp64Micro(emission_time), count()"
        rows = self._server.query(f"SELECT {columns} FROM openedx.xapi_events_all GROUP BY emission_time")
        return Counter({("xapi", number_at(int(micros) / 1_000_000)): int(count) for micros, count in rows})

    def left_over(self) -> list[str]:
        return []

    def can_be_read(self, kind: str) -> bool:
        return True
