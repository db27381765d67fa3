"""Every ``TRANSFORM_LOGS_*`` setting: its default, its meaning, its kind, and whether it may hold a secret.

One table, read by plugin.py (Tutor's defaults), commands.py (one option a setting) and the documentation. The checks
of the values are the job's own (:mod:`tutor_transform_logs.lms_job.config`), so both sides agree.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tutor_transform_logs.lms_job.config import FIELDS

PREFIX = "TRANSFORM_LOGS_"

TEXT = "TEXT"
NUMBER = "NUMBER"
FLAG = "FLAG"
LIST = "LIST"
MAPPING = "MAPPING"

# libcloud's storage providers that have a driver; the host has no libcloud. A test compares the two.
PROVIDERS = (
    "ALIYUN_OSS", "AURORAOBJECTS", "AZURE_BLOBS", "BACKBLAZE_B2", "CLOUDFILES", "DIGITALOCEAN_SPACES", "DUMMY",
    "GOOGLE_STORAGE", "KTUCLOUD", "LOCAL", "MINIO", "NIMBUS", "NINEFOLD", "OPENSTACK_SWIFT", "OVH", "S3",
    "S3_AP_NORTHEAST", "S3_AP_NORTHEAST1", "S3_AP_NORTHEAST2", "S3_AP_SOUTH", "S3_AP_SOUTHEAST", "S3_AP_SOUTHEAST2",
    "S3_CA_CENTRAL", "S3_CN_NORTH", "S3_CN_NORTHWEST", "S3_EU_CENTRAL", "S3_EU_NORTH1", "S3_EU_WEST", "S3_EU_WEST2",
    "S3_RGW", "S3_RGW_OUTSCALE", "S3_SA_EAST", "S3_US_EAST2", "S3_US_GOV_WEST", "S3_US_WEST", "S3_US_WEST_OREGON",
    "SCALEWAY",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One row of the table.

    ``key`` is the name in the job's config file; the setting is ``TRANSFORM_LOGS_`` and the key in capitals. A default
    of ``None`` is one that depends on other settings; ``default_text`` says how. ``secret`` settings have no option on
    the command line and are never printed; ``hidden`` ones have an option, but their values are not printed either.
    """

    key: str
    group: str
    kind: str
    meaning: str
    default: Any = None
    default_text: str = ""
    secret: bool = False
    hidden: bool = False
    rendered: bool = False
    """Is the value a template that Tutor renders, as its own settings are? All others are taken literally."""

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
        return "none" if self.default in (None, "", []) else str(self.default)


def _job(key: str, group: str, kind: str, meaning: str, secret: bool = False, default_text: str = "") -> Setting:
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
    )


def _storage(role: str, defaults: dict[str, str], provider: str, providers: str) -> Iterator[Setting]:
    """The settings that say where objects of one ``role`` lie."""
    group = role.capitalize()

    def row(name: str, kind: str, meaning: str, default_text: str, **more: Any) -> Setting:
        return Setting(f"{role}_{name}", group, kind, meaning, default_text=defaults.get(name, default_text), **more)

    site_key = "the site's, for S3 and MINIO"
    yield row("provider", TEXT, f"Where the {role} is: {providers}.", provider)
    yield row("key", TEXT, "LOCAL: a directory in the job's container; else the access key id.", site_key, hidden=True)
    yield row("secret", TEXT, "Secret access key.", site_key, secret=True)
    yield row("container", TEXT, "LOCAL: one directory in the key; else the bucket. It must exist.", "none")
    yield row("prefix", TEXT, "Only names below the container that begin so; a leading / is taken off.", "none")
    yield row("host", TEXT, "Host name of the object store.", "the site's, for S3 and MINIO")
    yield row("port", NUMBER, "Port of the object store.", "the site's with its host, else the provider's")
    yield row("secure", FLAG, "Speak HTTPS with the object store?", "the site's with its host, else yes")
    yield row("region", TEXT, "Region of the bucket.", "the site's, for S3")
    yield row("token", TEXT, "Session token.", "none", secret=True)
    yield row("options", MAPPING, "Any other keyword of libcloud's driver, as an object.", "none", secret=True)


SETTINGS: tuple[Setting, ...] = (
    *_storage(
        "source",
        {
            "key": "LOCAL: /openedx/data; S3, MINIO: the site's",
            "container": "LOCAL: logs",
            "prefix": "LOCAL: tracking.log",
        },
        "LOCAL",
        "LOCAL, S3, MINIO, or another storage provider of libcloud, in capitals",
    ),
    *_storage(
        "destination",
        {"key": "LOCAL: /openedx/data; S3, MINIO: the site's"},
        "LRS",
        "LRS, or where files go: LOCAL, S3, MINIO, ...",
    ),
    _job(
        "lrs_endpoints",
        "LRS",
        LIST,
        "Learning record stores: objects with url, and username and password or bearer.",
        secret=True,
        default_text="every enabled router of the LMS",
    ),
    _job("lrs_urls", "LRS", LIST, "Send to these of the LMS's routers only.", default_text="all"),
    _job("lrs_timeout_secs", "LRS", NUMBER, "Wait so long for an answer."),
    _job("lrs_max_wait_secs", "LRS", NUMBER, "Try an LRS that is out of reach for so long, then stop."),
    _job("transformer_type", "Statements", TEXT, "xapi or caliper."),
    _job("caliper_stable_ids", "Statements", FLAG, "Give a Caliper event the same id at every run?"),
    _job("dry_run", "Statements", FLAG, "Transform and log, but deliver nothing."),
    _job("log_statements", "Statements", FLAG, "Print the statements' loggers on a terminal, too."),
    _job("strict", "Statements", FLAG, "End with 3 if there is any dead letter at all."),
    _job("max_line_bytes", "Statements", NUMBER, "A longer line is a dead letter."),
    _job("batch_size", "Pace", NUMBER, "Statements of at most so many events are sent at once."),
    _job("batch_max_bytes", "Pace", NUMBER, "At most so many bytes are sent at once."),
    _job("sleep_between_batches_secs", "Pace", NUMBER, "Rest after each batch."),
    _job("workers", "Pace", TEXT, "Processes that work at once, or auto."),
    _job("max_events_per_second", "Pace", NUMBER, "Transform no more than that.", default_text="0, no limit"),
    _job("segment_bytes", "Pace", NUMBER, "A plain file is cut into pieces of this size."),
    _job("output_layout", "Files", TEXT, "single: one file a run; batches: one a batch."),
    _job("output_compression", "Files", TEXT, "none or gzip."),
    _job("output_max_bytes", "Files", NUMBER, "single: go on in a next file at this size."),
    *_storage(
        "ledger",
        {"key": "LOCAL: /openedx/data; S3, MINIO: the site's", "container": "LOCAL: transform-logs (is made)"},
        "LOCAL",
        "what is done already: LOCAL, S3, MINIO, ...",
    ),
    Setting(
        "docker_image",
        "Container",
        TEXT,
        "Image of the job.",
        default="",
        default_text="the LMS image",
        rendered=True,
    ),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}
JOB_SETTINGS = tuple(setting for setting in SETTINGS if not setting.rendered)
