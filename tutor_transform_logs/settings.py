"""Every ``TRANSFORM_LOGS_*`` setting: its default, its meaning, its kind, and whether it may hold a secret.

One table, read by plugin.py (Tutor's defaults), commands.py (one option a setting) and the documentation. The checks
of the values are the job's own (:mod:`tutor_transform_logs.lms_job.config`), so both sides agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tutor_transform_logs.lms_job.config.schema import (
    FIELDS,
    LRS,
    OUTPUT_COMPRESSIONS,
    OUTPUT_LAYOUTS,
    TRANSFORMER_TYPES,
)
from tutor_transform_logs.lms_job.util.console import LOG_FORMATS
from tutor_transform_logs.lms_job.util.cpus import AUTO_WORKERS

PREFIX = "TRANSFORM_LOGS_"

TEXT = "TEXT"
NUMBER = "NUMBER"
FLAG = "FLAG"
LIST = "LIST"
MAPPING = "MAPPING"

KUBERNETES = "Kubernetes"

# libcloud's storage providers that have a driver; the host has no libcloud. A test compares the two.
PROVIDERS = (
    "ALIYUN_OSS", "AURORAOBJECTS", "AZURE_BLOBS", "BACKBLAZE_B2", "CLOUDFILES", "DIGITALOCEAN_SPACES", "DUMMY",
    "GOOGLE_STORAGE", "KTUCLOUD", "LOCAL", "MINIO", "NIMBUS", "NINEFOLD", "OPENSTACK_SWIFT", "OVH", "S3",
    "S3_AP_NORTHEAST", "S3_AP_NORTHEAST1", "S3_AP_NORTHEAST2", "S3_AP_SOUTH", "S3_AP_SOUTHEAST", "S3_AP_SOUTHEAST2",
    "S3_CA_CENTRAL", "S3_CN_NORTH", "S3_CN_NORTHWEST", "S3_EU_CENTRAL", "S3_EU_NORTH1", "S3_EU_WEST", "S3_EU_WEST2",
    "S3_RGW", "S3_RGW_OUTSCALE", "S3_SA_EAST", "S3_US_EAST2", "S3_US_GOV_WEST", "S3_US_WEST", "S3_US_WEST_OREGON",
    "SCALEWAY",
)  # fmt: skip

# What the shell offers for a value; what is allowed is for the job's checks to say.
OFFERED: dict[str, tuple[str, ...]] = {
    "transformer_type": TRANSFORMER_TYPES,
    "log_format": LOG_FORMATS,
    "workers": (AUTO_WORKERS,),
    "output_layout": OUTPUT_LAYOUTS,
    "output_compression": OUTPUT_COMPRESSIONS,
    "source_provider": PROVIDERS,
    "destination_provider": (LRS, *PROVIDERS),
    "ledger_provider": PROVIDERS,
}


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    ``key`` is the name in the job's config file; the setting is ``TRANSFORM_LOGS_`` and the key in capitals. A default
    of ``None`` is one that depends on other settings; ``default_text`` says how. Those that may hold a
    ``secret`` have no option on the command line, and their values are never printed.
    """

    key: str
    group: str
    kind: str
    meaning: str
    default: Any = None
    default_text: str = ""
    secret: bool = False
    metavar: str = ""
    """What stands for the value in the command's help, if not its kind."""
    rendered: bool = False
    """Is the value a template that Tutor renders, as its own settings are? All others are taken literally."""
    for_one_run: bool = True
    """Can it be had for one run? Not what is in the manifests, which ``tutor config save`` writes."""

    @property
    def name(self) -> str:
        return PREFIX + self.key.upper()

    @property
    def option(self) -> str:
        return "--" + self.key.replace("_", "-")

    @property
    def shown_default(self) -> str:
        """The default as a reader should see it."""
        if self.default_text:
            return self.default_text
        if isinstance(self.default, bool):
            return str(self.default).lower()
        if self.default in (None, "", []):
            return "none"
        if self.key.endswith("_bytes"):
            return f"{self.default}, {_binary(self.default)}"
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


def _binary(size: int) -> str:
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024 or size % 1024:
            return f"{size} {unit}"
        size //= 1024
    return f"{size} GiB"


def _job(
    key: str, group: str, kind: str, meaning: str, secret: bool = False, default_text: str = "", metavar: str = ""
) -> Setting:
    """A setting that goes to the job as it is; its default is the job's."""
    default = FIELDS[key].default
    return Setting(
        key=key,
        group=group,
        kind=kind,
        meaning=meaning,
        default=[] if default == () else default,
        default_text=default_text,
        secret=secret,
        metavar=metavar,
    )


def _kubernetes(key: str, kind: str, meaning: str, default: Any, default_text: str = "") -> Setting:
    """A setting that goes into the manifests for Kubernetes, and not to the job."""
    return Setting(
        f"k8s_{key}", KUBERNETES, kind, meaning, default, default_text, rendered=True, for_one_run=False
    )  # fmt: skip


def _storage(role: str, at_first: str, where: str, exists: str, use: str, **defaults: str) -> Iterator[Setting]:
    """The settings that say where objects of one ``role`` lie."""
    group = role.capitalize()

    def row(name: str, kind: str, meaning: str, default_text: str = "none", **more: Any) -> Setting:
        return Setting(f"{role}_{name}", group, kind, meaning, default_text=defaults.get(name, default_text), **more)

    key = "LOCAL: /openedx/data; S3, MINIO: OPENEDX_AWS_ACCESS_KEY"
    yield row("provider", TEXT, where, at_first)
    yield row("key", TEXT, "LOCAL: a directory in the job's container; else the access key id.", key)
    yield row("secret", TEXT, "The secret access key.", "S3, MINIO: OPENEDX_AWS_SECRET_ACCESS_KEY", secret=True)
    yield row("container", TEXT, f"LOCAL: one directory in the key; else a bucket. {exists}")
    yield row("prefix", TEXT, f"{use} A leading / is taken off.")
    yield row("host", TEXT, "The object store's host.", "MINIO: minio; S3: S3_HOST")
    yield row(
        "port", NUMBER, "The object store's port.", "MINIO: 9000; S3: S3_PORT; the provider's for a host of yours"
    )
    yield row("secure", FLAG, "Whether to speak HTTPS.", "MINIO: false; S3: S3_USE_SSL; true for a host of yours")
    yield row("region", TEXT, "The bucket's region.", "S3: S3_REGION")
    yield row("token", TEXT, "A session token.", secret=True)
    yield row("options", MAPPING, "An object: any other keyword of libcloud's driver.", secret=True)


SETTINGS: tuple[Setting, ...] = (
    _job("transformer_type", "Run", TEXT, "What to make: xapi or caliper."),
    _job("dry_run", "Run", FLAG, "Transform and write to the loggers, but deliver nothing."),
    _job("log_statements", "Run", FLAG, "Print the loggers' statements, even on a terminal."),
    _job("log_format", "Run", TEXT, "text, for people; json: the job's messages and its result as JSON lines."),
    _job("quiet", "Run", FLAG, "Print the result and errors only."),
    _job("strict", "Run", FLAG, "End with 3 if there is any dead letter at all."),
    _job(
        "verify_sample",
        "Run",
        NUMBER,
        "--verify looks for the statements of so many lines, drawn at random.",
        default_text="0, which is all",
    ),
    *_storage(
        "source",
        "LOCAL",
        "Where the logs are: LOCAL, S3, MINIO or another storage provider of libcloud, in capitals.",
        "It must exist.",
        "Read what lies below and whose name begins so.",
        container="LOCAL: logs",
        prefix="LOCAL: tracking.log",
    ),
    _job(
        "since",
        "Filters",
        TEXT,
        "Replay events from this time on: ISO 8601, in UTC where it has no offset. A date, month or year means its "
        "beginning.",
        default_text="no limit",
        metavar="TIME",
    ),
    _job(
        "until",
        "Filters",
        TEXT,
        "Replay events before this time: ISO 8601, in UTC where it has no offset. A date, month or year counts whole: "
        "2026-01-31 takes all of that day, 2026-01-31T00:00 nothing of it.",
        default_text="no limit",
        metavar="TIME",
    ),
    _job(
        "event",
        "Filters",
        LIST,
        "Replay events of these names only: globs such as edx.video.*, one or more.",
        default_text="all",
        metavar="GLOB",
    ),
    _job("exclude_event", "Filters", LIST, "Leave out events of these names: globs, one or more.", metavar="GLOB"),
    _job(
        "course",
        "Filters",
        LIST,
        "Replay events of these courses only: course ids or globs, one or more. Events without a course are left out.",
        default_text="all",
        metavar="GLOB",
    ),
    _job(
        "org",
        "Filters",
        LIST,
        "Replay events of these organisations only: names or globs, one or more. Events without one are left out.",
        default_text="all",
        metavar="GLOB",
    ),
    _job(
        "files",
        "Filters",
        LIST,
        "Of what the prefix finds, read these objects only: globs for the whole name below the container, one or more.",
        default_text="all",
        metavar="GLOB",
    ),
    _job(
        "trust_file_dates",
        "Filters",
        FLAG,
        "With since or until, do not open logs that by the date in their names hold nothing of that time. The date is "
        "taken for that of the rotation: such a log holds events from the day before the date of the log before it, "
        "to the day after its own.",
    ),
    *_storage(
        "destination",
        "LRS",
        "Where the statements go: LRS, or for files LOCAL, S3, MINIO or another provider.",
        "It must exist.",
        "Where to write in it.",
    ),
    _job(
        "lrs_endpoints",
        "LRS",
        LIST,
        "Learning record stores: objects with url, and username and password or bearer.",
        secret=True,
        default_text="every enabled router of the LMS",
    ),
    _job(
        "lrs_urls",
        "LRS",
        LIST,
        "Send to these of the LMS's routers only: one or more route URLs.",
        default_text="all",
        metavar="URL...",
    ),
    _job("lrs_timeout_secs", "LRS", NUMBER, "Wait so many seconds for an answer."),
    _job("lrs_max_wait_secs", "LRS", NUMBER, "Keep trying an LRS that is out of reach for so many seconds, then stop."),
    _job("caliper_stable_ids", "Statements", FLAG, "The same log line gets the same Caliper id at every run."),
    _job("fast_path", "Statements", FLAG, "Make the same statements by shorter ways than event-routing-backends does."),
    _job("max_line_bytes", "Statements", NUMBER, "A line longer than so many bytes is a dead letter."),
    _job("batch_size", "Pace", NUMBER, "Statements of at most so many events are sent at once."),
    _job("batch_max_bytes", "Pace", NUMBER, "At most so many bytes are sent at once."),
    _job("sleep_between_batches_secs", "Pace", NUMBER, "Rest so many seconds after each batch."),
    _job("workers", "Pace", TEXT, "Processes that work at once, or auto."),
    _job(
        "max_events_per_second",
        "Pace",
        NUMBER,
        "Transform no more events a second.",
        default_text="0, which is no limit",
    ),
    _job(
        "database_alias",
        "Pace",
        TEXT,
        "Read from this one of the LMS's DATABASES, such as a replica.",
        default_text="the LMS's own choice",
    ),
    _job("segment_bytes", "Pace", NUMBER, "Share out a plain file in pieces of so many bytes."),
    _job("output_layout", "Files", TEXT, "single: one file a run; batches: one a batch."),
    _job("output_compression", "Files", TEXT, "none or gzip."),
    _job("output_max_bytes", "Files", NUMBER, "single: begin another file after so many bytes."),
    *_storage(
        "ledger",
        "LOCAL; on Kubernetes the destination's store, else the source's",
        "Where the job keeps what is done: LOCAL, S3, MINIO or another provider.",
        "LOCAL: it is made.",
        "Where to write in it.",
        container="LOCAL: transform-logs",
    ),
    Setting(
        "docker_image",
        "Container",
        TEXT,
        "The image that the job runs in.",
        default="",
        default_text="the LMS image",
        rendered=True,
    ),
    _kubernetes("pods", NUMBER, "Share the work out to so many pods.", 1),
    _kubernetes(
        "data_claim",
        TEXT,
        "A PersistentVolumeClaim for LOCAL sources, destinations and ledgers; the pods have it as /openedx/data.",
        "",
    ),
    _kubernetes(
        "requests", MAPPING, "What each pod asks of its node.", {"cpu": "1", "memory": "1Gi"}, "cpu 1, memory 1Gi"
    ),
    _kubernetes("limits", MAPPING, "What each pod gets at most.", {"memory": "2Gi"}, "memory 2Gi"),
    _kubernetes("node_selector", MAPPING, "Labels of the nodes that the pods may run on.", {}, "any node"),
    _kubernetes("tolerations", LIST, "Taints of nodes that the pods put up with, as a pod's spec has them.", []),
    _kubernetes("service_account", TEXT, "The pods' service account, such as one with a role for S3 (IRSA).", ""),
    _kubernetes("cron_schedule", TEXT, "Run by itself at these times, such as 30 2 * * *.", "", "never"),
    _kubernetes("cron_history", NUMBER, "Keep so many ended runs of the schedule, failed and not, to look at.", 3),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}
JOB_SETTINGS = tuple(setting for setting in SETTINGS if not setting.rendered)
