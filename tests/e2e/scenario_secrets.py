"""A secret is where it has to be, and nowhere else: looked for wherever somebody else might see it."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import site as sites
from tests.e2e.docker import Docker
from tests.e2e.site import MakeSite
from tests.harness.object_store import Bucket
from tests.harness.process import wait_for
from tests.harness.ralph import Lrs
from tutor_transform_logs.demo import samples

Say = Callable[[str], None]

# Nobody else on this machine has this in a command line.
SECRET = 's3cr$t"Q-of-the-store'


def _command_lines() -> Iterator[str]:
    """Of every process here, those in containers among them."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue


def _assert_nowhere(secrets: list[str], places: dict[str, str]) -> None:
    for place, text in places.items():
        assert [secret for secret in secrets if secret in text] == [], f"a secret is in {place}"


def _left_behind(site: sites.DockerSite) -> dict[str, str]:
    """Ledger, result, dead letters, output: all that the job wrote."""
    return {str(path): path.read_text(errors="replace") for path in site.data.rglob("*") if path.is_file()}


def test_secrets_are_not_to_be_seen(new_site: MakeSite, lrs: Lrs, docker: Docker, found: Say) -> None:
    endpoint = {**lrs.endpoint}
    site = new_site(
        TRANSFORM_LOGS_LRS_ENDPOINTS=[endpoint],
        TRANSFORM_LOGS_SOURCE_SECRET=SECRET,
        TRANSFORM_LOGS_BATCH_SIZE="5",
    )
    site.place("tracking.log", samples.content("tracking.log"))
    secrets = [SECRET, endpoint["password"]]

    process = site.start_replay("--sleep-between-batches-secs", "0.3")
    container = site.job_container(process)
    wait_for(lambda: lrs.count() >= 5)
    commands = list(_command_lines())
    seen = {
        "docker inspect": docker.inspect(container),
        "docker top": docker("top", container),
        "the environment in the container": docker("exec", container, "env"),
        "the process list": "\n".join(commands),
    }
    [private] = (site.root / "env/plugins/transform_logs").glob("private")
    [config] = private.rglob("config-*.json")
    mode = stat.S_IMODE(private.stat().st_mode)
    stranger = subprocess.run(["cat", config], user=4321, group=4321, extra_groups=[], capture_output=True, text=True)
    content = config.read_text()
    done = site.finish(process)

    assert done.status == 0, done.output[-3000:]
    assert any("tutor_transform_logs.lms_job" in command for command in commands), "the job itself was not seen"
    assert endpoint["password"] in content, "the secret was looked for while the job had it"
    assert (mode, stranger.returncode, stranger.stdout) == (0o700, 1, "")
    assert not list(private.rglob("config-*.json")), "the config file is still there"
    _assert_nowhere(secrets, seen | {"what Tutor printed": "".join(site.printed)} | _left_behind(site))
    found(f"in none of {', '.join(seen)}, {len(site.printed)} outputs, {len(_left_behind(site))} files of the job")


@pytest.mark.parametrize("fault", ["a store that refuses", "nobody there"])
def test_failing_runs_tell_no_secret(new_site: MakeSite, nanio_bucket: Bucket, found: Say, fault: str) -> None:
    store = nanio_bucket.store
    site = new_site(
        TRANSFORM_LOGS_SOURCE_PROVIDER="MINIO",
        TRANSFORM_LOGS_SOURCE_HOST=store.host,
        TRANSFORM_LOGS_SOURCE_PORT=str(store.port if fault == "a store that refuses" else 1),
        TRANSFORM_LOGS_SOURCE_SECURE="false",
        TRANSFORM_LOGS_SOURCE_CONTAINER=nanio_bucket.name,
        TRANSFORM_LOGS_SOURCE_KEY=store.access_key,
        TRANSFORM_LOGS_SOURCE_SECRET=SECRET,
        TRANSFORM_LOGS_LRS_ENDPOINTS=[{"url": "http://127.0.0.1:1/xAPI", "username": "u", "password": SECRET}],
        TRANSFORM_LOGS_LRS_MAX_WAIT_SECS="1",
    )

    printed = site.replay(status=1)

    assert "Traceback" not in printed
    _assert_nowhere([SECRET], {"what Tutor printed": "".join(site.printed)} | _left_behind(site))
    said = next(line for line in printed.splitlines() if "refuses the credentials" in line or "never was" in line)
    found(f"{fault}: {said.strip()[:110]!r}")


def test_the_config_is_the_owners_even_with_an_open_umask(new_site: MakeSite, lrs: Lrs, found: Say) -> None:
    old = os.umask(0)
    try:
        site = new_site(TRANSFORM_LOGS_LRS_ENDPOINTS=[lrs.endpoint])
        site.place("tracking.log", samples.content("tracking.log"))
        site.replay()
    finally:
        os.umask(old)
    private = site.root / "env/plugins/transform_logs/private"
    mode = stat.S_IMODE(private.stat().st_mode)
    assert mode == 0o700
    letters = list(site.data.rglob("dead-letters.jsonl"))
    assert [stat.S_IMODE(path.stat().st_mode) for path in letters] == [0o600]
    found(f"{private.name} has mode {mode:o}, the dead letters 600")
