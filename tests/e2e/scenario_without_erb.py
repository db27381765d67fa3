"""A site whose LMS image is as Open edX ships it: without event-routing-backends and libcloud."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

import pytest

from tests.e2e import images as image_module
from tests.e2e.docker import Docker
from tests.e2e.images import NEEDED, Images
from tests.e2e.site import MakeSite
from tests.harness.ralph import Lrs
from tutor_transform_logs.demo import samples

Say = Callable[[str], None]

VERSIONS = ("django", "edx-event-routing-backends", "apache-libcloud", "django-redis")


def _versions(docker: Docker, image: str) -> dict[str, str]:
    listed = docker("run", "--rm", "--network=none", image, "pip", "list", "--format=freeze").lower()
    pairs = [line.split("==") for line in listed.splitlines() if "==" in line]
    return {name: version for name, version in pairs if name in VERSIONS}


@pytest.mark.older_lms
def test_job_says_what_is_missing_and_its_commands_fix_it(
    new_site: MakeSite, lrs: Lrs, docker: Docker, images: Images, found: Say
) -> None:
    site = new_site(DOCKER_IMAGE_OPENEDX=images.lms_without_erb, erb_tables=False)
    site.place("tracking.log", samples.content("tracking.log"))

    printed = site.replay(status=1)

    lines = printed.splitlines()
    [index] = [number for number, line in enumerate(lines) if line.startswith("The LMS image lacks")]
    assert "edx-event-routing-backends" in lines[index]
    assert not (site.data / "transform-logs").exists()
    commands = lines[index + 1].removeprefix("Run: ").split(" && ")
    assert [command.split()[0] for command in commands] == ["tutor"] * 3

    # The commands as they are, but with the package index that there is here.
    with image_module.served(images.index) as index_url:
        build = [*shlex.split(commands[0])[1:], "-a", f"PIP_INDEX_URL={index_url}", "--docker-arg=--network=host"]
        site.tutor(*build)
    [tag] = [line for line in site.tutor("images", "printtag", "transform-logs").splitlines() if "transform" in line]
    site.tutor(*shlex.split(commands[1])[1:])
    made = site.tutor(*shlex.split(commands[2])[1:])
    assert "Applying event_routing_backends." in made
    site.save(TRANSFORM_LOGS_LRS_ENDPOINTS=[lrs.endpoint])
    site.replay()

    count = lrs.count()
    assert count == samples.expected("xapi", "tracking.log").distinct_statements
    before, after = (_versions(docker, image) for image in (images.lms_without_erb, tag))
    assert before["django"] == after["django"] < "5"
    found(f"with {tag} ({', '.join(f'{k} {v}' for k, v in after.items())}) Ralph has {count} statements")
    again = site.tutor("local", "do", "init", "--limit=transform_logs")
    assert "No migrations to apply" in again


def test_without_constraints_pip_would_replace_django(
    docker: Docker, images: Images, lms_image: str, found: Say
) -> None:
    """The reason for the constraints, and that they hold in the image that the patch of Tutor's Dockerfile makes."""
    with image_module.served(images.index) as index_url:
        plain = ["pip", "install", "--dry-run", f"--index-url={index_url}", *NEEDED]
        said = docker("run", "--rm", "--network=host", images.lms_without_erb, *plain)
    would = re.search(r"Would install .*(?P<django>\bDjango-5\S+)", said)
    before, after = (_versions(docker, image) for image in (images.lms_without_erb, lms_image))
    assert would is not None
    assert before["django"] == after["django"] < "5"
    assert set(after) == set(VERSIONS)
    found(f"plain pip would install {would['django']}; the patched image has {after}")


def test_image_in_a_registry(new_site: MakeSite, images: Images, found: Say) -> None:
    """Nobody listens at that port, so what would go over the wire is as far as this can look."""
    site = new_site(DOCKER_REGISTRY="127.0.0.1:1/", DOCKER_IMAGE_OPENEDX=images.lms_without_erb)
    tag = "127.0.0.1:1/openedx-transform-logs:"
    [whole_tag] = re.findall(rf"{tag}\S+", site.tutor("images", "printtag", "transform-logs"))
    for verb in ("pull", "push"):
        # Sites with no such image are not asked for it.
        assert "could not be found" in site.tutor("images", verb, "transform-logs", status=1)
    site.save(TRANSFORM_LOGS_DOCKER_IMAGE=whole_tag)
    for verb in ("pull", "push"):
        assert re.search(rf"docker {verb} {tag}\d", site.tutor("images", verb, "transform-logs", status=1))
    found(f"build, pull and push are for {tag}...")
