"""Turns settings and a command's options into the job's config: the user's values, or else the site's, checked."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tutor.exceptions import TutorError
from tutor.types import Config

from tutor_transform_logs import aspects, raw_logs
from tutor_transform_logs.images import TAG_SETTING
from tutor_transform_logs.lms_job.config import schema as job
from tutor_transform_logs.lms_job.config.providers import STORAGE_PROVIDERS
from tutor_transform_logs.lms_job.config.setting import JOB, MANIFESTS, ONE_RUN, PREFIX
from tutor_transform_logs.lms_job.config.settings import BY_KEY, CLICKHOUSE, LRS, ROLES, STORAGE_KEYS
from tutor_transform_logs.lms_job.config.validators import ConfigError, shown
from tutor_transform_logs.lms_job.util.iso_times import in_utc
from tutor_transform_logs.lms_job.util.relative_times import is_relative
from tutor_transform_logs.settings import BY_NAME, SETTINGS, tutor_default
from tutor_transform_logs.yaml_values import from_tutor

# The names of ERB's --source_config and --destination_config that have a setting; any other is a driver's keyword.
FAMILY = tuple(name for name in STORAGE_KEYS if name not in ("provider", "options"))
# Keyword arguments of libcloud's storage drivers. Most drivers take any, and ignore what they don't know.
DRIVER_KEYWORDS = (
    "account_prefix", "api_version", "auth_type", "auth_url", "auth_version", "backoff", "cloud_environment",
    "credential_file", "identity", "project", "proxy_url", "retry_delay", "signature_version", "tenant_id", "timeout",
    "url", "use_internal_url",
)  # fmt: skip
# How Tutor's variables of the environment begin.
TUTOR_PREFIX = "TUTOR_"


class SettingError(TutorError):
    """A value that can't be used. Its text is one line: which setting, what is wrong, what is allowed."""


def from_settings(site: Config) -> dict[str, Any]:
    """What is set, by key of the job's config; ``site`` is Tutor's full, rendered config.

    A setting that has its default is left out. Raises :class:`.yaml_values.AmbiguousValueError`.
    """
    values: dict[str, Any] = {}
    for setting in SETTINGS:
        if setting.scope == MANIFESTS:
            continue
        value, default = site.get(setting.name), tutor_default(setting)
        if value is None or (type(value), value) == (type(default), default):
            continue
        converted = from_tutor(setting, value)
        if setting.scope == JOB:
            values[setting.key] = converted
    return values


def check_names(site: Config) -> None:
    """Raise :class:`SettingError` for settings that look like the plugin's and that it does not have.

    They may be in ``site`` or in the environment. A misspelled one would be without effect, and the run not the one
    that was meant.
    """
    # Tutor reads settings from the environment, too: those alone that it knows.
    given = {name.removeprefix(TUTOR_PREFIX) for name in os.environ if name.startswith(TUTOR_PREFIX)}
    unknown = [name for name in sorted({*site, *given}) if _is_misspelled(name)]
    if not unknown:
        return
    told = [f"{name}: unknown setting{_hint(name.upper(), BY_NAME)}" for name in unknown]
    saved = [name for name in unknown if name not in given]
    variables = [f"{TUTOR_PREFIX}{name}" for name in unknown if name in given]
    removals = [f"To remove it: tutor config save {' '.join(f'--unset {name}' for name in saved)}"] if saved else []
    removals += [f"To remove it from the environment: unset {' '.join(variables)}"] if variables else []
    raise SettingError("\n".join([*told, *removals]))


def _is_misspelled(name: str) -> bool:
    if name in BY_NAME or name in (f"{PREFIX}VERSION", TAG_SETTING):
        return False
    # Without the S: a misspelled prefix is as easy to overlook. Then it may be another plugin's setting, too.
    upper = name.upper()
    return upper.startswith(PREFIX) or (upper.startswith(PREFIX[:-2]) and bool(_hint(upper, BY_NAME, 0.9)))


def _hint(name: str, known: Collection[str], likeness: float = 0.8) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=likeness)
    return f" (did you mean {near[0]}?)" if near else ""


def from_erb(role: str, text: str) -> dict[str, Any]:
    """The settings that ERB's ``--source_config`` or ``--destination_config`` stands for.

    It says all there is to say about the role, as it does to ERB: what it leaves out is empty, and not what the
    settings or the site have. Raises :class:`SettingError`.
    """
    option = f"--{role}_config"
    try:
        given = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise SettingError(f"{option}: the text can't be read as JSON ({error}); allowed: a JSON object") from None
    if not isinstance(given, dict):
        raise SettingError(f"{option}: the JSON is not an object; allowed: a JSON object")
    for name in given:
        if name not in FAMILY and name not in DRIVER_KEYWORDS and not name.startswith("ex_"):
            known = (*FAMILY, *DRIVER_KEYWORDS)
            raise SettingError(
                f"{option}: unknown key {shown(name)}{_hint(name.lower(), known, 0.7)}; allowed: {', '.join(FAMILY)}, "
                f"or a keyword argument of the storage's driver (any other one goes in {PREFIX}{role.upper()}_OPTIONS)"
            )
    empty: dict[str, Any] = dict.fromkeys(FAMILY, "")
    family = {**empty, **{name: value for name, value in given.items() if name in FAMILY}}
    family["options"] = {name: value for name, value in given.items() if name not in FAMILY}
    return {f"{role}_{name}": "" if value is None else value for name, value in family.items()}


@dataclass(frozen=True)
class Offer:
    """A value that the site has for a setting that is not set."""

    value: Any
    origin: str
    """The setting or the plugin that it comes from."""


def with_site_defaults(values: Mapping[str, Any], site: Config) -> dict[str, Any]:
    """``values``, and for Aspects' ClickHouse and each object store what the site has where the user said nothing."""
    return {**values, **{key: offer.value for key, offer in site_offers(values, site).items()}}


def site_offers(values: Mapping[str, Any], site: Config) -> dict[str, Offer]:
    """What the site has for the settings that are not in ``values``, by key of the job's config.

    An access key goes with its secret, and a host with its port and scheme: they come from one place, never mixed.
    """
    result = {key: Offer(value, "Aspects") for key, value in aspects.destination(values, site).items()}
    given = {**values, **{key: offer.value for key, offer in result.items()}}
    for role in ROLES:
        provider = provider_of(given, role)
        is_table = (role, provider) == ("source", CLICKHOUSE)
        offers = _raw_logs(values, site) if is_table else _site_store(provider, site)
        own_key = values.get(f"{role}_key")
        if own_key is not None and ("key" not in offers or own_key != offers["key"].value):
            offers.pop("secret", None)
        if values.get(f"{role}_host") is not None:
            for name in ("host", "port", "secure", "region"):
                offers.pop(name, None)
        for name, offer in offers.items():
            if values.get(f"{role}_{name}") is None:
                result[f"{role}_{name}"] = offer
    return result


def _raw_logs(values: Mapping[str, Any], site: Config) -> dict[str, Offer]:
    found = raw_logs.of_site(values, site)
    origin = "Cairn" if found.get("prefix") == raw_logs.CAIRN_TABLE else "Aspects"
    return {name: Offer(value, origin) for name, value in found.items()}


def with_fixed_times(values: Mapping[str, Any], config: job.JobConfig) -> dict[str, Any]:
    """``values``, with the times that ``config`` has in place of 7d, yesterday and the like.

    A run may go on past midnight, and on Kubernetes each phase reads the values by itself.
    """
    fixed = dict(values)
    for name, moment in (("since", config.since), ("until", config.until)):
        if moment is not None and is_relative(str(values[name])):
            fixed[name] = in_utc(moment)
    return fixed


def provider_of(values: Mapping[str, Any], role: str) -> str:
    """The provider of ``role`` as the job will read it."""
    return str(values.get(f"{role}_provider") or "").strip().upper() or job.DEFAULT_PROVIDERS[role]


def _site_store(provider: str, site: Config) -> dict[str, Offer]:
    """What the site has for ``provider``: tutor-minio's server and keys, or tutor-contrib-s3's."""
    if provider != "MINIO" and not provider.startswith("S3"):
        return {}

    def of(name: str, default: Any = None) -> Offer:
        return Offer(site.get(name, default), name)

    keys = {"key": of("OPENEDX_AWS_ACCESS_KEY"), "secret": of("OPENEDX_AWS_SECRET_ACCESS_KEY")}
    elsewhere = {
        "host": of("S3_HOST"),
        "port": of("S3_PORT"),
        "secure": of("S3_USE_SSL", True),
        "region": of("S3_REGION"),
    }
    plugins = site.get("PLUGINS")
    has_minio = isinstance(plugins, list) and "minio" in plugins
    if provider == "MINIO" and (has_minio or not elsewhere["host"].value):
        of_minio = {"host": "minio", "port": 9000, "secure": False}
        offers = {**keys, **{name: Offer(value, "tutor-minio") for name, value in of_minio.items()}}
    elif elsewhere["host"].value:
        offers = {**keys, **elsewhere}
    elif has_minio:
        # The site's keys are tutor-minio's, and would mean nothing to Amazon.
        offers = {"region": elsewhere["region"]}
    else:
        offers = {**keys, "region": elsewhere["region"]}
    if provider == "MINIO":
        offers.pop("region", None)  # its driver takes none
    return {name: offer for name, offer in offers.items() if offer.value not in (None, "")}


def check(values: Mapping[str, Any]) -> job.JobConfig:
    """Check ``values`` as the job will. Raises :class:`SettingError`."""
    for role in ROLES:
        _check_provider(role, provider_of(values, role))
    try:
        return job.load(values)
    except ConfigError as error:
        # What is allowed may depend on other keys, and names them as the job's config does.
        allowed = re.sub(r"[a-z]+(_[a-z]+)+", lambda found: _called(found[0]), error.allowed)
        raise SettingError(f"{_called(error.key)}: {error.problem}; allowed: {allowed}") from None


def _check_provider(role: str, provider: str) -> None:
    known = (*STORAGE_PROVIDERS, *{"source": (CLICKHOUSE,), "destination": job.NO_STORAGE}.get(role, ()))
    if provider in known or provider in job.NO_STORAGE:  # the job's own check says that these are destinations only
        return
    more = {"source": f"{CLICKHOUSE}, ", "destination": f"{LRS}, {CLICKHOUSE}, "}.get(role, "")
    some = f"{more}LOCAL, S3, MINIO"
    raise SettingError(
        f"{_called(f'{role}_provider')}: {shown(provider)} is not known{_hint(provider, known, 0.5)}; "
        f"allowed: {some} or another storage provider of Apache Libcloud"
    )


def _called(key: str) -> str:
    """What the user knows the key of the job's config as: a setting, an option, or both."""
    setting = BY_KEY.get(key)
    if setting is None:
        return key
    if setting.scope == ONE_RUN:
        return setting.option
    return setting.name if setting.secret else f"{setting.name} ({setting.option})"


def encode(values: Mapping[str, Any]) -> str:
    """The text of the job's config file."""
    return json.dumps({key: value for key, value in values.items() if value is not None}, indent=1) + "\n"
