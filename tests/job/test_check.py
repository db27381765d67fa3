"""``--check``: what is ready is told, what is not is told with what to do, and nothing is changed by it."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import zipfile
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests.harness.demo_lms import DemoLms
from tests.harness.forked_site import ForkedSite
from tests.harness.http_sinks import Answer, CaliperSink, ScriptedLrs
from tests.harness.job import JobRun, local
from tests.harness.object_store import Bucket
from tests.harness.process import free_port
from tests.harness.ralph import Lrs
from tests.harness.terminal import run_on_a_terminal
from tutor_transform_logs.demo.log_writer import CALIPER_GOOD_NAMES, LOG_START, Mix
from tutor_transform_logs.lms_job.check.check import Check
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.ledger.lock import local_lock
from tutor_transform_logs.lms_job.storage.local import LocalStorage
from tutor_transform_logs.lms_job.util.errors import PermanentError

MIX = Mix(good=60, page_view=40, unknown_user=2, broken=3, type_error=1)

DUMP = """
import django
django.setup()
from django.apps import apps
for model in apps.get_models():
    print(model, [[str(value) for value in row] for row in model.objects.order_by("pk").values_list()])
"""


def findings(run: JobRun) -> dict[str, list[str]]:
    """What was printed, by ``ok``, ``note`` and ``PROBLEM``, on one line each."""
    assert "Traceback" not in run.stdout + run.stderr
    found: dict[str, list[str]] = {"ok": [], "note": [], "PROBLEM": []}
    kind = ""
    for line in run.stdout.splitlines():
        label, text = line[:9].strip(), line[9:]
        if label in found:
            kind = label
            found[kind].append(text)
        elif kind and line.startswith("  "):
            found[kind][-1] += f" {line.strip()}"
        else:
            kind = ""
    assert (run.status == 1) == bool(found["PROBLEM"]), run.stdout
    assert run.stdout.splitlines()[-1].startswith("Nothing was changed. ")
    return found


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def has(texts: list[str], *detail: str) -> bool:
    return any(all(word in text for word in detail) for text in texts)


MIGRATIONS = """
import django
django.setup()
from django.db.migrations.recorder import MigrationRecorder
from django.utils.timezone import now
rows = MigrationRecorder.Migration.objects
"""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("", ""),
        ("rows.create(app='auth', name='0999_new', applied=now())", "is older than the database"),
        ("rows.filter(app='auth', name__startswith='0012').delete()", "is newer than the database"),
        # What was squashed, or of an app that is not installed any more, means nothing.
        ("rows.create(app='gone', name='0001_initial', applied=now())", ""),
        ("rows.filter(app='event_routing_backends').delete()", ""),
    ],
)
def test_an_image_with_another_lms_is_told(
    demo_lms_template: DemoLms, site: ForkedSite, tmp_path: Path, change: str, said: str
) -> None:
    lms = demo_lms_template.copy_to(tmp_path / "lms.sqlite3")
    lms.run_python("-c", MIGRATIONS + change)
    site.log(MIX)
    run = site.run(site.source(), site.to_files(), command="check", lms=lms)
    found = findings(run)
    assert [note for note in found["note"] if "the database, which" in note] == [
        note for note in found["note"] if said and said in note
    ]
    assert bool(said) == has(found["note"], said, "migrations", "auth 0") or not said
    assert run.status == 0


def test_all_is_ready_and_nothing_is_changed(mariadb_lms: DemoLms, site: ForkedSite, lrs: Lrs) -> None:
    """Half of the users have no external id yet, which a run makes."""
    log = site.log(MIX, users=50)
    mariadb_lms.add_router(lrs.url, auth_scheme="Basic", username=lrs.username, password=lrs.password)
    before = mariadb_lms.run_python("-c", DUMP)
    run = site.run(site.source(), command="check", lms=mariadb_lms)
    assert run.status == 0, run.stdout + run.stderr
    found = findings(run)
    assert has(found["ok"], f"event-routing-backends {version('edx-event-routing-backends')}", "event-tracking ")
    assert has(found["ok"], "database default (mysql), the newest user has id 50")
    assert has(found["ok"], f"{lrs.url} answers, and accepts the credentials")
    assert has(found["ok"], "ledger", "can be written; this job has not run yet")
    assert has(found["ok"], "1 object, ", "tracking.log", "2026-02-01 00:00  2026-02-01 00:00")
    assert has(found["ok"], "sample: 106 lines from 10 places")
    assert re.search(r"^ +transformed +60 +56\.6%  made into statements$", run.stdout, re.M)
    assert re.search(r"^ +dead letters +6\n +[a-z_]+ +\d\n", run.stdout, re.M)
    # All of so small a log is in the sample, so that the estimate is exact but for its rounding.
    assert has(found["ok"], "to do: about 110 lines", "about 60 statements, ", f"to {lrs.url}", "with 1 worker")
    assert log.xapi.statements == 60
    assert mariadb_lms.run_python("-c", DUMP) == before
    assert lrs.count() == 0
    assert not (site.folder / "ledger").exists()
    assert lrs.password not in run.stdout + run.stderr
    # The external ids would have been made.
    assert site.run(site.source(), lms=mariadb_lms).status == 0
    assert mariadb_lms.run_python("-c", DUMP) != before
    assert lrs.count() == 60
    again = findings(site.run(site.source(), command="check", lms=mariadb_lms))
    assert has(again["ok"], "plan 0001 is finished")
    assert has(again["ok"], "nothing is left to do")
    assert has(again["ok"], "done before")


def test_every_problem_is_told_and_none_hides_another(site: ForkedSite, lrs: Lrs) -> None:
    site.log(MIX)
    wrong = {**lrs.endpoint, "username": "somebody", "password": "wr0ng-password"}
    down = {"url": f"http://127.0.0.1:{free_port()}/xAPI"}
    no_lrs = {"url": lrs.url.replace("/xAPI/statements", "/__heartbeat__/nothing")}
    run = site.run(site.source("nothing-here"), command="check", lrs_endpoints=[wrong, down, no_lrs, lrs.endpoint])
    assert run.status == 1
    found = findings(run)
    assert has(found["PROBLEM"], lrs.url, "refuses the credentials (401): check this LRS's user and password")
    assert has(found["PROBLEM"], f"{down['url']}/statements can't be reached (connection refused), and never was")
    assert has(found["PROBLEM"], "answers 404", "check its URL")
    assert has(found["PROBLEM"], "No object found whose name begins with", "check TRANSFORM_LOGS_SOURCE_CONTAINER and")
    assert len(found["PROBLEM"]) == 4
    assert has(found["ok"], lrs.url, "answers, and accepts the credentials")
    assert "4 problems to fix before a run can start." in run.stdout
    assert "Run again" not in run.stdout
    assert "wr0ng-password" not in run.stdout + run.stderr


def test_a_destination_and_a_ledger_in_an_object_store(site: ForkedSite, nanio_bucket: Bucket) -> None:
    nanio_bucket.put("logs/tracking.log.gz", gzip.compress(site.log(MIX).path.read_bytes()))
    source = nanio_bucket.settings("source", prefix="logs/")
    good = nanio_bucket.settings("destination", prefix="out/")
    ledger = {**nanio_bucket.settings("ledger"), "ledger_container": "no-such-ledger"}
    found = findings(site.run(source, good, ledger, command="check"))
    assert has(found["ok"], "destination", "whether it can be written is not tested")
    assert has(found["note"], "ledger", "the container does not exist yet; a run creates it")
    assert has(found["ok"], "tracking.log.gz", "gzip", "2026-02-01 00:00  2026-02-01 00:00")
    assert has(found["ok"], "sample: 106 lines")
    assert nanio_bucket.keys() == ["logs/tracking.log.gz"]
    names = [bucket["Name"] for bucket in nanio_bucket.store.client().list_buckets()["Buckets"]]
    assert "no-such-ledger" not in names
    missing = {**good, "destination_container": "no-such-bucket"}
    bad = findings(site.run(source, missing, nanio_bucket.settings("ledger", prefix="l/"), command="check"))
    assert has(bad["PROBLEM"], "The container no-such-bucket does not exist", "create it first")
    secret = {**source, "source_secret": "wr0ng-secret"}
    refused = site.run(secret, good, nanio_bucket.settings("ledger", prefix="l/"), command="check")
    assert has(findings(refused)["PROBLEM"], "refuses the credentials: check the key and the secret")
    assert "wr0ng-secret" not in refused.stdout + refused.stderr
    assert nanio_bucket.keys() == ["logs/tracking.log.gz"]


def test_of_caliper_is_told_what_can_be_known(site: ForkedSite, caliper_sink: CaliperSink) -> None:
    site.log(MIX, names=CALIPER_GOOD_NAMES)
    config = {"transformer_type": "caliper", "lrs_endpoints": [{"url": caliper_sink.url}]}
    found = findings(site.run(site.source(), config, command="check"))
    assert has(found["note"], "CALIPER_EVENTS_ENABLED is off in the LMS settings: turned on for this job.")
    assert has(found["ok"], caliper_sink.url, "answers (501)", "no way to try the credentials")
    assert caliper_sink.requests == []


def test_what_is_left_of_a_run_that_stopped(site: ForkedSite, scripted_lrs: ScriptedLrs) -> None:
    site.log(Mix(good=40), name="tracking.log.0", start=LOG_START - timedelta(days=1))
    site.log(Mix(good=100), name="tracking.log.1")
    scripted_lrs.script = [None] * 8 + [Answer(503)]
    config = {
        **site.source(),
        "lrs_endpoints": [{"url": scripted_lrs.url}],
        "batch_size": 10,
        "max_requests_in_flight": 1,
        "lrs_max_wait_secs": 0,
    }
    assert site.run(config).status == 4
    before = files_below(site.folder / "ledger")
    stored = set(scripted_lrs.statements)
    (site.logs / "tracking.log.new").write_bytes(b"x\n" * 2000)
    found = findings(site.run(config, command="check"))
    assert has(found["ok"], "ledger", "plan 0001 is NOT finished: a run resumes it")
    [to_do] = [text for text in found["ok"] if text.startswith("to do: ")]
    # The first log is done, and 40 lines of the second.
    assert re.match(r"to do: about (5[5-9]|6[0-5]) lines", to_do)
    assert has(found["note"], "Added since plan 0001 was made: 1 object, 4.0 kB")
    assert has(found["ok"], "accepts the credentials")
    assert files_below(site.folder / "ledger") == before
    assert set(scripted_lrs.statements) == stored
    [ledger] = (site.folder / "ledger").iterdir()
    with local_lock(str(ledger)):
        running = findings(site.run(config, command="check"))
    assert has(running["PROBLEM"], "This job is already running (pid ", "Wait for it to end, or stop it.")


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        (Answer(200, {"hello": "world"}), "answers 200, but without statements: this is not an LRS. Check its URL."),
        (Answer(401), "refuses the credentials (401): check this LRS's user and password."),
        (Answer(404), "answers 404: check its URL."),
        (
            Answer(503, {"detail": "busy"}),
            'answers 503: {"detail": "busy"}. Check that it is running, and that its URL',
        ),
        (Answer(302, headers={"Location": "https://lrs/login"}), "redirects to https://lrs/login (302): if that is "),
        (Answer(302, headers={"Location": "/login"}), "redirects to http://127.0.0.1:"),
        (Answer(302), "answers 302, a redirect to no URL: check its URL."),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Answer) else "",
)
def test_what_an_lrs_may_answer(
    scripted_lrs: ScriptedLrs, answer: Answer, detail: str, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted_lrs.script = [answer]
    check = Check(load({"lrs_endpoints": [{"url": scripted_lrs.url}]}))
    check.check_destination(has_database=False)
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(f"PROBLEM {scripted_lrs.url} {detail}")


@pytest.mark.parametrize("status", [403, 405, 501])
def test_an_lrs_that_lets_nothing_be_read_can_be_sent_to(
    scripted_lrs: ScriptedLrs, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    scripted_lrs.script = [Answer(status)]
    check = Check(load({"lrs_endpoints": [{"url": scripted_lrs.url}]}))
    check.check_destination(has_database=False)
    said = " ".join(capsys.readouterr().out.split())
    detail = f"answers, but does not let statements be read ({status}): whether it accepts the credentials shows when"
    assert said.startswith(f"ok {scripted_lrs.url} {detail}")


def test_filters_are_rehearsed_and_odd_objects_are_told(site: ForkedSite) -> None:
    site.log(MIX)
    packed = gzip.compress(b'{"name": "/", "event": {}, "time": "2026-01-01T00:00:00Z"}\n' * 100)
    for day in range(1, 29):
        (site.logs / f"tracking.log-202601{day:02d}.gz").write_bytes(packed + gzip.compress(b"%d" % day))
    (site.logs / "tracking.log-broken.gz").write_bytes(packed[:-9])
    choice: dict[str, Any] = {"since": "2026-02-01T00:00:00.05", "trust_file_dates": True, "event": ["paly_video", "*"]}
    run = site.run(site.source(), site.to_files(), choice, command="check")
    found = findings(run)
    assert has(found["note"], "Only events from 2026-02-01T00:00:00.050000Z on, events named paly_video or *.")
    assert has(found["note"], "xapi transforms no event named paly_video.")
    assert has(found["ok"], "2 objects", "28 more are out of range by the dates in their names")
    assert has(found["ok"], "tracking.log-broken.gz", "truncated gzip data")
    assert re.search(r"filtered +\d+ +\d", run.stdout)
    many = site.run(site.source(), site.to_files(), command="check")
    assert "... 10 more, " in many.stdout
    assert many.status == 0


def test_hints_where_no_line_makes_a_statement(site: ForkedSite) -> None:
    log = site.log(Mix(unknown_user=20, page_view=5))
    strangers = findings(site.run(site.source(), site.to_files(), command="check"))
    assert has(strangers["note"], "Most events are of users that this LMS does not know")
    log.path.write_bytes(b"GET / HTTP/1.1\n" * 50)
    others = findings(site.run(site.source(), site.to_files(), command="check", max_invalid_ratio=1))
    assert has(others["note"], "None of these lines makes a statement: these are not tracking logs")
    left_out = site.run(site.source(), site.to_files(), command="check")
    assert has(findings(left_out)["note"], "1 object would be left out, and the run would end with 3")
    assert "no tracking log: 50 of 50 lines hold no event; the first: GET / HTTP/1.1" in left_out.stdout
    assert "nothing is left to do" not in left_out.stdout


def test_a_database_that_is_away_or_lacks_erbs_tables(site: ForkedSite, mariadb_lms: DemoLms, lrs: Lrs) -> None:
    site.log(MIX)
    drop = "import django; django.setup(); from django.db import connection as c; " \
        "c.cursor().execute('DROP TABLE event_routing_backends_routerconfiguration')"  # fmt: skip
    mariadb_lms.run_python("-c", drop)
    without = findings(site.run(site.source(), command="check", lms=mariadb_lms))
    assert has(without["PROBLEM"], "routers can't be read", "tutor local do init --limit=transform_logs")
    databases = json.loads(json.dumps(mariadb_lms.databases))
    databases["default"]["PORT"] = free_port()
    away = DemoLms(databases=databases)
    found = findings(site.run(site.source(), command="check", lms=away, lrs_endpoints=[lrs.endpoint]))
    assert has(found["PROBLEM"], "The LMS's database does not answer")
    # The rest is looked at all the same.
    assert has(found["ok"], "accepts the credentials")
    assert has(found["ok"], "1 object, ")
    assert has(found["note"], "No line was tried")


def test_without_event_routing_backends(site: ForkedSite, lrs: Lrs) -> None:
    """The module is hidden from the import system here; the e2e tests have an image that lacks it."""
    site.log(MIX)
    config = {**site.source(), **local("ledger", site.folder / "ledger"), "lrs_endpoints": [lrs.endpoint]}
    (site.folder / "config.json").write_text(json.dumps(config))
    code = (
        "import sys; sys.modules['event_routing_backends'] = None\n"
        "from tutor_transform_logs.lms_job.__main__ import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "check", "--config", str(site.folder / "config.json")],
        env=site.lms.environment() | {"COLUMNS": "80"}, capture_output=True, text=True,
    )  # fmt: skip
    found = findings(JobRun(done.returncode, done.stdout, done.stderr, None, None))
    assert has(found["PROBLEM"], "The LMS image lacks edx-event-routing-backends", "tutor images build transform-logs")
    assert len(found["PROBLEM"]) == 1
    assert has(found["ok"], "accepts the credentials")
    assert has(found["ok"], "1 object, ")


def test_a_directory_that_the_jobs_user_cannot_write_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The permission is a stand-in: root, as whom tests may run, can write everywhere."""
    asked: list[Path] = []

    def access(path: Path, mode: int) -> bool:
        asked.append(path)
        return False

    assert LocalStorage(str(tmp_path / "a/b")).check_writable("x/y")
    monkeypatch.setattr(os, "access", access)
    with pytest.raises(PermanentError, match=r"can't be written by the job's user .* Change the directory's owner\."):
        LocalStorage(str(tmp_path / "a/b")).check_writable("x/y")
    assert asked == [tmp_path]
    assert list(tmp_path.iterdir()) == []


def test_a_long_name_in_an_archive_does_not_widen_the_table(site: ForkedSite) -> None:
    site.log(MIX)
    with zipfile.ZipFile(site.logs / "tracking.log.zip", "w") as zipped:
        zipped.writestr("x" * 300 + "/tracking.log", (site.logs / "tracking.log").read_bytes()[:-5])
    run = site.run(site.source(), site.to_files(), command="check")
    assert run.status == 0, run.detail
    [row] = [line for line in run.stdout.splitlines() if "x..." in line]
    assert row.strip().startswith("tracking.log.zip!/xx")
    assert "xx/tracking.log " in row
    assert len(row) < 200


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_it_fits_the_terminal(site: ForkedSite, columns: int) -> None:
    site.log(MIX)
    (site.logs / "tracking.log-20260101.gz").write_bytes(gzip.compress(b"x\n" * 10))
    status, seen = run_on_a_terminal(site, columns, "check")
    assert status == 0, seen
    # Paths and URLs are never broken.
    detail = [line for line in seen.splitlines() if "/" not in line]
    assert [line for line in detail if len(line) > columns] == []


def test_programs_get_the_findings_as_json(site: ForkedSite) -> None:
    site.log(MIX)
    config: dict[str, Any] = {"log_format": "json", "quiet": True, "destination_container": "nowhere"}
    run = site.run(site.source(), site.to_files(), config, command="check")
    said = [json.loads(line) for line in run.stdout.splitlines()]
    [problem] = [message for message in said if message.get("finding") == "problem"]
    assert (problem["level"], problem["event"]) == ("error", "finding")
    assert "nowhere can't be used" in problem["message"]
    [objects] = [message["objects"] for message in said if message["event"] == "objects"]
    assert [(obj["name"], obj["first"][:10]) for obj in objects] == [("tracking.log", "2026-02-01")]
    assert [message["lines"] for message in said if message["event"] == "sample"] == [106]
    assert (said[-1]["event"], said[-1]["problems"], run.status) == ("checked", 1, 1)
