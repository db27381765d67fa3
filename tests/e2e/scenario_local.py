"""From ``tutor local do transform-tracking-logs`` down to the store."""

from __future__ import annotations

import json
import os
import re
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
from tests.harness.site import SINGLE_NAME
from tutor_transform_logs.demo import samples

Say = Callable[[str], None]

EXPECTED = samples.expected("xapi")


def _place_all_logs(site: sites.DockerSite) -> None:
    for path in samples.write(site.folder / "samples"):
        site.place(path.name, path.read_bytes())


@pytest.mark.older_lms
def test_own_log_to_the_lms_routers_with_nothing_set(new_site: MakeSite, lrs: Lrs, found: Say) -> None:
    site = new_site()
    sites.add_router(site, lrs.url, auth_scheme="Basic", username=lrs.username, password=lrs.password)
    site.place("tracking.log", samples.content("tracking.log"))
    expected = samples.expected("xapi", "tracking.log")
    # As on first use: Docker has made the folder, for root.
    os.chown(site.data, 0, 0)

    site.replay()

    ids = lrs.ids()
    assert len(ids) == len(set(ids)) == expected.distinct_statements
    assert site.result()["lines"]["lines"] == expected.lines
    site.replay()
    assert sorted(lrs.ids()) == sorted(ids)
    found(f"Ralph has {len(ids)} statements of {expected.lines} lines; {len(site.files())} files, all of uid 1000")


def test_rotated_logs_gz_among_them_to_an_endpoint_of_the_settings(new_site: MakeSite, lrs: Lrs, found: Say) -> None:
    site = new_site(TRANSFORM_LOGS_LRS_ENDPOINTS=[lrs.endpoint])
    _place_all_logs(site)

    site.replay()

    ids = lrs.ids()
    assert len(ids) == len(set(ids)) == EXPECTED.distinct_statements
    assert {obj["name"] for obj in site.result()["objects"]} == set(samples.FILES)
    found(f"Ralph has {len(ids)} statements of {', '.join(samples.FILES)}")


def test_minio_to_minio(new_site: MakeSite, nanio_bucket: Bucket, found: Say) -> None:
    store = nanio_bucket.store
    family = {
        "PROVIDER": "MINIO",
        "CONTAINER": nanio_bucket.name,
        "HOST": store.host,
        "PORT": str(store.port),
        "SECURE": "false",
    }
    settings = {f"TRANSFORM_LOGS_{role}_{k}": v for role in ("SOURCE", "DESTINATION") for k, v in family.items()}
    site = new_site(
        OPENEDX_AWS_ACCESS_KEY=store.access_key,
        OPENEDX_AWS_SECRET_ACCESS_KEY=store.secret_key,
        TRANSFORM_LOGS_SOURCE_KEY=store.access_key,
        TRANSFORM_LOGS_SOURCE_SECRET=store.secret_key,
        TRANSFORM_LOGS_SOURCE_PREFIX="/tracking_logs/",
        TRANSFORM_LOGS_DESTINATION_KEY=store.access_key,
        TRANSFORM_LOGS_DESTINATION_SECRET=store.secret_key,
        TRANSFORM_LOGS_DESTINATION_PREFIX="transformed_logs/2026-06-02",
        **settings,
    )
    for path in samples.write(site.folder / "samples"):
        nanio_bucket.put(f"tracking_logs/{path.name}", path)

    site.replay()

    names = nanio_bucket.keys("transformed_logs/")
    [statements] = [name for name in names if SINGLE_NAME.fullmatch(name.rpartition("/")[2])]
    assert sorted(names) == sorted([statements, statements.replace(".log", "_manifest.log")])
    made = [json.loads(line) for line in nanio_bucket.get(statements).splitlines()]
    assert len(made) == EXPECTED.statements
    assert len({statement["id"] for statement in made}) == EXPECTED.distinct_statements
    found(f"the bucket has {len(made)} statements in {statements}, and a manifest")


def test_dry_run(new_site: MakeSite, lrs: Lrs, found: Say) -> None:
    site = new_site(TRANSFORM_LOGS_LRS_ENDPOINTS=[lrs.endpoint])
    site.place("tracking.log", samples.content("tracking.log"))
    expected = samples.expected("xapi", "tracking.log")

    # Aspects' rules for Vector, among others', know statements in the container's log by this form.
    form = re.compile(r"^.* \[xapi_tracking\] [^{}]* (\{.*\})$", re.MULTILINE)
    all_log = site.data / "logs" / "all.log"
    printed = site.replay("--dry-run")
    assert not form.search(printed + all_log.read_text())
    assert printed.count('"version": "1.0.3"') == 3
    logged = form.findall(site.replay("--dry-run", "--log-statements"))
    assert len(logged) == expected.statements
    assert all(json.loads(text)["id"] for text in logged)
    assert form.findall(all_log.read_text()) == logged
    assert lrs.count() == 0
    all_log.write_text("")
    assert not form.search(site.replay() + all_log.read_text())
    assert lrs.count() == expected.distinct_statements
    found(f"{len(logged)} statements in the container's log if asked for, 0 in Ralph; {lrs.count()} after a true run")


def test_killed_and_run_again(new_site: MakeSite, lrs: Lrs, docker: Docker, found: Say) -> None:
    site = new_site(TRANSFORM_LOGS_LRS_ENDPOINTS=[lrs.endpoint], TRANSFORM_LOGS_BATCH_SIZE="5")
    _place_all_logs(site)

    process = site.start_replay("--sleep-between-batches-secs", "0.3")
    container = site.job_container(process)
    wait_for(lambda: lrs.count() >= 20)
    docker("kill", container)
    killed = site.finish(process)

    assert killed.status != 0
    before = lrs.count()
    assert 20 <= before < EXPECTED.distinct_statements
    site.replay()
    ids = lrs.ids()
    assert len(ids) == len(set(ids)) == EXPECTED.distinct_statements
    assert site.result()["done"]
    found(f"{before} statements in Ralph at docker kill, {len(ids)} after the second run, as after an undisturbed one")


def test_wrong_password(new_site: MakeSite, lrs: Lrs, found: Say) -> None:
    wrong = "not-the-passw0rd"
    site = new_site(TRANSFORM_LOGS_LRS_ENDPOINTS=[{**lrs.endpoint, "password": wrong}])
    site.place("tracking.log", samples.content("tracking.log"))

    printed = site.replay(status=1)

    assert "Traceback" not in printed
    assert wrong not in printed
    said = [line.strip() for line in printed.splitlines() if "401" in line][-1]
    assert lrs.url in said
    assert lrs.count() == 0
    site.save(TRANSFORM_LOGS_LRS_ENDPOINTS=[lrs.endpoint])
    site.replay()
    count = lrs.count()
    assert count == samples.expected("xapi", "tracking.log").distinct_statements
    found(f"status 1, {said!r}, 0 statements; with the right one {count}")


@pytest.fixture
def small_volume() -> Iterator[Callable[[Path, str], None]]:
    """Mounts a file system of this size at a folder; called again, it changes the size."""
    mounted: list[Path] = []

    def mount(folder: Path, size: str) -> None:
        options = f"size={size},uid=1000,gid=1000,mode=755"
        if folder in mounted:
            subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)
        else:
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], check=True)
            mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_full_destination_volume(new_site: MakeSite, small_volume: Callable[[Path, str], None], found: Say) -> None:
    site = new_site(
        TRANSFORM_LOGS_DESTINATION_PROVIDER="LOCAL",
        TRANSFORM_LOGS_DESTINATION_CONTAINER="transformed_logs",
        TRANSFORM_LOGS_BATCH_SIZE="50",
    )
    _place_all_logs(site)
    folder = site.folder_for_files("transformed_logs")
    small_volume(folder, "128k")

    printed = site.replay(status=4)

    assert "Traceback" not in printed
    [said] = [line for line in printed.splitlines() if "No space left" in line]
    assert not list(folder.glob("*_xapi_*-????????.log"))
    small_volume(folder, "64m")
    site.replay()
    [statements] = folder.glob("*_xapi_*-????????.log")
    lines = statements.read_text().splitlines()
    assert len(lines) == EXPECTED.statements
    assert statements.stat().st_uid == 1000
    found(
        f"status 4, {said.strip()!r}; with more room the second run left {len(lines)} statements in {statements.name}"
    )


def test_development_mode(new_site: MakeSite, lrs: Lrs, found: Say) -> None:
    site = new_site(TRANSFORM_LOGS_LRS_ENDPOINTS=[lrs.endpoint])
    site.place("tracking.log", samples.content("tracking.log"))

    site.replay(mode="dev")

    count = lrs.count()
    assert count == samples.expected("xapi", "tracking.log").distinct_statements
    # Development's own address: the settings are lms.envs.tutor.development.
    assert "http://lms.example.org:8000/" in json.dumps(lrs.statements())
    found(f"Ralph has {count} statements, with the addresses of lms.envs.tutor.development")
