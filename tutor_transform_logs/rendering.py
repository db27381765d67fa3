"""Where the plugin's files lie, where Tutor's environment has them, and the job's config file between the two."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from tutor import env as tutor_env
from tutor.exceptions import TutorError

PACKAGE = Path(__file__).resolve().parent

JOB_CODE = "lms_job"
TASKS = "transform_logs/tasks"
# Rendered below <tutor root>/env; the compose patches mount these folders.
ENV_CODE = Path("plugins", "transform_logs", JOB_CODE)
ENV_TASKS = Path("plugins", TASKS)
KUBERNETES = "transform_logs/k8s"
ENV_PRIVATE = Path("plugins", "transform_logs", "private")
CONTAINER_ROOT = "/openedx/transform-logs"
"""Where the job's container has the plugin's files."""


def data_dir(name: str) -> Path:
    """The folder ``patches`` or ``templates``: in the package, or beside it in an editable install."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def render_unless_ours(rendered: bool, template: str) -> bool:
    """Filter of Tutor's IS_FILE_RENDERED: the files of this package are copied byte for byte, never read as templates.

    The package's folder is a template root because of the job's code in it, and Tutor lists all files there.
    """
    return rendered and not (PACKAGE / template).is_file()


def job_files() -> list[Path]:
    """The job's modules, as paths below ``lms_job/``, in order."""
    code = PACKAGE / JOB_CODE
    return sorted(path.relative_to(code) for path in code.rglob("*.py"))


def check_rendered(root: str) -> None:
    """Raise ``TutorError`` unless Tutor's environment has the job of this very version of the plugin.

    Also keeps Docker from making the folders it can't find, which would belong to root.
    """
    tasks = data_dir("templates") / TASKS
    pairs = [(PACKAGE / JOB_CODE / file, ENV_CODE / file) for file in job_files()]
    pairs += [(file, ENV_TASKS / file.name) for file in sorted(tasks.glob("*.sh"))]
    for source, target in pairs:
        copy = Path(tutor_env.pathjoin(root, str(target)))
        # Jinja drops the final newline of the scripts that it renders.
        if not copy.is_file() or copy.read_bytes().rstrip(b"\n") != source.read_bytes().rstrip(b"\n"):
            raise TutorError("Tutor's environment is older than this plugin. Run: tutor config save")


def make_private_folder(root: str) -> Path:
    """Make the folder that the container has for the job's config file. Raises ``OSError``.

    The container's user must read what is there, whose id may be any. So the folder and its files are open to all, and
    what keeps others out is the folder above, which only its owner may enter: Docker mounts the inner folder, and
    nobody in the container passes through the outer one.
    """
    private = Path(tutor_env.pathjoin(root, str(ENV_PRIVATE)))
    folder = private / "config"
    private.mkdir(parents=True, exist_ok=True)
    private.chmod(0o700)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return folder


def write_config(root: str, text: str) -> Path:
    """Write the job's config file, which may hold secrets, for one run, and return its path.

    Each run has a file of its own name, so that two that start at once do not read each other's.
    Raises ``TutorError``.
    """
    private = Path(tutor_env.pathjoin(root, str(ENV_PRIVATE)))
    path = private / "config" / f"config-{secrets.token_hex(4)}.json"
    try:
        make_private_folder(root)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(descriptor, 0o644)
    except OSError as error:
        with contextlib.suppress(OSError):
            path.unlink()
        raise TutorError(
            f"The job's config file can't be written: {error}. If {private} belongs to another user, remove it"
        ) from error
    return path


def in_container(path: Path) -> str:
    """Where the job finds the config file that :func:`write_config` wrote."""
    return f"{CONTAINER_ROOT}/config/{path.name}"
