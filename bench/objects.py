"""Many small logs in an object store that takes its time for each request, and keeps connections."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.inputs import Log
from bench.measure import Measured
from bench.scenarios import Bench
from tests.harness.object_store import MOTO_VERSION, Bucket, ObjectStore
from tests.harness.process import answers_http, free_port, running
from tests.harness.venvs import venv

REQUEST_SECS = 0.03
WAITRESS_VERSION = "3.0.2"
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

    def run(self, **settings: Any) -> Measured:
        """This job, from these objects to objects, with a ledger in the same store."""
        place = f"run-{next(self._numbers)}"
        begin = self.requests_seen.stat().st_size
        made = self.bench.job_into(
            self.log,
            {
                **self.bucket.settings("source", prefix="logs/"),
                **self.bucket.settings("destination", prefix=f"{place}/out/"),
                **self.bucket.settings("ledger", prefix=f"{place}/ledger/"),
                "output_layout": "batches",
                **settings,
            },
        )
        lines = self.requests_seen.read_text()[begin:].splitlines()
        found = Counter(name for line in lines for name, pattern in _REQUESTS.items() if re.match(pattern, line))
        self.requests = {name: round(found[name] / self.count, 3) for name in _REQUESTS}
        return made


@contextlib.contextmanager
def objects_of(bench: Bench, log: Log) -> Iterator[Objects]:
    """Start a store, and put the lines of ``log`` into it, 200 in each object. (nanio lists 1,000 objects at most.)"""
    port, seen = free_port(), bench.folder / "store.log"
    python = venv("slow-store", [f"moto[s3,server]=={MOTO_VERSION}", f"waitress=={WAITRESS_VERSION}"]) / "python"
    with (
        running(
            "the store",
            [python, Path(__file__).with_name("slow_store.py"), str(port), str(REQUEST_SECS)],
            ready=lambda: answers_http(f"http://127.0.0.1:{port}/moto-api/"),
            log=seen,
        ),
        log.path.open("rb") as lines,
        ThreadPoolExecutor(8) as pool,
    ):
        store = ObjectStore(port)
        bucket, client = store.bucket("bench"), store.client()
        pieces = iter(lambda: b"".join(itertools.islice(lines, LINES_EACH)), b"")
        put = [
            pool.submit(
                client.put_object,
                Bucket=bucket.name,
                Key=f"logs/tracking.log-{number:05}.gz",
                Body=gzip.compress(piece),
            )
            for number, piece in enumerate(pieces, 1)
        ]
        for future in put:
            future.result()
        yield Objects(bench, log, bucket, seen, len(put))
