"""The real ``tutor`` with a ``docker`` that records: what it is asked to run, and what the job would read."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness.tutor_cli import Done, Tutor
from tutor_transform_logs.actions import ACTIONS
from tutor_transform_logs.lms_job.config.settings import BY_KEY
from tutor_transform_logs.options import ACTION_KEYS, DOCUMENTATION, OPTIONS, USED_OFTEN
from tutor_transform_logs.settings import SETTINGS

SECRET = 's3cr$t"Q'
NASTY = [
    "with space",
    "it's",
    'dou"ble',
    "$HOME",
    "`id`",
    "back\\slash",
    "{{ LMS_HOST }}",
    "{% raw",
    "new\nline\n",
    "#x",
]


def assert_hidden(secret: str, done: Done) -> None:
    """The secret is in the config file, and nowhere else that anybody could look."""
    assert secret in json.dumps(done.config, ensure_ascii=False) or secret in str(done.config)
    seen = [done.output, *done.job["argv"], *done.job["environ"].values()]
    assert [text for text in seen if secret in text] == []


def test_it_runs_the_job_in_its_service_with_nothing_set(tutor: Tutor) -> None:
    done = tutor.replay()
    assert done.status == 0, done.output
    argv = done.job["argv"]
    run = argv.index("run")
    assert argv[0] == "compose"
    assert argv[run - 1].endswith("local/docker-compose.jobs.yml")
    name = Path(done.job["path"]).name
    script = f"exec sh /openedx/transform-logs/tasks/run.sh run /openedx/transform-logs/config/{name}"
    assert argv[run:] == ["run", "--rm", "-T", "transform-logs-job", "sh", "-e", "-c", script]
    assert done.config == {"restart": False, "retry_failed": False, "repair": False}


def test_status_starts_the_phase_that_changes_nothing(tutor: Tutor) -> None:
    done = tutor.replay("--status", "--deduplicate")
    assert done.status == 0, done.output
    assert "tasks/run.sh status /openedx/transform-logs/config/" in done.job["argv"][-1]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--verify", "--deduplicate"], {"repair": False}),
        (["--repair"], {"repair": True}),
        (["--verify", "--repair", "--verify-sample", "500"], {"repair": True, "verify_sample": "500"}),
    ],
)
def test_verify_and_repair_start_the_phase_that_looks(
    tutor: Tutor, options: list[str], expected: dict[str, Any]
) -> None:
    done = tutor.replay(*options)
    assert done.status == 0, done.output
    assert "tasks/run.sh verify /openedx/transform-logs/config/" in done.job["argv"][-1]
    assert {key: done.config[key] for key in expected} == expected


def test_gaps_is_a_phase_whose_findings_are_not_errors_of_the_command(tutor: Tutor) -> None:
    done = tutor.replay("--gaps", JOB_STATUS="3")
    assert "tasks/run.sh gaps /openedx/transform-logs/config/" in done.job["argv"][-1]
    assert done.status == 3
    assert "Error" not in done.output


def test_it_is_the_same_command_in_dev(tutor: Tutor) -> None:
    done = tutor("dev", "do", "transform-tracking-logs")
    assert done.status == 0, done.output
    assert [word for word in done.job["argv"] if word.endswith("dev/docker-compose.jobs.yml")]


def test_a_secret_survives_and_stays_out_of_sight(each_tutor: Tutor) -> None:
    each_tutor.save(TRANSFORM_LOGS_SOURCE_SECRET=SECRET, TRANSFORM_LOGS_BATCH_SIZE="7")
    each_tutor.must("config", "save")  # renders what it finds in config.yml, and saves that
    done = each_tutor.replay()
    assert done.config["source_secret"] == SECRET
    assert done.config["batch_size"] == 7
    assert_hidden(SECRET, done)


def test_a_value_is_a_template_of_other_settings(each_tutor: Tutor) -> None:
    each_tutor.save(
        TRANSFORM_LOGS_SOURCE_HOST="files.{{ LMS_HOST }}",
        TRANSFORM_LOGS_DESTINATION_HOST='"{{ LMS_HOST }}"',
        TRANSFORM_LOGS_DESTINATION_OPTIONS='{"nested": ["{{ LMS_HOST }}"]}',
    )
    each_tutor.must("config", "save")
    config = each_tutor.replay("--source-prefix", "{{ LMS_HOST }}").config
    assert config["source_host"] == "files.lms.test"
    assert config["destination_host"] == "lms.test"
    assert config["destination_options"] == {"nested": ["lms.test"]}
    assert config["source_prefix"] == ["{{ LMS_HOST }}"]
    assert "TRANSFORM_LOGS_SOURCE_HOST: files.lms.test\n" in (each_tutor.root / "config.yml").read_text()


def test_a_template_in_config_yml_is_rendered(tutor: Tutor) -> None:
    with (tutor.root / "config.yml").open("a") as file:
        file.write("TRANSFORM_LOGS_SOURCE_HOST: files.{{ LMS_HOST }}\n")
    assert tutor.replay().config["source_host"] == "files.lms.test"


def test_a_template_is_rendered_once_from_what_is_in_config_yml(tutor: Tutor) -> None:
    """As docs/reference/settings.rst says."""
    tutor.save(TRANSFORM_LOGS_SOURCE_HOST="files.{{ LMS_HOST }}")
    tutor.save(LMS_HOST="other.test")
    assert tutor.replay().config["source_host"] == "files.lms.test"
    tutor.must("config", "save", "--unset", "LMS_HOST")
    refused = tutor("config", "save", "--set", "TRANSFORM_LOGS_SOURCE_HOST=files.{{ LMS_HOST }}")
    assert "Missing configuration value: 'LMS_HOST' is undefined" in refused.output
    unquoted = tutor("config", "save", "--set", "TRANSFORM_LOGS_SOURCE_HOST={{ LMS_HOST }}")
    assert "found unhashable key" in unquoted.output


def test_what_an_earlier_version_saved_as_binary_is_its_text(each_tutor: Tutor) -> None:
    literal = "{{ x }} {% raw"
    with (each_tutor.root / "config.yml").open("a") as file:
        yaml.safe_dump(
            {
                "TRANSFORM_LOGS_SOURCE_SECRET": literal.encode(),
                "TRANSFORM_LOGS_LRS_ENDPOINTS": [{"url": "http://lrs", "password": literal.encode()}],
            },
            file,
        )
    assert "!!binary" in (each_tutor.root / "config.yml").read_text()
    each_tutor.must("config", "save")
    config = each_tutor.replay().config
    assert config["source_secret"] == literal
    assert config["lrs_endpoints"] == [{"url": "http://lrs", "password": literal}]


def test_a_text_that_looks_like_a_template_is_set_as_binary(tutor: Tutor) -> None:
    """As docs/reference/settings.rst has it."""
    text = 's3cr$t"{{x}}'
    tutor.save(TRANSFORM_LOGS_SOURCE_SECRET=f"!!binary {base64.b64encode(text.encode()).decode()}")
    tutor.must("config", "save")
    assert tutor.replay().config["source_secret"] == text


def test_a_text_that_yaml_changed_is_refused_with_the_command_that_sets_it(each_tutor: Tutor) -> None:
    each_tutor.save(TRANSFORM_LOGS_SOURCE_SECRET="0123")
    error = each_tutor.replay().error
    assert error.startswith("Error: TRANSFORM_LOGS_SOURCE_SECRET: ")
    assert "83" not in error
    command = shlex.split(error.partition("Run: tutor ")[2])
    assert command == ["config", "save", "--set", 'TRANSFORM_LOGS_SOURCE_SECRET="..."']
    each_tutor.must(*(word.replace("...", "0123") for word in command))
    assert each_tutor.replay().config["source_secret"] == "0123"


def test_any_text_survives_from_options(tutor: Tutor) -> None:
    everything = "".join(NASTY)
    assert tutor.replay("--source-prefix", everything).config["source_prefix"] == [everything]


def test_the_config_file_is_the_jobs_and_its_owners_and_is_gone_after_the_run(tutor: Tutor) -> None:
    done = tutor.replay()
    assert done.job["modes"] == [0o644, 0o755, 0o700]
    assert list(Path(done.job["path"]).parent.iterdir()) == []
    assert list(Path(tutor.replay(JOB_STATUS="4").job["path"]).parent.iterdir()) == []


@pytest.mark.parametrize("umask", ["000", "077"])
def test_the_permissions_do_not_depend_on_the_umask(tutor: Tutor, umask: str) -> None:
    sh = Tutor(tutor.bin, tutor.root, tutor.environ)
    wrapper = tutor.root.parent / "umask-bin"
    wrapper.mkdir()
    (wrapper / "tutor").write_text(f'#!/bin/sh\numask {umask}\nexec {sh.bin}/tutor "$@"\n')
    (wrapper / "tutor").chmod(0o755)
    assert Tutor(wrapper, tutor.root, tutor.environ).replay().job["modes"] == [0o644, 0o755, 0o700]


@pytest.mark.parametrize("options", [[], ["--verify"], ["--repair"], ["--gaps"]])
@pytest.mark.parametrize("status", [3, 4])
def test_it_ends_with_the_jobs_own_status_and_says_nothing_of_its_own(
    tutor: Tutor, status: int, options: list[str]
) -> None:
    done = tutor.replay(*options, JOB_STATUS=str(status))
    assert done.status == status, done.output
    for word in ("rejected", "Run ", "Error", "Traceback"):
        assert word not in done.output


def test_any_other_failure_is_tutors_to_report(tutor: Tutor) -> None:
    done = tutor.replay(JOB_STATUS="2")
    assert done.status == 1
    assert "Command failed with status 2" in done.output
    assert "Traceback" not in done.output


ERBS = {
    "--source_provider": "LOCAL",
    "--source_config": '{"key": "/openedx/data/", "prefix": "tracking.log", "container": "logs"}',
    "--destination_provider": "LRS",
}
MINIO = (
    '{"key": "openedx", "secret": "minio secret", "container": "openedx", "prefix": "%s", '
    '"host": "files.local.overhang.io", "secure": false}'
)


def detail(options: dict[str, str]) -> list[str]:
    return [word for option in options.items() for word in option]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {**ERBS, "--transformer_type": "xapi"},
            {"source_key": "/openedx/data/", "source_prefix": "tracking.log", "transformer_type": "xapi"},
        ),
        (
            {**ERBS, "--transformer_type": "caliper", "--batch_size": "1000", "--sleep_between_batches_secs": "2.5"},
            {"transformer_type": "caliper", "batch_size": "1000", "sleep_between_batches_secs": "2.5"},
        ),
        (
            {
                "--source_provider": "S3",
                "--source_config": '{"key": "openedx", "secret": "minio secret", "container": "openedx", "prefix": '
                '"tracking", "host": "minio", "port": 9000, "secure": false}',
                "--destination_provider": "LRS",
                "--transformer_type": "xapi",
            },
            {"source_provider": "S3", "source_port": 9000, "source_secure": False, "source_secret": "minio secret"},
        ),
        (
            {
                "--transformer_type": "caliper",
                "--source_provider": "LOCAL",
                "--source_config": '{"key": "/openedx/data/", "container": "logs", "prefix": "tracking.log"}',
                "--destination_provider": "LOCAL",
                "--destination_config": '{"key": "/openedx/data/", "container": "transformed_logs", "prefix": '
                '"2023-06-01"}',
            },
            {"destination_container": "transformed_logs", "destination_prefix": "2023-06-01"},
        ),
        (
            {
                "--source_provider": "MINIO",
                "--source_config": MINIO % "/tracking_logs",
                "--destination_provider": "MINIO",
                "--destination_config": MINIO % "transformed_logs/2023-06-02/",
                "--transformer_type": "xapi",
            },
            {"source_host": "files.local.overhang.io", "source_port": "", "destination_secure": False},
        ),
    ],
)
def test_the_documents_command_lines_work_unchanged(
    tutor: Tutor, options: dict[str, str], expected: dict[str, Any]
) -> None:
    done = tutor.replay(*detail(options))
    assert done.status == 0, done.output
    assert {key: done.config[key] for key in expected} == expected
    if "minio secret" in str(options):
        assert_hidden("minio secret", done)


def test_both_spellings_and_several_urls_after_one_flag(tutor: Tutor) -> None:
    urls = ["http://lrs1.example.com", "http://lrs2.example.com"]
    config = tutor.replay("--lrs-urls", *urls, "--dry_run", "--source_prefix", "a_b", "--no-strict").config
    assert config["lrs_urls"] == urls
    assert config["dry_run"] is True
    assert config["strict"] is False
    assert config["source_prefix"] == ["a_b"]


def test_an_option_wins_over_erbs_config_and_that_over_the_setting(tutor: Tutor) -> None:
    tutor.save(TRANSFORM_LOGS_SOURCE_PREFIX="set", TRANSFORM_LOGS_SOURCE_CONTAINER="set", TRANSFORM_LOGS_BATCH_SIZE="5")
    config = tutor.replay("--source_config", '{"container": "json", "prefix": "json"}', "--source-prefix", "opt").config
    assert (config["source_prefix"], config["source_container"], config["batch_size"]) == (["opt"], "json", 5)


def test_the_sites_defaults_follow_a_provider_that_is_given_for_one_run(tutor: Tutor) -> None:
    tutor.save(OPENEDX_AWS_ACCESS_KEY="AKIA", OPENEDX_AWS_SECRET_ACCESS_KEY="site-secret")
    done = tutor.replay("--source-provider", "MINIO", "--source-container", "b")
    assert (done.config["source_key"], done.config["source_host"]) == ("AKIA", "minio")
    assert_hidden("site-secret", done)


def test_the_environment_gives_settings_as_it_does_for_tutors_own(tutor: Tutor) -> None:
    done = tutor.replay(TUTOR_TRANSFORM_LOGS_SOURCE_TOKEN='"0123"', TUTOR_TRANSFORM_LOGS_DRY_RUN="true")
    assert (done.config["source_token"], done.config["dry_run"]) == ("0123", True)
    error = tutor.replay(TUTOR_TRANSFORM_LOGS_SOURCE_TOKEN="0123").error
    assert error.endswith("Set the variable: TUTOR_TRANSFORM_LOGS_SOURCE_TOKEN='\"...\"'")


def test_the_job_knows_its_folder_on_the_host(tutor: Tutor) -> None:
    folder = tutor.replay().job["environ"]["TRANSFORM_LOGS_HOST_DATA"]
    assert folder == str(tutor.root / "data" / "lms")
    service = tutor.compose("local/docker-compose.jobs.yml")["transform-logs-job"]
    assert service["environment"]["TRANSFORM_LOGS_HOST_DATA"] == "${TRANSFORM_LOGS_HOST_DATA:-}"
    assert any(volume.startswith("../../data/lms:/openedx/data") for volume in service["volumes"])


def test_an_image_for_one_run(tutor: Tutor) -> None:
    assert tutor.replay("--docker-image", "me/openedx:1").job["environ"]["TRANSFORM_LOGS_JOB_IMAGE"] == "me/openedx:1"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--source-provider", "MINO"], "TRANSFORM_LOGS_SOURCE_PROVIDER (--source-provider)"),
        (["--batch-size", "x"], "TRANSFORM_LOGS_BATCH_SIZE (--batch-size)"),
        (["--destination-provider", "S3"], "TRANSFORM_LOGS_DESTINATION_CONTAINER (--destination-container)"),
        (["--source_config", '{"secret": "hush"'], "--source_config"),
        (["--transformer_type", "scorm"], "TRANSFORM_LOGS_TRANSFORMER_TYPE (--transformer-type)"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(tutor: Tutor, args: list[str], said: str) -> None:
    error = tutor.replay(*args).error
    assert f"Error: {said}: " in error
    assert "hush" not in error
    assert not (tutor.root / "env/plugins/transform_logs/private").exists()


@pytest.mark.parametrize(
    "options", ["--check --verify", "--status --restart", "--gaps --repair", "--restart --retry-failed"]
)
def test_options_of_which_one_would_be_ignored_are_refused(tutor: Tutor, options: str) -> None:
    one, other = options.split()
    assert tutor.replay(other, one).error == f"Error: {one} and {other} can't be combined: give one of them."


@pytest.mark.parametrize("options", ["--verify --repair", "--check --restart", "--check --retry-failed"])
def test_options_that_mean_something_together_are_taken(tutor: Tutor, options: str) -> None:
    assert tutor.replay(*options.split()).status == 0


def test_a_mistake_in_config_yml_is_one_line(tutor: Tutor) -> None:
    with (tutor.root / "config.yml").open("a") as file:
        file.write("TRANSFORM_LOGS_SOURCE_SECRET: yes\n")
    assert "YAML reads a boolean where text is wanted" in tutor.replay().error


def test_an_environment_of_another_version_is_noticed(tutor: Tutor) -> None:
    (tutor.root / "env/plugins/transform_logs/lms_job/config/schema.py").write_text("old")
    assert "Run: tutor config save" in tutor.replay().error


@contextlib.contextmanager
def running(tutor: Tutor) -> Iterator[subprocess.Popen[bytes]]:
    """The command while its job runs; both are ended with the context."""
    recording = tutor.root.parent / "running"
    environ = {**tutor.environ, "TUTOR_ROOT": str(tutor.root), "RECORDING": str(recording), "JOB_SECS": "60"}
    command = [str(tutor.bin / "tutor"), "local", "do", "transform-tracking-logs"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          start_new_session=True) as process:  # fmt: skip
        try:
            while not (recording.exists() and recording.read_text().endswith("\n")):
                assert process.poll() is None
                time.sleep(0.05)
            yield process
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            recording.unlink()


def configs(tutor: Tutor) -> list[Path]:
    return list((tutor.root / "env/plugins/transform_logs/private/config").iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_removes_its_config(tutor: Tutor, number: int) -> None:
    with running(tutor) as process:
        assert len(configs(tutor)) == 1
        process.send_signal(number)
        assert process.wait(30) == -number
        assert configs(tutor) == []


def test_what_a_killed_command_leaves_goes_with_the_next(tutor: Tutor) -> None:
    """And what belongs to one that is running stays."""
    with running(tutor) as process:
        [config] = configs(tutor)
        assert tutor.replay("--status").status == 0
        assert configs(tutor) == [config]
        process.kill()
        process.wait(30)
        assert configs(tutor) == [config]
        assert tutor.replay("--status").status == 0
        assert configs(tutor) == []


def test_a_config_folder_that_docker_made_is_explained(tutor: Tutor) -> None:
    private = tutor.root / "env/plugins/transform_logs/private"
    private.write_text("in the way")
    assert f"{private}" in tutor.replay().error


def test_deduplicate_without_aspects_is_accepted_and_explained(tutor: Tutor) -> None:
    done = tutor.replay("--deduplicate")
    assert done.status == 0
    assert "nothing to do. Aspects is not enabled" in done.output
    assert len(done.calls) == 1


def test_all_of_the_help_names_every_setting(tutor: Tutor) -> None:
    done = tutor.replay("--help-all")
    assert done.status == 0, done.output
    assert [setting.name for setting in SETTINGS if setting.name not in done.output] == []
    assert [name for _, option in OPTIONS for name in option.opts if f"  {name}" not in done.output] == []
    assert "  --output-layout [single|batches]" in done.output
    assert max(map(len, done.output.splitlines())) <= 100


@pytest.mark.parametrize("columns", [80, 50, 40])
def test_help_has_what_to_do_first_then_a_dozen_options_and_at_its_end_the_documentation(
    tutor: Tutor, columns: int
) -> None:
    """At 80 columns it is a page or two, and at any width what is to be typed or followed is not broken."""
    done = tutor.replay("--help", COLUMNS=str(columns))
    assert done.status == 0, done.output
    options = re.findall(r"^  (?:-h, )?(--[a-z-]+)", done.output.partition("What to do:")[2], re.MULTILINE)
    actions = [f"--{key.replace('_', '-')}" for key in ACTION_KEYS]
    often = [BY_KEY[key].option for key in USED_OFTEN]
    assert options == [*actions, *often, "--help-all", "--help"]
    assert {*ACTIONS} < {*ACTION_KEYS}
    assert "  --transformer-type [xapi|caliper]" in done.output
    assert done.output.rstrip().endswith(f"Documentation:\n  {DOCUMENTATION}")
    lines = done.output.splitlines()
    assert len(lines) < (110 if columns == 80 else 200)
    # An option's name with its values, a command to be copied and a link are as long as they are.
    wide = [line.strip() for line in lines if len(line) > columns]
    assert [line for line in wide if not line.startswith(("Usage: ", "--", "tutor ", "https://"))] == []


def test_options_that_help_does_not_list_work_all_the_same(tutor: Tutor) -> None:
    assert "batch-size NUMBER" not in tutor.replay("--help").output
    assert tutor.replay("--batch-size", "7").config["batch_size"] == "7"


def test_the_link_to_the_documentation_is_the_projects() -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert f'Documentation = "{DOCUMENTATION}"\n' in project


FAKE_ASPECTS = '''
import os, click
from tutor import hooks

@click.command("transform-tracking-logs")
def job():
    """Aspects' own."""
    yield "lms", "echo aspects"

hooks.Filters.CLI_DO_COMMANDS.add_item(job)
hooks.Filters.ENV_TEMPLATE_ROOTS.add_item(os.path.join(os.path.dirname(__file__), "templates"))
'''


@pytest.mark.parametrize("name", ["aspects", "zzz"])
def test_with_aspects_ours_runs_and_then_its_deduplication(each_tutor: Tutor, name: str) -> None:
    """A plugin that registers a job of the same name, loaded before ours and after."""
    plugins = Path(each_tutor.environ["TUTOR_PLUGINS_ROOT"])
    (plugins / f"{name}.py").write_text(FAKE_ASPECTS)
    script = plugins / "templates/aspects/jobs/init/clickhouse/deduplicate.sh"
    script.parent.mkdir(parents=True)
    script.write_text("echo deduplicate {{ LMS_HOST }}")
    each_tutor.must("plugins", "enable", name)
    done = each_tutor.replay("--deduplicate", "--source_provider", "LOCAL", "--source_config", '{"container": "logs"}')
    assert done.status == 0, done.output
    services = [word for call in done.calls for word in call["argv"] if word.endswith("-job")]
    if name == "aspects":
        assert services == ["transform-logs-job", "clickhouse-job"]
        assert done.calls[1]["argv"][-1] == "echo deduplicate lms.test"
        failed = each_tutor.replay("--deduplicate", JOB_STATUS="3")
        assert (failed.status, len(failed.calls)) == (3, 1)
    else:
        assert services == ["transform-logs-job"]


def test_the_demo_says_what_to_install(tutor: Tutor) -> None:
    """This Tutor has an environment of its own, without event-routing-backends."""
    done = tutor("transform-logs", "demo")
    assert done.status == 1
    assert "pip install 'tutor-contrib-transform-logs[demo]'" in done.output
    assert "Traceback" not in done.output


def test_what_to_replay_is_chosen_with_options_that_may_be_repeated(tutor: Tutor) -> None:
    tutor.save(TRANSFORM_LOGS_EVENT='["set"]', TRANSFORM_LOGS_COURSE="course-v1:a+b+c")
    config = tutor.replay(
        "--since", "2026-01-31", "--until", "2026-01-31T18:00+01:00", "--event", "edx.video.*", "--event", "{{ a b }}",
        "--exclude-event", "x", "--org", "edX", "--files", "tracking.log-2026*", "--trust-file-dates",
    ).config  # fmt: skip
    assert (config["since"], config["until"]) == ("2026-01-31", "2026-01-31T18:00+01:00")
    assert config["event"] == ["edx.video.*", "{{ a b }}"]
    assert (config["exclude_event"], config["org"], config["files"]) == (["x"], ["edX"], ["tracking.log-2026*"])
    assert (config["course"], config["trust_file_dates"]) == ("course-v1:a+b+c", True)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (
            ["--since", "31.1.2026"],
            'TRANSFORM_LOGS_SINCE (--since): "31.1.2026" is not a date or time; allowed: a date',
        ),
        (
            ["--since", "2026-02", "--until", "2026-01"],
            "TRANSFORM_LOGS_UNTIL (--until): 2026-02-01T00:00:00Z is not after since (2026-02-01T00:00:00Z)",
        ),
        (["--event", ""], 'TRANSFORM_LOGS_EVENT (--event): "" is not a pattern'),
    ],
)
def test_a_choice_that_cannot_be_made_is_one_line(tutor: Tutor, args: list[str], said: str) -> None:
    assert said in tutor.replay(*args).error


def test_a_year_that_yaml_has_read_is_the_year(tutor: Tutor) -> None:
    tutor.save(TRANSFORM_LOGS_SINCE="2026", TRANSFORM_LOGS_UNTIL="2026-01-31")
    config = tutor.replay().config
    assert (config["since"], config["until"]) == ("2026", "2026-01-31")


def test_a_date_that_yaml_has_read_is_the_date(tutor: Tutor) -> None:
    with (tutor.root / "config.yml").open("a") as file:
        file.write("TRANSFORM_LOGS_SINCE: 2026-01-31\nTRANSFORM_LOGS_UNTIL: 2026-02-01T10:00:00+01:00\n")
    config = tutor.replay().config
    assert (config["since"], config["until"]) == ("2026-01-31", "2026-02-01T10:00:00+01:00")


def test_check_starts_the_rehearsal_with_the_runs_own_options(tutor: Tutor) -> None:
    done = tutor.replay("--check", "--since", "2026-01-31", "--deduplicate")
    assert done.status == 0, done.output
    assert "tasks/run.sh check /openedx/transform-logs/config/" in done.job["argv"][-1]
    assert done.config["since"] == "2026-01-31"
    # The problems are in the job's own text; Tutor's are about docker's command line.
    failed = tutor.replay("--check", JOB_STATUS="1")
    assert failed.status == 1
    assert "Command failed" not in failed.output


def test_a_folder_of_another_user_is_said_in_a_line(tutor: Tutor) -> None:
    """A file in its place stands for what only root can do: the tests may run as root."""
    private = tutor.root / "env/plugins/transform_logs/private"
    private.write_text("in the way")
    for command in (("local", "do", "init", "--limit=transform_logs"), ("local", "do", "transform-tracking-logs")):
        done = tutor(*command)
        assert done.status == 1
        assert "Traceback" not in done.output
        [line] = [line for line in done.output.splitlines() if line.startswith("Error: ")]
        assert "The folder of the job's config file can't be used (File exists: " in line
        assert line.endswith(f"Run: sudo rm -r {private}")


def test_an_image_of_another_version_is_told(tutor: Tutor) -> None:
    tag = tutor.must("images", "printtag", "transform-logs").strip().splitlines()[-1]
    assert re.search(r"/openedx-transform-logs:[\d.]+-\d+\.\d+\.\d+", tag)
    tutor.save(TRANSFORM_LOGS_DOCKER_IMAGE=tag)
    assert "another version" not in tutor.replay().output
    old = f"{tag.rpartition('-')[0]}-1.2.3"
    tutor.save(TRANSFORM_LOGS_DOCKER_IMAGE=old)
    done = tutor.replay()
    assert done.status == 0
    assert f"TRANSFORM_LOGS_DOCKER_IMAGE is {old}, which was built for another version of Tutor" in " ".join(
        done.output.split()
    )
    # The command in the message builds the new one.
    assert tutor.must("images", "printtag", "transform-logs").strip().splitlines()[-1] == tag
    assert "another version" not in tutor.replay("--docker-image", "mine:1").output


def test_the_built_image_is_that_of_the_versions_there_are(tutor: Tutor) -> None:
    """No version is saved, which the next upgrade would leave behind."""
    tag = tutor.must("images", "printtag", "transform-logs").strip().splitlines()[-1]
    tutor.save(TRANSFORM_LOGS_DOCKER_IMAGE="transform-logs")
    for name in ("local/docker-compose.jobs.yml", "dev/docker-compose.jobs.yml"):
        assert f"JOB_IMAGE:-{tag}}}" in (tutor.root / "env" / name).read_text()
    assert f'image: "{tag}"' in (tutor.root / "env/k8s/jobs.yml").read_text()
    assert tutor.must("images", "printtag", "transform-logs").strip().splitlines()[-1] == tag
    assert "another version" not in tutor.replay().output


def test_what_has_no_meaning_is_refused_before_anything_starts(tutor: Tutor) -> None:
    tutor.save(TRANSFORM_LOGS_SOURC_PREFIX="logs/")
    refused = tutor.replay()
    assert (refused.status, refused.calls) == (1, [])
    assert refused.output == (
        "Error: TRANSFORM_LOGS_SOURC_PREFIX: unknown setting (did you mean TRANSFORM_LOGS_SOURCE_PREFIX?)\n"
        "To remove it: tutor config save --unset TRANSFORM_LOGS_SOURC_PREFIX\n"
    )
    tutor.must("config", "save", "--unset", "TRANSFORM_LOGS_SOURC_PREFIX")
    error = tutor.replay("--source_config", '{"container": "logs", "prefx": "tracking.log"}').error
    assert '"prefx" (did you mean prefix?)' in error


@pytest.mark.parametrize("answer", ["y", "n", ""])
def test_a_restart_is_started_when_it_was_meant(tutor: Tutor, answer: str) -> None:
    replay = f"printf '%s' '{answer}' | tutor local do transform-tracking-logs --restart"
    done = tutor.shell(replay)
    assert "--restart reads all of LOCAL /openedx/data/logs/tracking.log again." in done.stderr
    assert done.returncode == (0 if answer == "y" else 1)
    assert (tutor.root.parent / "calls").exists() == (answer == "y")
    if answer != "y":
        assert done.stderr.endswith("Error: --restart asks before it starts over. Where nobody can answer, add --yes\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", ["--restart --yes", "--restart --check", "--restart --dry-run", "--yes"])
def test_nothing_is_asked_where_nothing_can_be_lost(tutor: Tutor, options: str) -> None:
    assert tutor.replay(*options.split()).status == 0
