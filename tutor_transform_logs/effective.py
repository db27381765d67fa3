"""``tutor transform-logs config``: the settings in effect, each with where its value comes from, without secrets."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
from tutor import config as tutor_config
from tutor.exceptions import TutorError
from tutor.types import Config

from tutor_transform_logs import cluster_config, job_config
from tutor_transform_logs.lms_job.config.schema import JobConfig
from tutor_transform_logs.lms_job.config.setting import JOB, Setting
from tutor_transform_logs.lms_job.config.settings import CLICKHOUSE_KEYS, ROLES
from tutor_transform_logs.lms_job.util import console
from tutor_transform_logs.lms_job.util.formatting import printable
from tutor_transform_logs.lms_job.util.iso_times import in_utc
from tutor_transform_logs.lms_job.util.secrets import STARS, hide
from tutor_transform_logs.settings import SETTINGS, tutor_default
from tutor_transform_logs.yaml_values import from_tutor

DEFAULT = "default"
BESIDE = "beside the destination or the source, on Kubernetes"
# What is shown of a site where nothing is set, too: what is read, and where it goes.
ALWAYS = ("source_provider", "source_key", "source_container", "source_prefix", "destination_provider")

# A password that has a / or a ? in it, which a URL should not have, ends at the last @ all the same. Without a scheme
# it is told from other text by its colon; the name of an image has one before the @ of a digest, too.
_CREDENTIALS = re.compile(r"((?<=//)|(?<![^\s\"'])(?!//)[^\s\"':]*:(?!//))[^\s\"']*(?=@(?!sha256:))")
# Of a URL, all that is behind a ? or a #. Without a scheme it may be a pattern, unless it is a name and a value.
_QUERY = re.compile(r"(//[^\s\"'?#]*[?#]|[?#](?=[\w.-]+=))[^\s\"']+")
# What YAML reads as the text that it is. Anything else is in quotes.
_PLAIN = re.compile(r"[A-Za-z/_][\w./@*-]*|[a-z]+://[\w./:-]+[\w/]", re.ASCII)
_NOT_TEXT = ("true", "false", "yes", "no", "on", "off", "null", "y", "n")


@dataclass(frozen=True)
class Effective:
    """A setting with the value that a run uses."""

    setting: Setting
    value: Any
    origin: str


def in_effect(root: str, site: Config, on_kubernetes: bool = False) -> list[Effective]:
    """All settings; ``site`` is Tutor's full, rendered config.

    A value that can't be used is given as it is: :func:`check` says what is wrong with it. Raises
    :class:`.yaml_values.AmbiguousValueError`.
    """
    given = job_config.from_settings(site)
    offers = job_config.site_offers(given, site)
    values = {**given, **{key: offer.value for key, offer in offers.items()}}
    on_cluster = cluster_config.with_cluster_defaults(values, site) if on_kubernetes else values
    beside = {key: value for key, value in on_cluster.items() if value is not None and key not in values}
    try:
        config = job_config.check(on_cluster)
    except TutorError:
        config = job_config.check({})
    path = Path(tutor_config.config_path(root))
    saved = tutor_config.get_yaml_file(str(path)) if path.exists() else {}
    result = []
    for setting in SETTINGS:
        if setting.key in offers:
            value, origin = offers[setting.key].value, offers[setting.key].origin
        elif setting.key in beside:
            value, origin = beside[setting.key], BESIDE
        else:
            value, origin = site.get(setting.name), _origin(setting, site, saved)
            value = from_tutor(setting, value) if setting.scope == JOB else value
            if origin == DEFAULT or value is None:
                value, origin = _default(setting, config), DEFAULT
        result.append(Effective(setting, value, origin))
    return result


def _origin(setting: Setting, site: Config, saved: Mapping[str, Any]) -> str:
    """Where Tutor has the value from."""
    if (variable := f"TUTOR_{setting.name}") in os.environ:
        return f"{variable} in the environment"
    if setting.name in saved:
        return "config.yml"
    value, default = site.get(setting.name), tutor_default(setting)
    return DEFAULT if (type(value), value) == (type(default), default) else "another plugin"


def _default(setting: Setting, config: JobConfig) -> Any:
    """What a run uses where nothing is set; ``None`` if it depends on what the LMS has, or if there is no value."""
    if setting.scope != JOB:
        return tutor_default(setting)
    role, _, name = setting.key.partition("_")
    if _is_of_store(setting):
        store = getattr(config, role)
        if store is None:  # an LRS or a table
            return job_config.provider_of({}, role) if name == "provider" else None
        return getattr(store, name)
    if role == "clickhouse" and name in CLICKHOUSE_KEYS:
        return getattr(config.clickhouse, name, setting.default)
    return getattr(config, setting.key)


def _is_of_store(setting: Setting) -> bool:
    return setting.key.partition("_")[0] in ROLES


def check(site: Config) -> None:
    """Raise ``TutorError`` for the first setting that a run would refuse."""
    job_config.check_names(site)
    job_config.check(job_config.with_site_defaults(job_config.from_settings(site), site))
    cluster_config.check_settings(site)


def lines(found: Iterable[Effective], width: int | None) -> Iterator[str]:
    """What is printed: YAML, with the origin of each value as a comment. No secret is in it, wherever it stands."""
    found = list(found)
    secrets = {text for each in found if each.setting.is_hidden for text in _texts(each.value)}
    group = ""
    for each in found:
        if each.setting.group != group:
            if group:
                yield ""
            group = each.setting.group
            yield f"# {group}"
        yield from _line(each, secrets, width)


def _line(each: Effective, secrets: Iterable[str], width: int | None) -> Iterator[str]:
    text = _written(_without_secrets(each.value) if each.setting.is_hidden else _cleaned(each.value, secrets))
    setting = f"{each.setting.name}: {printable(text)}".rstrip()
    origin = each.origin
    # What there is instead of a value; that of a store depends on its provider, which is known here.
    if origin == DEFAULT and not text and each.setting.shown_default != "none" and not _is_of_store(each.setting):
        origin = f"{DEFAULT}: {each.setting.shown_default}"
    if width is None or len(f"{setting}  # {origin}") <= width:
        yield f"{setting}  # {origin}"
    else:
        yield setting
        yield f"    # {origin}"


def _written(value: Any) -> str:
    """``value`` as YAML on one line; nothing for no value."""
    if value is None or value in ("", (), [], {}):
        return ""
    if isinstance(value, datetime):
        return in_utc(value)
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _cleaned(value: Any, secrets: Iterable[str]) -> Any:
    """A value that should hold no secret without those that it has all the same."""
    if isinstance(value, str):
        return hide(_QUERY.sub(rf"\1{STARS}", _CREDENTIALS.sub(STARS, value)), secrets)
    return [_cleaned(item, secrets) for item in value] if isinstance(value, (list, tuple)) else value


def _without_secrets(value: Any) -> Any:
    """The names in a secret value, and the URLs of endpoints; :data:`STARS` for anything else."""
    if isinstance(value, Mapping):
        return {
            str(name): _cleaned(item, ()) if name == "url" else _without_secrets(item) for name, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_without_secrets(item) for item in value]
    return value if value in (None, "") else STARS


def _texts(value: Any) -> Iterator[str]:
    """Every text in a value; not that of a number, which would be masked in any other one."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name != "url":
                yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


@click.command(name="config")
@click.option("--all", "all_", is_flag=True, help="Print the settings that have their default, too.")
@click.option("--kubernetes", is_flag=True, help="Print what tutor k8s uses: the ledger may lie elsewhere there.")
@click.pass_obj
def show_config(context: Any, all_: bool, kubernetes: bool) -> None:
    """Print the settings in effect, and where each value comes from.

    That is config.yml, the environment, another plugin, what the site has for Aspects or an object store, or the
    default. Secrets are masked. An option of the replay goes before all of these, for one run.
    """
    site = tutor_config.load(context.root)
    found = in_effect(context.root, site, kubernetes)
    shown = [each for each in found if all_ or each.origin != DEFAULT or each.setting.key in ALWAYS]
    for line in lines(shown, console.columns()):
        click.echo(line)
    if not all_:
        click.echo("\n# All other settings have their default: tutor transform-logs config --all")
    check(site)
