"""ClickHouse, the real engine (chDB) behind its HTTP interface, with Aspects' databases, tables, users and grants."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.harness import aspects, registry
from tests.harness.process import answers_http, free_port, running
from tests.harness.venvs import venv

VERSION = "4.4.0"
PROGRAM = Path(__file__).with_name("clickhouse_server.py")
# Beside Aspects' users, one who may do everything.
ADMIN: dict[str, dict[str, Any]] = {"default": {"password": "", "grants": {"*": ["*"]}}}
# Dictionaries read their tables as an admin; chDB knows one user alone.
_LOGIN = re.compile(r"^ *(?:user|password) '[^']*'$", re.IGNORECASE | re.MULTILINE)
# How Aspects' dbt models look that count for good, and those that keep only what is younger than a year; its migrations
# have none of them, they come with dbt.
VIEWS = (
    """CREATE TABLE openedx.events_per_day (day Date, events UInt64) ENGINE = SummingMergeTree ORDER BY day""",
    """CREATE MATERIALIZED VIEW openedx.events_per_day_mv TO openedx.events_per_day
       AS SELECT toDate(emission_time, 'UTC') AS day, count() AS events FROM openedx.xapi_events_all GROUP BY day""",
    """CREATE TABLE openedx.xapi_events_all_parsed
       (event_id UUID, emission_time DateTime64(6), verb_id String, actor_id String, object_id String)
       ENGINE = ReplacingMergeTree ORDER BY (emission_time, event_id)
       TTL toDateTime(emission_time) + INTERVAL 1 YEAR""",
    """CREATE MATERIALIZED VIEW openedx.xapi_events_all_parsed_mv TO openedx.xapi_events_all_parsed
       AS SELECT event_id, emission_time, JSON_VALUE(event, '$.verb.id') AS verb_id,
                 JSON_VALUE(event, '$.actor.account.name') AS actor_id, JSON_VALUE(event, '$.object.id') AS object_id
       FROM openedx.xapi_events_all""",
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong at the next queries that begin with ``on``.

    ``kind``: ``answer_only`` runs nothing and answers ``status``; ``answer`` runs it and answers ``status``;
    ``no_answer`` runs it and closes the connection; ``cut_body`` takes half of the body, stores it if ``store``, and
    closes the connection; ``runs_on`` answers ``status`` at once and runs it ``secs`` later. ``secs`` is waited before
    every other answer, and ``sql`` is run before the query. A ``status`` of 0 leaves the answer as it is.
    """

    kind: str = "answer"
    on: str = "INSERT"
    status: int = 0
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    secs: float = 0
    store: bool = True
    sql: str = ""

    @classmethod
    def exception(cls, code: int, text: str = "told to", *, status: int = 500, **more: Any) -> Fault:
        """An answer as ClickHouse gives it, without running anything."""
        headers = {"X-ClickHouse-Exception-Code": str(code)}
        return cls("answer_only", status=status, text=f"Code: {code}. DB::Exception: {text}", headers=headers, **more)


@dataclass
class ClickHouse:
    """A running server. Its data outlives :meth:`restart`."""

    folder: Path
    port: int
    users: dict[str, dict[str, Any]]
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, repr=False)

    @property
    def url(self) -> str:
        """Of the HTTP interface."""
        return f"http://127.0.0.1:{self.port}"

    def password(self, user: str) -> str:
        """Of one of Aspects' users."""
        return str(self.users[user]["password"])

    def destination(self, *, user: str = "ch_vector", database: str = "openedx") -> dict[str, Any]:
        """The settings that make its table the job's destination."""
        return {
            "destination_provider": "CLICKHOUSE",
            "clickhouse_url": self.url,
            "clickhouse_username": user,
            "clickhouse_password": self.password(user),
            "clickhouse_database": database,
        }

    def start(self) -> None:
        """Start the server and wait until it answers."""
        (self.folder / "users.json").write_text(json.dumps(self.users))
        python = venv("chdb", [f"chdb=={VERSION}"]) / "python"
        server = running(
            "ClickHouse (chDB)",
            [python, PROGRAM, self.folder / "data", str(self.port), self.folder / "users.json"],
            ready=lambda: answers_http(f"{self.url}/ping"),
            log=self.folder / "clickhouse.log",
        )
        self._stack.enter_context(server)
        self._stop_merges()
        registry.register(f"chDB {VERSION}")

    def stop(self) -> None:
        """End the server."""
        self._stack.close()

    def restart(self) -> None:
        """End it and start it on the data that it has."""
        self.stop()
        self.start()

    def query(self, sql: str) -> list[list[str]]:
        """Rows of a query by a user who may do everything. Raises what ``requests`` raises."""
        answer = requests.post(self.url, data=sql.encode(), timeout=60)
        assert answer.ok, answer.text
        return [line.split("\t") for line in answer.text.splitlines()]

    def _stop_merges(self) -> None:
        """Merging would remove rows that are there twice."""
        self.query("SYSTEM STOP MERGES")

    def delete(self, condition: str, table: str = "openedx.xapi_events_all") -> None:
        """Delete rows. ClickHouse does not do it while merges are stopped."""
        self.query(f"SYSTEM START MERGES {table}")
        self.query(f"ALTER TABLE {table} DELETE WHERE {condition} SETTINGS mutations_sync = 2")
        self._stop_merges()

    def count(self, table: str = "openedx.xapi_events_all") -> int:
        """Rows, without ``FINAL``: a row that is there twice counts twice."""
        return int(self.query(f"SELECT count() FROM {table}")[0][0])

    def ids(self, table: str = "openedx.xapi_events_all") -> list[str]:
        """The ids of all rows, sorted; an id that is there twice is in it twice."""
        return sorted(event_id for [event_id] in self.query(f"SELECT event_id FROM {table}"))

    def rows(self, table: str = "openedx.xapi_events_all") -> list[list[str]]:
        """All rows, sorted: id, microseconds since 1970, a hash of the event.

        Without ``FINAL``, so a row that is there twice is in it twice.
        """
        columns = "event_id, toUnixTimestamp64Micro(emission_time), hex(MD5(event))"
        return self.query(f"SELECT {columns} FROM {table} ORDER BY 2, 1, 3")

    def daily_sum(self) -> int:
        """What a SummingMergeTree has counted: rows that were inserted twice count for good."""
        return int(self.query("SELECT sum(events) FROM openedx.events_per_day")[0][0])

    def set_faults(self, *faults: Fault) -> None:
        """What goes wrong from now on; the list of requests begins here."""
        requests.post(f"{self.url}/__control", data=json.dumps([asdict(fault) for fault in faults]), timeout=10)

    def requests(self) -> list[dict[str, Any]]:
        """The queries since :meth:`set_faults` or the start: ``path``, ``sql`` (its beginning), ``status``."""
        return list(requests.get(f"{self.url}/__control", timeout=10).json())

    def make_schema(self) -> None:
        """Do what Aspects' init jobs and dbt do on an empty ClickHouse."""
        for name in aspects.databases():
            self.query(f"CREATE DATABASE IF NOT EXISTS {name}")
        for statement in (*aspects.migrations(), *VIEWS):
            self.query(_LOGIN.sub("", statement))

    def clear(self) -> None:
        """Empty the tables of events, and forget faults and requests."""
        self.set_faults()
        self._stop_merges()
        for table in ("xapi_events_all", "events_per_day", "xapi_events_all_parsed"):
            self.query(f"TRUNCATE TABLE openedx.{table}")
        self.query("TRUNCATE TABLE xapi.xapi_events_all")


@contextlib.contextmanager
def start(folder: Path) -> Iterator[ClickHouse]:
    """Run ClickHouse on a free port with Aspects' schema, its data below ``folder``."""
    server = ClickHouse(folder, free_port(), aspects.users() | ADMIN)
    server.start()
    try:
        server.make_schema()
        yield server
    finally:
        server.stop()
