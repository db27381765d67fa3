"""The labelled steps of a run, for tests that kill a job at one of them.

Runs in the job's process: functions of the job are wrapped here, the job itself knows nothing of it. Each step says
its label; at the chosen one the process is killed, or the signal of the test's choice is sent.
"""

from __future__ import annotations

import functools
import http.client
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

ANY = "*"
_KINDS = (
    (r"/plan\.json$", "plan"),
    (r"/job\.json$", "job"),
    (r"/lock(-\d{5})?(-[0-9a-f]{32}\.json)?$", "lock"),
    (r"/result\.json$", "result"),
    (r"/report\.html$", "page"),
    (r"/joining\.json$", "joining"),
    (r"/missing\.jsonl$", "missing lines"),
    (r"/dead-letters\.jsonl$", "dead letters"),
    (r"/dead/", "dead batch"),
    (r"/sent/", "sent"),
    (r"/\d{6}\.[\w-]+\.json$", "entry"),
    (r"_manifest\.log$", "manifest"),
    (r"\.parts-", "part"),
    (r"-\d{4}-[0-9a-f]{8}-\d{6}-\d{6}\.log", "batch file"),
    (r"\d\d-\d\d-\d\d_\d\d-\d\d-\d\d_(xapi|caliper)", "output"),
    (r"statements", "statements"),
    (r"caliper", "envelopes"),
    (r"/endpoint\.[\w-]+\.json$", "endpoint"),
    (r"\?query_id=.*&query=INSERT", "insert"),
    (r"\?query_id=", "look-up"),
)


def kind_of(name: str) -> str:
    """What an object of this name (or a URL's path) is."""
    return next((kind for pattern, kind in _KINDS if re.search(pattern, f"/{name}")), "source")


class _Watch:
    """Counts steps, writes them down, and acts at the chosen one.

    :param spec: ``trace``: file to write labels to; ``label`` (or ``*``) and ``number``: where to act; ``signal``;
        ``group``: act on the whole process group; ``token``: a file that makes sure that it happens once, whatever
        number of processes pass the step; ``stop_secs``: sleep after it (for signals that do not end the process);
        ``bug``: raise an exception instead; ``sure_secs``: how long a heartbeat is trusted; ``watch_secs``: how
        long one of another clock is watched; ``no_threads``: the system starts none.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._counts: dict[str, int] = {}
        self._trace = os.open(spec["trace"], os.O_WRONLY | os.O_CREAT | os.O_APPEND) if spec.get("trace") else None

    def pass_(self, label: str) -> None:
        if self._trace is not None:
            os.write(self._trace, f"{label}\n".encode())
        for each in (label, ANY):
            self._counts[each] = self._counts.get(each, 0) + 1
        chosen = self._spec.get("label")
        if chosen in (label, ANY) and self._counts[chosen] == self._spec["number"]:
            self._act()

    def _act(self) -> None:
        try:
            os.close(os.open(self._spec["token"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        if self._spec.get("bug"):
            raise RuntimeError("a bug")
        number = signal.Signals[self._spec.get("signal", "SIGKILL")]
        if self._spec.get("group"):
            os.killpg(0, number)
        else:
            os.kill(os.getpid(), number)
        time.sleep(self._spec.get("stop_secs", 0))


def watch(spec: dict[str, Any]) -> None:
    """Wrap the job's steps in this process."""
    from tutor_transform_logs.lms_job.deliver import clickhouse, files, lrs, lrs_conflicts
    from tutor_transform_logs.lms_job.ledger import entries, ledger, observer, remote_lock
    from tutor_transform_logs.lms_job.storage import cloud, cloud_source, local
    from tutor_transform_logs.lms_job.util import console
    from tutor_transform_logs.lms_job.work import in_flight, segment_delivery

    watch = _Watch(spec)
    # No thread can have such a stack: none is started.
    threading.stack_size(2**50 if spec.get("no_threads") else 0)
    remote_lock.SURE_SECS = spec.get("sure_secs", remote_lock.SURE_SECS)
    if "watch_secs" in spec:
        observer.OLD_WATCH_SECS = observer.FUTURE_WATCH_SECS = spec["watch_secs"]
    for storage in (local.LocalStorage, cloud.CloudStorage):
        _wrap_storage(storage, watch)
    # It reads what it has not kept in a way of its own.
    _wrap_read(cloud_source.CloudSource, watch)
    _around(cloud.CloudStorage, "write_if", watch, lambda name, *_: f"{kind_of(name)} write")
    _around(ledger.Ledger, "save_plan", watch, lambda plan: "finish plan" if plan.finished else "save plan")
    _around(segment_delivery.SegmentDelivery, "start", watch, lambda *_: "batch")
    for destination in (files.Files, lrs.Lrs, clickhouse.ClickHouse):
        _around(destination, "deliver", watch, lambda *_: "deliver")
    _around(lrs_conflicts.Conflicts, "compare", watch, lambda *_: "compare")
    _around(clickhouse.ClickHouse, "find", watch, lambda *_: "look-up")
    _around(clickhouse.ClickHouse, "insert", watch, lambda *_: "insert")
    _around(console, "error", watch, lambda *_: "error")
    _wrap_rename(watch)
    _wrap_http(watch)
    if spec.get("broken"):
        _break_ledger(entries.Entry)
    if spec.get("out_of_order"):
        _break_order(in_flight.InFlight)


def _around(owner: Any, name: str, watch: _Watch, label: Callable[..., str]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(self: Any, *arguments: Any, **more: Any) -> Any:
        what = label(*arguments)
        watch.pass_(f"{what}: before")
        result = original(self, *arguments, **more)
        watch.pass_(f"{what}: after")
        return result

    setattr(owner, name, wrapped)


def _wrap_storage(storage: Any, watch: _Watch) -> None:
    write = storage.write

    def watched_write(self: Any, name: str, chunks: Callable[[], Iterable[bytes]], private: bool = False) -> None:
        kind = kind_of(name)

        def halves() -> Iterator[bytes]:
            for chunk in chunks():
                yield chunk[: len(chunk) // 2]
                watch.pass_(f"{kind} write: half")
                yield chunk[len(chunk) // 2 :]

        watch.pass_(f"{kind} write: before")
        write(self, name, halves, private)
        watch.pass_(f"{kind} write: after")

    storage.write = watched_write
    _wrap_read(storage, watch)
    _around(storage, "delete", watch, lambda name: f"{kind_of(name)} delete")


def _wrap_read(storage: Any, watch: _Watch) -> None:
    read = storage.read

    def watched(self: Any, name: str, *span: Any) -> Iterator[bytes]:
        for chunk in read(self, name, *span):
            yield chunk
            if kind_of(name) == "source":
                watch.pass_("source read: after")

    storage.read = watched


def _wrap_rename(watch: _Watch) -> None:
    replace = os.replace

    def watched(source: Any, target: Any) -> None:
        watch.pass_(f"{kind_of(os.fspath(target))} rename: before")
        replace(source, target)

    os.replace = watched  # type: ignore[assignment]


def _wrap_http(watch: _Watch) -> None:
    """Bodies of requests go out in halves, so that a job can die with one half sent."""
    send: Any = http.client.HTTPConnection.send

    def watched(self: Any, data: Any) -> None:
        head = bytes(data[:400]) if isinstance(data, (bytes, bytearray, memoryview)) else b""
        method, _, rest = head.partition(b" ")
        if method.isupper() and b" HTTP/1." in head:
            target = rest.partition(b" ")[0].decode("latin-1")
            path = target.partition("?")[0]
            # ClickHouse has one path for all queries.
            self.step = f"{method.decode()} {kind_of(target if path == '/' else path)}"
            send(self, data)
            if self.step == "GET statements":
                watch.pass_(f"{self.step}: sent")
        elif head and hasattr(self, "step"):
            send(self, data[: len(data) // 2])
            watch.pass_(f"{self.step}: half")
            send(self, data[len(data) // 2 :])
            watch.pass_(f"{self.step}: sent")
        else:
            send(self, data)

    http.client.HTTPConnection.send = watched  # type: ignore[method-assign]


def _break_ledger(entry: Any) -> None:
    """A broken ledger write, in one line: the number of batches that is saved lags behind by one.

    A run that nothing disturbs never reads it back, and ends as it should; a resumed one writes over a batch.
    """
    to_json = entry.to_json
    entry.to_json = lambda self: {**to_json(self), "batches": self.batches - (not self.done and self.batches > 0)}


def _break_order(in_flight: Any) -> None:
    """Batches are recorded when they are delivered, whether those before them are or not.

    A run that nothing disturbs ends as it should; a resumed one leaves out what was not delivered.
    """

    def take(self: Any) -> Any:
        for parcel in self._parcels:
            if parcel.ended:
                self._parcels.remove(parcel)
                self._ids.remove(parcel.ids)
                return parcel
        return None

    in_flight.take = take
