"""The table of settings: one row for each value that the job takes.

The job reads its config file by this table, and the host takes from it Tutor's defaults, the options of the ``do``
command and the lists in the documentation. What only the host needs (the image, Kubernetes) is in
:mod:`tutor_transform_logs.settings`, in rows of the same type. :class:`.schema.JobConfig` has a typed field for each
row of the job; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..util.console import LOG_FORMATS, TEXT_FORMAT
from ..util.cpus import AUTO_WORKERS
from . import validators
from .providers import STORAGE_PROVIDERS
from .setting import CHOICE, FLAG, JOB, LIST, MAPPING, NUMBER, ONE_RUN, TEXT, TEXTS, TIME, Setting
from .validators import Validator

LOCAL = "LOCAL"
LRS = "LRS"
CLICKHOUSE = "CLICKHOUSE"
ROLES = ("source", "destination", "ledger")
TRANSFORMER_TYPES = ("xapi", "caliper")
RAW_XAPI_TABLE = "xapi_events_all"
"""The table that Aspects stores xAPI statements in, unless its settings say otherwise."""
OUTPUT_LAYOUTS = ("single", "batches")
OUTPUT_COMPRESSIONS = ("none", "gzip")


def _flag(key: str, group: str, meaning: str, default: bool = False, scope: str = JOB) -> Setting:
    return Setting(key, group, FLAG, meaning, validators.boolean, default, scope=scope)


def _choice(key: str, group: str, meaning: str, default: str, choices: tuple[str, ...]) -> Setting:
    return Setting(key, group, CHOICE, meaning, validators.one_of(*choices), default, offered=choices)


def _whole(key: str, group: str, meaning: str, default: int, least: int) -> Setting:
    return Setting(key, group, NUMBER, meaning, validators.whole(least), default)


def _of_a_batch(name: str, meaning: str, least: int, default_text: str) -> Setting:
    return Setting(f"batch_{name}", "Performance", NUMBER, meaning, validators.whole(least), None, default_text)


def _seconds(key: str, group: str, meaning: str, default: float) -> Setting:
    return Setting(key, group, NUMBER, meaning, validators.number, default)


def _globs(key: str, meaning: str, default_text: str = "all") -> Setting:
    return Setting(key, "Filters", LIST, meaning, validators.patterns, (), default_text, metavar="GLOB")


def _storage(role: str, provider: str, container: str, prefix: str, defaults: dict[str, str]) -> Iterator[Setting]:
    """The settings of one ``role``'s storage; the texts are the meanings that differ, ``defaults`` how they read."""

    def row(name: str, kind: str, meaning: str, check: Validator, default: str = "none", **more: Any) -> Setting:
        """A row of the table. Six parameters: its columns."""
        default = defaults.get(name, default)
        return Setting(f"{role}_{name}", role.capitalize(), kind, meaning, check, None, default, **more)

    text = validators.text
    local_key = "LOCAL: an absolute path inside the container, such as /openedx/data; otherwise the access key ID."
    aws_key = "LOCAL: /openedx/data; S3, MINIO: OPENEDX_AWS_ACCESS_KEY"
    others = {"source": (CLICKHOUSE,), "destination": (LRS, CLICKHOUSE)}
    providers = (*others.get(role, ()), *STORAGE_PROVIDERS)
    yield row("provider", TEXT, provider, text, offered=providers)
    yield row("key", TEXT, local_key, validators.one_line, aws_key)
    yield row("secret", TEXT, "Secret access key.", text, "S3, MINIO: OPENEDX_AWS_SECRET_ACCESS_KEY", secret=True)
    in_key = f"LOCAL: a directory directly below the key; otherwise the bucket. {container}"
    yield row("container", TEXT, in_key, validators.name_on_disk)
    kind, check = (TEXTS, validators.names_on_disk) if role == "source" else (TEXT, validators.name_on_disk)
    yield row("prefix", kind, f"{prefix} A leading / is ignored.", check)
    yield row("host", TEXT, "Host of the object store.", validators.host, "MINIO: minio; S3: S3_HOST")
    port = "MINIO: 9000; S3: S3_PORT; the provider's if you set the host"
    yield row("port", NUMBER, "Port of the object store.", validators.whole(1, 65535), port)
    secure = "MINIO: false; S3: S3_USE_SSL; true if you set the host"
    yield row("secure", FLAG, "Connect with HTTPS.", validators.boolean, secure)
    yield row("region", TEXT, "Region of the bucket.", text, "S3: S3_REGION")
    yield row("token", TEXT, "Session token.", validators.header_text, secret=True)
    options = "Further keyword arguments for the libcloud driver, as an object."
    yield row("options", MAPPING, options, validators.mapping, secret=True)


def _clickhouse() -> Iterator[Setting]:
    """The settings of the destination CLICKHOUSE."""

    def row(name: str, meaning: str, default_text: str, check: Validator = validators.text, **more: Any) -> Setting:
        return Setting(f"clickhouse_{name}", "ClickHouse", TEXT, meaning, check, "", default_text, **more)

    url = "URL of ClickHouse's HTTP interface, such as https://clickhouse.example.org:8443."
    yield row("url", url, "Aspects' server", validators.server_url)
    user = "User with the privileges INSERT and SELECT on the table."
    yield row("username", user, "Aspects' user for the database", validators.user_name)
    yield row("password", "Password of the user.", "that of Aspects' user", secret=True)
    yield row("database", "Database that the table is in.", "ASPECTS_XAPI_DATABASE")
    yield row("table", "Table of the xAPI statements.", f"ASPECTS_RAW_XAPI_TABLE, else {RAW_XAPI_TABLE}")


SETTINGS: tuple[Setting, ...] = (
    _choice("transformer_type", "Run", "Type of the statements: xapi or caliper.", "xapi", TRANSFORMER_TYPES),
    _flag("dry_run", "Run", "Transform and count everything, print a sample of the statements, deliver nothing."),
    _flag(
        "log_statements",
        "Run",
        "Write every statement to the LMS's log, too: the loggers xapi_tracking and caliper_tracking pass them on to "
        "the handlers of the root logger, which are the console and all.log.",
    ),
    _choice(
        "log_format",
        "Run",
        "Format of messages and result: text for people, json for one JSON object per line.",
        TEXT_FORMAT,
        LOG_FORMATS,
    ),
    _flag("quiet", "Run", "Print only the result, warnings and errors."),
    _flag("strict", "Run", "Exit with status 3 if there is any dead letter."),
    Setting(
        "limit", "Run", NUMBER, "Stop after about this number of events.", validators.whole(0), 0, "0, which is all"
    ),
    Setting(
        "max_duration",
        "Run",
        NUMBER,
        "Stop after this time: 6h, 1h30m.",
        validators.duration,
        0.0,
        "0, as long as needed",
    ),
    Setting(
        "notify",
        "Run",
        TEXT,
        "At the end of a run, send a summary to this URL (POST, JSON), or run this command with it, on the host.",
        validators.notified,
        "",
        masked=True,
        metavar="COMMAND|URL",
    ),
    Setting(
        "metrics_file",
        "Run",
        TEXT,
        "At the end of a run, write this file for Prometheus: a path in the job's container, such as "
        "/openedx/data/transform-logs-metrics/replay.prom.",
        validators.metrics_file,
        "",
        metavar="PATH",
    ),
    Setting(
        "verify_sample",
        "Run",
        NUMBER,
        "Number of lines, drawn at random, whose statements --verify looks for.",
        validators.whole(0),
        0,
        "0, which is all",
    ),
    _flag("restart", "Run", "Ignore what the ledger records as done and start from the beginning.", scope=ONE_RUN),
    _flag("retry_failed", "Run", "Redeliver the dead letters of earlier runs.", scope=ONE_RUN),
    _flag("repair", "Run", "Verify, then send the statements that are missing. Nothing is overwritten.", scope=ONE_RUN),
    *_storage(
        "source",
        "Storage of the logs: LOCAL, S3, MINIO or another libcloud provider; CLICKHOUSE: a table of raw logs, with the "
        "user in SOURCE_KEY and the password in SOURCE_SECRET.",
        "It must exist. CLICKHOUSE: the database.",
        "Read the objects whose names start with this, or with any of a list. CLICKHOUSE: the table, or the table and "
        "the beginning of a date, such as _tracking/2026-01.",
        {
            "provider": "LOCAL",
            "container": "LOCAL: logs; CLICKHOUSE: that of Aspects or Cairn",
            "prefix": "LOCAL: tracking.log; CLICKHOUSE: that of Aspects or Cairn",
        },
    ),
    Setting(
        "since",
        "Filters",
        TIME,
        "Replay events from this time on: ISO 8601, in UTC unless it has an offset. A date, month or year means its "
        "beginning. Also 7d, 2w (the day that long ago), 12h, today, yesterday.",
        validators.since,
        default_text="no limit",
    ),
    Setting(
        "until",
        "Filters",
        TIME,
        "Replay events before this time: ISO 8601, in UTC unless it has an offset. A date, month or year is included "
        "whole: 2026-01-31 includes that day, 2026-01-31T00:00 does not.",
        validators.until,
        default_text="no limit",
    ),
    _globs("event", "Replay only events with these names: one or more globs, such as edx.video.*."),
    _globs("exclude_event", "Do not replay events with these names: one or more globs.", "none"),
    _globs(
        "course",
        "Replay only events of these courses: one or more course IDs or globs. Events without a course are left out.",
    ),
    _globs(
        "org",
        "Replay only events of these organisations: one or more names or globs. An event's organisation is its org_id, "
        "or else the one in its course ID. Events with neither are left out.",
    ),
    _globs(
        "files",
        "Read only these of the objects that the prefix finds: one or more globs for the full name below the "
        "container.",
    ),
    _flag(
        "trust_file_dates",
        "Filters",
        "With since or until, do not open logs that the date in their name rules out. The date is taken as the day "
        "of rotation, or that of collection (date=2026-01-31/, 2026/01/31/14/): the log holds events from the day "
        "before the previous log's date to the day after its own.",
    ),
    *_storage(
        "destination",
        "Where the statements go: LRS, CLICKHOUSE, or for files LOCAL, S3, MINIO or another libcloud provider.",
        "It must exist.",
        "Write below this prefix.",
        {"provider": "CLICKHOUSE where ASPECTS_XAPI_SOURCE is vector, else LRS"},
    ),
    *_clickhouse(),
    Setting(
        "lrs_endpoints",
        "LRS",
        LIST,
        "Learning record stores: a list of objects with url, and username and password or bearer.",
        validators.endpoints,
        (),
        "every enabled router of the LMS",
        secret=True,
    ),
    Setting(
        "lrs_urls",
        "LRS",
        LIST,
        "Send only to the routers of the LMS with these route URLs.",
        validators.urls,
        (),
        "all",
        metavar="URL...",
    ),
    _seconds("lrs_timeout_secs", "LRS", "Seconds to wait for an answer, from its first byte to its last.", 60.0),
    _seconds(
        "lrs_max_wait_secs",
        "LRS",
        "Seconds to keep retrying an LRS, ClickHouse or object store that is unavailable before the run stops.",
        600.0,
    ),
    _flag("caliper_stable_ids", "Statements", "Give a log line the same Caliper ID in every run.", True),
    _flag(
        "fast_path", "Statements", "Use faster code than event-routing-backends has; the statements are the same.", True
    ),
    _flag(
        "include_deleted_users",
        "Statements",
        "Where a user is deleted, or retired under a name that can't be found, use the external id that the LMS had "
        "given the user before. So people who left come back as pseudonymous actors.",
    ),
    _whole(
        "max_line_bytes",
        "Statements",
        "Length of the longest line that is read; a longer one becomes a dead letter.",
        16 * 1024**2,
        1024,
    ),
    Setting(
        "max_invalid_ratio",
        "Statements",
        NUMBER,
        "Share of lines without an event, in the first 1,000 of a log, above which it is left out; 1: never.",
        validators.share,
        0.5,
    ),
    Setting(
        "max_dead_letters",
        "Statements",
        TEXT,
        "Dead letters, or percentage of the events, such as 5%, at which the run stops.",
        validators.count_or_percentage,
        "",
        "none",
    ),
    _of_a_batch("size", "Maximum number of events in a batch.", 1, "1000; CLICKHOUSE: 10000"),
    _of_a_batch("max_bytes", "Maximum size of a batch.", 1024, "8388608, 8 MiB; CLICKHOUSE: 33554432, 32 MiB"),
    _seconds("sleep_between_batches_secs", "Performance", "Seconds to pause after each batch.", 0.0),
    Setting(
        "workers",
        "Performance",
        NUMBER,
        "Number of worker processes, or auto.",
        validators.whole_or(AUTO_WORKERS, 1),
        1,
        offered=(AUTO_WORKERS,),
    ),
    _whole(
        "max_requests_in_flight",
        "Performance",
        "Maximum number of requests to an LRS, or to ClickHouse, at the same time, from all workers and pods.",
        16,
        1,
    ),
    Setting(
        "max_events_per_second",
        "Performance",
        NUMBER,
        "Maximum number of events to transform per second, or a timetable of it such as 08:00,50 22:00,off.",
        validators.rate,
        0.0,
        "0, which means no limit",
    ),
    Setting(
        "database_alias",
        "Performance",
        TEXT,
        "Alias in the LMS's DATABASES to read from, such as that of a replica.",
        validators.text,
        "",
        "the LMS's own choice",
    ),
    _whole(
        "segment_bytes",
        "Performance",
        "Size of the segments that a plain file is split into.",
        256 * 1024**2,
        64 * 1024,
    ),
    _choice("output_layout", "Files", "single: one file per run; batches: one per batch.", "single", OUTPUT_LAYOUTS),
    _choice("output_compression", "Files", "Compression of the files: none or gzip.", "none", OUTPUT_COMPRESSIONS),
    _whole(
        "output_max_bytes",
        "Files",
        "Size at which the layout single starts another file.",
        32 * 1024**3,
        1,
    ),
    *_storage(
        "ledger",
        "Storage of the ledger, the record of what is done: LOCAL, S3, MINIO or another libcloud provider.",
        "With LOCAL it is created.",
        "Write below this prefix.",
        {
            "provider": "LOCAL; on Kubernetes the destination's store, else the source's",
            "container": "LOCAL: transform-logs",
        },
    ),
)
BY_KEY = {setting.key: setting for setting in SETTINGS}

STORAGE_KEYS = tuple(key.removeprefix("source_") for key in BY_KEY if key.startswith("source_"))
CLICKHOUSE_KEYS = tuple(key.removeprefix("clickhouse_") for key in BY_KEY if key.startswith("clickhouse_"))
_OF_A_DESTINATION = {f"{role}_{name}" for role in ROLES for name in STORAGE_KEYS}
_OF_A_DESTINATION |= {f"clickhouse_{name}" for name in CLICKHOUSE_KEYS}
RUN_SETTINGS = tuple(setting for setting in SETTINGS if setting.key not in _OF_A_DESTINATION)
"""Those that are a field of ``JobConfig`` by themselves."""
