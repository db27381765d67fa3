"""Which objects of the source a run looks at: by prefix, by the patterns of the config, by the dates in names."""

from __future__ import annotations

import logging

from ..config.schema import JobConfig
from ..read.filters import Filters
from ..storage.base import UNKNOWN_BYTES, Source, StoredObject
from ..util.errors import JobError
from .file_dates import outside

log = logging.getLogger(__name__)


def select_objects(
    config: JobConfig, source: Source, must_exist: bool
) -> tuple[list[StoredObject], list[StoredObject]]:
    """The objects to read, and those skipped because of the date in their names; both in order.

    Raises :class:`~.errors.JobError` if there is none at all and ``must_exist``.
    """
    prefixes = config.source.prefixes
    where = " or ".join(map(source.where, prefixes))
    below = {prefix: list(source.listing(prefix)) for prefix in prefixes}
    listed = [obj for found in below.values() for obj in found]
    if not listed and must_exist:
        raise JobError(
            f"No object found whose name begins with {where}: "
            "check TRANSFORM_LOGS_SOURCE_CONTAINER and ..._SOURCE_PREFIX."
        )
    for prefix in (prefix for prefix in prefixes if listed and not below[prefix]):
        log.warning(
            "No object found whose name begins with %s: only the other prefixes are read.", source.where(prefix)
        )
    filters = Filters.of(config)
    # Of a folder that can't be listed, nobody knows which files are in it.
    closed = {obj.name for obj in listed if obj.name.endswith("/") and obj.size == UNKNOWN_BYTES}
    found = [obj for obj in listed if obj.name in closed or filters.takes_object(obj.name)]
    if not found and must_exist:
        raise JobError(
            f"files: {' or '.join(config.files)} matches none of the {len(listed):,} objects whose names begin with "
            f"{where}. A pattern is for the whole name below the container, such as {listed[0].name}."
        )
    unread: set[str] = set()
    if config.trust_file_dates:
        unread = outside((obj.name for obj in found), config.since, config.until)
    return [obj for obj in found if obj.name not in unread], [obj for obj in found if obj.name in unread]
