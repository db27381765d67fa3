"""What is different about the job's config on Kubernetes: where the ledger can be, and what LOCAL means there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tutor.types import Config

from tutor_transform_logs.job_config import SettingError, provider_of
from tutor_transform_logs.lms_job.config.schema import NO_STORAGE
from tutor_transform_logs.lms_job.config.setting import MANIFESTS, PREFIX, TEXT
from tutor_transform_logs.lms_job.config.settings import LOCAL, ROLES
from tutor_transform_logs.lms_job.config.validators import ConfigError
from tutor_transform_logs.settings import SETTINGS
from tutor_transform_logs.yaml_values import from_tutor

PODS = f"{PREFIX}K8S_PODS"
DATA_CLAIM = f"{PREFIX}K8S_DATA_CLAIM"
CRON_SCHEDULE = f"{PREFIX}K8S_CRON_SCHEDULE"
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
        if provider_of(values, role) not in (*NO_STORAGE, LOCAL):
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
    roles = [role for role in ROLES if provider_of(values, role) == LOCAL]
    if values.get("dry_run") and "destination" in roles:
        roles.remove("destination")
    for role in ("source", "destination"):
        if role in roles:
            raise SettingError(
                f"{PREFIX}{role.upper()}_PROVIDER: on Kubernetes LOCAL is the folder /openedx/data of a volume. Set "
                f"{DATA_CLAIM} to a PersistentVolumeClaim that has one, or the provider to S3, MINIO, ..."
            )
    if values.get("metrics_file"):
        raise SettingError(
            f"{PREFIX}METRICS_FILE: on Kubernetes the file needs a volume that stays. Set {DATA_CLAIM} to a "
            "PersistentVolumeClaim, which is mounted at /openedx/data, or use TRANSFORM_LOGS_NOTIFY"
        )
    if "ledger" in roles:
        raise SettingError(
            f"{PREFIX}LEDGER_PROVIDER: the ledger needs a place that all pods reach. Set it to S3, MINIO, ... (and "
            f"..._LEDGER_CONTAINER to a bucket), or {DATA_CLAIM} to a PersistentVolumeClaim"
        )


def check_settings(site: Config) -> None:
    """Check the settings that go into the manifests. Raises ``TutorError``."""
    for setting in SETTINGS:
        if setting.scope != MANIFESTS:
            continue
        value = site.get(setting.name)
        if setting.kind == TEXT:
            value = from_tutor(setting, value)
        try:
            setting.check(setting.name, value)
        except ConfigError as error:
            raise SettingError(f"{error.key}: {error.problem}; allowed: {error.allowed}") from None


def pods(site: Config) -> int:
    """Into how many shares the work is cut."""
    return int(str(site[PODS]))
