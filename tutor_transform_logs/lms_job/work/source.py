"""Opens the source of a job: the storage or the table that its config names."""

from __future__ import annotations

from collections.abc import Callable

from ..config.schema import StorageConfig
from ..config.settings import CLICKHOUSE
from ..read.archives import Archives
from ..storage.base import Source
from ..storage.factory import open_objects


def open_source(config: StorageConfig, max_wait_secs: float, was_reached: Callable[[], bool] = lambda: False) -> Source:
    """What logs are read from. The parameters are those of :func:`~.storage.factory.open_storage`."""
    if config.provider == CLICKHOUSE:
        # Imported here: not every job has to do with ClickHouse.
        from ..deliver.tracking_table import TrackingTable

        return TrackingTable(config, max_wait_secs, was_reached)
    return Archives(open_objects(config, max_wait_secs, was_reached))
