"""The table of settings says all there is to say, and agrees with the job and with libcloud."""

from __future__ import annotations

import pytest
from libcloud.storage.providers import get_driver
from libcloud.storage.types import Provider

from tutor_transform_logs import commands
from tutor_transform_logs.lms_job.config import schema as job
from tutor_transform_logs.lms_job.config.validators import ConfigError
from tutor_transform_logs.settings import JOB_SETTINGS, OFFERED, PROVIDERS, SETTINGS, Setting

ONE_RUN = {"restart", "retry_failed", "repair"}


def test_every_key_of_the_job_is_a_setting_or_an_option_for_one_run() -> None:
    assert {setting.key for setting in JOB_SETTINGS} | ONE_RUN == set(job.KEYS)


def test_the_defaults_are_the_jobs() -> None:
    given = {setting.key: setting.default for setting in JOB_SETTINGS if setting.default is not None}
    assert job.load(given) == job.load({})


def test_the_providers_are_libclouds() -> None:
    def has_driver(constant: str) -> bool:
        try:
            get_driver(getattr(Provider, constant))
        except Exception:
            return False
        return True

    assert [name for name in sorted(vars(Provider)) if name.isupper() and has_driver(name)] == list(PROVIDERS)


@pytest.mark.parametrize("key", [key for key in OFFERED if not key.endswith("_provider")])
def test_what_the_shell_offers_is_what_the_job_allows(key: str) -> None:
    for value in OFFERED[key]:
        job.load({key: value})
    with pytest.raises(ConfigError) as error:
        job.load({key: "something else"})
    assert all(value in error.value.allowed for value in OFFERED[key])


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_a_setting_has_an_option_unless_it_may_hold_a_secret(setting: Setting) -> None:
    options = {name for _, option in commands.OPTIONS for name in option.opts}
    may_hold_a_secret = setting.key.endswith(("_secret", "_token", "_options", "_endpoints"))
    assert setting.secret == may_hold_a_secret
    assert (setting.option in options) == (setting.for_one_run and not setting.secret)
    assert setting.meaning.endswith(".")
    assert setting.shown_default


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("batch_max_bytes", "8388608, 8 MiB"),
        ("lrs_timeout_secs", "60"),
        ("dry_run", "false"),
        ("docker_image", "the LMS image"),
        ("lrs_urls", "all"),
        ("source_token", "none"),
    ],
)
def test_defaults_are_shown_as_a_reader_would_write_them(key: str, shown: str) -> None:
    assert {setting.key: setting.shown_default for setting in SETTINGS}[key] == shown
