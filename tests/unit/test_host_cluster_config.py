"""The job's config on Kubernetes: where the ledger goes by itself, and what is refused before anything starts."""

from __future__ import annotations

from typing import Any

import pytest
from tutor.exceptions import TutorError

from tutor_transform_logs import cluster_config, job_config
from tutor_transform_logs.lms_job.config.schema import JobConfig
from tutor_transform_logs.settings import SETTINGS

SITE: dict[str, Any] = {setting.name: setting.default for setting in SETTINGS}
CLAIM: dict[str, Any] = {**SITE, "TRANSFORM_LOGS_K8S_DATA_CLAIM": "logs"}
FROM_MINIO: dict[str, Any] = {
    "source_provider": "MINIO",
    "source_container": "old",
    "source_prefix": "tracking/",
    "source_key": "reader",
    "source_secret": "hush",
    "source_host": "minio",
    "source_port": 9000,
}
TO_S3: dict[str, Any] = {
    "destination_provider": "S3",
    "destination_container": "statements",
    "destination_prefix": "2026",
    "destination_region": "eu-west-1",
}


def checked(values: dict[str, Any], site: dict[str, Any] = SITE) -> JobConfig:
    """As the command does it."""
    values = cluster_config.with_cluster_defaults(values, site)
    config = job_config.check(values)
    cluster_config.check(values, site)
    return config


def test_the_ledger_is_in_the_sources_store() -> None:
    config = checked(FROM_MINIO)
    assert config.ledger.identity() == {**config.source.identity(), "prefix": "transform-logs"}
    assert (config.ledger.key, config.ledger.secret) == ("reader", "hush")


@pytest.mark.parametrize("provider", ["LRS", "CLICKHOUSE"])
def test_the_ledger_is_in_no_destination_that_stores_no_files(provider: str) -> None:
    config = checked({**FROM_MINIO, "destination_provider": provider})
    assert (config.ledger.provider, config.ledger.container) == ("MINIO", "old")


def test_the_ledger_is_in_the_destinations_store_before_the_sources() -> None:
    config = checked({**FROM_MINIO, **TO_S3})
    assert config.destination is not None
    assert config.ledger.identity() == {**config.destination.identity(), "prefix": "transform-logs"}
    assert config.ledger.secret == ""


def test_where_the_ledger_was_said_to_be_it_is() -> None:
    own = {"ledger_provider": "S3", "ledger_container": "mine"}
    config = checked({**FROM_MINIO, **own})
    assert (config.ledger.provider, config.ledger.container, config.ledger.host) == ("S3", "mine", "")
    config = checked({**FROM_MINIO, "ledger_container": "mine", "ledger_prefix": "a/b"})
    assert (config.ledger.host, config.ledger.container, config.ledger.prefix) == ("minio", "mine", "a/b")


def test_one_accounts_key_never_goes_with_anothers_secret() -> None:
    config = checked({**FROM_MINIO, "ledger_key": "writer"})
    assert (config.ledger.key, config.ledger.secret) == ("writer", "")


def test_a_claim_is_for_all_that_is_local() -> None:
    config = checked({"destination_provider": "LOCAL", "destination_container": "out"}, CLAIM)
    assert config.destination is not None
    roots = [config.source.root, config.destination.root, config.ledger.root]
    assert roots == ["/openedx/data/logs", "/openedx/data/out", "/openedx/data/transform-logs"]
    assert not checked(FROM_MINIO, CLAIM).ledger.is_local


@pytest.mark.parametrize(
    ("values", "detail"),
    [
        ({}, ["TRANSFORM_LOGS_SOURCE_PROVIDER", "TRANSFORM_LOGS_K8S_DATA_CLAIM"]),
        (
            {**FROM_MINIO, "destination_provider": "LOCAL", "destination_container": "out"},
            ["TRANSFORM_LOGS_DESTINATION_PROVIDER", "TRANSFORM_LOGS_K8S_DATA_CLAIM"],
        ),
        (
            {**FROM_MINIO, "ledger_provider": "LOCAL"},
            ["TRANSFORM_LOGS_LEDGER_PROVIDER", "all pods reach", "TRANSFORM_LOGS_K8S_DATA_CLAIM"],
        ),
        (
            {**FROM_MINIO, "metrics_file": "/openedx/data/metrics/replay.prom"},
            ["TRANSFORM_LOGS_METRICS_FILE", "TRANSFORM_LOGS_K8S_DATA_CLAIM"],
        ),
    ],
    ids=["source", "destination", "ledger", "metrics"],
)
def test_local_without_a_claim_is_refused(values: dict[str, Any], detail: list[str]) -> None:
    with pytest.raises(job_config.SettingError) as error:
        checked(values)
    assert "\n" not in str(error.value)
    assert [word for word in detail if word not in str(error.value)] == []


def test_a_rehearsal_needs_no_volume_for_a_destination_that_it_leaves_alone() -> None:
    local = {"destination_provider": "LOCAL", "destination_container": "out"}
    assert checked({**FROM_MINIO, **local, "dry_run": True}).dry_run


def test_a_ledger_that_would_be_read_as_a_log_is_refused_with_the_settings_name() -> None:
    with pytest.raises(job_config.SettingError, match="TRANSFORM_LOGS_LEDGER_PREFIX"):
        checked({**FROM_MINIO, "source_prefix": ""})


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("PODS", [0, -1, "many", 1.5, True, 20_000, None], [1, 64, "8"]),
        ("DATA_CLAIM", ["Old Logs", "-x", "a/b"], ["", "old-logs", "a.b"]),
        ("REQUESTS", ["1", [1], {"cpu": [1]}], [{}, {"cpu": 2, "memory": "1Gi"}]),
        ("LIMITS", [7, {"cpu": {}}], [{}, {"memory": "1Gi"}]),
        ("NODE_SELECTOR", ["pool", {"pool": 1}, {"gpu": True}], [{}, {"pool": "batch"}]),
        ("TOLERATIONS", [{"key": "x"}, ["x"], "x"], [[], [{"operator": "Exists"}]]),
        ("SERVICE_ACCOUNT", ["A b"], ["", "reader"]),
        ("CRON_SCHEDULE", ["at night", "30 2 * *", 5], ["", "30 2 * * *", "@daily"]),
        ("CRON_HISTORY", [-1, "x", None], [0, 3]),
    ],
)
def test_what_goes_into_the_manifests_is_checked(name: str, bad: list[Any], good: list[Any]) -> None:
    name = f"TRANSFORM_LOGS_K8S_{name}"
    for value in bad:
        with pytest.raises(TutorError, match=f"{name}: .*(; allowed: |Run: tutor config save --set)"):
            cluster_config.check_settings({**SITE, name: value})
    for value in good:
        cluster_config.check_settings({**SITE, name: value})
