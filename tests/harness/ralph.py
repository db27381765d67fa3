"""Ralph, a real learning record store, on a Mongo-protocol server that keeps its data in SQLite."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymongo
import requests

from tests.harness import registry
from tests.harness.process import answers_http, free_port, listens, running
from tests.harness.venvs import venv

VERSION, STORE_VERSION = "5.1.0", "0.8.1"
PASSWORD = "s3cr$t-of-the-lrs"
_DATABASE = "lrs"
# Accounts are read once, at the start. Each has a collection of its own, so that a test gets an empty LRS at no cost.
_ACCOUNTS = 500


def executables() -> Path:
    """The folder with ``ralph`` and ``nx-27017``, installed if need be."""
    return venv("ralph", [f"ralph-malph[full]=={VERSION}", f"nx-27017=={STORE_VERSION}"])


@dataclass(frozen=True)
class Lrs:
    """An LRS of one's own: an account of the running Ralph, whose statements nobody else sees."""

    url: str
    username: str
    password: str
    _mongo_uri: str
    _collection: str

    @property
    def endpoint(self) -> dict[str, str]:
        """The entry for the job's ``lrs_endpoints``."""
        return {"url": self.url, "username": self.username, "password": self.password}

    def ids(self) -> list[str]:
        """The ids of all statements, asked through the LRS's own API, a page at a time."""
        found: list[str] = []
        more = f"{self.url}?limit=100"
        with requests.Session() as session:
            session.auth = (self.username, self.password)
            session.headers["X-Experience-API-Version"] = "1.0.3"
            while more:
                answer = session.get(more, timeout=30)
                answer.raise_for_status()
                page = answer.json()
                found += [statement["id"] for statement in page["statements"]]
                more = requests.compat.urljoin(self.url, page["more"]) if page.get("more") else ""
        return found

    def statements(self) -> list[dict[str, Any]]:
        """All statements, straight from the store (quicker than the API for thousands)."""
        with pymongo.MongoClient[dict[str, Any]](self._mongo_uri) as client:
            return [found["_source"] for found in client[_DATABASE][self._collection].find({})]

    def lose(self, ids: Iterable[str]) -> None:
        """Take statements out of the store behind the LRS's back."""
        with pymongo.MongoClient[dict[str, Any]](self._mongo_uri) as client:
            client[_DATABASE][self._collection].delete_many({"_source.id": {"$in": list(ids)}})

    def alter(self, id_: str, **fields: Any) -> None:
        """Change a statement in the store, which no LRS would do."""
        with pymongo.MongoClient[dict[str, Any]](self._mongo_uri) as client:
            changes = {f"_source.{name}": value for name, value in fields.items()}
            client[_DATABASE][self._collection].update_one({"_source.id": id_}, {"$set": changes})

    def count(self) -> int:
        """How many statements there are."""
        return len(self.statements())


@dataclass(frozen=True)
class Ralph:
    """The running server."""

    root: str
    mongo_uri: str

    def account(self, number: int) -> Lrs:
        """LRS ``number`` of those it has. :raises IndexError: it has fewer."""
        if not 0 <= number < _ACCOUNTS:
            raise IndexError(f"the test Ralph has {_ACCOUNTS} accounts; asked for number {number}")
        name = _account_name(number)
        return Lrs(f"{self.root}/xAPI/statements", name, PASSWORD, self.mongo_uri, _collection_name(number))


def _account_name(number: int) -> str:
    return f"lrs-{number}"


def _collection_name(number: int) -> str:
    return f"statements_{number}"


def _write_accounts(ralph: Path, app_folder: Path) -> None:
    """Have Ralph make one account, then copy it: hashing the password is slow on purpose."""
    command: list[str | Path] = [ralph, "auth", "-u", _account_name(0), "-p", PASSWORD, "-s", "all", "-w"]
    command += ["-M", "mailto:lrs@example.org", "-N", "lrs", "-t", _collection_name(0)]
    app_folder.mkdir(parents=True)
    subprocess.run(command, env={"RALPH_APP_DIR": str(app_folder)}, check=True, capture_output=True)
    file = app_folder / "auth.json"
    [first] = json.loads(file.read_text())
    file.write_text(
        json.dumps([first | {"username": _account_name(n), "target": _collection_name(n)} for n in range(_ACCOUNTS)])
    )


@contextlib.contextmanager
def start(folder: Path, processes: int = 1) -> Iterator[Ralph]:
    """Run Ralph, in this number of processes, and its store on free ports, with what they write below ``folder``."""
    programs = executables()
    app_folder, mongo_port, port = folder / "app", free_port(), free_port()
    _write_accounts(programs / "ralph", app_folder)
    mongo_uri, root = f"mongodb://127.0.0.1:{mongo_port}", f"http://127.0.0.1:{port}"
    store: list[str | Path] = [
        programs / "nx-27017",
        "--data-dir",
        folder / "store",
        "--host",
        "127.0.0.1",
        "-p",
        str(mongo_port),
    ]
    store += ["--log-file", folder / "nx.log", "--pid-file", folder / "nx.pid"]
    environment = {
        "RALPH_APP_DIR": str(app_folder),
        "RALPH_RUNSERVER_BACKEND": "mongo",
        "RALPH_BACKENDS__LRS__MONGO__CONNECTION_URI": mongo_uri,
        "RALPH_BACKENDS__LRS__MONGO__DEFAULT_DATABASE": _DATABASE,
        "RALPH_BACKENDS__LRS__MONGO__DEFAULT_COLLECTION": "unused",
    }
    server: list[str | Path] = [programs / "uvicorn", "ralph.api:app", "--host", "127.0.0.1"]
    server += ["--port", str(port), "--log-level", "warning", "--workers", str(processes)]
    (folder / "store").mkdir()
    with (
        running("nx-27017", store, ready=lambda: listens(mongo_port), log=folder / "store.log"),
        running(
            "Ralph",
            server,
            ready=lambda: answers_http(f"{root}/__heartbeat__"),
            log=folder / "ralph.log",
            environment=environment,
        ),
    ):
        registry.register(f"Ralph {VERSION} (on nx-27017 {STORE_VERSION})")
        yield Ralph(root, mongo_uri)
