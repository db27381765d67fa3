"""The table of settings says all there is to say, and agrees with the job and with libcloud."""

from __future__ import annotations

import pytest
from libcloud.storage.providers import get_driver
from libcloud.storage.types import Provider

from tutor_transform_logs.lms_job.config.providers import STORAGE_PROVIDERS
from tutor_transform_logs.lms_job.config.schema import load
from tutor_transform_logs.lms_job.config.setting import JOB, MANIFESTS, Setting
from tutor_transform_logs.lms_job.config.settings import BY_KEY
from tutor_transform_logs.lms_job.config.validators import ConfigError
from tutor_transform_logs.options import OPTIONS
from tutor_transform_logs.settings import SETTINGS, tutor_default


def test_every_key_of_the_job_is_a_setting_or_an_option_for_one_run() -> None:
    options = {option.name for _, option in OPTIONS}
    for setting in BY_KEY.values():
        assert (setting in SETTINGS) == (setting.scope == JOB)
        assert setting in SETTINGS or setting.key in options


def test_the_defaults_are_the_jobs() -> None:
    given = {setting.key: tutor_default(setting) for setting in SETTINGS if setting.scope == JOB}
    assert load(given) == load({})


def test_the_providers_are_libclouds() -> None:
    def has_driver(constant: str) -> bool:
        try:
            get_driver(getattr(Provider, constant))
        except Exception:
            return False
        return True

    assert [name for name in sorted(vars(Provider)) if name.isupper() and has_driver(name)] == list(STORAGE_PROVIDERS)


@pytest.mark.parametrize("key", [key for key, row in BY_KEY.items() if row.offered and not key.endswith("_provider")])
def test_what_the_shell_offers_is_what_the_job_allows(key: str) -> None:
    for value in BY_KEY[key].offered:
        load({key: value})
    with pytest.raises(ConfigError) as error:
        load({key: "something else"})
    assert all(value in error.value.allowed for value in BY_KEY[key].offered)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_setting_has_an_option_unless_it_may_hold_a_secret(setting: Setting) -> None:
    options = {name for _, option in OPTIONS for name in option.opts}
    may_hold_a_secret = setting.key.endswith(("_secret", "_password", "_token", "_options", "_endpoints"))
    assert setting.secret == may_hold_a_secret
    assert (setting.option in options) == (setting.scope != MANIFESTS and not setting.secret)
    assert setting.meaning.endswith(".")
    assert setting.shown_default


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("max_line_bytes", "16777216, 16 MiB"),
        ("lrs_timeout_secs", "60"),
        ("dry_run", "false"),
        ("docker_image", "the LMS image"),
        ("lrs_urls", "all"),
        ("source_token", "none"),
    ],
)
def test_defaults_are_shown_as_a_reader_would_write_them(key: str, shown: str) -> None:
    assert {setting.key: setting.shown_default for setting in SETTINGS}[key] == shown
