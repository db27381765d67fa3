"""The harness itself: each server is the real thing, starts empty, keeps what it is given, and goes away."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from botocore.exceptions import ClientError

from tests.harness import process
from tests.harness.demo_lms import DemoLms
from tests.harness.http_sinks import Answer, CaliperSink, ScriptedLrs, basic
from tests.harness.object_store import Bucket, ObjectStore
from tests.harness.ralph import Lrs

HEADERS = {"X-Experience-API-Version": "1.0.3"}


def statement(number: int = 0) -> dict[str, Any]:
    return {
        "id": str(uuid.UUID(int=number + 2**80, version=4)),
        "actor": {"objectType": "Agent", "mbox": "mailto:a@example.org"},
        "verb": {"id": "http://adlnet.gov/expapi/verbs/played"},
        "object": {"id": f"http://example.org/video/{number}"},
        "timestamp": "2026-01-01T00:00:00+00:00",
        "version": "1.0.3",
    }


def post(lrs: Lrs, statements: list[dict[str, Any]], password: str | None = None) -> requests.Response:
    auth = (lrs.username, password or lrs.password)
    return requests.post(lrs.url, json=statements, auth=auth, headers=HEADERS, timeout=30)


def test_ralph_keeps_statements_and_pages_through_them(lrs: Lrs) -> None:
    batch = [statement(number) for number in range(230)]
    assert post(lrs, batch).status_code == 200
    assert post(lrs, batch).status_code == 204
    assert post(lrs, [batch[0] | {"timestamp": "2026-01-02T00:00:00+00:00"}]).status_code == 409
    assert sorted(lrs.ids()) == sorted(sent["id"] for sent in batch)
    assert lrs.count() == 230
    assert {stored["id"] for stored in lrs.statements()} == set(lrs.ids())
    assert post(lrs, batch, password="wrong").status_code == 401


def test_each_lrs_is_empty_and_its_own(new_lrs: Callable[[], Lrs]) -> None:
    one, other = new_lrs(), new_lrs()
    assert post(one, [statement()]).status_code == 200
    assert (one.count(), other.count(), other.ids()) == (1, 0, [])
    assert post(other, [statement() | {"timestamp": "2026-01-02T00:00:00+00:00"}]).status_code == 200


def test_nanio_checks_the_secret(nanio: ObjectStore, nanio_bucket: Bucket) -> None:
    nanio_bucket.put("logs/tracking.log", b"hello")
    assert nanio_bucket.keys("logs/") == ["logs/tracking.log"]
    assert nanio_bucket.get("logs/tracking.log") == b"hello"
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        ObjectStore(nanio.port, secret_key="wrong").client().list_buckets()


def test_moto_takes_any_secret(moto: ObjectStore, moto_bucket: Bucket) -> None:
    moto_bucket.put("logs/tracking.log", b"hello")
    same = ObjectStore(moto.port, secret_key="wrong").client()
    assert same.get_object(Bucket=moto_bucket.name, Key="logs/tracking.log")["Body"].read() == b"hello"


@pytest.mark.parametrize("fixture", ["demo_lms", "mariadb_lms"])
def test_the_embedded_lms_answers_erb(fixture: str, request: pytest.FixtureRequest) -> None:
    lms: DemoLms = request.getfixturevalue(fixture)
    lms.add_router("http://lrs.example.org/xAPI/statements", auth_scheme="Basic", username="u", password="p")
    said = lms.run_python(
        "-c",
        "import django; django.setup()\n"
        "from django.db import connection\n"
        "from event_routing_backends.helpers import get_anonymous_user_id, get_course_from_id, get_user\n"
        "from event_routing_backends.models import RouterConfiguration as Routers\n"
        "print(connection.vendor, get_user('Gone_Student').id, get_user('20260101').id, get_user('علي_حسن').id)\n"
        "print(get_course_from_id('course-v1:PKU+ZH201+2026_T1')['display_name'], get_anonymous_user_id('7', 'XAPI'))\n"
        "print(get_anonymous_user_id('12', 'XAPI'), [r.password for r in Routers.get_enabled_routers('xAPI')])\n"
        "print(bool(Routers.get_enabled_routers('xapi')))\n",
    ).splitlines()
    vendor = "sqlite" if fixture == "demo_lms" else "mysql"
    assert said[0] == f"{vendor} 6 8 4"
    assert said[1].startswith("数据结构 🚀 ")
    uuid.UUID(said[1].split()[-1])
    assert said[2].endswith("['p']")
    # MySQL compares without case: only there does ERB find its own routers by its own name for them.
    assert said[3] == str(vendor == "mysql")


def test_the_caliper_sink_records_and_refuses(caliper_sink: CaliperSink) -> None:
    envelope = {"sensor": "x", "sendTime": "now", "data": [{"id": "urn:uuid:1"}], "dataVersion": "v"}
    assert requests.post(caliper_sink.url, json=envelope, timeout=5).status_code == 200
    assert caliper_sink.event_ids() == ["urn:uuid:1"]
    caliper_sink.authorization = "Bearer token"
    assert requests.post(caliper_sink.url, json=envelope, timeout=5).status_code == 401
    headers = {"Authorization": "Bearer token"}
    assert requests.post(caliper_sink.url, json=[envelope], headers=headers, timeout=5).status_code == 200


def test_the_scripted_lrs_misbehaves_as_told_and_else_as_ralph_does(scripted_lrs: ScriptedLrs) -> None:
    one, two, three = (statement(number) for number in range(3))

    def send(*batch: dict[str, Any], **more: Any) -> requests.Response:
        return requests.post(scripted_lrs.url, json=batch, timeout=2, **more)

    assert send(one, two).json() == [one["id"], two["id"]]
    assert send(two, three).json() == [three["id"]]
    assert send(one).status_code == 204
    assert send(one | {"version": "2"}).status_code == 409
    assert send(statement(5), statement(5)).status_code == 400

    scripted_lrs.script += [Answer(503, headers={"Retry-After": "7"}), None, Answer(500, store=True)]
    assert send(one).headers["Retry-After"] == "7"
    assert send(one).status_code == 204
    assert send(statement(6)).status_code == 500
    assert statement(6)["id"] in scripted_lrs.statements

    scripted_lrs.script += [Answer(cut_off=True, body=[]), Answer(no_answer=True), Answer(hang_secs=30)]
    for _ in range(3):
        with pytest.raises(requests.RequestException):
            send(one).json()
    scripted_lrs.max_bytes = 400
    assert send(one, two).status_code == 413
    scripted_lrs.refused = {two["id"]: 422}
    assert send(two).status_code == 422
    scripted_lrs.authorization = basic("lrs", "right")
    assert send(one, auth=("lrs", "wrong")).status_code == 401
    assert send(one, auth=("lrs", "right")).status_code == 204


def test_a_server_that_does_not_start_is_an_error_with_its_output(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such luck'); raise SystemExit(3)"]
    with (
        pytest.raises(process.ServiceError, match=r"luckless ended with status 3:\nno such luck"),
        process.running("luckless", command, ready=lambda: False, log=tmp_path / "log"),
    ):
        raise AssertionError("it is not running")


def test_stopping_takes_the_children_too(tmp_path: Path) -> None:
    # The child ignores SIGTERM and outlives its parent, as a server's worker may.
    child = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    log = tmp_path / "log"
    with process.running("pair", [sys.executable, "-c", parent], ready=lambda: "up" in log.read_text(), log=log) as it:
        family = [psutil.Process(it.pid), *psutil.Process(it.pid).children()]
        assert len(family) == 2
    deadline = time.monotonic() + 5
    while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_missing_real_service_fails_and_does_not_skip(tmp_path: Path) -> None:
    """Run a test that needs MariaDB where there is none."""
    (tmp_path / "bin").mkdir()
    test = f"{__file__}::test_the_embedded_lms_answers_erb"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", test, "-k", "mariadb"],
        env={"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), "TRANSFORM_LOGS_TESTS_PROGRAMS": str(tmp_path)},
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 1
    assert "mariadbd is missing: install the Debian packages" in done.stdout
    assert "skipped" not in done.stdout
