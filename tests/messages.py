"""Every message that ends a run: its words, what triggers it, and what it tells its reader to do next.

``...`` stands for what is put in. ``tests/job/test_messages.py`` compares this list with the code, and triggers them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """One message. ``text`` as it is in the code; ``next_step`` is the part of it that says what to do."""

    text: str
    trigger: str
    next_step: str


AGAIN = "Run again to resume."
ALLOWED = "; allowed: "

JOB = (
    # Before it starts
    Message(
        "DJANGO_SETTINGS_MODULE is not set: the job runs inside the LMS or another Django project. "
        "Set it to that project's settings.",
        "python -m tutor_transform_logs.lms_job outside of an LMS",
        "Set it to that project's settings.",
    ),
    Message(
        "The LMS image lacks ..., which this job needs.\n"
        "Run: tutor images build transform-logs && tutor config save --set "
        "TRANSFORM_LOGS_DOCKER_IMAGE=$(tutor images printtag transform-logs) && "
        "tutor local do init --limit=transform_logs",
        "an image without event-routing-backends, event-tracking or, for an object store, libcloud",
        "Run: tutor images build transform-logs",
    ),
    Message(
        "The LMS can't be loaded with the settings ... (...): fix them, or the image.",
        "DJANGO_SETTINGS_MODULE or something in these settings names what is not there",
        "fix them, or the image",
    ),
    Message("This job is running already (...). ...", "a second run while the first one lives", "..."),
    Message("The job failed: ...: .... Please report this.", "a bug", "Please report this."),
    # The source
    Message(
        "No object found whose name begins with ...: check source_container and source_prefix.",
        "a source where nothing is",
        "check source_container and source_prefix",
    ),
    Message(
        "files: ... matches none of the ... objects whose names begin with .... A pattern is for the whole name below "
        "the container, such as ....",
        "--files with a pattern that fits no object",
        "A pattern is for the whole name below the container, such as",
    ),
    Message(
        "The directory ... can't be used: ...; ....",
        "LOCAL: a container that is not there or may not be read",
        "it must exist and be readable by the job's user",
    ),
    Message("Reading ... failed: .... Run again to resume.", "the disk gives an error", AGAIN),
    Message(
        "The container ... does not exist (...): create it first.", "a bucket that is not there", "create it first"
    ),
    Message(
        "... refuses the credentials: check the key and the secret.",
        "an object store that does not know the key, or not this secret",
        "check the key and the secret",
    ),
    Message(
        "Provider S3 has no key, and no credentials were found in the environment or the instance: set a key and its "
        "secret, or give the instance or the pod a role.",
        "S3 without a key, and nothing in boto3's default chain",
        "set a key and its secret, or give the instance or the pod a role",
    ),
    Message(
        "... is not a storage provider that this image's libcloud knows: choose another.",
        "a provider of another version of libcloud",
        "choose another",
    ),
    Message(
        "The ... driver can't be made with ... (...): leave out what it does not take.",
        "an option that the provider's driver has not",
        "leave out what it does not take",
    ),
    Message("Can't ... ...: .... Run again to resume.", "an object store that stays unavailable", AGAIN),
    # The destination's files and the ledger
    Message("No space left to write .... ...", "a full disk", "Make room and run again to resume."),
    Message(
        "... can't be written by ...: .... Change the directory's owner.",
        "a directory of somebody else",
        "Change the directory's owner.",
    ),
    Message("Writing ... failed: .... Run again to resume.", "the disk gives an error", AGAIN),
    Message(
        "... leads out of ...: nothing was written. Choose another prefix.",
        "a prefix that is a symbolic link to another place",
        "Choose another prefix.",
    ),
    Message(
        "The ledger ... is damaged (...): restore it from a backup, or start over with --restart (what was delivered "
        "is then sent again).",
        "a file of the ledger that is cut off or edited",
        "restore it from a backup, or start over with --restart",
    ),
    Message(
        "The ledger ... is of version ..., and this release reads up to ...: finish the job with the release that "
        "started it, or start over with --restart.",
        "a ledger of another release",
        "finish the job with the release that started it",
    ),
    Message(
        "There is no plan in ...: run the phase plan first.", "work or report before plan", "run the phase plan first"
    ),
    Message(
        "... is missing: start over with --restart.",
        "layout single: a batch that was deleted before the batches were joined",
        "start over with --restart",
    ),
    Message(
        "A dead-letters file is damaged at byte ... (...): remove that line and run the command again.",
        "--retry-failed after a file of dead letters was edited",
        "remove that line",
    ),
    Message(
        "This job has not run yet: there is nothing to retry.",
        "--retry-failed of a job without a ledger",
        "there is nothing to retry",
    ),
    Message(
        "The last run of this job was not finished: run it again without --retry-failed first.",
        "--retry-failed after a run that was stopped",
        "run it again without --retry-failed first",
    ),
    # The LRS
    Message(
        "There is no enabled router for ... in the LMS. ...",
        "no LRS in the settings, and none in the LMS",
        "Add one in the Django admin (Router Configurations), or set TRANSFORM_LOGS_LRS_ENDPOINTS.",
    ),
    Message(
        "lrs_urls: ... is not the URL of an enabled router. Choose from: ....",
        "--lrs-urls with another URL",
        "Choose from:",
    ),
    Message(
        "The configurations of the router ... are not a JSON object. Fix them in the Django admin.",
        "a router whose configurations are a list",
        "Fix them in the Django admin.",
    ),
    Message(
        "... is not a valid regular expression (...). Fix it in the Django admin.",
        "a router with a broken pattern in match_params",
        "Fix it in the Django admin.",
    ),
    Message(
        "... refuses the credentials (...): check this LRS's user and password.",
        "401 or 403",
        "check this LRS's user and password",
    ),
    Message("... redirects to ... (...): set that URL instead.", "a redirect", "set that URL instead"),
    Message("... answers ......: check its URL.", "any other status, such as 404", "check its URL"),
    Message(
        "... answers ..., but with ... and not with a list of ids: this is no LRS. Check its URL.",
        "200 with a page of HTML",
        "Check its URL.",
    ),
    Message("... can't be used (...): check its URL.", "a URL that HTTP can't ask for", "check its URL"),
    Message(
        "...: the TLS certificate is not trusted (...). Fix the certificate, or use the host name that it was issued "
        "for.",
        "a certificate of an unknown authority, or for another host",
        "Fix the certificate, or use the host name",
    ),
    Message("... answers ....... Run again to resume.", "an LRS that answers 5xx or 429 for too long", AGAIN),
    Message("... does not answer (...). Run again to resume.", "an LRS that stays unavailable", AGAIN),
    # The LMS
    Message("The LMS's database does not answer (...). Run again to resume.", "MySQL is down", AGAIN),
    Message(
        "event-routing-backends offers no router for ...: use a version of it from 9.3 to 10.",
        "an event-routing-backends whose own settings have no such router",
        "use a version of it from 9.3 to 10",
    ),
    Message(
        "EVENT_TRACKING_BACKENDS in the LMS settings can't be used (...): fix the setting and run the command again.",
        "a backend in the LMS's settings whose class is not there",
        "fix the setting and run",
    ),
    # The run itself
    Message("Interrupted (...). Run again to resume.", "SIGTERM or SIGINT", AGAIN),
    Message("A worker .... Run again to resume.", "a worker that is killed before it has begun", AGAIN),
    Message(
        "A worker ......, for the second time. Run again to resume.", "a segment whose workers are killed twice", AGAIN
    ),
    Message("A worker failed: ...: .... Please report this.", "a bug, in a worker", "Please report this."),
    # Verify and repair
    Message(
        "A dry run delivers nothing, so there is nothing to verify. Leave --dry-run out.",
        "--verify --dry-run",
        "Leave --dry-run out",
    ),
    Message(
        "A Caliper endpoint can't be verified, since Caliper has no way to read events. Count its events there; if "
        "some are missing, send all of them again with --restart: they keep their ids.",
        "--verify of Caliper that went to an endpoint",
        "send all of them again with --restart",
    ),
    Message(
        "Caliper events can't be verified without stable ids, since every transformation gives them new ones: set "
        "TRANSFORM_LOGS_CALIPER_STABLE_IDS to true and deliver again with --restart.",
        "--verify of Caliper with random ids",
        "set TRANSFORM_LOGS_CALIPER_STABLE_IDS to true",
    ),
    Message(
        "This job has not run yet (ledger: ...): run it, then verify it.",
        "--verify of a job without a ledger",
        "run it, then verify it",
    ),
    Message(
        "Nothing has been delivered by this job yet, so there is nothing to verify: run it first.",
        "--verify of a run that was stopped before its first batch",
        "run it first",
    ),
    Message(
        "The last run of this job was not finished: run it again without --repair first.",
        "--repair after a run that was stopped",
        "run it again without --repair first",
    ),
    Message(
        "... does not let these credentials read (...): give them the right to read statements.",
        "--verify with an account that may only write",
        "give them the right to read statements",
    ),
    Message(
        "... answers ..., but with ... and not with statements: it can't be verified. Check its URL.",
        "--verify of what is no LRS to those who read",
        "Check its URL.",
    ),
    # --check
    Message(
        "... answers ..., but without statements: this is no LRS. Check its URL.",
        "--check: 200 with something else",
        "Check its URL.",
    ),
    Message("... answers ...: check its URL.", "--check: an answer such as 400", "check its URL"),
    Message(
        "... is damaged at byte ... (...): remove that line and run the command again.",
        "--verify after a file of dead letters was edited",
        "remove that line",
    ),
)

# What is said of a value in the job's config, behind "Config: KEY: ", and a config that shows it.
# A text instead: only the job itself can tell, and the test of this name shows it.
CONFIG: tuple[tuple[str, dict[str, object] | list[object] | str], ...] = (
    ("there is no such key; allowed: names of settings in lower case, without TRANSFORM_LOGS_", {"sauce_prefix": "x"}),
    ("the file's JSON is not an object; allowed: one JSON object", []),
    ("the file is not JSON (...); allowed: one JSON object", "test_a_file_that_is_no_config_is_said"),
    ("... can't be read (...); allowed: a JSON file", "test_a_file_that_is_no_config_is_said"),
    ("... is no share; allowed: I/N, two whole numbers with I below N", "test_a_share_that_is_none_is_said"),
    ("the value is not text; allowed: text", {"source_host": ["minio"]}),
    ("... is neither true nor false; allowed: true or false", {"strict": "perhaps"}),
    ("... can't be used; allowed: a number, 0 or more", {"sleep_between_batches_secs": -1}),
    ("... can't be used; allowed: ...", {"batch_size": 0}),
    ('...; allowed: ..., or "..."', {"workers": "all"}),
    ("... is not known; allowed: ...", {"transformer_type": "scorm"}),
    ("the value is not an object; allowed: a JSON object", {"source_options": 1}),
    ("the text can't be read as JSON (...); allowed: ...", {"source_options": "{"}),
    ("the value is not a list; allowed: a list of URLs", {"lrs_urls": 1}),
    ("the value is not a list; allowed: ...", {"event": 1}),
    ("... is no pattern; allowed: ...", {"event": [1]}),
    ("... is no date or time; allowed: ...", {"since": "soon"}),
    ("...; allowed: a time after since; a date counts whole", {"since": "2026-02-01", "until": "2026-01-01"}),
    ("... is not a URL; allowed: ...", {"lrs_urls": [1]}),
    ("...; allowed: ...", {"lrs_urls": ["ftp://lrs"]}),
    (
        "the URL holds a user name or password; allowed: ..., credentials in their own fields",
        {"lrs_urls": ["http://u:p@lrs"]},
    ),
    ('entry ... has no "url"; allowed: ...', {"lrs_endpoints": [{}]}),
    ("entry ... has the unknown field ...; allowed: ...", {"lrs_endpoints": [{"url": "http://l", "pw": "x"}]}),
    (
        "entry ... has both a bearer token and a user name or password; allowed: ...",
        {"lrs_endpoints": [{"url": "http://l", "bearer": "x", "username": "y"}]},
    ),
    ("0 would wait for ever; allowed: a number above 0", {"lrs_timeout_secs": 0}),
    ('"LRS" is a destination only; allowed: LOCAL, S3, MINIO, ...', {"source_provider": "LRS"}),
    ('... leads out of the container; allowed: no ".." in it', {"source_prefix": "../x"}),
    ("not set, and ... needs one; allowed: ...", {"source_provider": "S3"}),
    ("the value is no absolute path, as ... needs it; allowed: ...", {"source_key": "logs"}),
    ("... is not one directory's name; allowed: ...", {"source_container": "a/b"}),
    (
        "...; allowed: another container or prefix than the source's",
        {"destination_provider": "LOCAL", "destination_container": "logs", "destination_prefix": "tracking.log.d"},
    ),
    ("the LMS settings have no database ...; allowed: one of DATABASES: ...", "test_a_database_that_the_lms_has_not"),
)

HOST = (
    Message(
        "Tutor's environment is older than this plugin. Run: tutor config save",
        "the plugin was upgraded",
        "Run: tutor config save",
    ),
    Message(
        "The job's config file can't be written: .... If ... belongs to another user, remove it",
        "its folder belongs to root",
        "remove it",
    ),
    Message(
        "The demo needs ..., which is not installed. Run: pip install 'tutor-contrib-transform-logs[demo]'",
        "tutor transform-logs demo without the extra",
        "Run: pip install",
    ),
    Message("...: ...; allowed: ...", "a setting or an option that the job's check refuses", "allowed: ..."),
    Message(
        "...: ... is not known...; allowed: ... or another storage provider of Apache Libcloud",
        "--source-provider MINO",
        "allowed: ... or another storage provider of Apache Libcloud",
    ),
    Message(
        "...: YAML reads ... where text is wanted. Put the text in quotes. ...",
        "a secret such as 0123 or yes in config.yml",
        "Put the text in quotes",
    ),
    Message(
        "...: The !!binary value is not UTF-8. ...",
        "a secret that was saved as !!binary with other bytes",
        "not UTF-8",
    ),
    Message(
        "...: the text can't be read as JSON (...); allowed: a JSON object",
        "--source_config with half an object",
        "allowed: a JSON object",
    ),
    Message("...: the JSON is not an object; allowed: a JSON object", "--source_config '[]'", "allowed: a JSON object"),
    # tutor transform-logs report
    Message(
        "There is no report in ...: each run of tutor local do transform-tracking-logs leaves one there. (On "
        "Kubernetes they are with the ledger, in the object store or the volume.)",
        "tutor transform-logs report before any run",
        "each run of tutor local do transform-tracking-logs leaves one there",
    ),
    Message(
        "The ledger is in ..., in the bucket ..., and the reports with it. (Each is called ...<job>/<plan>/.... With "
        "the AWS CLI, for example: aws s3 cp --recursive --exclude '*' --include '*/...' s3://.../... reports/)",
        "tutor transform-logs report with the ledger in an object store",
        "With the AWS CLI, for example: aws s3 cp",
    ),
    Message(
        "The ledger is in ... in the job's container, which is not below /openedx/data: look for <job>/<plan>/... in "
        "what is mounted there.",
        "tutor transform-logs report with the ledger in a directory that only the container has",
        "look for <job>/<plan>/... in what is mounted there",
    ),
    Message(
        "... can't be read (...): it belongs to the LMS's user. Use sudo, as for Docker.",
        "tutor transform-logs report by another user than the LMS's",
        "Use sudo, as for Docker.",
    ),
    Message(
        "No browser can be opened here. Open this in one: ...",
        "tutor transform-logs report --open on a server",
        "Open this in one:",
    ),
    # Kubernetes
    Message(
        "--docker-image: on Kubernetes it is in the manifests. ...",
        "tutor k8s do with --docker-image",
        "...",
    ),
    Message(
        "......_PROVIDER: on Kubernetes LOCAL is the folder /openedx/data of a volume. Set ... to a "
        "PersistentVolumeClaim that has one, or the provider to S3, MINIO, ...",
        "tutor k8s do with a LOCAL source or destination, and no claim",
        "Set ... to a PersistentVolumeClaim that has one",
    ),
    Message(
        "...LEDGER_PROVIDER: the ledger needs a place that all pods reach. Set it to S3, MINIO, ... (and "
        "..._LEDGER_CONTAINER to a bucket), or ... to a PersistentVolumeClaim",
        "tutor k8s do with a LOCAL ledger, and no claim",
        "Set it to S3, MINIO",
    ),
    Message(
        "kubectl is not installed. See https://kubernetes.io/docs/tasks/tools/install-kubectl/",
        "tutor k8s do on a host without kubectl",
        "See https://kubernetes.io/docs/tasks/tools/install-kubectl/",
    ),
    Message(
        "kubectl ... failed (...). Check that kubectl reaches the cluster, and try again",
        "a cluster that is away, or that refuses",
        "Check that kubectl reaches the cluster",
    ),
    Message(
        "Tutor's environment is older than the settings. Run: tutor config save",
        "a setting of the manifests that was changed in config.yml",
        "Run: tutor config save",
    ),
    Message("The result of ... is not known: its pod was deleted. ...", "a pod that was deleted", "..."),
    Message("The Job ...-job was deleted. ...", "a Job that was deleted while it ran", "..."),
)

# Where the messages of HOST, and of CONFIG without a config, are triggered.
ELSEWHERE = (
    "tests/faults/test_messages.py::test_a_file_that_is_no_config_is_said",
    "tests/faults/test_messages.py::test_a_share_that_is_none_is_said",
    "tests/faults/test_messages.py::test_a_database_that_the_lms_has_not",
    "tests/host/test_command.py::test_a_mistake_is_one_line_and_nothing_is_written",
    "tests/host/test_command.py::test_a_mistake_in_config_yml_is_one_line",
    "tests/host/test_command.py::test_an_environment_of_another_version_is_noticed",
    "tests/host/test_command.py::test_a_config_folder_that_docker_made_is_explained",
    "tests/host/test_command.py::test_the_demo_says_what_to_install",
    "tests/unit/test_host_job_config.py::test_erbs_config_that_is_no_object_is_refused_without_showing_it",
    "tests/host/test_report.py::test_without_a_report_it_says_how_to_get_one",
    "tests/host/test_report.py::test_a_ledger_that_is_not_here_is_told",
    "tests/unit/test_host_cluster_config.py::test_local_without_a_claim_is_refused",
    "tests/unit/test_host_cluster_config.py::test_what_goes_into_the_manifests_is_checked",
)
