"""The image that ``tutor images build transform-logs`` builds: the LMS image and the packages that the job needs."""

from __future__ import annotations

import os
from typing import Any

from tutor.types import Config

from tutor_transform_logs.lms_job.config.settings import PREFIX

IMAGE_NAME = "transform-logs"
BUILD = "transform_logs/build"
TAG = "{{ DOCKER_REGISTRY }}openedx-transform-logs:{{ TRANSFORM_LOGS_VERSION }}"


def add_to_build(images: list[Any], config: Config) -> list[Any]:
    """Filter of Tutor's IMAGES_BUILD."""
    return [*images, (IMAGE_NAME, os.path.join("plugins", BUILD, IMAGE_NAME), _set_image(config) or TAG, ())]


def add_to_share(images: list[tuple[str, str]], config: Config) -> list[tuple[str, str]]:
    """Filter of Tutor's IMAGES_PULL and IMAGES_PUSH.

    The image is added only if ``TRANSFORM_LOGS_DOCKER_IMAGE`` is set. Other sites do not have it, and ``tutor images
    pull all`` would fail there.
    """
    tag = _set_image(config)
    return [*images, (IMAGE_NAME, tag)] if tag else images


def _set_image(config: Config) -> str:
    return str(config.get(f"{PREFIX}DOCKER_IMAGE") or "")
