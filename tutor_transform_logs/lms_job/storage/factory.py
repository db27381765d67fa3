"""Opens the storage that a config names."""

from __future__ import annotations

from collections.abc import Callable

from ..config.schema import StorageConfig
from .base import Source, Storage


def open_objects(
    config: StorageConfig, max_wait_secs: float, was_reached: Callable[[], bool] = lambda: False
) -> Source:
    """The storage that logs are read from, as :func:`open_storage`. A file that can't be read counts as gone."""
    if config.is_local:
        from .local import LocalSource

        return LocalSource(config.root)
    from .cloud_source import CloudSource

    return CloudSource(config, max_wait_secs, was_reached)


def open_storage(
    config: StorageConfig, max_wait_secs: float, was_reached: Callable[[], bool] = lambda: False
) -> Storage:
    """The storage that ``config`` names. ``max_wait_secs`` bounds the wait for a store that is unavailable.

    ``was_reached``: has it answered to an earlier run? Otherwise a host that is not there is a typo.
    """
    # Imported here: a run with local files only does not need libcloud, which takes a while to import.
    if config.is_local:
        from .local import LocalStorage

        return LocalStorage(config.root)
    from .cloud import CloudStorage

    return CloudStorage(config, max_wait_secs, was_reached)
