"""The job's config file: what may stand in it, what it means when it is absent, and the check of every value.

The file is one flat JSON object. A key is the name of the Tutor setting in lower case without its prefix
``TRANSFORM_LOGS_``; an absent key, or ``null``, means the default. The host runs the same checks before it starts
a container, so this module needs nothing but the standard library.
"""

from __future__ import annotations

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ..util import console, iso_times
from ..util.cpus import AUTO_WORKERS
from . import validators
from .validators import ConfigError

LOCAL = "LOCAL"
LRS = "LRS"
TRANSFORMER_TYPES = ("xapi", "caliper")
OUTPUT_LAYOUTS = ("single", "batches")
OUTPUT_COMPRESSIONS = ("none", "gzip")

ROLES = ("source", "destination", "ledger")
STORAGE_KEYS = (
    "provider", "key", "secret", "container", "prefix", "host", "port", "secure", "region", "token", "options",
)  # fmt: skip

# What a stock Tutor site has: the LMS's data directory at /openedx/data, its tracking log in logs/tracking.log.
LOCAL_KEY = "/openedx/data"
LOCAL_CONTAINERS = {"source": "logs", "ledger": "transform-logs"}
LOCAL_PREFIXES = {"source": "tracking.log"}
PROVIDERS = {"source": LOCAL, "destination": LRS, "ledger": LOCAL}


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

    @property
    def is_local(self) -> bool:
        return self.provider == LOCAL

    @property
    def root(self) -> str:
        """The absolute directory of a LOCAL container."""
        return posixpath.join(self.key, self.container)

    def identity(self) -> dict[str, object]:
        """What says which store this is, without a secret: part of the job key, and safe to print."""
        if self.is_local:
            return {"provider": LOCAL, "container": self.root, "prefix": self.prefix}
        names = {"provider": self.provider, "container": self.container, "prefix": self.prefix}
        return {**names, "host": self.host, "port": self.port, "region": self.region}

    def __str__(self) -> str:
        where = self.root if self.is_local else f"{self.host or ''}/{self.container}"
        return f"{self.provider} {where}/{self.prefix}"


@dataclass(frozen=True)
class Endpoint:
    """An LRS named in the settings: the URL of its xAPI (or Caliper) resource and Basic or Bearer credentials."""

    url: str
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    bearer: str = field(default="", repr=False)


@dataclass(frozen=True)
class JobConfig:
    """All that a run needs to know. Sizes are in bytes, times in seconds."""

    source: StorageConfig
    destination: StorageConfig | None
    """``None``: the destination is the LRS."""
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
    max_events_per_second: float
    database_alias: str
    dry_run: bool
    strict: bool
    log_statements: bool
    log_format: str
    quiet: bool
    max_line_bytes: int
    segment_bytes: int
    output_layout: str
    output_compression: str
    output_max_bytes: int
    caliper_stable_ids: bool
    fast_path: bool
    since: datetime | None
    until: datetime | None
    event: tuple[str, ...]
    exclude_event: tuple[str, ...]
    course: tuple[str, ...]
    org: tuple[str, ...]
    files: tuple[str, ...]
    trust_file_dates: bool
    verify_sample: int
    """How many lines; 0: all."""
    restart: bool
    retry_failed: bool
    repair: bool


def _workers(key: str, value: Any) -> int | str:
    if value == AUTO_WORKERS:
        return AUTO_WORKERS
    try:
        return int(validators.whole(1)(key, value))
    except ConfigError as error:
        raise ConfigError(key, error.problem, f'{error.allowed}, or "{AUTO_WORKERS}"') from None


def _endpoints(key: str, value: Any) -> tuple[Endpoint, ...]:
    allowed = 'a list of {"url", "username", "password"} or {"url", "bearer"}'
    value = validators.from_json(key, value, allowed) if value != "" else []
    if not isinstance(value, (list, tuple)):
        raise ConfigError(key, "the value is not a list", allowed)
    endpoints = []
    for number, item in enumerate(value, 1):
        if not isinstance(item, Mapping) or "url" not in item:
            raise ConfigError(key, f'entry {number} has no "url"', allowed)
        unknown = sorted(set(map(str, item)) - {"url", "username", "password", "bearer"})
        if unknown:
            raise ConfigError(key, f"entry {number} has the unknown field {validators.shown(unknown[0])}", allowed)
        if item.get("bearer") and (item.get("username") or item.get("password")):
            raise ConfigError(key, f"entry {number} has both a bearer token and a user name or password", allowed)
        texts = {name: validators.text(key, item[name]) for name in item if item[name] is not None and name != "url"}
        endpoints.append(Endpoint(url=validators.url(key, item["url"]), **texts))
    return tuple(endpoints)


@dataclass(frozen=True)
class Field:
    """One key of the config file: its default and its check."""

    default: Any
    check: validators.Check


FIELDS: dict[str, Field] = {
    "transformer_type": Field("xapi", validators.one_of(*TRANSFORMER_TYPES)),
    "lrs_endpoints": Field((), _endpoints),
    "lrs_urls": Field((), validators.urls),
    "lrs_timeout_secs": Field(60.0, validators.number),
    "lrs_max_wait_secs": Field(600.0, validators.number),
    "batch_size": Field(1000, validators.whole(1)),
    "batch_max_bytes": Field(8 * 1024**2, validators.whole(1024)),
    "sleep_between_batches_secs": Field(0.0, validators.number),
    "workers": Field(1, _workers),
    "max_events_per_second": Field(0.0, validators.number),
    "database_alias": Field("", validators.text),
    "dry_run": Field(False, validators.boolean),
    "strict": Field(False, validators.boolean),
    "log_statements": Field(False, validators.boolean),
    "log_format": Field(console.TEXT, validators.one_of(*console.LOG_FORMATS)),
    "quiet": Field(False, validators.boolean),
    "max_line_bytes": Field(16 * 1024**2, validators.whole(1024)),
    "segment_bytes": Field(256 * 1024**2, validators.whole(64 * 1024)),
    "output_layout": Field("single", validators.one_of(*OUTPUT_LAYOUTS)),
    "output_compression": Field("none", validators.one_of(*OUTPUT_COMPRESSIONS)),
    "output_max_bytes": Field(32 * 1024**3, validators.whole(1)),
    "caliper_stable_ids": Field(True, validators.boolean),
    "fast_path": Field(True, validators.boolean),
    "since": Field(None, validators.since),
    "until": Field(None, validators.until),
    "event": Field((), validators.patterns),
    "exclude_event": Field((), validators.patterns),
    "course": Field((), validators.patterns),
    "org": Field((), validators.patterns),
    "files": Field((), validators.patterns),
    "trust_file_dates": Field(False, validators.boolean),
    "verify_sample": Field(0, validators.whole(0)),
    "restart": Field(False, validators.boolean),
    "retry_failed": Field(False, validators.boolean),
    "repair": Field(False, validators.boolean),
}
STORAGE_FIELDS: dict[str, Field] = {
    "provider": Field("", validators.text),
    "key": Field("", validators.text),
    "secret": Field("", validators.text),
    "container": Field("", validators.text),
    "prefix": Field("", validators.text),
    "host": Field("", validators.text),
    "port": Field(None, validators.whole(1, 65535)),
    "secure": Field(None, validators.boolean),
    "region": Field("", validators.text),
    "token": Field("", validators.text),
    "options": Field((), validators.mapping),
}
KEYS = (*(f"{role}_{name}" for role in ROLES for name in STORAGE_KEYS), *FIELDS)

MAY_BE_EMPTY = (validators.text, validators.mapping, validators.urls, _endpoints)


def _value(raw: Mapping[str, Any], key: str, spec: Field) -> Any:
    value = raw.get(key)
    if value is None or (value == "" and spec.check not in MAY_BE_EMPTY):
        return spec.default
    return spec.check(key, value)


def _storage(raw: Mapping[str, Any], role: str) -> StorageConfig:
    provider = _value(raw, f"{role}_provider", STORAGE_FIELDS["provider"]).strip().upper() or PROVIDERS[role]
    values = {name: _value(raw, f"{role}_{name}", STORAGE_FIELDS[name]) for name in STORAGE_KEYS}
    values.update(provider=provider, options=dict(values["options"]))
    if provider == LOCAL:
        values["key"] = values["key"] or LOCAL_KEY
        values["container"] = values["container"] or LOCAL_CONTAINERS.get(role, "")
        if raw.get(f"{role}_prefix") is None:
            values["prefix"] = LOCAL_PREFIXES.get(role, "")
        _check_local(role, values["key"], values["container"])
    values["prefix"] = values["prefix"].lstrip("/")
    if ".." in values["prefix"].split("/"):
        raise ConfigError(
            f"{role}_prefix", f"{validators.shown(values['prefix'])} leads out of the container", 'no ".." in it'
        )
    if not values["container"] and provider != LRS:
        what = "the name of one directory in the key" if provider == LOCAL else "the name of a bucket that exists"
        raise ConfigError(f"{role}_container", f"not set, and {provider} needs one", what)
    return StorageConfig(**values)


def _check_local(role: str, key: str, container: str) -> None:
    if not key.startswith("/"):
        # Not repeated: with the provider forgotten, it is an object store's access key.
        allowed = f"a directory in the container, or another {role}_provider"
        raise ConfigError(f"{role}_key", f"the value is no absolute path, as {LOCAL} needs it", allowed)
    if "/" in container or container in (".", ".."):
        allowed = "the name of one directory in the key; what lies below it goes in the prefix"
        raise ConfigError(f"{role}_container", f"{validators.shown(container)} is not one directory's name", allowed)


def overlaps(written: StorageConfig, read: StorageConfig) -> bool:
    """Would objects written below ``written`` be found among the objects that ``read`` lists?"""
    if written.provider != read.provider:
        return False
    if read.is_local:
        below = posixpath.join(posixpath.normpath(written.root), written.prefix)
        return f"{below.rstrip('/')}/".startswith(posixpath.join(posixpath.normpath(read.root), read.prefix))
    same_store = (written.host, written.port, written.container) == (read.host, read.port, read.container)
    below = f"{written.prefix.rstrip('/')}/" if written.prefix.rstrip("/") else ""
    return same_store and below.startswith(read.prefix)


def load(raw: Mapping[str, Any]) -> JobConfig:
    """Check ``raw`` (the parsed config file) and return it as a :class:`JobConfig`.

    Raises :class:`ConfigError` for the first key that can't be used.
    """
    for key in raw:
        if key not in KEYS:
            raise ConfigError(
                str(key), "there is no such key", "names of settings in lower case, without TRANSFORM_LOGS_"
            )
    source = _storage(raw, "source")
    destination = _storage(raw, "destination")
    ledger = _storage(raw, "ledger")
    values = {key: _value(raw, key, spec) for key, spec in FIELDS.items()}
    for role, storage in (("source", source), ("ledger", ledger)):
        if storage.provider == LRS:
            raise ConfigError(f"{role}_provider", '"LRS" is a destination only', "LOCAL, S3, MINIO, ...")
    if destination.provider != LRS and overlaps(destination, source):
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
        destination=None if destination.provider == LRS else destination,
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
