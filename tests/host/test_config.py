"""``tutor transform-logs config``: what a run would use and why, as the real ``tutor`` prints it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.tutor_cli import Tutor
from tutor_transform_logs.lms_job.config.settings import BY_KEY
from tutor_transform_logs.settings import SETTINGS

SECRET = "s3cr$t-Q/x"


def origins(text: str) -> dict[str, str]:
    """Setting -> what stands behind its value, on the same line or the next one."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith("TRANSFORM_LOGS_"):
            name = line.partition(":")[0]
        value, mark, origin = line.partition("  # ")
        if mark and name and (value.startswith(name) or not value.strip()):
            found[name] = origin.strip()
    return found


def test_nothing_set(each_tutor: Tutor) -> None:
    text = each_tutor.must("transform-logs", "config")
    assert yaml.safe_load(text) == {
        "TRANSFORM_LOGS_SOURCE_PROVIDER": "LOCAL",
        "TRANSFORM_LOGS_SOURCE_KEY": "/openedx/data",
        "TRANSFORM_LOGS_SOURCE_CONTAINER": "logs",
        "TRANSFORM_LOGS_SOURCE_PREFIX": "tracking.log",
        "TRANSFORM_LOGS_DESTINATION_PROVIDER": "LRS",
    }
    assert set(origins(text).values()) == {"default"}


def test_all_names_every_setting_with_its_default(tutor: Tutor) -> None:
    text = tutor.must("transform-logs", "config", "--all")
    values = yaml.safe_load(text)
    assert list(values) == [setting.name for setting in SETTINGS]
    assert values["TRANSFORM_LOGS_BATCH_SIZE"] == 1000
    assert values["TRANSFORM_LOGS_LEDGER_CONTAINER"] == "transform-logs"
    assert values["TRANSFORM_LOGS_K8S_LIMITS"] == {"memory": "2Gi"}
    assert values["TRANSFORM_LOGS_SINCE"] is None
    assert origins(text)["TRANSFORM_LOGS_SINCE"] == "default: no limit"
    assert {origin.partition(":")[0] for origin in origins(text).values()} == {"default"}


def test_where_each_value_comes_from(tutor: Tutor) -> None:
    plugins = Path(tutor.environ["TUTOR_PLUGINS_ROOT"])
    (plugins / "s3.py").write_text(
        "from tutor import hooks\n"
        "hooks.Filters.CONFIG_DEFAULTS.add_items([('S3_REGION', 'eu-west-1'), ('S3_HOST', ''), ('S3_PORT', '')])\n"
        "hooks.Filters.CONFIG_OVERRIDES.add_item(('TRANSFORM_LOGS_WORKERS', 4))\n"
        f"hooks.Filters.CONFIG_OVERRIDES.add_items([('OPENEDX_AWS_ACCESS_KEY', 'AKIA'), "
        f"('OPENEDX_AWS_SECRET_ACCESS_KEY', {SECRET!r})])\n"
    )
    tutor.must("plugins", "enable", "s3")
    tutor.save(
        TRANSFORM_LOGS_SOURCE_PROVIDER="S3",
        TRANSFORM_LOGS_SOURCE_CONTAINER="logs-of-{{ LMS_HOST }}",
        TRANSFORM_LOGS_SINCE="2026-01-01",
    )
    done = tutor("transform-logs", "config", TUTOR_TRANSFORM_LOGS_BATCH_SIZE="7")
    assert done.status == 0, done.output
    assert not done.calls
    values, where = yaml.safe_load(done.output), origins(done.output)
    expected = {
        "SOURCE_PROVIDER": ("S3", "config.yml"),
        "SOURCE_CONTAINER": ("logs-of-lms.test", "config.yml"),
        "SOURCE_KEY": ("AKIA", "OPENEDX_AWS_ACCESS_KEY"),
        "SOURCE_SECRET": ("***", "OPENEDX_AWS_SECRET_ACCESS_KEY"),
        "SOURCE_REGION": ("eu-west-1", "S3_REGION"),
        "SOURCE_PREFIX": (None, "default"),
        "BATCH_SIZE": (7, "TUTOR_TRANSFORM_LOGS_BATCH_SIZE in the environment"),
        "SINCE": ("2026-01-01", "config.yml"),
        "DESTINATION_PROVIDER": ("LRS", "default"),
    }
    found = {name: (values[f"TRANSFORM_LOGS_{name}"], where[f"TRANSFORM_LOGS_{name}"]) for name in expected}
    assert found == expected
    assert SECRET not in done.output
    config = tutor.replay(TUTOR_TRANSFORM_LOGS_BATCH_SIZE="7").config
    assert config["batch_size"] == 7
    assert [config[f"source_{name}"] for name in ("provider", "container", "key", "region")] == [
        "S3", "logs-of-lms.test", "AKIA", "eu-west-1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "target",
    [
        f"https://hooks.example.org/{SECRET}",
        f"curl -u bob:{SECRET} https://hooks.example.org/x",
        f"TOKEN={SECRET} mail -s Replay root",
    ],
)
def test_a_webhook_and_a_command_are_secrets_though_they_have_an_option(tutor: Tutor, target: str) -> None:
    tutor.save(TRANSFORM_LOGS_NOTIFY=target)
    text = tutor.must("transform-logs", "config")
    assert yaml.safe_load(text)["TRANSFORM_LOGS_NOTIFY"] == "***"
    assert SECRET not in text
    assert "--notify" in tutor.must("local", "do", "transform-tracking-logs", "--help-all")


def test_no_secret_is_printed_wherever_it_stands(tutor: Tutor) -> None:
    """As a setting of its own, in a URL, in JSON, and where it was put by mistake."""
    endpoints = [{"url": "https://lrs.example.com/xAPI", "username": "someone", "password": SECRET}]
    tutor.save(
        TRANSFORM_LOGS_SOURCE_PROVIDER="S3",
        TRANSFORM_LOGS_SOURCE_CONTAINER="logs",
        TRANSFORM_LOGS_SOURCE_SECRET=SECRET,
        TRANSFORM_LOGS_SOURCE_OPTIONS=json.dumps(
            {"proxy_url": f"http://me:{SECRET}@proxy:3128", "deep": [{"a": SECRET}]}
        ),
        TRANSFORM_LOGS_SOURCE_TOKEN="tokenly",
        TRANSFORM_LOGS_SOURCE_PREFIX="tokenly-logs",
        TRANSFORM_LOGS_LRS_ENDPOINTS=json.dumps(endpoints),
        TRANSFORM_LOGS_LRS_URLS=f"https://lrs.example.com/xAPI?key=inquery https://lrs.example.com/{SECRET}",
    )
    text = tutor.must("transform-logs", "config", "--all")
    assert [hidden for hidden in (SECRET, "tokenly", "inquery", "someone", "me:") if hidden in text] == []
    values = yaml.safe_load(text)
    assert values["TRANSFORM_LOGS_SOURCE_OPTIONS"] == {"proxy_url": "***", "deep": [{"a": "***"}]}
    assert values["TRANSFORM_LOGS_LRS_ENDPOINTS"] == [
        {"url": "https://lrs.example.com/xAPI", "username": "***", "password": "***"}
    ]
    assert values["TRANSFORM_LOGS_SOURCE_PREFIX"] == "***-logs"
    assert "https://lrs.example.com/xAPI" in str(values["TRANSFORM_LOGS_LRS_URLS"])


def test_credentials_in_a_url_are_refused_and_not_printed(tutor: Tutor) -> None:
    tutor.save(TRANSFORM_LOGS_DESTINATION_PROVIDER="CLICKHOUSE", TRANSFORM_LOGS_CLICKHOUSE_URL=f"http://me:{SECRET}@ch")
    done = tutor("transform-logs", "config")
    assert done.status == 1
    assert 'TRANSFORM_LOGS_CLICKHOUSE_URL: "http://***@ch"' in done.output
    assert "Error: TRANSFORM_LOGS_CLICKHOUSE_URL" in done.output
    assert SECRET not in done.output


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("CLICKHOUSE_URL", "default:hid:d/en@clickhouse:8123", "***@clickhouse:8123"),
        ("CLICKHOUSE_URL", "//hidden@clickhouse", "//***@clickhouse"),
        ("CLICKHOUSE_URL", "http://clickhouse#tok=hidden", "http://clickhouse#***"),
        ("CLICKHOUSE_URL", "clickhouse:8123/#tok=hidden", "clickhouse:8123/#***"),
        ("SOURCE_HOST", "u:hidden@minio", "***@minio"),
        ("LRS_URLS", "https://one/xAPI u:hidden@two/xAPI //hidden@three", "https://one/xAPI ***@two/xAPI //***@three"),
        ("LRS_URLS", '["u:hidden@lrs/xAPI"]', ["***@lrs/xAPI"]),
        ("LRS_ENDPOINTS", '[{"url": "u:hidden@lrs/xAPI"}]', [{"url": "***@lrs/xAPI"}]),
        ("LRS_ENDPOINTS", '[{"url": "//u:hidden@lrs/xAPI"}]', [{"url": "//***@lrs/xAPI"}]),
        ("SOURCE_PREFIX", "part-?/a#1", "part-?/a#1"),
        ("DOCKER_IMAGE", "registry:5000/openedx:1@sha256:ab", "registry:5000/openedx:1@sha256:ab"),
    ],
)
def test_credentials_are_hidden_where_there_is_no_scheme(tutor: Tutor, name: str, value: str, shown: Any) -> None:
    tutor.save(**{f"TRANSFORM_LOGS_{name}": value})
    done = tutor("transform-logs", "config")
    assert "hid" not in done.output
    line = next(line for line in done.output.splitlines() if line.startswith(f"TRANSFORM_LOGS_{name}:"))
    assert yaml.safe_load(line)[f"TRANSFORM_LOGS_{name}"] == shown


@pytest.mark.parametrize(
    ("name", "value"),
    [("TRANSFORM_LOGS_BATCH_SIZE", "many"), ("TRANSFORM_LOGS_BACH_SIZE", "7"), ("TRANSFORM_LOGS_K8S_PODS", "0")],
)
def test_what_a_run_would_refuse_is_said_after_the_settings(tutor: Tutor, name: str, value: str) -> None:
    tutor.save(**{name: value})
    done = tutor("transform-logs", "config")
    assert done.status == 1
    assert "TRANSFORM_LOGS_SOURCE_PROVIDER: LOCAL" in done.output
    assert f"Error: {name}" in done.output
    assert "Traceback" not in done.output


def test_a_misspelled_variable_is_refused_as_a_setting_is(each_tutor: Tutor) -> None:
    for words in (("transform-logs", "config"), ("local", "do", "transform-tracking-logs")):
        done = each_tutor(*words, TUTOR_TRANSFORM_LOGS_SORCE_PREFIX="x")
        assert done.status == 1
        assert (
            "Error: TRANSFORM_LOGS_SORCE_PREFIX: unknown setting (did you mean TRANSFORM_LOGS_SOURCE_PREFIX?)\n"
            "To remove it from the environment: unset TUTOR_TRANSFORM_LOGS_SORCE_PREFIX" in done.output
        )
        assert not done.calls


def test_on_kubernetes_the_ledger_lies_beside_the_destination(tutor: Tutor) -> None:
    tutor.save(
        TRANSFORM_LOGS_DESTINATION_PROVIDER="S3",
        TRANSFORM_LOGS_DESTINATION_CONTAINER="out",
        TRANSFORM_LOGS_DESTINATION_SECRET=SECRET,
    )
    assert "LEDGER" not in tutor.must("transform-logs", "config")
    text = tutor.must("transform-logs", "config", "--kubernetes")
    values = yaml.safe_load(text)
    assert values["TRANSFORM_LOGS_LEDGER_CONTAINER"] == "out"
    assert values["TRANSFORM_LOGS_LEDGER_SECRET"] == "***"
    assert "on Kubernetes" in origins(text)["TRANSFORM_LOGS_LEDGER_CONTAINER"]
    assert SECRET not in text
    assert BY_KEY["ledger_secret"].secret
