"""HTTP servers of the tests' own: a store for Caliper envelopes, and an LRS that misbehaves by script."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import requests

# Longest time that a request waits for the gate, so that no test hangs.
GATE_SECS = 300


@dataclass(frozen=True)
class Request:
    """A request as it came in. ``at`` is the monotonic time."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    method: str = "POST"

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    def items(self) -> list[Any]:
        """What the body has, whether one by itself or several in an array."""
        body = self.json()
        return body if isinstance(body, list) else [body]

    def ids(self) -> set[str]:
        """Those of the statements in the body; none if it has none."""
        try:
            return {item["id"] for item in self.items()} if self.method == "POST" else set()
        except (ValueError, TypeError, KeyError):
            return set()


@dataclass(frozen=True)
class Answer:
    """What to answer to one request.

    :param body: bytes as they are, anything else as JSON.
    :param store: keep the statements all the same (an LRS that stores and then fails to say so).
    :param hang_secs: wait so long before answering.
    :param cut_off: close the connection in the middle of the body that the header promises.
    :param no_answer: close the connection without a word.
    :param times: how often to send the body.
    :param drip_secs: send the body byte by byte, with so long between two of them.
    :param drip_headers: the headers, too.
    """

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)
    store: bool = False
    hang_secs: float = 0
    cut_off: bool = False
    no_answer: bool = False
    times: int = 1
    drip_secs: float = 0
    drip_headers: bool = False


def basic(username: str, password: str) -> str:
    """The Authorization header of HTTP Basic."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, respond: Callable[[Request], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.respond = respond
        self.stopping = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is not reported here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body are two segments: the second would wait for an acknowledgement, 40 ms with each answer.
    disable_nagle_algorithm = True
    server: _Server
    _headers_buffer: list[bytes]

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            # The client has died in the middle of its request.
            self.close_connection = True
            return
        headers = {key.lower(): value for key, value in self.headers.items()}
        answer = self.server.respond(Request(self.path, headers, body, time.monotonic(), self.command))
        self.server.stopping.wait(answer.hang_secs)
        if answer.no_answer:
            self.close_connection = True
            return
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content) * answer.times + (1000 if answer.cut_off else 0)))
        if answer.drip_headers:
            head = b"".join(self._headers_buffer)
            self._headers_buffer.clear()
            self._drip(head, answer.drip_secs)
        self.end_headers()
        for _ in range(0 if self.command == "HEAD" else answer.times):
            self._drip(content, answer.drip_secs)
        self.close_connection = self.close_connection or answer.cut_off

    def _drip(self, content: bytes, secs: float) -> None:
        """Write ``content``; with ``secs``, byte by byte, so long after each other."""
        step = 1 if secs else max(1, len(content))
        for at in range(0, len(content), step):
            self.wfile.write(content[at : at + step])
            self.server.stopping.wait(secs)

    def log_message(self, *_: Any) -> None:
        """Tests look at the requests, not at a log."""


@contextlib.contextmanager
def _serve(respond: Callable[[Request], Answer]) -> Iterator[str]:
    server = _Server(respond)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()


@dataclass
class CaliperSink:
    """Keeps the envelopes that are posted to it. With ``authorization`` set, only those who send it are let in.

    :param script: answers for the next requests, one each, in order; None: this one as usual.
    :param to_array: the answer to a body that is an array; None: arrays are taken.
    :param largest_array: how many envelopes an array may have before ``to_array`` is the answer to it.
    :param passes: ``to_array`` is no longer the answer once an envelope was taken by itself.
    :param to_object: the answer to an envelope by itself; None: it is taken.
    :param available: how many requests are answered before there is only 503; None: all.
    :param refused: ids of events for whose sake a body is refused, with the status to refuse it with.
    :param refuses: says of an envelope whether a body is refused for its sake (400, and the envelope).
    """

    url: str = ""
    script: list[Answer | None] = field(default_factory=list)
    authorization: str | None = None
    to_array: Answer | None = None
    largest_array: int = 0
    passes: bool = False
    to_object: Answer | None = None
    available: int | None = None
    refused: dict[str, int] = field(default_factory=dict)
    refuses: Callable[[dict[str, Any]], bool] = lambda _envelope: False
    requests: list[Request] = field(default_factory=list)
    envelopes: list[dict[str, Any]] = field(default_factory=list)
    """All envelopes that were taken, whether posted one by one or in arrays."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def respond(self, request: Request) -> Answer:
        """Answer as a Caliper endpoint does. Asked whether it is there, it says that it knows no such request."""
        if request.method == "HEAD":
            return Answer(501)
        with self._lock:
            self.requests.append(request)
            scripted = self.script.pop(0) if self.script else None
            if scripted is not None:
                self.envelopes += request.items() if scripted.store else []
                return scripted
        if self.authorization is not None and request.headers.get("authorization") != self.authorization:
            return Answer(401, {"error": "unauthorized"})
        if self.available is not None and len(self.requests) > self.available:
            return Answer(503)
        is_array = isinstance(request.json(), list)
        if self.to_object is not None and not is_array:
            return self.to_object
        if self.to_array is not None and is_array and len(request.items()) > self.largest_array:
            if self.to_array.store:
                self.envelopes += request.items()
            return self.to_array
        for event in (event for envelope in request.items() for event in envelope["data"]):
            if event["id"] in self.refused:
                return Answer(self.refused[event["id"]], {"error": f"event {event['id']} is not welcome"})
        for envelope in filter(self.refuses, request.items()):
            return Answer(400, {"error": f"not valid: {envelope}"})
        with self._lock:
            self.envelopes += request.items()
            if self.passes and not is_array:
                self.to_array = None
        return Answer(200, {})

    def sizes(self) -> list[int]:
        """How many envelopes the array of each request had; 0 for an envelope by itself."""
        bodies = [request.json() for request in self.requests]
        return [len(body) if isinstance(body, list) else 0 for body in bodies]

    def event_ids(self) -> list[str]:
        """The ids of all events in the envelopes."""
        return [event["id"] for envelope in self.envelopes for event in envelope["data"]]


@dataclass
class ScriptedLrs:
    """An LRS in memory that behaves like Ralph, except where told to misbehave.

    :param script: answers for the next requests, one each, in order; None: this one as usual.
    :param max_bytes: bodies above this are answered with 413.
    :param refused: ids of statements for whose sake a batch is refused, with the status to refuse it with.
    :param refuses: says of a statement whether a batch is refused for its sake (400, and the statement).
    :param authorization: the Authorization header to insist on (else 401).
    :param voided: ids of statements that were taken back.
    :param knows_voided: else 400 to a request for a voided statement.
    :param refuses_same: 409 also to statements that it has and that come again as they are, as ADL's LRS.
    :param to_get: the answer to each GET; None: as usual.
    :param gate: while it is not set, requests wait for their answers.
    :param delay: how long a request takes, in seconds; None: no time.
    """

    url: str = ""
    script: list[Answer | None] = field(default_factory=list)
    max_bytes: int | None = None
    refused: dict[str, int] = field(default_factory=dict)
    refuses: Callable[[dict[str, Any]], bool] = lambda _statement: False
    authorization: str | None = None
    voided: set[str] = field(default_factory=set)
    knows_voided: bool = True
    refuses_same: bool = False
    to_get: Answer | None = None
    gate: threading.Event = field(default_factory=threading.Event)
    latency_secs: float = 0
    delay: Callable[[Request], float] | None = None
    most_at_once: int = 0
    """The most POST requests that were there at the same time."""
    same_at_once: list[str] = field(default_factory=list)
    """Ids of statements that two requests had at the same time."""
    requests: list[Request] = field(default_factory=list)
    statements: dict[str, Any] = field(default_factory=dict)
    # How often a statement that was already stored came again.
    repeated: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _now: list[set[str]] = field(default_factory=list, repr=False)
    """The ids of each request that is there now."""

    def respond(self, request: Request) -> Answer:
        """Answer by the script, or as an LRS does."""
        ids = request.ids()
        with self._lock:
            self.same_at_once += [name for others in self._now for name in ids & others]
            self._now.append(ids)
            self.most_at_once = max(self.most_at_once, sum(map(bool, self._now)))
        try:
            return self._respond(request)
        finally:
            with self._lock:
                self._now.remove(ids)

    def _respond(self, request: Request) -> Answer:
        secs = self.delay(request) if self.delay else self.latency_secs
        if secs:
            time.sleep(secs)
        with self._lock:
            self.requests.append(request)
        self.gate.wait(GATE_SECS)
        with self._lock:
            scripted = self.script.pop(0) if self.script else None
            if scripted is not None:
                if scripted.store:
                    self._store(request)
                return scripted
            return self._as_usual(request)

    def _as_usual(self, request: Request) -> Answer:
        if self.authorization is not None and request.headers.get("authorization") != self.authorization:
            return Answer(401, {"detail": "Invalid authentication credentials"})
        if request.method == "GET":
            return self._read(request) if self.to_get is None else self.to_get
        if self.max_bytes is not None and len(request.body) > self.max_bytes:
            return Answer(413, {"detail": "Request Entity Too Large"})
        batch = request.items()
        ids = [statement["id"] for statement in batch]
        for id_ in ids:
            if id_ in self.refused:
                return Answer(self.refused[id_], {"detail": f"statement {id_} is not welcome"})
        for statement in filter(self.refuses, batch):
            return Answer(400, {"detail": f"not valid: {statement}"})
        if len(set(ids)) < len(ids):
            return Answer(400, {"detail": "Duplicate statement IDs in the list of statements"})
        if self.refuses_same and any(id_ in self.statements for id_ in ids):
            return Answer(409, {"detail": "A statement with this ID already exists"})
        if any(self.statements.get(statement["id"], statement) != statement for statement in batch):
            return Answer(409, {"detail": "Differing statements already exist with the same ID"})
        new = self._store(request)
        return Answer(200, new) if new and request.method == "POST" else Answer(204)

    def _read(self, request: Request) -> Answer:
        """As xAPI has it, which Ralph has not: a single statement bare, 404, times as times of storing."""
        query = dict(parse_qsl(urlsplit(request.path).query))
        if "statementId" in query:
            one = query["statementId"]
            return Answer(200, self._stored(one)) if one in set(self.statements) - self.voided else Answer(404)
        if "voidedStatementId" in query:
            if not self.knows_voided:
                return Answer(400, {"detail": "unknown parameter"})
            one = query["voidedStatementId"]
            return Answer(200, self._stored(one)) if one in self.voided else Answer(404)
        return Answer(200, {"statements": [], "more": ""})  # nothing was stored when it happened

    def _stored(self, id_: str) -> dict[str, Any]:
        """A statement with what an LRS adds to it."""
        added = {
            "stored": "2026-01-01T00:00:00.000Z",
            "authority": {"objectType": "Agent", "mbox": "mailto:a@b.example"},
        }
        return {**self.statements[id_], **added}

    def _store(self, request: Request) -> list[str]:
        batch = request.items()
        new = [statement for statement in batch if statement["id"] not in self.statements]
        self.repeated += len(batch) - len(new)
        self.statements |= {statement["id"]: statement for statement in new}
        return [statement["id"] for statement in new]

    def methods(self) -> Counter[str]:
        """How many requests of each method there were."""
        return Counter(request.method for request in self.requests)

    def batch_sizes(self) -> list[int]:
        """How many statements each request had."""
        return [len(request.json()) for request in self.requests if request.method == "POST"]


@dataclass
class StandIn:
    """A server that answers as a test tells it to; keeps the requests."""

    answer: Callable[[Request], Answer]
    url: str = ""
    requests: list[Request] = field(default_factory=list)

    def respond(self, request: Request) -> Answer:
        """Answer as told."""
        self.requests.append(request)
        return self.answer(request)


@contextlib.contextmanager
def start_stand_in(answer: Callable[[Request], Answer]) -> Iterator[StandIn]:
    """Run one on a free port."""
    server = StandIn(answer)
    with _serve(server.respond) as server.url:
        yield server


@contextlib.contextmanager
def start_caliper_sink() -> Iterator[CaliperSink]:
    """Run a store for Caliper envelopes on a free port."""
    sink = CaliperSink()
    with _serve(sink.respond) as root:
        sink.url = f"{root}/caliper"
        yield sink


@contextlib.contextmanager
def start_scripted_lrs() -> Iterator[ScriptedLrs]:
    """Run an LRS that can be told to misbehave, on a free port."""
    lrs = ScriptedLrs()
    lrs.gate.set()
    with _serve(lrs.respond) as root:
        lrs.url = f"{root}/xAPI/statements"
        yield lrs


@dataclass
class Proxy:
    """Hands each request on to another server and gives its answer; keeps the requests."""

    target: str
    url: str = ""
    requests: list[Request] = field(default_factory=list)

    def respond(self, request: Request) -> Answer:
        """Answer as the other server does."""
        self.requests.append(request)
        kept = {key: value for key, value in request.headers.items() if key not in ("host", "content-length")}
        answer = requests.request(
            request.method, self.target + request.path, headers=kept, data=request.body, timeout=GATE_SECS
        )
        return Answer(answer.status_code, answer.content, {"Content-Type": answer.headers.get("Content-Type", "")})


@contextlib.contextmanager
def start_proxy(url: str) -> Iterator[Proxy]:
    """Run a proxy of the server of ``url`` on a free port; its own ``url`` has the same path."""
    parts = urlsplit(url)
    proxy = Proxy(f"{parts.scheme}://{parts.netloc}")
    with _serve(proxy.respond) as root:
        proxy.url = root + parts.path
        yield proxy
