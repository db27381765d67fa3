"""What is measured: each program on each input, in turn, several times."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.inputs import COURSES, USERS, Log
from bench.measure import Failed, Measured, measure
from tests.harness import clickhouse, mariadb, ralph
from tests.harness.demo_lms import REPOSITORY, DemoLms
from tests.harness.job import local
from tests.harness.ralph import Lrs

BATCH_SIZE = 1000
NO_HANDLERS = {"version": 1, "disable_existing_loggers": False}
RALPH = ["-v", "ERROR", "convert", "-f", "edx", "-t", "xapi", "-p", "http://localhost:18000", "-I"]
RALPH += ["-u", "ee241f8b-174f-5bdb-bae9-c09de5fe017f"]


@dataclass(frozen=True)
class SlowSink:
    """An LRS that takes its time."""

    secs: float
    """For a request."""
    servers: int
    """How many requests it works on at the same time."""
    batch_size: int
    """Of what is sent to it."""
    part: int = 1
    """2: it gets half of the lines."""

    def start(self) -> contextlib.AbstractContextManager[str]:
        """Run it; gives its URL."""
        return sink(self.secs, self.servers)

    def least_secs(self, events: int) -> float:
        """What it takes for them if it always has as many requests as it works on."""
        return -(-events // self.batch_size) * self.secs / self.servers


@dataclass(frozen=True)
class Bench:
    """The servers, and a folder for what the programs write."""

    lms: DemoLms
    sink_url: str
    folder: Path
    loggers_have_handlers: bool = True
    program: str = "tutor_transform_logs.lms_job"
    """The module that is run as the job."""

    def job(self, log: Log, *, to_files: bool = False, **settings: Any) -> Measured:
        """This job, from nothing to the last statement delivered and accounted for."""
        settings = {"batch_size": BATCH_SIZE, **settings}
        if to_files:
            settings |= local("destination", self._work / "out")
        else:
            settings["lrs_endpoints"] = [{"url": self.sink_url, "username": "u", "password": "p"}]
        return self.job_into(log, settings)

    def job_into(self, log: Log, settings: Mapping[str, Any]) -> Measured:
        """This job, into the destination that ``settings`` name, with the job's own defaults for the rest."""
        with self._work_folder() as work:
            (work / "out").mkdir()
            config = {**local("source", log.folder, prefix="tracking.log"), **local("ledger", work / "ledger")}
            (work / "config.json").write_text(json.dumps(config | dict(settings)))
            made = self._command("run")
            self._expect(log.events, self._reported("transformed"), "this job")
            return made

    def verify(self, statements: int, workers: int) -> Measured:
        """``--verify`` of what the last run has delivered, which are this many statements."""
        config = self._work / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"workers": workers}))
        made = self._command("verify")
        self._expect(statements, self._reported("found"), "--verify")
        return made

    def gaps(self) -> Measured:
        """``--gaps`` of what the last run has delivered."""
        made = self._command("gaps")
        text = self._report.read_text()
        if "Nothing is missing" not in text:
            raise Failed(f"--gaps found some:\n{text}")
        return made

    def stored(self) -> int:
        """The statements that the last run has stored, as its report says."""
        return self._reported("stored")

    @property
    def _work(self) -> Path:
        return self.folder / "work"

    @property
    def _report(self) -> Path:
        return self._work / "report"

    def _command(self, phase: str) -> Measured:
        config = str(self._work / "config.json")
        command = [sys.executable, "-m", self.program, phase, "--config", config]
        return measure(command, environment=self._environment(), folder=self._work, stdout=self._report)

    def _reported(self, name: str) -> int:
        found = re.search(rf"^ +{name} +([\d,]+)", self._report.read_text(), re.M)
        return int(found[1].replace(",", "")) if found else 0

    def erb(self, log: Log) -> Measured:
        """ERB's own command, to the same LRS with the same batches and no pause."""
        source = {"key": str(log.folder.parent), "container": log.folder.name, "prefix": "tracking.log"}
        # tincan puts "statements" behind the URL.
        command = [sys.executable, "-m", "bench.erb_command", f"{self.sink_url}/", "--source_provider", "LOCAL"]
        command += ["--source_config", json.dumps(source), "--destination_provider", "LRS"]
        command += ["--transformer_type", "xapi", "--batch_size", str(BATCH_SIZE), "--sleep_between_batches_secs", "0"]
        with self._work_folder() as work:
            report = work / "report"
            made = measure(command, environment=self._environment(), folder=work, stdout=report)
            found = re.search(r"^Queued (\d+) log lines", report.read_text(), re.M)
            self._expect(log.events, int(found[1]) if found else 0, "ERB's command")
            return made

    def ralph(self, log: Log) -> Measured:
        """Ralph's ``convert``, from file to file."""
        with self._work_folder() as work:
            out = work / "out"
            made = measure([ralph.executables() / "ralph", *RALPH], folder=work, stdin=log.path, stdout=out)
            with out.open("rb") as lines:
                self._expect(log.events, sum(1 for _ in lines), "ralph convert")
            return made

    def statements(self, log: Log, target: Path) -> Path:
        """The file ``target`` with the statements that this job makes of ``log``, written if it is not there yet."""
        if not target.exists():
            self.job(log, to_files=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            [made] = [path for path in (self._work / "out").iterdir() if not path.name.endswith("manifest.log")]
            shutil.copyfile(made, partial := target.with_suffix(".partial"))
            partial.rename(target)
        return target

    def ralph_write(self, statements: Path, concurrency: int) -> Measured:
        """Ralph's client, with statements that are made already, in the same batches to the same LRS.

        ``concurrency``: how many requests at the same time; 1: Ralph's client that can do no more.
        """
        backend = "async-lrs" if concurrency > 1 else "lrs"
        command: list[str | Path] = [ralph.executables() / "ralph", "-v", "ERROR", "write"]
        command += ["-b", backend.replace("-", "_")]
        command += [f"--{backend}-base-url", self.sink_url.removesuffix("/xAPI"), f"--{backend}-username", "u"]
        command += [f"--{backend}-password", "p", "-s", str(BATCH_SIZE), "-o", "create"]
        command += ["-c", str(concurrency)] if concurrency > 1 else []
        with self._work_folder() as work:
            return measure(command, folder=work, stdin=statements)

    def into_ralph(self, log: Log, account: Lrs, **settings: Any) -> Measured:
        """This job, with one worker, into an empty LRS."""
        made = self.job_into(log, {"lrs_endpoints": [account.endpoint], "workers": 1, **settings})
        self.expect_all(account.count(), "Ralph")
        return made

    def expect_all(self, found: int, where: str) -> None:
        """Raises :class:`Failed` if this is not what the last run has stored."""
        stored = self.stored()
        if found != stored:
            raise Failed(f"{where} has {found} statements, and the job says that it stored {stored}")

    def _environment(self) -> dict[str, str]:
        environment = self.lms.environment()
        if self.loggers_have_handlers:
            # The statements' logger writes each statement, as ERB's does: both programs have it.
            return environment | {"DEMO_LMS_LOG": "/dev/null"}
        own = json.loads(environment.get("DEMO_LMS_SETTINGS") or "{}")
        return environment | {"DEMO_LMS_SETTINGS": json.dumps(own | {"LOGGING": NO_HANDLERS})}

    @contextlib.contextmanager
    def _work_folder(self) -> Iterator[Path]:
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True)
        yield self._work

    @staticmethod
    def _expect(events: int, found: int, who: str) -> None:
        if events != found:
            raise Failed(f"{who} made {found} events into statements, and not {events}")


@contextlib.contextmanager
def sink(secs: float = 0.0, servers: int = 1000) -> Iterator[str]:
    """Start an LRS that takes ``secs`` for a request and works on some at the same time; gives its URL."""
    command = [sys.executable, "-m", "bench.sink", "--secs", str(secs), "--servers", str(servers)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Bench]:
    """Start the database and the LRS, and set the LMS up."""
    with mariadb.start(folder / "mariadb") as server:
        lms = DemoLms(databases=server.new_database()).set_up(users=USERS, courses=COURSES)
        with sink() as url:
            # ERB sends to the LMS's routers.
            lms.add_router(f"{url}/", auth_scheme="BASIC", username="u", password="p")
            yield Bench(lms, url, folder)


@dataclass(frozen=True)
class Stores:
    """A table of ClickHouse with Aspects' views, and a Ralph, for the same statements."""

    bench: Bench
    clickhouse: clickhouse.ClickHouse
    _accounts: Iterator[ralph.Lrs]

    def into_clickhouse(self, log: Log, **settings: Any) -> Measured:
        """This job, with these settings, into an empty table. Rows are counted without ``FINAL``."""
        self.clickhouse.clear()
        made = self.bench.job_into(log, {**self.clickhouse.destination(), **settings})
        self.bench.expect_all(self.clickhouse.count(), "the table")
        self.bench.expect_all(self.clickhouse.daily_sum(), "a SummingMergeTree")
        return made

    def into_ralph(self, log: Log) -> Measured:
        """This job, with one worker, into an empty LRS."""
        return self.bench.into_ralph(log, next(self._accounts))

    def verify(self, workers: int) -> Measured:
        """``--verify`` of what :meth:`into_clickhouse` has stored."""
        return self.bench.verify(self.clickhouse.count(), workers)


@contextlib.contextmanager
def stores(bench: Bench) -> Iterator[Stores]:
    """Start ClickHouse and Ralph. On a site that nothing was added to, statements go to no other place."""
    bench = replace(bench, loggers_have_handlers=False)
    folders = [bench.folder / name for name in ("clickhouse", "ralph")]
    for folder in folders:
        folder.mkdir()
    with clickhouse.start(folders[0]) as server, ralph.start(folders[1]) as lrs:
        yield Stores(bench, server, map(lrs.account, itertools.count()))


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


Program = Callable[[], Measured]


def in_turn(programs: dict[str, Program], repeats: int) -> dict[str, list[Measured]]:
    """Measure the programs one after the other, and again, so that a slow minute of the machine hits all of them."""
    made: dict[str, list[Measured]] = {name: [] for name in programs}
    for turn in range(repeats):
        for name, program in programs.items():
            run = program()
            made[name].append(run)
            say(f"  {name}, {turn + 1} of {repeats}: {run.secs:.1f} s ({run.cpu_secs:.1f} s of CPU)")
    return made


def median(made: Sequence[Measured], value: str = "secs") -> float:
    """The median of one of the values of several runs."""
    return float(statistics.median(getattr(run, value) for run in made))


def summed_up(made: dict[str, list[Measured]], lines: int, others: Mapping[str, int] | None = None) -> dict[str, Any]:
    """The runs of each program, with medians.

    ``others``: how programs begin that got another number of lines, and how many these were.
    """

    def lines_of(name: str) -> int:
        return next((count for start, count in (others or {}).items() if name.startswith(start)), lines)

    return {
        name: {
            "median_secs": round(median(runs), 3),
            "median_cpu_secs": round(median(runs, "cpu_secs"), 3),
            "median_peak_bytes": int(median(runs, "peak_bytes")),
            "lines_per_sec": round(lines_of(name) / median(runs), 1),
            "runs": [run.to_json() for run in runs],
        }
        for name, runs in made.items()
    }


def ratio(slow: Sequence[Measured], quick: Sequence[Measured], *, without: float = 0.0) -> dict[str, float]:
    """How many times as long ``slow`` takes: of the medians, and the least and the most of single turns.

    ``without``: seconds that are subtracted from both (what a program takes to do nothing).
    """
    turns = [(a.secs - without) / max(b.secs - without, 1e-3) for a, b in zip(slow, quick, strict=True)]
    return {
        "ratio": round((median(slow) - without) / max(median(quick) - without, 1e-3), 2),
        "least": round(min(turns), 2),
        "most": round(max(turns), 2),
        "cpu_ratio": round(median(slow, "cpu_secs") / median(quick, "cpu_secs"), 2),
    }


def per_minute(made: Sequence[Measured], count: int) -> int:
    """How many of ``count`` things a program does in a minute, by the median of its runs."""
    return round(count / median(made) * 60)
