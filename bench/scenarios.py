"""What is measured: each program on each input, in turn, several times."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.inputs import COURSES, USERS, Log
from bench.measure import Failed, Measured, measure
from tests.harness import mariadb, ralph
from tests.harness.demo_lms import REPOSITORY, DemoLms
from tests.harness.job import local

BATCH_SIZE = 1000
RALPH = ["-v", "ERROR", "convert", "-f", "edx", "-t", "xapi", "-p", "http://localhost:18000", "-I"]
RALPH += ["-u", "ee241f8b-174f-5bdb-bae9-c09de5fe017f"]


@dataclass(frozen=True)
class Bench:
    """The servers, and a folder for what the programs write."""

    lms: DemoLms
    sink_url: str
    folder: Path

    def job(self, log: Log, *, to_files: bool = False, **settings: Any) -> Measured:
        """This job, from nothing to the last statement delivered and accounted for."""
        with self._work_folder() as work:
            config = {
                **local("source", log.folder, prefix="tracking.log"),
                **local("ledger", work / "ledger"),
                "batch_size": BATCH_SIZE,
                **settings,
            }
            if to_files:
                (work / "out").mkdir()
                config.update(local("destination", work / "out"))
            else:
                config["lrs_endpoints"] = [{"url": self.sink_url, "username": "u", "password": "p"}]
            file = work / "config.json"
            file.write_text(json.dumps(config))
            command = [sys.executable, "-m", "tutor_transform_logs.lms_job", "run", "--config", str(file)]
            report = work / "report"
            made = measure(command, environment=self._environment(), folder=work, stdout=report)
            found = re.search(r"^ +transformed +([\d,]+)", report.read_text(), re.M)
            self._expect(log.events, int(found[1].replace(",", "")) if found else 0, "this job")
            return made

    def erb(self, log: Log) -> Measured:
        """ERB's own command, to the same LRS with the same batches and no pause."""
        source = {"key": str(log.folder.parent), "container": log.folder.name, "prefix": "tracking.log"}
        command = [sys.executable, "-m", "bench.erb_command", "--source_provider", "LOCAL"]
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

    def _environment(self) -> dict[str, str]:
        # The statements' logger writes each statement, as on a site: both programs have it.
        return {**self.lms.environment(), "DEMO_LMS_LOG": "/dev/null"}

    @contextlib.contextmanager
    def _work_folder(self) -> Iterator[Path]:
        folder = self.folder / "work"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        yield folder

    @staticmethod
    def _expect(events: int, found: int, who: str) -> None:
        if events != found:
            raise Failed(f"{who} made {found} events into statements, and not {events}")


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[Bench]:
    """Start the database and the LRS, and set the LMS up."""
    with mariadb.start(folder / "mariadb") as server:
        lms = DemoLms(databases=server.new_database()).set_up(users=USERS, courses=COURSES)
        with subprocess.Popen(
            [sys.executable, "-m", "bench.sink"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        ) as sink:
            assert sink.stdout is not None
            url = sink.stdout.readline().strip()
            # ERB sends to the LMS's routers; tincan puts "statements" behind the URL.
            lms.add_router(f"{url}/", auth_scheme="BASIC", username="u", password="p")
            try:
                yield Bench(lms, url, folder)
            finally:
                sink.terminate()


Program = Callable[[], Measured]


def in_turn(programs: dict[str, Program], repeats: int, say: Callable[[str], None]) -> dict[str, list[Measured]]:
    """Measure the programs one after the other, and again, so that a slow minute of the machine hits all of them."""
    made: dict[str, list[Measured]] = {name: [] for name in programs}
    for turn in range(repeats):
        for name, program in programs.items():
            one = program()
            made[name].append(one)
            say(f"  {name}, {turn + 1} of {repeats}: {one.secs:.1f} s ({one.cpu_secs:.1f} s of CPU)")
    return made


def median(made: Sequence[Measured], value: str = "secs") -> float:
    """The median of one of the values of several runs."""
    return float(statistics.median(getattr(one, value) for one in made))


def summed_up(made: dict[str, list[Measured]], lines: int) -> dict[str, Any]:
    """The runs of each program, with medians."""
    return {
        name: {
            "median_secs": round(median(runs), 3),
            "median_cpu_secs": round(median(runs, "cpu_secs"), 3),
            "median_peak_bytes": int(median(runs, "peak_bytes")),
            "lines_per_sec": round(lines / median(runs), 1),
            "runs": [one.to_json() for one in runs],
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
