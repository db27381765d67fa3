"""Where the plugin's files are, in the package, in Tutor's environment and in the container; the job's config file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from tutor import env as tutor_env
from tutor.exceptions import TutorError

PACKAGE = Path(__file__).resolve().parent

JOB_CODE = "lms_job"
TASKS = "transform_logs/tasks"
# Rendered below <tutor root>/env; the compose patches mount these folders.
ENV_CODE = Path("plugins", "transform_logs", JOB_CODE)
ENV_TASKS = Path("plugins", TASKS)
KUBERNETES = "transform_logs/k8s"
ENV_CRON = Path("plugins", KUBERNETES, "cron.yml")
ENV_PRIVATE = Path("plugins", "transform_logs", "private")
ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)
CONTAINER_ROOT = "/openedx/transform-logs"
"""Where the job's container has the plugin's files."""


def data_dir(name: str) -> Path:
    """The folder ``patches`` or ``templates``: in the package, or beside it in an editable install."""
    installed = PACKAGE / name
    return installed if installed.is_dir() else PACKAGE.parent / name


def render_unless_ours(rendered: bool, template: str) -> bool:
    """Filter of Tutor's IS_FILE_RENDERED: the files of this package are copied byte for byte, and never rendered.

    The package's folder is a template root, because the job's code is in it. Tutor lists all files of a template root.
    """
    return rendered and not (PACKAGE / template).is_file()


def job_files() -> list[Path]:
    """The job's modules, as paths below ``lms_job/``, sorted."""
    code = PACKAGE / JOB_CODE
    return sorted(path.relative_to(code) for path in code.rglob("*.py"))


def check_rendered(root: str) -> None:
    """Raise ``TutorError`` unless Tutor's environment has the job's code of exactly this version of the plugin.

    If the folders were missing, Docker would create them, and they would belong to root.
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
    """Create the folder for the job's config file, which is mounted in the container. Raises ``TutorError``.

    The container's user must be able to read the file, and may have any id, so everybody can read the folder and its
    files. Other users of the host are kept out by the folder above it, which only its owner can enter. The container is
    not affected by that, because Docker mounts the inner folder directly.
    """
    private = Path(tutor_env.pathjoin(root, str(ENV_PRIVATE)))
    folder = private / "config"
    try:
        private.mkdir(parents=True, exist_ok=True)
        private.chmod(0o700)
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
    except OSError as error:
        raise _unusable(private, error) from error
    return folder


def _unusable(private: Path, error: OSError) -> TutorError:
    """A run of tutor with sudo leaves a folder that belongs to root."""
    return TutorError(
        f"The folder of the job's config file can't be used ({error.strerror}: {error.filename or private}). If it "
        f"belongs to another user, as after sudo tutor, remove it. Run: sudo rm -r {shlex.quote(str(private))}"
    )


@contextlib.contextmanager
def config_file(root: str, text: str) -> Iterator[Path]:
    """The path of the job's config file for one run, which is there in this context. Raises ``TutorError``.

    It may hold secrets, and is removed at the end, by SIGTERM and SIGHUP, too. What a start that was killed has left is
    removed by the next one. Each file has a name of its own, so that two runs that start at the same time do not read
    each other's file.
    """
    private = Path(tutor_env.pathjoin(root, str(ENV_PRIVATE)))
    path = private / "config" / f"config-{secrets.token_hex(4)}.json"
    with contextlib.ExitStack() as stack:
        try:
            folder = make_private_folder(root)
            # One start at a time removes and makes files: it must not take a new one, not yet locked, for an old one.
            with (private / "starting").open("w") as starting:
                fcntl.flock(starting, fcntl.LOCK_EX)
                _remove_abandoned(folder)
                stack.enter_context(_removed_by_signals(path))
                stack.callback(path.unlink, missing_ok=True)
                # Locked as long as this process lives: the kernel lets go of it whatever ends the process.
                descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                file = stack.enter_context(open(descriptor, "w", encoding="utf-8"))
                fcntl.flock(file, fcntl.LOCK_EX)
            file.write(text)
            file.flush()
            os.fchmod(descriptor, 0o644)
        except OSError as error:
            raise _unusable(private, error) from error
        yield path


def _remove_abandoned(folder: Path) -> None:
    """Remove the config files of starts that are no longer alive."""
    for path in folder.glob("config-*.json"):
        with contextlib.suppress(OSError), path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@contextlib.contextmanager
def _removed_by_signals(path: Path) -> Iterator[None]:
    """Remove ``path`` if one of these signals ends this process. One that is ignored or handled already stays so."""

    def remove(number: int, _: FrameType | None) -> None:
        path.unlink(missing_ok=True)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    mine = [number for number in ENDING_SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        signal.signal(number, remove)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def make_private(path: Path) -> None:
    """Make the file at ``path``, which Tutor is about to write, readable by its owner only.

    Tutor keeps the mode of a file that is there. Raises ``OSError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def in_container(path: Path) -> str:
    """The path in the container of a :func:`config_file`."""
    return f"{CONTAINER_ROOT}/config/{path.name}"
