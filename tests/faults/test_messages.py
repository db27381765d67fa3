"""Every message that ends a run, as the code makes it, is triggered here or by a test that is named here.

The texts are those of the code. ``docs/troubleshooting.rst`` explains each (tests/docs/test_pages.py compares), and the
triggers below are keyed by a part of it that no other message has.
"""

from __future__ import annotations

import ast
import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings

from tests.harness import clickhouse_messages
from tests.harness.clickhouse import Fault
from tests.harness.demo_lms import REPOSITORY, DemoLms
from tests.harness.echo_server import http_answer, start_echo_server
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, ScriptedLrs
from tests.harness.object_store import Bucket
from tests.harness.process import free_port
from tutor_transform_logs.demo.log_writer import Mix, write_log
from tutor_transform_logs.lms_job.check.table import check_table
from tutor_transform_logs.lms_job.config import schema as job_config
from tutor_transform_logs.lms_job.config.validators import ConfigError
from tutor_transform_logs.lms_job.deliver.clickhouse import ClickHouse, Table
from tutor_transform_logs.lms_job.deliver.clickhouse_days import DayLocks
from tutor_transform_logs.lms_job.model.plan import Segment
from tutor_transform_logs.lms_job.storage.base import write_all
from tutor_transform_logs.lms_job.storage.cloud import CloudStorage
from tutor_transform_logs.lms_job.storage.local import LocalStorage, raise_unwritable
from tutor_transform_logs.lms_job.transform import transformer
from tutor_transform_logs.lms_job.util.errors import JobError
from tutor_transform_logs.lms_job.util.temporary import unusable
from tutor_transform_logs.lms_job.verify.workers import run_shares
from tutor_transform_logs.lms_job.work.allowance import Allowance
from tutor_transform_logs.lms_job.work.pool import Pool, next_assignment
from tutor_transform_logs.lms_job.work.processes import Channel
from tutor_transform_logs.lms_job.work.progress import Progress

PACKAGE = REPOSITORY / "tutor_transform_logs"
ALLOWED = "; allowed: "


# What the code says


def kinds_of(*names: str) -> set[str]:
    """The names of these classes, and of all in the code that are made of them."""
    found = set(names)
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    for _ in range(3):
        found |= {
            node.name for node in classes if found & {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        }
    return found


def sites(*bases: str) -> Iterator[tuple[str, str]]:
    """The messages of all errors of these kinds that the code makes, with ``...`` for what is put in, and where."""
    names = kinds_of(*bases) - {"JobEnded"}  # behind a job that has said itself what is wrong
    if bases == ("JobError",):
        names.add("TransientError")
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "backoff.py":
            continue  # makes an Unavailable of a TransientError, with a text that is completed below
        if path.name == "clickhouse.py" and bases == ("JobError",):
            yield from ((text, "lms_job/deliver/clickhouse_answers.py") for text in clickhouse_messages.MESSAGES)
            continue
        if path.name == "check.py":
            continue  # what it finds is told and ends nothing: tests/job/test_check.py
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if path.name == "tracking_table.py" and "{advice}" in ast.unparse(call):
                continue  # the same as of clickhouse.py: tests/job/test_tracking_table.py
            if isinstance(call, ast.Call) and ast.unparse(call.func).rpartition(".")[2] in names and call.args:
                where = f"{path.relative_to(PACKAGE)}:{call.lineno}"
                if bases == ("ConfigError",):
                    assert len(call.args) == 3, f"{where}: what is allowed is missing"
                    yield f"{template(call.args[1])}{ALLOWED}{template(call.args[2])}", where
                else:
                    again = ". Run again to resume." if ast.unparse(call.func) == "TransientError" else ""
                    yield f"{template(call.args[0])}{again}", where


def template(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values)
    return "..."


# A bug's is printed, not raised.
BUG = "The job failed: ...: .... Please report this."
JOB = sorted({*dict(sites("JobError")), BUG})
HOST = sorted(dict(sites("TutorError", "ClickException", "UsageError", "BadParameter")))
# How a message says what to do next.
NEXT_STEP = re.compile(
    r"\b(create|cp|run|fix|set|check|choose|use|see|wait|add|give|remove|restore|finish|change|make|put|look|open|please|leave|count"
    r"|start over|allowed|must|is for the whole name)\b",
    re.IGNORECASE,
)

# What is said of a value in the job's config, behind "Config: KEY: ", and a config that shows it.
# A text instead: only the job itself can tell, and the test of this name shows it.
TO_CLICKHOUSE: dict[str, object] = {"destination_provider": "CLICKHOUSE"}
CONFIG: tuple[tuple[str, dict[str, object] | list[object] | str], ...] = (
    ("there is no such key; allowed: names of settings in lower case, without TRANSFORM_LOGS_", {"sauce_prefix": "x"}),
    ("the file's JSON is not an object; allowed: one JSON object", []),
    ("the file is not JSON (...); allowed: one JSON object", "test_a_file_that_is_not_a_config_is_said"),
    ("... can't be read (...); allowed: a JSON file", "test_a_file_that_is_not_a_config_is_said"),
    (
        "... does not name a share; allowed: I/N, share I of N counted from 0, such as 0/2 and 1/2 for two processes",
        "test_a_share_that_is_none_is_said",
    ),
    ("the value is not text; allowed: text", {"source_host": ["minio"]}),
    (
        "the value has a line end or a character that HTTP headers can't have; allowed: printable ASCII characters",
        {"source_token": "x\n"},
    ),
    (
        "the value has a NUL or half a surrogate pair in it; allowed: text",
        {"source_container": "logs\0"},
    ),
    ("...; allowed: a time such as 6h, 90m or 1h30m, or a number of seconds", {"max_duration": "soon"}),
    (
        "the value has a line break or another control character; allowed: printable text",
        {"source_key": "AKIA\n"},
    ),
    (
        "the user name has a colon, which HTTP Basic can't send; allowed: a user name without a colon",
        {"clickhouse_username": "a:b"},
    ),
    ("... is neither true nor false; allowed: true or false", {"strict": "perhaps"}),
    (
        "the value is a URL that can't be used; allowed: a command, or a URL that begins with http:// or https://",
        {"notify": "ftp://hooks.example.org/x"},
    ),
    (
        "... can't be used; allowed: an absolute path in the job's container that ends in .prom",
        {"metrics_file": "replay.txt"},
    ),
    ("... can't be used; allowed: a number, 0 or more", {"sleep_between_batches_secs": -1}),
    ("... can't be used; allowed: ...", {"batch_size": 0}),
    ("... can't be used; allowed: a number from 0 to 1", {"max_invalid_ratio": 2}),
    ("... can't be used; allowed: a whole number, or a percentage such as 5%", {"max_dead_letters": "some"}),
    ('...; allowed: ..., or "..."', {"workers": "all"}),
    ("... is not known; allowed: ...", {"transformer_type": "scorm"}),
    ("the value is not an object; allowed: a JSON object", {"source_options": 1}),
    ("the text can't be read as JSON (...); allowed: ...", {"source_options": "{"}),
    ("the value is not a list; allowed: a list of URLs", {"lrs_urls": 1}),
    ("the value is not a list; allowed: ...", {"event": 1}),
    ("... is not a pattern; allowed: ...", {"event": [1]}),
    ("a pattern has ... characters; allowed: patterns of up to ... characters", {"event": ["[" * 100_000]}),
    ("... is not a date or time; allowed: ...", {"since": "soon"}),
    ("...; allowed: a time after since; a date counts whole", {"since": "2026-02-01", "until": "2026-01-01"}),
    ("... is not a URL; allowed: ...", {"lrs_urls": [1]}),
    ("...; allowed: ...", {"lrs_urls": ["ftp://lrs"]}),
    (
        "the URL holds a user name or password; allowed: ..., credentials in their own fields",
        {"lrs_urls": ["http://u:p@lrs"]},
    ),
    ('entry ... has no "url"; allowed: ...', {"lrs_endpoints": [{}]}),
    ("entry ... has the unknown field ...; allowed: ...", {"lrs_endpoints": [{"url": "http://l", "pw": "x"}]}),
    (
        "entry ... has both a bearer token and a user name or password; allowed: ...",
        {"lrs_endpoints": [{"url": "http://l", "bearer": "x", "username": "y"}]},
    ),
    (
        "the entries ... and ... have the same URL and ..., so that they count as one LRS; other passwords and bearer "
        "tokens make no difference; allowed: each LRS once, or a user name of its own for each entry",
        {"lrs_endpoints": [{"url": "http://l"}, {"url": "http://l/", "bearer": "x"}]},
    ),
    ("0 would wait for ever; allowed: a number above 0", {"lrs_timeout_secs": 0}),
    ('"..." ...; allowed: LOCAL, S3, MINIO, ...', {"source_provider": "LRS"}),
    (
        "the value is not a host; allowed: a host's name or address, without http://, a user name and a path",
        {"source_host": "u:p@h"},
    ),
    ("the list is empty; allowed: text, or a list of one text or more", {"source_prefix": []}),
    (
        "... are several tables; allowed: one table; dates of it behind a /",
        {
            "source_provider": "CLICKHOUSE",
            "source_host": "c",
            "source_container": "openedx",
            "source_prefix": ["a", "b"],
        },
    ),
    (
        "the URL has a query or a fragment; allowed: a URL that ends with the port or a path",
        {"clickhouse_url": "http://c:8123/?user=u"},
    ),
    ("not set, but clickhouse_... is; allowed: ...", TO_CLICKHOUSE | {"clickhouse_database": "openedx"}),
    (
        "not set; allowed: the name of the database that the table is in",
        TO_CLICKHOUSE | {"clickhouse_url": "http://c:8123"},
    ),
    (
        "ClickHouse has a table for xAPI statements only; allowed: ...",
        TO_CLICKHOUSE | {"transformer_type": "caliper"},
    ),
    ('... leads out of the container; allowed: no ".." in it', {"source_prefix": "../x"}),
    ("not set, and ... needs one; allowed: ...", {"source_provider": "S3"}),
    ("the value is not an absolute path, as ... needs it; allowed: ...", {"source_key": "logs"}),
    ("... is not one directory's name; allowed: ...", {"source_container": "a/b"}),
    (
        "...; allowed: another container or prefix than the source's",
        {"destination_provider": "LOCAL", "destination_container": "logs", "destination_prefix": "tracking.log.d"},
    ),
    ("the LMS settings have no database ...; allowed: one of DATABASES: ...", "test_a_database_that_the_lms_has_not"),
)

# Where the messages of HOST, and of CONFIG without a config, are triggered.
ELSEWHERE = (
    "tests/faults/test_messages.py::test_a_file_that_is_not_a_config_is_said",
    "tests/faults/test_messages.py::test_a_share_that_is_none_is_said",
    "tests/faults/test_messages.py::test_a_database_that_the_lms_has_not",
    "tests/host/test_command.py::test_a_mistake_is_one_line_and_nothing_is_written",
    "tests/host/test_command.py::test_options_of_which_one_would_be_ignored_are_refused",
    "tests/host/test_command.py::test_a_mistake_in_config_yml_is_one_line",
    "tests/host/test_command.py::test_an_environment_of_another_version_is_noticed",
    "tests/host/test_command.py::test_a_config_folder_that_docker_made_is_explained",
    "tests/host/test_command.py::test_the_demo_says_what_to_install",
    "tests/unit/test_host_job_config.py::test_erbs_config_that_is_not_an_object_is_refused_without_showing_it",
    "tests/host/test_report.py::test_without_a_report_it_says_how_to_get_one",
    "tests/host/test_report.py::test_a_ledger_that_is_not_here_is_told",
    "tests/unit/test_host_aspects.py::test_tls_with_the_clickhouse_of_aspects_is_refused",
    "tests/unit/test_host_cluster_config.py::test_local_without_a_claim_is_refused",
    "tests/unit/test_host_cluster_config.py::test_what_goes_into_the_manifests_is_checked",
)


def test_every_message_about_a_value_is_listed() -> None:
    said = dict(sites("ConfigError"))
    assert said.keys() == {text for text, _ in CONFIG}, said


@pytest.mark.parametrize("text", [*JOB, *HOST], ids=lambda text: text[:60])
def test_it_says_what_to_do_in_one_line(text: str) -> None:
    assert NEXT_STEP.search(text) or text.endswith("...")
    # Two lines where the second is a command to copy.
    assert "\n" not in text or text.partition("\n")[2].startswith("Run: ")


# What triggers it


@dataclass
class Stage:
    """Where a message is triggered."""

    world: ForkedSite
    lrs: ScriptedLrs
    bucket: Bucket
    request: pytest.FixtureRequest

    def log(self, **more: int) -> Stage:
        write_log(self.world.logs / "tracking.log", Mix(**{"good": 30, **more}), names=["play_video"], seed=6)
        return self

    def to_lrs(self, *script: Answer, url: str = "") -> Stage:
        self.log()
        self.lrs.script = list(script)
        self.world.to_lrs({"url": url or self.lrs.url, "username": "u", "password": "p"})
        return self

    def run(self, command: str = "run", **more: Any) -> str:
        """What the job says; it must not end well."""
        ran = self.world.run(command=command, **{"lrs_max_wait_secs": 0.5, **more})
        assert ran.status in (1, 4), ran.detail
        assert "Traceback" not in ran.detail or "steps" in more
        return ran.detail

    def stopped(self) -> Stage:
        """Leave a plan unfinished."""
        self.log(unknown_user=1)
        assert self.world.run(steps={"label": "entry write: after", "number": 3}).status == -9
        return self

    def path(self, name: str) -> Path:
        [found] = (self.world.folder / "ledger").glob(f"*/{name}")
        return found

    def python(self, *flags: str, **environ: str) -> str:
        """What the job says as a process in another environment; it must end with 1."""
        config = self.world.folder / "config.json"
        config.write_text(json.dumps(self.world.settings))
        command = [sys.executable, *flags, "-m", "tutor_transform_logs.lms_job", "run", "--config", str(config)]
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY), **environ}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, cwd=self.world.folder)
        assert done.returncode == 1, done.stderr
        return str(done.stderr)

    def in_lms(self, lms: DemoLms, **more: Any) -> str:
        """What the job says in an LMS of its own."""
        self.log()
        return self.run(lms=lms, **more)


def text_of(action: Callable[[], object]) -> str:
    with pytest.raises(JobError) as raised:
        action()
    return str(raised.value)


def no_space(stage: Stage) -> str:
    def chunks() -> Iterator[bytes]:
        yield b"1"
        with open("/dev/full", "wb", buffering=0) as full:
            full.write(b"1")

    return text_of(lambda: LocalStorage(str(stage.world.folder / "out")).write("x", chunks))


def too_long(stage: Stage) -> str:
    return text_of(lambda: write_all(LocalStorage(str(stage.world.folder)), "x" * 300, b"1"))


def no_file(stage: Stage) -> str:
    stage.stopped()
    stage.path("plan.json").unlink()
    stage.path("lock").with_name("plan.json").mkdir()
    return stage.run()


def of_another_user(stage: Stage) -> str:
    stage.stopped()
    stage.path("plan.json").chmod(0)
    return stage.run(unprivileged=True)


def linked_lock(stage: Stage) -> str:
    stage.stopped()
    lock = stage.path("lock")
    lock.rename(lock.with_name("elsewhere"))
    lock.symlink_to("elsewhere")
    return stage.run()


def through_a_link(stage: Stage) -> str:
    stage.log()
    (stage.world.folder / "out" / "away").symlink_to("/tmp")
    return stage.run(destination_prefix="away")


def no_plan_but_a_pipe(stage: Stage) -> str:
    stage.stopped()
    plan = stage.path("plan.json")
    plan.unlink()
    os.mkfifo(plan)
    return stage.run()


def read_only(_: Stage) -> str:
    """A real one: tests/faults/test_read_only.py."""
    return text_of(lambda: raise_unwritable(Path("/x"), OSError(errno.EROFS, os.strerror(errno.EROFS))))


def listed(stage: Stage, page: bytes) -> str:
    """A store that answers with this page; nanio's own that do not end: tests/faults/test_endless_listing.py."""
    with start_echo_server(http_answer("200 OK", page)) as port:
        return stage.run(**{**stage.bucket.settings("source"), "source_port": port})


def second_run(stage: Stage) -> str:
    stage.to_lrs()
    first = stage.world.start(sleep_between_batches_secs=30)
    while not stage.lrs.requests:
        assert not first.ended(0.02)
    said = stage.run()
    first.kill()
    return said


def damaged(stage: Stage, name: str, content: bytes, **more: Any) -> str:
    stage.stopped()
    stage.path(name).write_bytes(content)
    return stage.run(**more)


def without_plan(stage: Stage) -> str:
    stage.stopped()
    stage.path("plan.json").unlink()
    return stage.run()


def with_an_older_plan(stage: Stage) -> str:
    stage.log()
    assert stage.world.run().status == 0
    job = stage.path("plan.json").parent
    (job / "0001").rename(job / "0002")
    return stage.run()


def with_an_entry_of_another_plan(stage: Stage) -> str:
    stage.stopped()
    path = stage.path("0001/000001.files.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"plan": "another"}))
    return stage.run()


def without_lock(stage: Stage) -> str:
    stage.to_lrs()
    run = stage.world.start(sleep_between_batches_secs=1)
    while not stage.lrs.requests:
        assert not run.ended(0.02)
    stage.path("lock").unlink()
    return run.wait().detail


def lost_part(stage: Stage) -> str:
    stage.log()
    assert stage.world.run(steps={"label": "joining write: before", "number": 1}).status == -9
    next((stage.world.folder / "out").rglob("*-000002.log")).unlink()
    return stage.run()


def bad_letters(stage: Stage, command: str, line: bytes, **more: Any) -> str:
    stage.log(unknown_user=2)
    assert stage.world.run().status == 0
    with stage.path("0001/dead-letters.jsonl").open("ab") as letters:
        letters.write(line)
    return stage.run(command, **more)


def without_record(stage: Stage) -> str:
    stage.log(good=3)
    assert stage.world.run().status == 0
    for name in ("joining.json", "result.json"):
        stage.path(f"0001/{name}").unlink()
    return stage.run("verify")


def in_workers(body: Callable[[Channel], None]) -> str:
    pool = Pool(1, body, Progress(1).emit)
    pool.run([Segment(1, 1, "tracking.log", 0, 1, 1)], 1)
    return str(pool.aborted)


def killed(channel: Channel) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed_at_work(channel: Channel) -> None:
    next_assignment(channel)
    killed(channel)


def mistaken(channel: Channel) -> None:
    next_assignment(channel)
    raise RuntimeError("a bug")


def silent_store(stage: Stage) -> str:
    stage.lrs.script = [Answer(no_answer=True)] * 9
    return stage.run(**{**stage.bucket.settings("source"), "source_port": urlsplit(stage.lrs.url).port})


def broken_store(stage: Stage) -> str:
    stage.lrs.script = [Answer(500)] * 9
    return stage.run(**{**stage.bucket.settings("source"), "source_port": urlsplit(stage.lrs.url).port})


def without_threads(stage: Stage) -> str:
    stage.log().world.in_bucket(stage.bucket, "ledger")
    return stage.run(steps={"no_threads": True})


def router(stage: Stage, **fields: Any) -> str:
    lms: DemoLms = stage.request.getfixturevalue("demo_lms")
    if fields:
        lms.add_router("http://lrs.example.org/xAPI", **fields)
    urls = ["http://other.example.org/"] if fields == {"auth_scheme": "Basic"} else []
    stage.world.settings |= {"destination_provider": "LRS", "lrs_urls": urls}
    for name in [name for name in stage.world.settings if re.match("destination_(?!provider)", name)]:
        del stage.world.settings[name]
    return stage.in_lms(lms)


def of_transformer(setting: str, value: object) -> str:
    """In this process, whose LMS is loaded already: with other settings, a real one may not come so far."""
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(settings, setting, value, raising=False)
        return text_of(lambda: transformer.Transformer("xapi", True, 1.0))


def no_router(stage: Stage) -> str:
    """A stand-in for another event-routing-backends: its own settings name no router."""
    patch = pytest.MonkeyPatch()
    with patch.context() as patched:
        patched.setattr(transformer, "_recommended_backends", dict)
        return of_transformer("EVENT_TRACKING_BACKENDS", {})


def answered(stage: Stage, answer: Answer) -> str:
    """An LRS that took everything, and then answers so to who asks for it."""
    stage.to_lrs()
    assert stage.world.run().status == 0
    stage.lrs.script = [answer] * 9
    return stage.run("verify")


def checked(stage: Stage, answer: Answer) -> str:
    """What a rehearsal finds, with its lines unwrapped."""
    stage.to_lrs(answer)
    return re.sub(r"\n {9}(?=\S)", " ", stage.run("check"))


def stopped_at_once(stage: Stage) -> str:
    stage.log()
    assert stage.world.run(steps={"label": "batch: before", "number": 1}).status == -9
    return stage.run("verify")


def with_another_lrs(stage: Stage) -> str:
    assert stage.to_lrs().world.run().status == 0
    [endpoint] = stage.world.settings["lrs_endpoints"]
    stage.world.to_lrs(endpoint, {**endpoint, "username": "another"})
    return stage.run("verify")


def with_password_in_url(stage: Stage) -> str:
    lms: DemoLms = stage.request.getfixturevalue("demo_lms")
    backend = {"url": "http://ch_cms:secret@clickhouse:8123", "xapi_database": "openedx"}
    said = stage.in_lms(
        lms.with_settings(EVENT_SINK_CLICKHOUSE_BACKEND_CONFIG=backend), destination_provider="CLICKHOUSE"
    )
    assert "secret" not in said
    return said


def table_with(stage: Stage, engine: str, columns: str = "") -> str:
    definition = f"engine\tsorting_key\n{engine}\temission_time\n"
    stage.lrs.script = [Answer(200, definition.encode()), Answer(200, f"name\ttype\n{columns}\n".encode())]
    table = ClickHouse(Table(stage.lrs.url, "openedx", "xapi_events_all"), 5.0, 0.0, 2**20)
    return text_of(lambda: check_table(table))


def clickhouse_answers(stage: Stage, fault: Fault) -> str:
    """What is said if ClickHouse answers so; tests/job/test_clickhouse.py has whole runs."""
    answer = Answer(fault.status, fault.text, fault.headers, no_answer=fault.kind == "no_answer")
    stage.lrs.script = [answer] * 2
    return text_of(ClickHouse(Table(stage.lrs.url, "openedx", "xapi_events_all"), 5.0, 0.0, 2**20).probe)


def no_folder_for_turns(_: Stage) -> str:
    return text_of(lambda: DayLocks("no/such-folder").locked({1}).__enter__())


def full_folder(_: Stage) -> str:
    """A real one: tests/faults/test_full_tmp.py."""
    return str(unusable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))))


NO_AWS = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_CONFIG_FILE": os.devnull,
}
BACKEND = {"event_transformer": {"ENGINE": "no.such.Engine", "OPTIONS": {}}}

# The beginning of the message (or some other part of it) -> what to do to see it
NO_DATABASE = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "/nowhere/x"}}
STEP = {"label": "plan rename: before", "number": 1}
BUCKET = job_config.StorageConfig("MINIO", "bucket", "", "key", "secret", "127.0.0.1", None, None, "", "", {})

LISTING = b'<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>%s</IsTruncated></ListBucketResult>'

TRIGGERS: dict[str, Callable[[Stage], str]] = {
    "DJANGO_SETTINGS_MODULE": lambda s: s.python(),
    "The LMS image lacks": lambda s: s.python("-S", DJANGO_SETTINGS_MODULE="x"),
    "The LMS can't be loaded": lambda s: s.python(DJANGO_SETTINGS_MODULE="no.such.settings"),
    "This job is already running": second_run,
    "The job failed": lambda s: s.log().run(steps={**STEP, "bug": True}),
    "No object found": lambda s: s.run(),
    "files: ": lambda s: s.log().run(files=["nothing*"]),
    "The directory": lambda s: s.run(source_container="nowhere"),
    "Reading ": lambda s: text_of(lambda: list(LocalStorage("/proc/self").read("mem"))),
    "The container": lambda s: s.run(**{**s.bucket.settings("source"), "source_container": "none-such"}),
    "... refuses the credentials: ": lambda s: s.run(**{**s.bucket.settings("source"), "source_secret": "wrong"}),
    "Provider S3 has no key": lambda s: s.run(
        environment=NO_AWS, **{**s.bucket.settings("source", provider="S3"), "source_key": "", "source_secret": ""}
    ),
    "this image's libcloud": lambda s: s.run(**{**s.bucket.settings("source"), "source_provider": "NO_SUCH"}),
    "The key of GOOGLE_STORAGE": lambda s: s.run(
        source_provider="GOOGLE_STORAGE", source_key="k", source_secret="s", source_container="c", source_prefix=""
    ),
    "driver can't be made": lambda s: s.run(**s.bucket.settings("source"), source_options={"no_such": 1}),
    "The listing of": partial(listed, page=LISTING % b"true"),
    "libcloud can't read": partial(listed, page=b"<html/>"),
    "check the host and the port, and": lambda s: s.run(**{**s.bucket.settings("source"), "source_port": free_port()}),
    "Can't ": silent_store,
    "... answers ...: can't": broken_store,
    "The system starts no": without_threads,
    "No space left": no_space,
    "can't be written by": lambda s: text_of(lambda: write_all(LocalStorage("/sys"), "x", b"1")),
    "can't be written: its name": lambda s: text_of(lambda: write_all(CloudStorage(BUCKET, 1.0), "a/./b", b"1")),
    "can't be opened": of_another_user,
    "... can't be used (...): a file": no_file,
    "Writing ": too_long,
    "leads out of": through_a_link,
    "The ledger ... is damaged": lambda s: damaged(s, "plan.json", b"{"),
    "The ledger ... has the format": lambda s: damaged(s, "plan.json", b'{"version": 99}'),
    "is missing, but the ledger has files of plan": without_plan,
    "is of plan ..., but": with_an_older_plan,
    "is of another plan": with_an_entry_of_another_plan,
    "no longer holds the lock": without_lock,
    "is a symbolic link": linked_lock,
    "is not a file": no_plan_but_a_pipe,
    "read-only file system": read_only,
    "There is no plan": lambda s: s.run("work"),
    "is missing: start over": lost_part,
    "may hold what plan": without_record,
    "The dead-letters file": lambda s: bad_letters(s, "run", b"{\n", retry_failed=True),
    "nothing to retry": lambda s: s.run(retry_failed=True),
    "without --retry-failed": lambda s: s.stopped().run(retry_failed=True),
    "There is no enabled router": router,
    "TRANSFORM_LOGS_CLICKHOUSE_URL is not set": lambda s: s.run(destination_provider="CLICKHOUSE"),
    "EVENT_SINK_CLICKHOUSE_BACKEND_CONFIG in": with_password_in_url,
    "and statements need": lambda s: table_with(s, "MergeTree", "emission_time\tDateTime"),
    "does not keep each row": lambda s: table_with(s, "Null"),
    "which lacks event_id": lambda s: table_with(s, "ReplacingMergeTree"),
    "Set TMPDIR to a folder that can be written": no_folder_for_turns,
    "is full. Make room in it": full_folder,
    **{text: partial(clickhouse_answers, fault=fault) for text, fault in clickhouse_messages.MESSAGES.items()},
    "lrs_urls: ": lambda s: router(s, auth_scheme="Basic"),
    "The ... of the router ... are not": lambda s: router(s, configurations=[1]),
    "The URL of the router": lambda s: router(s, route_url="http://[::1"),
    "has a regular expression of": lambda s: router(s, configurations={"match_params": {"name": "[" * 100_000}}),
    "not a valid regular expression": lambda s: router(s, configurations={"match_params": {"name": "("}}),
    "... refuses the credentials (": lambda s: s.to_lrs(Answer(401)).run(),
    "a redirect to no URL": lambda s: s.to_lrs(Answer(302)).run(),
    "... redirects to": lambda s: s.to_lrs(Answer(301, headers={"Location": "https://a.example.org/"})).run(),
    "list of the ids": lambda s: s.to_lrs(Answer(200, "<html>")).run(),
    "... answers with ...: this is": lambda s: s.to_lrs(Answer(200, b"[" * 5_000_000)).run(),
    "... can't be used (...): check": lambda s: s.to_lrs(url="http://.example.org/xAPI").run(),
    "speaks no TLS": lambda s: s.to_lrs(url=s.lrs.url.replace("http:", "https:")).run(),
    "TLS certificate": lambda s: s.to_lrs(url=s.request.getfixturevalue("stranger")).run(),
    "After a 409": lambda s: s.to_lrs(Answer(409), *[Answer(503)] * 9).run(batch_size=1),
    "... answers .... Run again": lambda s: s.to_lrs(*[Answer(503)] * 9).run(),
    "and never was: check its URL": lambda s: s.to_lrs(url=f"http://127.0.0.1:{free_port()}/xAPI").run(),
    "... does not answer": lambda s: s.to_lrs(*[Answer(no_answer=True)] * 9).run(),
    "The LMS's database": lambda s: s.in_lms(DemoLms(databases=NO_DATABASE)),
    "offers no router": no_router,
    "EVENT_TRACKING_BACKENDS": lambda s: of_transformer("EVENT_TRACKING_BACKENDS", BACKEND),
    "more than max_dead_letters allows": lambda s: s.log(broken=20).run(max_dead_letters=5),
    "The limit is reached": lambda s: text_of(lambda: Allowance(-1, 0).take(1)),
    "The time is up": lambda s: text_of(lambda: Allowance(0, 1e-9).take(1)),
    "Interrupted": lambda s: s.log().run(steps={**STEP, "signal": "SIGTERM"}),
    "A worker .... Run again": lambda s: in_workers(killed),
    "for the second time": lambda s: in_workers(killed_at_work),
    "A worker of the verification": lambda s: text_of(lambda: run_shares([killed] * 2, Progress(1).emit, None)),
    "A worker failed": lambda s: in_workers(mistaken),
    "nothing to verify. Leave": lambda s: s.run("verify", dry_run=True),
    "so nothing can be missing": lambda s: s.run("gaps", dry_run=True),
    "--gaps counts the rows": lambda s: s.run("gaps"),
    "--gaps counts all statements": lambda s: s.run("gaps", **TO_CLICKHOUSE, course=["c"]),
    "Caliper has no way to read": lambda s: s.to_lrs().run("verify", transformer_type="caliper"),
    "without stable ids": lambda s: s.run("verify", transformer_type="caliper", caliper_stable_ids=False),
    "then verify it": lambda s: s.run("verify"),
    "Nothing has been delivered by": stopped_at_once,
    "Nothing has been delivered there": with_another_lrs,
    "without --repair": lambda s: s.stopped().run("verify", repair=True),
    "the right to read": lambda s: answered(s, Answer(403)),
    "not with statements": lambda s: answered(s, Answer(200, "<html>")),
    "without statements": lambda s: checked(s, Answer(200, {})),
    "... answers ...: check": lambda s: s.to_lrs(Answer(404)).run() + checked(s, Answer(400)),
    "... is damaged at byte": lambda s: bad_letters(s, "verify", b"null\n"),
}


def of(part: str) -> str:
    """The message itself, or else the one message that begins so, or that has it."""
    if part in JOB:
        return part
    begins = [text for text in JOB if text.startswith(part)]
    [found] = begins or [text for text in JOB if part in text]
    return found


def test_each_message_has_one_trigger() -> None:
    assert Counter(of(part) for part in TRIGGERS) == Counter(JOB)


def shown_line(text: str, said: str) -> str:
    """The line of ``said`` that is this message."""
    first = text.partition("\n")[0]
    pattern = re.sub(r"(\\\.){3}", ".*", re.escape(first))
    # Where there is a table, its last line says that, once.
    pattern = re.sub(r"(\\ Run\\ again\\ to\\ resume\\\.)$", r"(\1)?", pattern)
    found = [line for line in said.splitlines() if re.search(f"{pattern}$", line.strip())]
    assert found, f"not said: {text}\nbut: {said}"
    return found[0]


@pytest.mark.parametrize("part", TRIGGERS)
def test_it_is_said_when_it_should_be(
    world: ForkedSite, scripted_lrs: ScriptedLrs, nanio_bucket: Bucket, request: pytest.FixtureRequest, part: str
) -> None:
    said = TRIGGERS[part](Stage(world, scripted_lrs, nanio_bucket, request))
    line = shown_line(of(part), said)
    following = said.partition(line)[2]
    near = following if of(part).endswith(clickhouse_messages.AGAIN) else following[:200]
    assert NEXT_STEP.search(line + near)
    # The second line, where there is one, is the command to copy.
    assert of(part).partition("\n")[2] in following


@pytest.mark.parametrize(("text", "raw"), CONFIG, ids=lambda value: str(value)[:60])
def test_a_value_that_can_not_be_used_is_said_with_what_is_allowed(text: str, raw: Any) -> None:
    if isinstance(raw, str):  # told apart by the job alone: see where
        return
    with pytest.raises(ConfigError) as raised:
        job_config.load(raw) if isinstance(raw, dict) else job_config.read(json.dumps(raw))
    pattern = re.sub(r"(\\\.){3}", ".*", re.escape(text))
    said = str(raised.value).partition(": ")[2]
    assert re.fullmatch(pattern, said, re.DOTALL), said
    assert "\n" not in said


@pytest.mark.parametrize("where", ELSEWHERE)
def test_what_is_triggered_elsewhere_is(where: str) -> None:
    path, _, name = where.partition("::")
    assert f"def {name}(" in (REPOSITORY / path).read_text(encoding="utf-8")


def test_a_file_that_is_not_a_config_is_said(world: ForkedSite) -> None:
    for content, detail in ((b"{", "the file is not JSON"), (b"\xff", "it is not UTF-8"), (None, "No such file")):
        path = world.folder / "config.json"
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_bytes(content)
        done = job_alone("run", "--config", str(path))
        assert detail in done
        assert ALLOWED in done


def test_a_share_that_is_none_is_said(world: ForkedSite) -> None:
    (world.folder / "config.json").write_text("{}")
    said = world.lms.run_python  # an LMS is needed to come so far
    with pytest.raises(RuntimeError, match=r"Config: --share: 3/2 does not name a share; allowed: I/N"):
        said("-m", "tutor_transform_logs.lms_job", "work", "--share", "3/2", "--config", f"{world.folder}/config.json")


def test_a_database_that_the_lms_has_not(world: ForkedSite) -> None:
    ran = world.run(database_alias="replica")
    assert ran.status == 1
    assert "database_alias: the LMS settings have no database replica; allowed: one of DATABASES: default" in ran.stderr


def job_alone(*arguments: str) -> str:
    """What the job says without an LMS; it must end with 1 and one line."""
    command = [sys.executable, "-m", "tutor_transform_logs.lms_job", *arguments]
    done = subprocess.run(command, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
    return done.stderr
