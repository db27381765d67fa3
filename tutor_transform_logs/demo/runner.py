"""Run the real job, unchanged, on the sample logs in the embedded LMS, and say where to look."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tutor_transform_logs.demo import samples

_HERE = Path(__file__).parent
_WIDTH = 79
_SHOWN_LINES = 34


def run_demo(type: str, output: Path) -> int:
    """Transform the sample logs into files below ``output``; gives the job's exit status.

    A second run with the same ``output`` is a second run of the same job: it finds nothing new to do.

    :param type: ``xapi`` or ``caliper``.
    :param output: made if need be; gets the logs, the LMS's database, the statements, the job's ledger and its report.
    """
    if say_what_is_missing("The demo"):
        return 1
    output = output.absolute()
    try:
        if not _is_its_own(output):
            print(f"{output} has files that are not the demo's: choose another folder with --output.", file=sys.stderr)
            return 1
        output.mkdir(parents=True, exist_ok=True)
        # The first of its files: it makes the folder the demo's own.
        config = _write_config(type, output)
        for folder in "logs", "statements":
            (output / folder).mkdir(exist_ok=True)
        logs = _place_logs(output / "logs")
    except OSError as error:
        print(f"{output} can't be written ({error.strerror}): choose another folder with --output.", file=sys.stderr)
        return 1
    environment = embedded_lms(output)

    _say(f"Demo: tracking logs to {'xAPI statements' if type == 'xapi' else 'Caliper events'}\n")
    _say_item("logs", f"{len(logs)} files, {sum(log.stat().st_size for log in logs):,} bytes, in", logs[0].parent)
    _say_item("", "some lines are broken on purpose, to show dead letters")
    _say_item("LMS", f"Django on SQLite, {samples.USERS} users, {samples.COURSES} courses:", output / "lms.sqlite3")
    _say_item("job", "python -m tutor_transform_logs.lms_job run --config", config)
    _say("")
    subprocess.run([sys.executable, "-m", "tutor_demo_lms"], env=environment, check=True)
    command = [sys.executable, "-m", "tutor_transform_logs.lms_job", "run", "--config", str(config)]
    status = subprocess.run(command, env=environment, check=False).returncode
    _say_where_to_look(type, output)
    return status


def _is_its_own(output: Path) -> bool:
    """Is the folder missing or empty, or has a demo written into it before?"""
    return not output.exists() or not any(output.iterdir()) or any(output.glob("job-*.json"))


def _place_logs(folder: Path) -> list[Path]:
    """The sample logs, written where they are missing; ones that a user has changed stay as they are."""
    paths = [folder / name for name in samples.FILES]
    if not all(path.exists() for path in paths):
        samples.write(folder)
    return paths


def _write_config(type_: str, output: Path) -> Path:
    config: dict[str, object] = {"transformer_type": type_}
    for role, folder in ("source", "logs"), ("destination", "statements"), ("ledger", "ledger"):
        config |= {f"{role}_provider": "LOCAL", f"{role}_key": str(output), f"{role}_container": folder}
    config["source_prefix"] = "tracking.log"
    path = output / f"job-{type_}.json"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    return path


def say_what_is_missing(what: str) -> bool:
    """Does ``what`` lack packages? Then it is said how to install them."""
    missing = [name for name in ("django", "event_routing_backends", "libcloud") if not importlib.util.find_spec(name)]
    if missing:
        print(
            f"{what} needs packages that are not installed ({', '.join(missing)}).\n"
            "Install them with: pip install 'tutor-contrib-transform-logs[demo]'",
            file=sys.stderr,
        )
    return bool(missing)


def embedded_lms(output: Path) -> dict[str, str]:
    """The environment in which a Python process is in the embedded LMS, with its database and log in ``output``."""
    path = [str(_HERE / "lms"), str(_HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, path)),
        "DJANGO_SETTINGS_MODULE": "tutor_demo_lms.settings",
        "DEMO_LMS_DB": str(output / "lms.sqlite3"),
        # As on a site, every statement is logged too; on the terminal that would hide all the rest.
        "DEMO_LMS_LOG": str(output / "lms.log"),
        "DEMO_LMS_SETTINGS": json.dumps({"CALIPER_EVENT_LOGGING_ENABLED": True}),
        # What the package index says of old Pythons does not concern the demo.
        "PYTHONWARNINGS": "ignore",
    }


def _say_where_to_look(type_: str, output: Path) -> None:
    written = (output / "statements").glob(f"*_{type_}_*.log")
    made = [path for path in _oldest_first(written) if not path.stem.endswith("_manifest")]
    if made:
        with made[-1].open(encoding="utf-8") as file:
            first = file.readline()
        if first:
            _say("\nThe first statement\n" if type_ == "xapi" else "\nThe first event, in its envelope\n")
            _say_json(first)
    _say("\nWhere to look\n")
    for path in made:
        with path.open("rb") as file:
            _say_item("statements", f"{sum(1 for _ in file):,} lines in", path)
    for path in sorted((output / "ledger").glob("**/dead-letters.jsonl"))[-1:]:
        _say_item("dead letters", "lines that gave no statement, and why:", path)
    _say_item("LMS log", "each statement again, as logged by ERB:", output / "lms.log")
    for path in _oldest_first((output / "ledger").glob("**/report.html"))[-1:]:
        page = output / "report.html"
        shutil.copyfile(path, page)
        _say_item("report", "all of this as a page for the browser:", page)


def _oldest_first(paths: Iterable[Path]) -> list[Path]:
    return sorted(paths, key=lambda path: path.stat().st_mtime)


def _say_json(text: str) -> None:
    lines = json.dumps(json.loads(text), indent=2, ensure_ascii=False).splitlines()
    for line in lines[:_SHOWN_LINES]:
        _say("  " + (line if len(line) <= _WIDTH - 2 else line[: _WIDTH - 5] + "..."))
    if len(lines) > _SHOWN_LINES:
        _say(f"  ... ({len(lines) - _SHOWN_LINES} more lines)")


def _say_item(label: str, text: str, path: Path | None = None) -> None:
    """One item of a list; the path goes to a line of its own where the line would be too long."""
    shown = _short(path) if path else ""
    line = f"  {label:<14}{text} {shown}".rstrip()
    _say(line if len(line) <= _WIDTH else f"  {label:<14}{text}\n{'':<4}{shown}")


def _short(path: Path) -> str:
    """The path as seen from here, if it lies below."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _say(text: str) -> None:
    # Flushed, so that it stays in order with what the job prints.
    print(text, flush=True)
