"""Opens the source of a job: the storage that its config names, with the archives in it."""

from __future__ import annotations

from collections.abc import Callable

from ..config.schema import StorageConfig
from ..storage.base import Source
from ..storage.factory import open_objects
from .archives import Archives


def open_source(config: StorageConfig, max_wait_secs: float, was_reached: Callable[[], bool] = lambda: False) -> Source:
    """What logs are read from. The parameters are those of :func:`~.storage.factory.open_storage`."""
    return Archives(open_objects(config, max_wait_secs, was_reached))
