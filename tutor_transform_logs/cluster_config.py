"""What is different about the job's config on Kubernetes: where the ledger may lie, and what LOCAL means there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from tutor.types import Config

from tutor_transform_logs.job_config import SettingError, provider_of
from tutor_transform_logs.lms_job.config import schema as job
from tutor_transform_logs.lms_job.config import validators
from tutor_transform_logs.settings import BY_NAME, PREFIX

PODS = f"{PREFIX}K8S_PODS"
DATA_CLAIM = f"{PREFIX}K8S_DATA_CLAIM"
CRON_SCHEDULE = f"{PREFIX}K8S_CRON_SCHEDULE"
MOST_PODS = 10_000
# The folder in a bucket that is not the ledger's own.
LEDGER_PREFIX = "transform-logs"
# What says which account is used goes together; what says where in the store something lies does not.
ACCOUNT = ("key", "secret", "token")
STORE = ("provider", *ACCOUNT, "container", "host", "port", "secure", "region", "options")


def with_cluster_defaults(values: Mapping[str, Any], site: Config) -> dict[str, Any]:
    """``values``, and where nobody said where the ledger is to be: in the destination's store, else the source's.

    The store of LOCAL, a claim, comes last: pods come and go faster with an object store.
    """
    if values.get("ledger_provider"):
        return dict(values)
    for role in ("destination", "source"):
        if provider_of(values, role) not in (job.LRS, job.LOCAL):
            return _ledger_beside(values, role)
    return dict(values)


def _ledger_beside(values: Mapping[str, Any], role: str) -> dict[str, Any]:
    copied = {f"ledger_{name}": values.get(f"{role}_{name}") for name in STORE}
    copied["ledger_prefix"] = LEDGER_PREFIX
    own = {key: value for key, value in values.items() if key.startswith("ledger_") and value is not None}
    if any(f"ledger_{name}" in own for name in ACCOUNT):
        copied |= {f"ledger_{name}": None for name in ACCOUNT}
    return {**values, **copied, **own}


def check(values: Mapping[str, Any], site: Config) -> None:
    """Raise :class:`~.job_config.SettingError` for what can't work on Kubernetes; ``values`` are checked already."""
    check_settings(site)
    if site.get(DATA_CLAIM):
        return
    roles = [role for role in job.ROLES if provider_of(values, role) == job.LOCAL]
    if values.get("dry_run") and "destination" in roles:
        roles.remove("destination")
    for role in ("source", "destination"):
        if role in roles:
            raise SettingError(
                f"{PREFIX}{role.upper()}_PROVIDER: on Kubernetes LOCAL is the folder /openedx/data of a volume. Set "
                f"{DATA_CLAIM} to a PersistentVolumeClaim that has one, or the provider to S3, MINIO, ..."
            )
    if "ledger" in roles:
        raise SettingError(
            f"{PREFIX}LEDGER_PROVIDER: the ledger needs a place that all pods reach. Set it to S3, MINIO, ... (and "
            f"..._LEDGER_CONTAINER to a bucket), or {DATA_CLAIM} to a PersistentVolumeClaim"
        )


def check_settings(site: Config) -> None:
    """Check the settings that go into the manifests. Raises :class:`~.job_config.SettingError`."""
    for name, (allowed, is_right) in CHECKS.items():
        value = site.get(name)
        if not is_right(value):
            raise SettingError(f"{name}: {validators.shown(value)} can't be used; allowed: {allowed}")


def pods(site: Config) -> int:
    """Into how many shares the work is cut."""
    return int(str(site[PODS]))


def _whole(least: int, most: int) -> tuple[str, Callable[[Any], bool]]:
    def is_right(value: Any) -> bool:
        return not isinstance(value, bool) and str(value).isdecimal() and least <= int(str(value)) <= most

    return f"a whole number from {least} to {most}", is_right


def _is_name(value: Any) -> bool:
    return value in (None, "") or re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", str(value)) is not None


def _mapping(value: Any) -> bool:
    return value in (None, "") or (
        isinstance(value, dict) and all(isinstance(item, (str, int, float)) for item in value.values())
    )


def _labels(value: Any) -> bool:
    return _mapping(value) and all(isinstance(item, str) for item in dict(value or {}).values())


def _tolerations(value: Any) -> bool:
    return value in (None, "") or (isinstance(value, list) and all(isinstance(item, dict) for item in value))


def _schedule(value: Any) -> bool:
    text = str(value or "").strip()
    return not text or text.startswith("@") or len(text.split()) == 5


CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    PODS: _whole(1, MOST_PODS),
    DATA_CLAIM: ("the name of a PersistentVolumeClaim", _is_name),
    f"{PREFIX}K8S_REQUESTS": ('an object of quantities, such as {"cpu": "2", "memory": "1Gi"}', _mapping),
    f"{PREFIX}K8S_LIMITS": ('an object of quantities, such as {"memory": "2Gi"}', _mapping),
    f"{PREFIX}K8S_NODE_SELECTOR": ('an object of labels, such as {"pool": "batch"}, values in quotes', _labels),
    f"{PREFIX}K8S_TOLERATIONS": ('a list of objects, such as [{"key": "batch", "operator": "Exists"}]', _tolerations),
    f"{PREFIX}K8S_SERVICE_ACCOUNT": ("the name of a service account", _is_name),
    CRON_SCHEDULE: ("five fields as cron has them, such as 30 2 * * *", _schedule),
    f"{PREFIX}K8S_CRON_HISTORY": _whole(0, 100),
}
assert set(CHECKS) == {name for name in BY_NAME if name.startswith(f"{PREFIX}K8S_")}
