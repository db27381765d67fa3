"""The job's config file as typed values, and the checks of values that depend on each other.

The file is one flat JSON object. A key is the name of the Tutor setting in lower case without its prefix
``TRANSFORM_LOGS_``; an absent key, or ``null``, means the default. :mod:`.settings` has the keys, their defaults and
their checks. The host runs the same checks before it starts a container, so this module needs nothing but the
standard library.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..util import iso_times
from ..util.timetable import Timetable
from . import validators
from .setting import TEXT, TEXTS
from .settings import BY_KEY, CLICKHOUSE, CLICKHOUSE_KEYS, LOCAL, LRS, RAW_XAPI_TABLE, RUN_SETTINGS, STORAGE_KEYS
from .validators import ConfigError, Endpoint

# What a stock Tutor site has: the LMS's data directory at /openedx/data, its tracking log in logs/tracking.log.
LOCAL_KEY = "/openedx/data"
LOCAL_CONTAINERS = {"source": "logs", "ledger": "transform-logs"}
LOCAL_PREFIXES = {"source": "tracking.log"}
DEFAULT_PROVIDERS = {"source": LOCAL, "destination": LRS, "ledger": LOCAL}
NO_STORAGE = (LRS, CLICKHOUSE)
"""What statements go to that does not store files. Logs are read from a table in ClickHouse, too."""
DEFAULT_BATCH = {"batch_size": 1000, "batch_max_bytes": 8 * 1024**2}
# An insert of many rows costs ClickHouse little more than one of few, and each insert makes a part to be merged.
DEFAULT_CLICKHOUSE_BATCH = {"batch_size": 10_000, "batch_max_bytes": 32 * 1024**2}


@dataclass(frozen=True)
class StorageConfig:
    """Where objects lie: a libcloud provider with its credentials, a container in it and a prefix of object names."""

    provider: str
    container: str
    prefix: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    host: str
    port: int | None
    secure: bool | None
    region: str
    token: str = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    more_prefixes: tuple[str, ...] = ()
    """Of a source that has several prefixes: those after the first. Sorted, and none begins with another one."""

    @property
    def prefixes(self) -> tuple[str, ...]:
        """All prefixes, in the order of their objects' names. No object's name begins with two of them."""
        return (self.prefix, *self.more_prefixes)

    @property
    def is_local(self) -> bool:
        return self.provider == LOCAL

    @property
    def needs_libcloud(self) -> bool:
        return self.provider not in (LOCAL, *NO_STORAGE)

    @property
    def root(self) -> str:
        """The absolute directory of a LOCAL container."""
        return posixpath.join(self.key, self.container)

    def identity(self) -> dict[str, object]:
        """What says which store this is, without a secret: part of the job key, and safe to print."""
        # One prefix is a text, as it was before there could be several.
        prefix = list(self.prefixes) if self.more_prefixes else self.prefix
        if self.is_local:
            return {"provider": LOCAL, "container": self.root, "prefix": prefix}
        names = {"provider": self.provider, "container": self.container, "prefix": prefix}
        return {**names, "host": self.host, "port": self.port, "region": self.region}

    def __str__(self) -> str:
        where = self.root if self.is_local else f"{self.host or ''}/{self.container}"
        return f"{self.provider} {', '.join(f'{where}/{prefix}' for prefix in self.prefixes)}"


@dataclass(frozen=True)
class ClickHouseConfig:
    """A table of ClickHouse and the user that writes to it; without ``url``, the LMS settings say where it is."""

    url: str
    username: str = field(repr=False)
    password: str = field(repr=False)
    database: str
    table: str

    def identity(self) -> dict[str, object]:
        """What says which table this is, without a secret: part of the job key, and safe to print."""
        return {"provider": CLICKHOUSE, "url": self.url, "database": self.database, "table": self.table}


@dataclass(frozen=True)
class JobConfig:
    """All that a run needs to know: a field for each row of the table. Sizes are in bytes, times in seconds."""

    source: StorageConfig
    destination: StorageConfig | None
    """``None``: the destination is ClickHouse or the LRS."""
    clickhouse: ClickHouseConfig | None
    """``None``: the destination is another."""
    ledger: StorageConfig
    transformer_type: str
    lrs_endpoints: tuple[Endpoint, ...] = field(repr=False)
    lrs_urls: tuple[str, ...]
    lrs_timeout_secs: float
    lrs_max_wait_secs: float
    batch_size: int
    batch_max_bytes: int
    sleep_between_batches_secs: float
    workers: int | str
    max_requests_in_flight: int
    """How many requests an LRS, or ClickHouse, gets at the same time, from all workers and pods."""
    max_events_per_second: float | Timetable
    database_alias: str
    dry_run: bool
    strict: bool
    log_statements: bool
    log_format: str
    quiet: bool
    max_line_bytes: int
    max_invalid_ratio: float
    max_dead_letters: str
    """``""``: any number of them."""
    segment_bytes: int
    output_layout: str
    output_compression: str
    output_max_bytes: int
    caliper_stable_ids: bool
    fast_path: bool
    include_deleted_users: bool
    since: datetime | None
    until: datetime | None
    event: tuple[str, ...]
    exclude_event: tuple[str, ...]
    course: tuple[str, ...]
    org: tuple[str, ...]
    files: tuple[str, ...]
    trust_file_dates: bool
    limit: int
    """How many events a run may deliver; 0: all."""
    max_duration: float
    """How long a run may take; 0: as long as it takes."""
    notify: str = field(repr=False)
    metrics_file: str
    verify_sample: int
    """How many lines; 0: all."""
    restart: bool
    retry_failed: bool
    repair: bool


def _storage(raw: Mapping[str, Any], role: str) -> StorageConfig:
    settings = {name: BY_KEY[f"{role}_{name}"] for name in STORAGE_KEYS}
    values = {name: setting.value(raw.get(setting.key)) for name, setting in settings.items()}
    values |= {name: values[name] or "" for name, setting in settings.items() if setting.kind in (TEXT, TEXTS)}
    provider = values["provider"].strip().upper() or DEFAULT_PROVIDERS[role]
    values.update(provider=provider, options=values["options"] or {})
    if provider == LOCAL:
        values["key"] = values["key"] or LOCAL_KEY
        values["container"] = values["container"] or LOCAL_CONTAINERS.get(role, "")
        if raw.get(f"{role}_prefix") is None:
            values["prefix"] = LOCAL_PREFIXES.get(role, "")
        _check_local(role, values["key"], values["container"])
    else:
        validators.header_text(f"{role}_key", values["key"])
        validators.text(f"{role}_container", values["container"])
    if provider == CLICKHOUSE and role == "source":
        _check_table(values)
    values["prefix"], *more = _prefixes(role, provider, values["prefix"])
    if not values["container"] and provider not in NO_STORAGE:
        what = "the name of one directory in the key" if provider == LOCAL else "the name of a bucket that exists"
        raise ConfigError(f"{role}_container", f"not set, and {provider} needs one", what)
    return StorageConfig(**values, more_prefixes=tuple(more))


def _prefixes(role: str, provider: str, given: str | tuple[str, ...]) -> Sequence[str]:
    """The prefixes of a ``role``, sorted, without those that begin with another one: they find nothing more."""
    key = f"{role}_prefix"
    prefixes = sorted({prefix.lstrip("/") for prefix in ((given,) if isinstance(given, str) else given)})
    for prefix in prefixes:
        if provider != LOCAL:
            validators.text(key, prefix)
        if ".." in prefix.split("/"):
            raise ConfigError(key, f"{validators.shown(prefix)} leads out of the container", 'no ".." in it')
    if provider == CLICKHOUSE and len({prefix.partition("/")[0] for prefix in prefixes}) > 1:
        raise ConfigError(key, f"{validators.shown(prefixes)} are several tables", "one table; dates of it behind a /")
    return [
        prefix for prefix in prefixes if not any(prefix != other and prefix.startswith(other) for other in prefixes)
    ]


def _check_table(values: Mapping[str, Any]) -> None:
    """All that names a table of raw tracking logs. Raises :class:`ConfigError`."""
    for name, what in (
        ("host", "the host of ClickHouse's HTTP interface"),
        ("container", "the name of a database, such as openedx"),
        ("prefix", "the name of a table, such as _tracking, and the beginning of a date behind a /"),
    ):
        if not values[name]:
            raise ConfigError(f"source_{name}", f"not set, and {CLICKHOUSE} needs one", what)


def _check_local(role: str, key: str, container: str) -> None:
    if not key.startswith("/"):
        # Not repeated: with the provider forgotten, it is an object store's access key.
        allowed = f"a directory in the container, or another {role}_provider"
        raise ConfigError(f"{role}_key", f"the value is not an absolute path, as {LOCAL} needs it", allowed)
    if "/" in container or container in (".", ".."):
        allowed = "the name of one directory in the key; what lies below it goes in the prefix"
        raise ConfigError(f"{role}_container", f"{validators.shown(container)} is not one directory's name", allowed)


def _clickhouse(raw: Mapping[str, Any]) -> ClickHouseConfig:
    values = {name: BY_KEY[f"clickhouse_{name}"].value(raw.get(f"clickhouse_{name}")) for name in CLICKHOUSE_KEYS}
    return ClickHouseConfig(**{**values, "table": values["table"] or RAW_XAPI_TABLE})


def _check_complete(config: ClickHouseConfig) -> None:
    """All of it, or nothing but the table. Raises :class:`ConfigError`."""
    given = {"username": config.username, "password": config.password, "database": config.database}
    for name in (name for name, value in given.items() if value and not config.url):
        allowed = "the URL of ClickHouse's HTTP interface"
        raise ConfigError("clickhouse_url", f"not set, but clickhouse_{name} is", allowed)
    if config.url and not config.database:
        raise ConfigError("clickhouse_database", "not set", "the name of the database that the table is in")


def overlaps(written: StorageConfig, read: StorageConfig) -> bool:
    """Would objects written below ``written`` be found among the objects that ``read`` lists?"""
    if written.provider != read.provider:
        return False
    if read.is_local:
        below = posixpath.join(posixpath.normpath(written.root), written.prefix)
        root = posixpath.normpath(read.root)
        return any(f"{below.rstrip('/')}/".startswith(posixpath.join(root, prefix)) for prefix in read.prefixes)
    same_store = (written.host, written.port, written.container) == (read.host, read.port, read.container)
    below = f"{written.prefix.rstrip('/')}/" if written.prefix.rstrip("/") else ""
    return same_store and below.startswith(read.prefixes)


def load(raw: Mapping[str, Any]) -> JobConfig:
    """Check ``raw`` (the parsed config file) and return it as a :class:`JobConfig`.

    Raises :class:`ConfigError` for the first key that can't be used.
    """
    for key in raw:
        if key not in BY_KEY:
            raise ConfigError(
                str(key), "there is no such key", "names of settings in lower case, without TRANSFORM_LOGS_"
            )
    source = _storage(raw, "source")
    destination = _storage(raw, "destination")
    ledger = _storage(raw, "ledger")
    values = {setting.key: setting.value(raw.get(setting.key)) for setting in RUN_SETTINGS}
    for role, storage in (("source", source), ("ledger", ledger)):
        if storage.provider == LRS or (storage.provider == CLICKHOUSE and role == "ledger"):
            what = "is a destination only" if storage.provider == LRS else "can't hold a ledger"
            raise ConfigError(f"{role}_provider", f'"{storage.provider}" {what}', "LOCAL, S3, MINIO, ...")
    to_files = destination.provider not in NO_STORAGE
    to_clickhouse = destination.provider == CLICKHOUSE
    table = _clickhouse(raw)
    if to_clickhouse:
        _check_complete(table)
        if values["transformer_type"] != "xapi":
            allowed = "xapi; or set destination_provider to LRS or to a provider of files"
            raise ConfigError("transformer_type", "ClickHouse has a table for xAPI statements only", allowed)
    for key, default in (DEFAULT_CLICKHOUSE_BATCH if to_clickhouse else DEFAULT_BATCH).items():
        values[key] = default if values[key] is None else values[key]
    if to_files and overlaps(destination, source):
        problem = f"{destination} is in the source ({source}): what is written would be read again"
        raise ConfigError("destination_prefix", problem, "another container or prefix than the source's")
    if overlaps(ledger, source):
        problem = f"{ledger} is in the source ({source}): the ledger would be read as a log"
        raise ConfigError("ledger_prefix", problem, "another container or prefix than the source's")
    if values["lrs_timeout_secs"] == 0:
        raise ConfigError("lrs_timeout_secs", "0 would wait for ever", "a number above 0")
    since, until = values["since"], values["until"]
    if since and until and since >= until:
        problem = f"{iso_times.in_utc(until)} is not after since ({iso_times.in_utc(since)})"
        raise ConfigError("until", problem, "a time after since; a date counts whole")
    return JobConfig(
        source=source,
        destination=destination if to_files else None,
        clickhouse=table if to_clickhouse else None,
        ledger=ledger,
        **values,
    )


def read(text: str) -> JobConfig:
    """Parse and check the text of a config file. Raises :class:`ConfigError`."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError("--config", f"the file is not JSON ({error})", "one JSON object") from None
    if not isinstance(raw, dict):
        raise ConfigError("--config", "the file's JSON is not an object", "one JSON object")
    return load(raw)
