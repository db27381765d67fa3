"""Many small logs in an object store that takes its time for each request."""

from __future__ import annotations

import contextlib
import gzip
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bench.inputs import Log
from bench.measure import Measured
from bench.scenarios import Bench
from tests.harness.faulty_store import FaultyProxy, faulty
from tests.harness.object_store import Bucket, start_moto

REQUEST_SECS = 0.03
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
    """The lines of a log as gzip objects, in a store that is asked through a proxy, which counts."""

    bench: Bench
    log: Log
    bucket: Bucket
    proxy: FaultyProxy
    count: int
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    requests: dict[str, float] = field(default_factory=dict)
    """Of the last run, for each object."""

    def run(self, **settings: Any) -> Measured:
        """This job, from these objects to objects, with a ledger in the same store."""
        place = f"run-{next(self._numbers)}"
        self.proxy.requests.clear()
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
        found = Counter(
            name for line in self.proxy.requests for name, pattern in _REQUESTS.items() if re.match(pattern, line)
        )
        self.requests = {name: round(found[name] / self.count, 3) for name in _REQUESTS}
        return made


@contextlib.contextmanager
def objects_of(bench: Bench, log: Log) -> Iterator[Objects]:
    """Start a store, and put the lines of ``log`` into it, 200 in each object. (nanio lists 1,000 objects at most.)"""
    folder = bench.folder / "store"
    folder.mkdir()
    with start_moto(folder) as store, log.path.open("rb") as lines:
        bucket = store.bucket("bench")
        client = store.client()
        count = 0
        while piece := b"".join(itertools.islice(lines, LINES_EACH)):
            count += 1
            client.put_object(Bucket=bucket.name, Key=f"logs/tracking.log-{count:05}.gz", Body=gzip.compress(piece))
        with faulty(bucket, lambda *_: REQUEST_SECS) as (behind, proxy):
            yield Objects(bench, log, behind, proxy, count)
