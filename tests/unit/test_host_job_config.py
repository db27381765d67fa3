"""What the job is told: by the user, else by the site; and what is refused before anything starts."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tutor_transform_logs import job_config
from tutor_transform_logs.job_config import SettingError
from tutor_transform_logs.lms_job.config.setting import ONE_RUN
from tutor_transform_logs.lms_job.config.settings import BY_KEY

MINIO_SITE: dict[str, Any] = {
    "PLUGINS": ["minio"],
    "OPENEDX_AWS_ACCESS_KEY": "openedx",
    "OPENEDX_AWS_SECRET_ACCESS_KEY": "minio's",
}
S3_SITE: dict[str, Any] = {
    "PLUGINS": ["s3"],
    "OPENEDX_AWS_ACCESS_KEY": "AKIA",
    "OPENEDX_AWS_SECRET_ACCESS_KEY": "amazon's",
    "S3_HOST": "",
    "S3_PORT": "",
    "S3_REGION": "eu-west-1",
    "S3_USE_SSL": True,
}
CEPH_SITE = {**S3_SITE, "S3_HOST": "ceph.example.org", "S3_PORT": 8443}


def source(values: dict[str, Any], site: dict[str, Any]) -> dict[str, Any]:
    """What the site adds to the source."""
    result = job_config.with_site_defaults({f"source_{name}": value for name, value in values.items()}, site)
    return {name.removeprefix("source_"): value for name, value in result.items()}


@pytest.mark.parametrize(
    ("site", "given", "expected"),
    [
        (MINIO_SITE, {}, {}),
        (MINIO_SITE, {"provider": "LOCAL"}, {}),
        (MINIO_SITE, {"provider": "AZURE_BLOBS"}, {}),
        (
            MINIO_SITE,
            {"provider": "minio"},
            {"key": "openedx", "secret": "minio's", "host": "minio", "port": 9000, "secure": False},
        ),
        # A host of one's own has its own port and scheme.
        (MINIO_SITE, {"provider": "MINIO", "host": "files.x"}, {"key": "openedx", "secret": "minio's"}),
        # A key of one's own has its own secret.
        (MINIO_SITE, {"provider": "MINIO", "key": "me"}, {"host": "minio", "port": 9000, "secure": False}),
        # tutor-minio's keys are not for Amazon.
        (MINIO_SITE, {"provider": "S3"}, {}),
        (S3_SITE, {"provider": "S3"}, {"key": "AKIA", "secret": "amazon's", "region": "eu-west-1"}),
        # An empty key asks for boto3's own chain.
        (S3_SITE, {"provider": "S3", "key": ""}, {"region": "eu-west-1"}),
        (
            CEPH_SITE,
            {"provider": "S3"},
            {"key": "AKIA", "secret": "amazon's", "host": "ceph.example.org", "port": 8443, "secure": True}
            | {"region": "eu-west-1"},
        ),
        (
            CEPH_SITE,
            {"provider": "MINIO"},
            {"key": "AKIA", "secret": "amazon's", "host": "ceph.example.org", "port": 8443, "secure": True},
        ),
        ({}, {"provider": "MINIO"}, {"host": "minio", "port": 9000, "secure": False}),
    ],
)
def test_the_site_fills_in_what_belongs_together(
    site: dict[str, Any], given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert source(given, site) == {**given, **expected}


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("TRANSFORM_LOGS_SOURC_PREFIX", " (did you mean TRANSFORM_LOGS_SOURCE_PREFIX?)"),
        ("TRANSFORM_LOG_SINCE", " (did you mean TRANSFORM_LOGS_SINCE?)"),
        ("transform_logs_workers", " (did you mean TRANSFORM_LOGS_WORKERS?)"),
        ("TRANSFORM_LOGS_COLOUR_OF_THE_PAGE", ""),
    ],
)
def test_a_misspelled_setting_is_refused_with_the_name_that_was_meant(
    name: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site: dict[str, Any] = {"LMS_HOST": "lms.example", "TRANSFORM_LOGS_VERSION": "1.0", "TRANSFORM_LOGS_UNTIL": "2026"}
    # Of another plugin, for all we know.
    site["TRANSFORM_LOGOS_OF_THE_SITE"] = "x"
    job_config.check_names(site)
    with pytest.raises(SettingError) as refused:
        job_config.check_names({**site, name: "x"})
    unknown = f"{name}: unknown setting{hint}"
    assert refused.value.args == (f"{unknown}\nTo remove it: tutor config save --unset {name}",)
    monkeypatch.setenv(f"TUTOR_{name}", "x")
    with pytest.raises(SettingError) as refused:
        job_config.check_names(site)
    assert refused.value.args == (f"{unknown}\nTo remove it from the environment: unset TUTOR_{name}",)


@pytest.mark.parametrize(
    ("key", "hint"),
    [("prefx", " (did you mean prefix?)"), ("Prefix", " (did you mean prefix?)"), ("bucket", ""), ("colour", "")],
)
def test_an_unknown_key_of_erbs_config_is_refused(key: str, hint: str) -> None:
    """It would go to libcloud's driver, and most of them ignore it."""
    with pytest.raises(SettingError) as refused:
        job_config.from_erb("source", json.dumps({"container": "logs", key: "tracking.log"}))
    [text] = refused.value.args
    assert text.startswith(f'--source_config: unknown key "{key}"{hint}; allowed: key, secret, container, prefix, host')
    assert text.endswith("(any other one goes in TRANSFORM_LOGS_SOURCE_OPTIONS)")


@pytest.mark.parametrize("key", ["timeout", "proxy_url", "ex_force_service_region"])
def test_a_keyword_of_a_driver_is_taken(key: str) -> None:
    assert job_config.from_erb("source", json.dumps({key: "x"}))["source_options"] == {key: "x"}


def test_a_time_that_moves_is_fixed_when_the_command_starts() -> None:
    values = {"since": "7d", "until": "yesterday", "limit": 5}
    config = job_config.check(values)
    fixed = job_config.with_fixed_times(values, config)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT00:00:00Z", fixed["since"])
    assert (job_config.check(fixed).since, job_config.check(fixed).until) == (config.since, config.until)
    assert fixed["limit"] == 5
    as_written = {"since": "2026-01-31", "until": "2026-02"}
    assert job_config.with_fixed_times(as_written, job_config.check(as_written)) == as_written


def test_erbs_config_says_all_there_is_to_say() -> None:
    text = '{"key": "a", "secret": "s", "container": "c", "host": "h", "port": 9000, "secure": false, "ex_b": {"b": 1}}'
    values = job_config.with_site_defaults({"source_provider": "S3", **job_config.from_erb("source", text)}, CEPH_SITE)
    loaded = job_config.check(values).source
    assert (loaded.key, loaded.secret, loaded.container, loaded.prefix) == ("a", "s", "c", "")
    assert (loaded.host, loaded.port, loaded.secure, loaded.region) == ("h", 9000, False, "")
    assert loaded.options == {"ex_b": {"b": 1}}


def test_erbs_config_without_prefix_reads_the_whole_directory() -> None:
    values = job_config.from_erb("source", '{"key": "/openedx/data/", "container": "logs"}')
    loaded = job_config.check(values).source
    assert (loaded.root, loaded.prefix) == ("/openedx/data/logs", "")


def test_the_documents_minio_prefix_loses_its_slash() -> None:
    values = job_config.from_erb("source", '{"container": "openedx", "prefix": "/tracking_logs"}')
    assert job_config.check({"source_provider": "MINIO", **values}).source.prefix == "tracking_logs"


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        (
            {"source_provider": "MINO"},
            ['SOURCE_PROVIDER (--source-provider): "MINO"', "did you mean MINIO?", "LOCAL, S3"],
        ),
        ({"source_provider": "LSR"}, ['"LSR"', "allowed: CLICKHOUSE, LOCAL, S3, MINIO"]),
        ({"destination_provider": "LSR"}, ['"LSR"', "did you mean LRS?"]),
        ({"source_provider": "LRS"}, ["SOURCE_PROVIDER (--source-provider)", "destination only"]),
        ({"source_provider": "S3"}, ["SOURCE_CONTAINER (--source-container): not set"]),
        ({"destination_provider": "LOCAL"}, ["DESTINATION_CONTAINER (--destination-container): not set"]),
        (
            {
                "destination_provider": "LOCAL",
                "destination_container": "logs",
                "destination_prefix": "tracking.log/out",
            },
            ["DESTINATION_PREFIX (--destination-prefix)", "/openedx/data/logs/tracking.log/out", "allowed: another"],
        ),
        ({"batch_size": "many"}, ['BATCH_SIZE (--batch-size): "many"', "allowed: a whole number"]),
        ({"source_port": "70000"}, ["SOURCE_PORT (--source-port)", "70000", "65535"]),
        ({"source_options": '{"a": "hush'}, ["TRANSFORM_LOGS_SOURCE_OPTIONS: ", "JSON"]),
        ({"lrs_endpoints": '[{"url": "hush"}]'}, ["TRANSFORM_LOGS_LRS_ENDPOINTS: ", "a URL"]),
        ({"transformer_type": "xAPI"}, ['TRANSFORMER_TYPE (--transformer-type): "xAPI"', "xapi or caliper"]),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_is_allowed(values: dict[str, Any], detail: list[str]) -> None:
    with pytest.raises(job_config.SettingError) as caught:
        job_config.check(values)
    message = str(caught.value.args[0])
    assert message.startswith("TRANSFORM_LOGS_")
    assert "\n" not in message
    assert "; allowed: " in message
    assert [word for word in detail if word not in message] == [], message


@pytest.mark.parametrize("text", ['{"secret": "hush', "[1]", '"hush"'])
def test_erbs_config_that_is_not_an_object_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(job_config.SettingError, match=r"^--source_config: .*; allowed: a JSON object$") as caught:
        job_config.from_erb("source", text)
    assert "hush" not in str(caught.value)


def test_every_key_of_the_job_has_a_name_in_errors() -> None:
    for key, setting in BY_KEY.items():
        assert job_config._called(key).startswith("--" if setting.scope == ONE_RUN else "TRANSFORM_LOGS_")
