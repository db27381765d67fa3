"""Every setting of the plugin: the job's table, and what only the host needs.

Read by plugin.py (Tutor's defaults), commands.py (the options) and the documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from tutor_transform_logs.lms_job.config import settings as job
from tutor_transform_logs.lms_job.config import validators
from tutor_transform_logs.lms_job.config.setting import HOST, JOB, LIST, MANIFESTS, MAPPING, NUMBER, TEXT, Setting
from tutor_transform_logs.lms_job.config.validators import ConfigError, Validator

MAX_PODS = 10_000


def _checked(allowed: str, is_allowed: Callable[[Any], bool]) -> Validator:
    """A check by a predicate; an empty value is always allowed."""

    def check(key: str, value: Any) -> Any:
        if value not in (None, "") and not is_allowed(value):
            raise ConfigError(key, f"{validators.shown(value)} can't be used", allowed)
        return value

    return check


def _is_name(value: Any) -> bool:
    return re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", str(value)) is not None


def _is_quantities(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, (str, int, float)) for item in value.values())


def _is_labels(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _is_tolerations(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _is_schedule(value: Any) -> bool:
    text = str(value).strip()
    return not text or text.startswith("@") or len(text.split()) == 5


def _kubernetes(key: str, kind: str, meaning: str, check: Validator, default: Any, default_text: str = "") -> Setting:
    """A row of the table. Six parameters: its columns, without those that are the same in all of these rows."""
    return Setting(f"k8s_{key}", "Kubernetes", kind, meaning, check, default, default_text, scope=MANIFESTS)


SETTINGS: tuple[Setting, ...] = (
    *(setting for setting in job.SETTINGS if setting.scope == JOB),
    Setting(
        "docker_image",
        "Container",
        TEXT,
        "Image that the job runs in; transform-logs: the one that tutor images build transform-logs builds.",
        validators.text,
        "",
        "the LMS image",
        scope=HOST,
    ),
    _kubernetes("pods", NUMBER, "Number of pods that share the work.", validators.whole(1, MAX_PODS), 1),
    _kubernetes(
        "data_claim",
        TEXT,
        "PersistentVolumeClaim for LOCAL sources, destinations and ledgers; pods mount it at /openedx/data.",
        _checked("the name of a PersistentVolumeClaim", _is_name),
        "",
    ),
    _kubernetes(
        "requests",
        MAPPING,
        "Resources that each pod requests.",
        _checked('an object of quantities, such as {"cpu": "2", "memory": "1Gi"}', _is_quantities),
        {"cpu": "1", "memory": "1Gi"},
        "cpu 1, memory 1Gi",
    ),
    _kubernetes(
        "limits",
        MAPPING,
        "Resource limits of each pod.",
        _checked('an object of quantities, such as {"memory": "2Gi"}', _is_quantities),
        {"memory": "2Gi"},
        "memory 2Gi",
    ),
    _kubernetes(
        "node_selector",
        MAPPING,
        "Labels of the nodes that the pods may run on.",
        _checked('an object of labels, such as {"pool": "batch"}, values in quotes', _is_labels),
        {},
        "any node",
    ),
    _kubernetes(
        "tolerations",
        LIST,
        "Tolerations of the pods, as in a pod's spec.",
        _checked('a list of objects, such as [{"key": "batch", "operator": "Exists"}]', _is_tolerations),
        [],
    ),
    _kubernetes(
        "service_account",
        TEXT,
        "Service account of the pods, for example one with an IAM role for S3 (IRSA).",
        _checked("the name of a service account", _is_name),
        "",
    ),
    _kubernetes(
        "cron_schedule",
        TEXT,
        "Schedule on which the job runs by itself, such as 30 2 * * *.",
        _checked("five fields as cron has them, such as 30 2 * * *", _is_schedule),
        "",
        "never",
    ),
    _kubernetes(
        "cron_history",
        NUMBER,
        "Number of finished scheduled runs to keep: this many successful ones and this many failed ones.",
        validators.whole(0, 100),
        3,
    ),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}


def tutor_default(setting: Setting) -> Any:
    """The default as Tutor has it: YAML knows no tuples."""
    return list(setting.default) if isinstance(setting.default, tuple) else setting.default
