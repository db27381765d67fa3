"""Aspects as its plugin renders it: the SQL of its migrations, and the ClickHouse users of its init job."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.harness.process import ServiceError
from tests.harness.venvs import cache_folder, venv

VERSION, TUTOR_VERSION = "6.1.0", "22.0.2"
_RENDER_INIT_SCRIPT = """
import sys
from tutor import config, env, hooks
from tutor.commands import cli
hooks.Actions.CORE_READY.do()
hooks.Actions.PROJECT_ROOT_READY.do(sys.argv[1])
settings = config.load(sys.argv[1])
print(env.render_file(settings, "aspects", "jobs", "init", "clickhouse", "init-clickhouse.sh"))
"""
_REQUIREMENTS = [f"tutor=={TUTOR_VERSION}", f"tutor-contrib-aspects=={VERSION}"]


def executables() -> Path:
    """The folder with a ``tutor`` that has Aspects, installed if need be."""
    return venv("aspects", _REQUIREMENTS)


def environment() -> Path:
    """The ``env`` folder of a fresh Tutor root with Aspects enabled and nothing set; kept between test runs."""
    recipe = hashlib.sha256("\n".join([sys.version, *_REQUIREMENTS]).encode()).hexdigest()[:12]
    folder = cache_folder() / f"aspects-root-{recipe}"
    with (cache_folder() / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            shutil.rmtree(folder, ignore_errors=True)
            render(folder / "root", folder / "plugins")
            (folder / "complete").touch()
    return folder / "root/env"


def render(root: Path, plugins: Path) -> None:
    """``tutor plugins enable aspects`` and ``tutor config save`` in a root of one's own."""
    variables = {**os.environ, "TUTOR_ROOT": str(root), "TUTOR_PLUGINS_ROOT": str(plugins)}
    for path in (root, plugins):
        path.mkdir(parents=True, exist_ok=True)
    for command in (["plugins", "enable", "aspects"], ["config", "save"]):
        done = subprocess.run([executables() / "tutor", *command], env=variables, capture_output=True, text=True)
        if done.returncode:
            raise ServiceError(f"tutor {' '.join(command)} failed:\n{done.stderr[-2000:]}")
    (root / "init-clickhouse.sh").write_text(init_script_of(variables))


def init_script_of(site: Mapping[str, str]) -> str:
    """The script of the init job of a site whose root these environment variables name.

    Tutor renders jobs only when they run.
    """
    command = [str(executables() / "python"), "-c", _RENDER_INIT_SCRIPT, site["TUTOR_ROOT"]]
    done = subprocess.run(command, env=dict(site), capture_output=True, text=True)
    if done.returncode:
        raise ServiceError(f"could not render Aspects' init job:\n{done.stderr[-2000:]}")
    return done.stdout


def migrations() -> list[str]:
    """The SQL that Aspects' migrations run on an empty ClickHouse, in order."""
    folder = environment() / "plugins/aspects/apps/aspects/migrations/alembic/versions"
    statements: list[str] = []
    with _stubs(statements):
        for path in sorted(folder.glob("[0-9]*.py")):
            spec = importlib.util.spec_from_file_location(f"aspects_migration_{path.stem}", path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            module.upgrade()
    return statements


@contextlib.contextmanager
def _stubs(statements: list[str]) -> Iterator[None]:
    """``from alembic import op`` gives an ``op`` that only notes the SQL; of SQLAlchemy nothing is used."""
    alembic: Any = types.ModuleType("alembic")
    alembic.op = types.SimpleNamespace(execute=statements.append)
    modules: Mapping[str, Any] = {
        "alembic": alembic,
        "sqlalchemy": types.ModuleType("sqlalchemy"),
        "clickhouse_sqlalchemy": types.ModuleType("clickhouse_sqlalchemy"),
    }
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    written = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = written
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name)
            else:
                sys.modules[name] = module


def init_script() -> str:
    """The script of the init job, which makes databases, users and grants."""
    return (environment().parent / "init-clickhouse.sh").read_text()


def databases() -> list[str]:
    """The databases that the init job makes."""
    return re.findall(r"CREATE DATABASE IF NOT EXISTS (\w+)", init_script())


def users(script: str = "") -> dict[str, dict[str, Any]]:
    """Users by name, each with ``password`` and ``grants`` (privileges by database), of a site's own init script."""
    script = script or init_script()
    found: dict[str, dict[str, Any]] = {
        name: {"password": password, "grants": {}}
        for name, password in re.findall(r"CREATE USER IF NOT EXISTS (\w+).*? BY '([^']*)'", script)
    }
    for privileges, database, user in re.findall(r"^GRANT +(.+?) ON (\w+)\.\* TO '(\w+)'", script, re.MULTILINE):
        found[user]["grants"].setdefault(database, []).extend(part.strip() for part in privileges.split(","))
    return found
