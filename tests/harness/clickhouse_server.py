"""ClickHouse's HTTP interface over chDB, as a program: ``clickhouse_server.py DATA_FOLDER PORT USERS_FILE``.

It runs in a virtual environment of its own that has chDB. Of the interface it has what a client of Aspects' tables
meets: users with grants by database, ClickHouse's errors and statuses, query ids that may run once at a time, settings
in the URL. ``/__control`` takes faults (see ``clickhouse.Fault``) and gives the list of requests.
"""

from __future__ import annotations

import base64
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from chdb import session

# ClickHouse's exceptionCodeToHTTPStatus; all others are 500.
STATUSES = {
    **dict.fromkeys((27, 26, 38, 41, 53, 62, 72, 117, 6, 36, 115, 43, 44, 42, 70), 400),
    **dict.fromkeys((46, 47, 60, 81, 16), 404),
    **dict.fromkeys((192, 193, 497, 516), 403),
    159: 408,
    164: 403,
    209: 503,
}
# What the URL may hold beside settings.
NO_SETTINGS = {"query", "database", "query_id", "user", "password", "default_format", "wait_end_of_query"}
TABLE = r"(?:[`\"]?(\w+)[`\"]?\.)?[`\"]?(\w+)[`\"]?"
CODE = re.compile(r"Code: (\d+)")


class QueryRefused(Exception):
    """An error of ClickHouse."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"Code: {code}. DB::Exception: {text} (version 26.9.1.1 (official build))")
        self.code = code


class Engine:
    """The chDB session: one query at a time."""

    def __init__(self, folder: Path, users: dict[str, Any]) -> None:
        self._session = session.Session(str(folder))
        self._lock = threading.Lock()
        self._users = users
        self._running: set[str] = set()
        self._state = threading.Lock()
        self.faults: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []

    def query(self, sql: bytes, database: str = "default", settings: dict[str, str] | None = None) -> bytes:
        """The answer, in the format that the query names. Raises :class:`QueryRefused`."""
        settings = settings or {}
        with self._lock:
            try:
                # The current database of a session outlives the query, and so do its settings.
                self._session.query(f"USE `{database}`")
                for name, value in settings.items():
                    self._session.query(f"SET {name} = '{value}'")
                return bytes(self._session.query(sql.decode(), "TabSeparated").bytes())
            except RuntimeError as error:
                text = str(error)
                found = CODE.search(text)
                raise QueryRefused(int(found[1]) if found else 1001, _message(text)) from None
            finally:
                for name in settings:
                    self._session.query(f"SET {name} = DEFAULT")

    def authenticate(self, user: str, password: str) -> dict[str, Any]:
        """The user's entry. Raises :class:`QueryRefused`."""
        entry = self._users.get(user)
        if entry is None or entry["password"] != password:
            text = (
                f"{user}: Authentication failed: password is incorrect, or there is no user with such name. "
                "(AUTHENTICATION_FAILED)"
            )
            raise QueryRefused(516, text)
        return dict(entry)

    def check_grants(self, user: str, entry: dict[str, Any], sql: str, database: str) -> None:
        """Raises :class:`QueryRefused` for a privilege that the user lacks; ``*`` is a user who may do everything."""
        if "*" in entry["grants"]:
            return
        head = sql[:400_000]
        needed = [("INSERT", *found) for found in re.findall(rf"\bINSERT\s+INTO\s+{TABLE}", head, re.IGNORECASE)]
        select = head if not needed else head.partition("FORMAT")[0]
        needed += [("SELECT", *found) for found in re.findall(rf"\b(?:FROM|JOIN)\s+{TABLE}", select, re.IGNORECASE)]
        for privilege, of, table in needed:
            of = of or database
            if of == "system":
                continue
            if privilege not in entry["grants"].get(of, []):
                text = (
                    f"{user}: Not enough privileges. To execute this query, it's necessary to have the grant "
                    f"{privilege} ON {of}.{table}. (ACCESS_DENIED)"
                )
                raise QueryRefused(497, text)

    def begin(self, query_id: str) -> None:
        """Raises :class:`QueryRefused` if a query of this id is running."""
        with self._state:
            if query_id and query_id in self._running:
                text = f"Query with id = {query_id} is already running. (QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING)"
                raise QueryRefused(216, text)
            self._running.add(query_id)

    def end(self, query_id: str) -> None:
        """The query of this id has ended."""
        with self._state:
            self._running.discard(query_id)

    def fault_for(self, sql: str) -> dict[str, Any]:
        """The fault to show at this query, if there is one; it is used up."""
        with self._state:
            for number, fault in enumerate(self.faults):
                if sql.lstrip().upper().startswith(fault["on"].upper()):
                    fault["times"] -= 1
                    if fault["times"] <= 0:
                        del self.faults[number]
                    return fault
        return {}


def _message(text: str) -> str:
    """chDB's text without the code in front and the version behind, which are added as the server adds them."""
    text = re.sub(r"^(?:.*?Code: \d+\. DB::Exception: )+", "", text.strip(), flags=re.DOTALL)
    return re.sub(r" *\(version [\d.]+\)\.?.*$", "", text, flags=re.DOTALL)


class Handler(BaseHTTPRequestHandler):
    """Requests."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two segments: the second would wait for an acknowledgement, 40 ms with each answer.
    disable_nagle_algorithm = True
    engine: Engine

    def do_GET(self) -> None:
        """``/ping``, the control, and queries that change nothing."""
        path = urlsplit(self.path)
        if path.path == "/ping":
            self._answer(200, b"Ok.\n")
        elif path.path == "/__control":
            self._answer(200, json.dumps(self.engine.requests).encode())
        else:
            self._query(dict(parse_qsl(path.query)), b"")

    def do_POST(self) -> None:
        """A query, or a new list of faults."""
        path = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        if path.path == "/__control":
            self.engine.faults = json.loads(self.rfile.read(length))
            self.engine.requests.clear()
            self._answer(200, b"")
            return
        params = dict(parse_qsl(path.query))
        fault = self.engine.fault_for(params.get("query", ""))
        if fault.get("kind") == "cut_body":
            # Half of the rows come in and are stored; then the connection breaks.
            body = self.rfile.read(length // 2)
            self._note(params, 0)
            with_rows = body[: body.rfind(b"\n") + 1] if fault["store"] else b""
            if with_rows:
                self.engine.query(params["query"].encode() + b"\n" + with_rows, params.get("database", "default"))
            self.close_connection = True
            return
        body = self.rfile.read(length)
        self._query(params, body, fault)

    def _query(self, params: dict[str, str], body: bytes, fault: dict[str, Any] | None = None) -> None:
        sql = params.get("query", "").encode()
        sql = sql + b"\n" + body if sql and body else sql or body
        fault = fault if fault is not None and "query" in params else self.engine.fault_for(sql[:100].decode())
        query_id, background = params.get("query_id", ""), fault.get("kind") == "runs_on"
        if fault.get("sql"):
            self.engine.query(fault["sql"].encode())
        started = False
        try:
            answer = b""
            if fault.get("kind") != "answer_only":
                user, password = self._credentials()
                entry = self.engine.authenticate(user, password)
                database = params.get("database", "default")
                self.engine.check_grants(user, entry, sql.decode(), database)
                settings = {name: value for name, value in params.items() if name not in NO_SETTINGS}
                self.engine.begin(query_id)
                started = True
                if background:
                    work = (sql, database, settings, query_id, fault["secs"])
                    threading.Thread(target=self._run_later, args=work, daemon=True).start()
                else:
                    answer = self.engine.query(sql, database, settings)
            status, headers = 200, {}
        except QueryRefused as error:
            status, headers = STATUSES.get(error.code, 500), {"X-ClickHouse-Exception-Code": str(error.code)}
            answer = str(error).encode() + b"\n"
        finally:
            if started and not background:
                self.engine.end(query_id)
        if fault.get("status"):
            status, answer, headers = fault["status"], fault["text"].encode(), fault["headers"]
        self._note(params, status, sql)
        if fault and not background:
            time.sleep(fault["secs"])
        if fault.get("kind") == "no_answer":
            self.close_connection = True
            return
        self._answer(status, answer, headers)

    def _run_later(self, *work: Any) -> None:
        sql, database, settings, query_id, secs = work
        time.sleep(secs)
        try:
            self.engine.query(sql, database, settings)
        finally:
            self.engine.end(query_id)

    def _credentials(self) -> tuple[str, str]:
        if "X-ClickHouse-User" in self.headers:
            return self.headers["X-ClickHouse-User"], self.headers.get("X-ClickHouse-Key", "")
        kind, _, value = self.headers.get("Authorization", "").partition(" ")
        if kind == "Basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            return user, password
        return "default", ""

    def _note(self, params: dict[str, str], status: int, sql: bytes = b"") -> None:
        head = (params.get("query", "").encode() or sql)[:300].decode("utf-8", "replace")
        self.engine.requests.append({"path": self.path, "sql": head, "status": status})

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Tests look at the requests, not at a log."""


class Server(ThreadingHTTPServer):
    """A client that goes away is not reported here."""

    daemon_threads = True
    request_queue_size = 128


def main() -> None:
    """Serve until killed."""
    folder, port, users = sys.argv[1:]
    Handler.engine = Engine(Path(folder), json.loads(Path(users).read_text()))
    Server(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
