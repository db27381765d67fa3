"""The image that ``tutor images build transform-logs`` builds: the LMS image and the packages that the job needs."""

from __future__ import annotations

import os
from typing import Any

from tutor import env as tutor_env
from tutor.types import Config

from tutor_transform_logs.lms_job.config.setting import PREFIX

IMAGE_NAME = "transform-logs"
BUILD = "transform_logs/build"
IMAGE_REPOSITORY = "openedx-transform-logs"
# It has the LMS in it, so that another version of Tutor has another image.
TAG = f"{{{{ DOCKER_REGISTRY }}}}{IMAGE_REPOSITORY}:{{{{ TRANSFORM_LOGS_VERSION }}}}-{{{{ TUTOR_VERSION }}}}"
# For templates (see patches/). In the file of settings a tag would stay as it is: IMAGE_NAME stands for that of the
# versions that there are.
TAG_SETTING = f"{PREFIX}BUILT_IMAGE"
BUILD_AGAIN = f"Run: tutor images build {IMAGE_NAME} && tutor config save --set {PREFIX}DOCKER_IMAGE={IMAGE_NAME}"


def add_to_build(images: list[Any], config: Config) -> list[Any]:
    """Filter of Tutor's IMAGES_BUILD."""
    tag = _set_image(config)
    tag = TAG if not tag or is_built_here(tag) else tag
    return [*images, (IMAGE_NAME, os.path.join("plugins", BUILD, IMAGE_NAME), tag, ())]


def add_to_share(images: list[tuple[str, str]], config: Config) -> list[tuple[str, str]]:
    """Filter of Tutor's IMAGES_PULL and IMAGES_PUSH.

    The image is added only if ``TRANSFORM_LOGS_DOCKER_IMAGE`` is set. Other sites do not have it, and ``tutor images
    pull all`` would fail there.
    """
    tag = _set_image(config)
    return [*images, (IMAGE_NAME, TAG if is_built_here(tag) else tag)] if tag else images


def is_built_here(image: str) -> bool:
    """Is it one that ``tutor images build transform-logs`` has built, of whatever version?"""
    return image.rpartition("/")[2].partition(":")[0] == IMAGE_REPOSITORY


def describe_outdated(config: Config) -> str:
    """A line about the image that is set, if it was built for another version of Tutor or of this plugin, or ``""``."""
    image, current = _set_image(config), tutor_env.render_str(config, TAG)
    if not is_built_here(image) or image.rpartition(":")[2] == current.rpartition(":")[2]:
        return ""
    return (
        f"{PREFIX}DOCKER_IMAGE is {image}, which was built for another version of Tutor or of this plugin and may have "
        f"another LMS. {BUILD_AGAIN}"
    )


def full_name(image: str, config: Config) -> str:
    """The tag of an image as it is set: of the one that is built here, that of the versions that there are."""
    return tutor_env.render_str(config, TAG) if image == IMAGE_NAME else image


def _set_image(config: Config) -> str:
    return full_name(str(config.get(f"{PREFIX}DOCKER_IMAGE") or ""), config)
