"""The real ``tutor`` with the real Aspects enabled: a stock site needs no setting."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import aspects
from tests.harness.clickhouse import ClickHouse
from tests.harness.demo_lms import DemoLms
from tests.harness.doc_commands import REPOSITORY, commands
from tests.harness.forked_site import ForkedSite
from tests.harness.runs import assert_accounted
from tests.harness.tutor_cli import Tutor, tutor_environ
from tutor_transform_logs.demo.log_writer import Mix
from tutor_transform_logs.lms_job.report.next_steps import FOR_ASPECTS, MOST_RECENT, REBUILD, NextStep

pytestmark = pytest.mark.slow

TO_CLICKHOUSE = "Destination: table openedx.xapi_events_all in ClickHouse at http://clickhouse:8123"


@pytest.fixture(scope="module")
def saved_site(recorder: Path, installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Tutor:
    """Both plugins enabled, nothing set."""
    folder = tmp_path_factory.mktemp("aspects")
    made = Tutor(aspects.executables(), folder / "saved", tutor_environ(recorder, folder, installed))
    made.root.mkdir()
    made.must("plugins", "enable", "aspects", "transform_logs")
    made.must("config", "save")
    return made


@pytest.fixture
def stock_site(saved_site: Tutor, tmp_path: Path) -> Tutor:
    """A copy of it for one test."""
    shutil.copytree(saved_site.root, tmp_path / "root")
    return Tutor(saved_site.bin, tmp_path / "root", saved_site.environ)


def secret(site: Tutor, name: str) -> str:
    return str(yaml.safe_load((site.root / "config.yml").read_text())[name])


def clickhouse_values(config: dict[str, Any]) -> dict[str, Any]:
    names = ("destination_provider", "clickhouse_url", "clickhouse_database", "clickhouse_table", "clickhouse_username")
    return {name: config.get(name) for name in names}


def test_config_says_what_comes_from_aspects(stock_site: Tutor) -> None:
    text = stock_site.must("transform-logs", "config")
    assert "TRANSFORM_LOGS_DESTINATION_PROVIDER: CLICKHOUSE  # Aspects" in text
    assert "TRANSFORM_LOGS_CLICKHOUSE_URL: http://clickhouse:8123  # Aspects" in text
    assert 'TRANSFORM_LOGS_CLICKHOUSE_PASSWORD: "***"  # Aspects' in text
    assert secret(stock_site, "ASPECTS_CLICKHOUSE_VECTOR_PASSWORD") not in text


def test_a_stock_site_writes_to_the_table_that_vector_fills(stock_site: Tutor) -> None:
    done = stock_site.replay()
    assert done.status == 0, done.output
    assert clickhouse_values(done.config) == {
        "destination_provider": "CLICKHOUSE",
        "clickhouse_url": "http://clickhouse:8123",
        "clickhouse_database": "openedx",
        "clickhouse_table": "xapi_events_all",
        "clickhouse_username": "ch_vector",
    }
    password = secret(stock_site, "ASPECTS_CLICKHOUSE_VECTOR_PASSWORD")
    assert done.config["clickhouse_password"] == password
    assert not [text for text in (done.output, *done.job["argv"], *done.job["environ"].values()) if password in text]
    assert f"{TO_CLICKHOUSE} (ASPECTS_XAPI_SOURCE is vector)" in " ".join(done.output.split())


@pytest.mark.parametrize("name", ["aspects-vector", "aspects-ralph"])
def test_commands_of_the_pages_about_aspects(stock_site: Tutor, name: str) -> None:
    """Aspects' own commands, too: those that no other ``tutor`` has."""
    for command in commands(REPOSITORY / "docs" / "howto" / f"{name}.rst"):
        if command.text.startswith("tutor "):
            done = stock_site.shell(command.text)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("step", FOR_ASPECTS, ids=[step.command.split()[-1] for step in FOR_ASPECTS])
def test_aspects_takes_the_commands_after_a_run(stock_site: Tutor, step: NextStep) -> None:
    page = (REPOSITORY / "docs" / "howto" / "aspects-vector.rst").read_text(encoding="utf-8")
    assert " ".join(step.command.split()) in " ".join(page.replace("\\\n", "").split())
    done = stock_site.shell(step.command)
    assert done.returncode == 0, done.stdout + done.stderr
    expected = " ".join(MOST_RECENT) if step.command == REBUILD else step.command.split('"')[1]
    assert expected in done.stdout + done.stderr


def test_the_config_of_a_stock_site_fills_the_table(
    stock_site: Tutor, demo_lms: DemoLms, aspects_clickhouse: ClickHouse, tmp_path: Path
) -> None:
    """The real job with what Tutor wrote for it; only the server, its passwords and the logs are in other places."""
    job = ForkedSite(tmp_path / "job", demo_lms)
    log = job.log(Mix(good=30, page_view=10))
    config = stock_site.replay().config
    password = aspects_clickhouse.password(config["clickhouse_username"])
    here = {"clickhouse_url": aspects_clickhouse.url, "clickhouse_password": password}
    assert_accounted(job.run(config, here, job.source()), log.xapi)
    assert aspects_clickhouse.count() == aspects_clickhouse.daily_sum() == log.xapi.distinct_statements


def sinks_of_vector(site: Tutor) -> list[tuple[str, ...]]:
    """Where the site's own Vector writes to: endpoint, database, table, and the user."""
    config = (site.root / "env/plugins/aspects/apps/vector/local.toml").read_text()
    sinks = [dict(re.findall(r'^([\w.]+) = "(.*)"$', sink, re.MULTILINE)) for sink in config.split("[sinks.")[1:]]
    return [tuple(sink[key] for key in ("endpoint", "database", "table", "auth.user")) for sink in sinks]


def test_raw_logs_are_read_from_the_table_that_vector_fills(stock_site: Tutor) -> None:
    """The provider is all that has to be set."""
    before = sinks_of_vector(stock_site)
    stock_site.save(ASPECTS_VECTOR_STORE_TRACKING_LOGS="true", TRANSFORM_LOGS_SOURCE_PROVIDER="CLICKHOUSE")
    done = stock_site.replay()
    assert done.status == 0, done.output
    source = {key: str(value) for key, value in done.config.items() if key.startswith("source_")}
    password = secret(stock_site, "ASPECTS_CLICKHOUSE_VECTOR_PASSWORD")
    assert source == {
        "source_provider": "CLICKHOUSE",
        "source_host": "clickhouse",
        "source_port": "8123",
        "source_secure": "False",
        "source_key": "ch_vector",
        "source_secret": password,
        "source_container": "openedx",
        "source_prefix": "_tracking",
    }
    [table] = set(sinks_of_vector(stock_site)) - set(before)
    server = f"http://{source['source_host']}:{source['source_port']}"
    assert table == (server, source["source_container"], source["source_prefix"], source["source_key"])
    assert clickhouse_values(done.config)["clickhouse_table"] == "xapi_events_all"
    assert not [text for text in (done.output, *done.job["argv"], *done.job["environ"].values()) if password in text]
    assert "clickhouse" in depends_on(stock_site)


def test_the_config_with_raw_logs_as_the_source_makes_their_statements(
    stock_site: Tutor, demo_lms: DemoLms, aspects_clickhouse: ClickHouse, tmp_path: Path
) -> None:
    """The real job with what Tutor wrote for it; only the server and its passwords are in other places."""
    stock_site.save(ASPECTS_VECTOR_STORE_TRACKING_LOGS="true", TRANSFORM_LOGS_SOURCE_PROVIDER="CLICKHOUSE")
    config = stock_site.replay().config
    job = ForkedSite(tmp_path / "job", demo_lms)
    log = job.log(Mix(good=30, page_view=10))
    events = [line[line.find(b"{") :] for line in (job.logs / "tracking.log").read_bytes().splitlines()]
    table = f"{config['source_container']}.{config['source_prefix']}"
    aspects_clickhouse.query(f"TRUNCATE TABLE {table}")
    rows = [json.dumps({"time": json.loads(line)["time"][:19], "message": line.decode()}) for line in events]
    aspects_clickhouse.query(f"INSERT INTO {table} FORMAT JSONEachRow\n" + "\n".join(rows))
    password = aspects_clickhouse.password(config["source_key"])
    here = {"clickhouse_url": aspects_clickhouse.url, "clickhouse_password": password}
    there = {"source_host": "127.0.0.1", "source_port": aspects_clickhouse.port, "source_secret": password}
    assert_accounted(job.run(config, here, there), log.xapi)
    assert aspects_clickhouse.count() == log.xapi.distinct_statements
    aspects_clickhouse.query(f"TRUNCATE TABLE {table}")


def test_a_check_says_where_a_run_would_write_and_other_commands_do_not(stock_site: Tutor) -> None:
    assert TO_CLICKHOUSE in stock_site.replay("--check").output
    for option in ("--status", "--quiet", "--dry-run"):
        assert "Destination: " not in stock_site.replay(option).output


def test_a_site_with_ralph_sends_to_the_routers(stock_site: Tutor) -> None:
    stock_site.save(ASPECTS_XAPI_SOURCE="ralph", RUN_RALPH="true")
    done = stock_site.replay()
    assert not any(clickhouse_values(done.config).values())
    assert "Destination: the LRSs of the LMS's routers (ASPECTS_XAPI_SOURCE is ralph)" in done.output
    told = stock_site.replay("--destination-provider", "CLICKHOUSE").config
    assert (told["clickhouse_database"], told["clickhouse_username"]) == ("xapi", "ch_lrs")
    assert told["clickhouse_password"] == secret(stock_site, "ASPECTS_CLICKHOUSE_LRS_PASSWORD")


def test_another_clickhouse_works_with_aspects_settings(stock_site: Tutor) -> None:
    stock_site.save(RUN_CLICKHOUSE="false", CLICKHOUSE_HOST="ch.example.org", CLICKHOUSE_SECURE_CONNECTION="true")
    assert stock_site.replay().config["clickhouse_url"] == "https://ch.example.org:8443"


def test_tls_with_the_clickhouse_of_aspects_is_refused_before_a_container_starts(stock_site: Tutor) -> None:
    """Aspects' own templates show why: plain HTTP on the port of TLS."""
    stock_site.save(CLICKHOUSE_SECURE_CONNECTION="true")
    server = (stock_site.root / "env/plugins/aspects/apps/clickhouse/config/server_config.xml").read_text()
    assert "<http_port>8443</http_port>" in server
    assert "<https_port>" not in server
    for option in ("--check", "--verify", "--gaps"):
        assert "CLICKHOUSE_SECURE_CONNECTION is true, but" in stock_site.replay(option).error
    assert stock_site.replay("--status").status == stock_site.replay("--dry-run").status == 0


def test_a_clickhouse_of_ones_own_gets_none_of_aspects_credentials(stock_site: Tutor) -> None:
    stock_site.save(TRANSFORM_LOGS_CLICKHOUSE_URL="https://ch.example.org", TRANSFORM_LOGS_CLICKHOUSE_DATABASE="mine")
    config = stock_site.replay().config
    assert config["clickhouse_url"] == "https://ch.example.org"
    assert config["clickhouse_database"] == "mine"
    assert "clickhouse_username" not in config
    assert "clickhouse_password" not in config


@pytest.mark.parametrize(
    ("settings", "detail"),
    [
        ({"TRANSFORM_LOGS_TRANSFORMER_TYPE": "caliper"}, "ClickHouse has a table for xAPI statements only"),
        ({"TRANSFORM_LOGS_CLICKHOUSE_URL": "http://u:hush@c:8123"}, "the URL holds a user name or password"),
        ({"TRANSFORM_LOGS_CLICKHOUSE_URL": "http://c:8123/?password=hush"}, "the URL has a query or a fragment"),
    ],
)
def test_what_can_not_work_is_refused_before_a_container_starts(
    stock_site: Tutor, settings: dict[str, str], detail: str
) -> None:
    stock_site.save(**settings)
    error = stock_site.replay().error
    assert detail in error
    assert "hush" not in error


def depends_on(site: Tutor) -> set[str]:
    services = site.compose(
        "local/docker-compose.yml", "local/docker-compose.prod.yml", "local/docker-compose.jobs.yml"
    )
    needed = set(services["transform-logs-job"]["depends_on"])
    assert needed <= set(services)
    return needed


def test_the_job_starts_the_services_that_it_sends_to(stock_site: Tutor) -> None:
    assert depends_on(stock_site) == {"permissions", "mysql", "mongodb", "meilisearch", "clickhouse"}
    stock_site.save(RUN_RALPH="true", RUN_CLICKHOUSE="false")
    assert depends_on(stock_site) == {"permissions", "mysql", "mongodb", "meilisearch", "ralph"}
    stock_site.must("plugins", "disable", "aspects")
    stock_site.must("config", "save")
    assert depends_on(stock_site) == {"permissions", "mysql", "mongodb", "meilisearch"}
