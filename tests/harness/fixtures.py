"""Fixtures of the real servers. A server starts with the first test that asks and stops with the session."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import shutil
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.harness import browser as browsers
from tests.harness import clickhouse, http_sinks, mariadb, object_store, ralph
from tests.harness.demo_lms import REPOSITORY, DemoLms

_numbers = itertools.count()


@pytest.fixture(scope="session")
def ralph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ralph.Ralph]:
    """A running Ralph."""
    with ralph.start(tmp_path_factory.mktemp("ralph")) as server:
        yield server


@pytest.fixture
def new_lrs(ralph_server: ralph.Ralph) -> Callable[[], ralph.Lrs]:
    """Gives an empty LRS (an account of the running Ralph) at each call, for tests with several."""
    return lambda: ralph_server.account(next(_numbers))


@pytest.fixture
def lrs(new_lrs: Callable[[], ralph.Lrs]) -> ralph.Lrs:
    """An empty LRS."""
    return new_lrs()


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[clickhouse.ClickHouse]:
    """A running ClickHouse."""
    with clickhouse.start(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server


@pytest.fixture
def aspects_clickhouse(clickhouse_server: clickhouse.ClickHouse) -> clickhouse.ClickHouse:
    """A ClickHouse with the empty tables of Aspects."""
    clickhouse_server.clear()
    return clickhouse_server


@pytest.fixture(scope="session")
def nanio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_store.ObjectStore]:
    """A running nanio."""
    with object_store.start_nanio(tmp_path_factory.mktemp("nanio")) as server:
        yield server


@pytest.fixture(scope="session")
def moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_store.ObjectStore]:
    """A running moto server."""
    with object_store.start_moto(tmp_path_factory.mktemp("moto")) as server:
        yield server


@pytest.fixture
def nanio_bucket(nanio: object_store.ObjectStore) -> object_store.Bucket:
    """An empty bucket in nanio."""
    return nanio.bucket(f"bucket-{next(_numbers)}")


@pytest.fixture
def moto_bucket(moto: object_store.ObjectStore) -> object_store.Bucket:
    """An empty bucket in moto."""
    return moto.bucket(f"bucket-{next(_numbers)}")


@pytest.fixture(scope="session")
def mariadb_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mariadb.MariaDb]:
    """A running MariaDB."""
    with mariadb.start(tmp_path_factory.mktemp("mariadb")) as server:
        yield server


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[browsers.Browser]:
    """A running Chromium."""
    with browsers.start(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def caliper_sink() -> Iterator[http_sinks.CaliperSink]:
    """A store for Caliper envelopes."""
    with http_sinks.start_caliper_sink() as sink:
        yield sink


@pytest.fixture
def scripted_lrs() -> Iterator[http_sinks.ScriptedLrs]:
    """An LRS that can be told to misbehave."""
    with http_sinks.start_scripted_lrs() as server:
        yield server


@pytest.fixture(scope="session")
def demo_lms_template(tmp_path_factory: pytest.TempPathFactory) -> DemoLms:
    """A set-up LMS that is only ever copied."""
    return DemoLms(database=tmp_path_factory.mktemp("lms") / "template.sqlite3").set_up()


@pytest.fixture
def demo_lms(demo_lms_template: DemoLms, tmp_path: Path) -> DemoLms:
    """A fresh LMS (50 users, 5 courses) for jobs in processes of their own."""
    return demo_lms_template.copy_to(tmp_path / "lms.sqlite3")


@pytest.fixture
def mariadb_lms(mariadb_server: mariadb.MariaDb) -> DemoLms:
    """A fresh LMS like ``demo_lms``, on MariaDB."""
    return DemoLms(databases=mariadb_server.new_database()).set_up()


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[str]:
    """The URL of a server whose certificate nobody vouches for."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ["-subj", "/CN=somebody.example.org", "-days", "1", "-nodes", "-newkey", "rsa:2048"]
    command = ["openssl", "req", "-x509", *subject, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_address[1]}/xAPI"
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def once_in_a_session(factory: pytest.TempPathFactory, name: str) -> Iterator[tuple[Path, bool]]:
    """A folder that all workers of pytest-xdist share, and whether it is still to be filled; the others wait."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = folder.parent / f"{name}.complete"
        yield folder, not complete.exists()
        complete.touch()


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is packaged, so that building leaves nothing behind in the repository."""
    with once_in_a_session(tmp_path_factory, "checkout") as (folder, empty):
        if empty:
            for name in ("tutor_transform_logs", "patches", "templates"):
                shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE", "README.rst"):
                if (REPOSITORY / name).exists():
                    shutil.copy(REPOSITORY / name, folder)
    return folder


@pytest.fixture(scope="session")
def installed(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for PYTHONPATH that holds the installed plugin."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with once_in_a_session(tmp_path_factory, "installed") as (folder, empty):
        if empty:
            subprocess.run([*command, "--target", str(folder), str(checkout)], check=True)
    return folder
