"""Many small logs in an object store that takes its time for each request, and keeps connections."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.inputs import Log
from bench.measure import Measured
from bench.scenarios import Bench
from tests.harness.golang import go
from tests.harness.object_store import ACCESS_KEY, SECRET_KEY, Bucket, ObjectStore
from tests.harness.process import answers_http, free_port, running
from tests.harness.venvs import filled_once

REQUEST_SECS = 0.03
STORE_MODULE, STORE_VERSION = "github.com/versity/versitygw", "1.8.0"
LINES_EACH = 200
# What is asked for once for each log, by the job's phases.
_REQUESTS = {
    "log": r"GET .*/logs/",
    "entry": r"GET .*\.files\.json",
    "batch": r"PUT .*-\d{6}-\d{6}\.log",
    "entry, written": r"PUT .*\.files\.json",
}


@dataclass
class Objects:
    """The lines of a log as gzip objects, in a store whose requests are counted."""

    bench: Bench
    log: Log
    bucket: Bucket
    requests_seen: Path
    """The first lines of all requests."""
    count: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    requests: dict[str, float] = field(default_factory=dict)
    """Of the last run, for each object."""

    def _in_bucket(self, role: str, prefix: str) -> dict[str, Any]:
        # The store insists on a region, which libcloud's driver for MinIO does not name.
        return {**self.bucket.settings(role, provider="S3", prefix=prefix), f"{role}_region": "us-east-1"}

    def run(self, **settings: Any) -> Measured:
        """This job, from these objects to objects, with a ledger in the same store."""
        place = f"run-{next(self._numbers)}"
        begin = self.requests_seen.stat().st_size
        made = self.bench.job_into(
            self.log,
            {
                **self._in_bucket("source", "logs/"),
                **self._in_bucket("destination", f"{place}/out/"),
                **self._in_bucket("ledger", f"{place}/ledger/"),
                "output_layout": "batches",
                **settings,
            },
        )
        lines = self.requests_seen.read_text()[begin:].splitlines()
        found = Counter(name for line in lines for name, pattern in _REQUESTS.items() if re.match(pattern, line))
        self.requests = {name: round(found[name] / self.count, 3) for name in _REQUESTS}
        return made


def _store_program() -> Path:
    """The store's program, built once. (moto takes longer for a request than the job; nanio lists 1,000 objects.)"""

    def build(folder: Path) -> None:
        (folder / "go.mod").write_text("module store\n\ngo 1.24\n")
        go(folder, STORE_MODULE, "get", f"{STORE_MODULE}@v{STORE_VERSION}")
        go(folder, STORE_MODULE, "build", "-o=store", f"{STORE_MODULE}/cmd/versitygw")

    return filled_once("versitygw", [STORE_VERSION], build) / "store"


@contextlib.contextmanager
def _store(folder: Path) -> Iterator[int]:
    """A running S3 server that keeps files below ``folder``; gives its port."""
    port = free_port()
    files, metadata = (folder / "store" / name for name in ("files", "metadata"))
    files.mkdir(parents=True)
    metadata.mkdir()
    account = {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
    command: list[str | Path] = [_store_program(), "--quiet", "--keep-alive", f"--port=127.0.0.1:{port}", "posix"]
    with running(
        "the store",
        [*command, f"--sidecar={metadata}", files],
        ready=lambda: answers_http(f"http://127.0.0.1:{port}/"),
        log=folder / "store.log",
        environment=account,
    ):
        yield port


@contextlib.contextmanager
def objects_of(bench: Bench, log: Log) -> Iterator[Objects]:
    """Start a store, and put the lines of ``log`` into it, 200 in each object."""
    port, seen = free_port(), bench.folder / "requests.log"
    with _store(bench.folder) as store_port, log.path.open("rb") as lines:
        store = ObjectStore(store_port)
        bucket, client = store.bucket("bench"), store.client()
        count = 0
        while piece := b"".join(itertools.islice(lines, LINES_EACH)):
            count += 1
            client.put_object(Bucket=bucket.name, Key=f"logs/tracking.log-{count:05}.gz", Body=gzip.compress(piece))
        with running(
            "the proxy",
            [sys.executable, Path(__file__).with_name("slow_proxy.py"), str(port), str(store_port), str(REQUEST_SECS)],
            ready=lambda: answers_http(f"http://127.0.0.1:{port}/"),
            log=seen,
        ):
            yield Objects(bench, log, replace(bucket, store=ObjectStore(port)), seen, count)
