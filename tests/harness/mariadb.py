"""A private MariaDB server: the database that an LMS really has."""

from __future__ import annotations

import contextlib
import getpass
import itertools
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql

from tests.harness import registry
from tests.harness.process import ServiceError, free_port, listens, running

_PROGRAMS = ("mariadbd", "mariadb-install-db", "my_print_defaults")


@dataclass(frozen=True)
class MariaDb:
    """The running server."""

    port: int
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    def new_database(self, collation: str = "utf8mb4_unicode_ci") -> dict[str, Any]:
        """Make an empty database, with the collation of Tutor's or another; gives Django's ``DATABASES``."""
        name = f"openedx_{next(self._numbers)}"
        with pymysql.connect(host="127.0.0.1", port=self.port, user="root") as connection:
            character_set = collation.partition("_")[0]
            connection.cursor().execute(f"CREATE DATABASE {name} CHARACTER SET {character_set} COLLATE {collation}")
        return {
            "default": {
                "ENGINE": "django.db.backends.mysql",
                "HOST": "127.0.0.1",
                "PORT": self.port,
                "USER": "root",
                "NAME": name,
                "OPTIONS": {"charset": "utf8mb4"},
            }
        }

    def column(self, database: str, statement: str) -> list[Any]:
        """Run an SQL statement; gives the first column of what it answers."""
        with pymysql.connect(host="127.0.0.1", port=self.port, user="root", database=database) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            connection.commit()
            return [row[0] for row in cursor.fetchall()]


def _program(name: str) -> str:
    # Debian keeps servers where a plain user's PATH does not look.
    places = os.environ.get("TRANSFORM_LOGS_TESTS_PROGRAMS", "/usr/sbin:/usr/local/sbin:/usr/bin")
    path = shutil.which(name) or shutil.which(name, path=places)
    if path is None:
        raise ServiceError(
            f"{name} is missing: install the Debian packages mariadb-server-core and mariadb-client-core"
        )
    return path


@contextlib.contextmanager
def start(folder: Path) -> Iterator[MariaDb]:
    """Run a MariaDB of our own on a free port, with its data below ``folder``."""
    server, install, _ = (_program(name) for name in _PROGRAMS)
    port, data, log = free_port(), folder / "mariadb", folder / "mariadb.log"
    me = getpass.getuser()
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [install, "--no-defaults", f"--datadir={data}", f"--user={me}", "--skip-test-db"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ServiceError(f"mariadb-install-db failed:\n{done.stdout}{done.stderr}")
    command = [server, "--no-defaults", f"--datadir={data}", f"--socket={folder / 'mariadb.sock'}", f"--port={port}"]
    # Every user may do everything: the server lives as long as the tests, on the loopback address alone.
    command += ["--bind-address=127.0.0.1", "--skip-grant-tables", "--skip-name-resolve", f"--user={me}"]
    command += [f"--pid-file={folder / 'mariadb.pid'}", "--innodb-flush-log-at-trx-commit=0"]
    with running("MariaDB", command, ready=lambda: listens(port), log=log):
        with pymysql.connect(host="127.0.0.1", port=port, user="root") as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT VERSION()")
            [version] = cursor.fetchone() or ["?"]
        registry.register(f"MariaDB {version.split('-')[0]}")
        yield MariaDb(port)
