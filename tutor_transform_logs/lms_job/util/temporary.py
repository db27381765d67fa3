"""Temporary files: data of a run that may be larger than memory. None has a name, so a killed run leaves none."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, TypeVar

from .errors import JobError, PermanentError, Unavailable

FILE_COUNT = 256
BUFFER_BYTES = 16384

T = TypeVar("T", bound="HashedFiles")


@contextmanager
def explained() -> Iterator[None]:
    """For what is done in the folder for temporary files: its errors become the job's."""
    try:
        yield
    except OSError as error:
        raise unusable(error) from None


def unusable(error: OSError) -> JobError:
    """What ends the run if the folder for temporary files is full, or can't be written."""
    folder = _folder()
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or _is_full(folder):
        return Unavailable(
            f"The folder for temporary files, {folder}, is full. "
            "Make room in it, or set TMPDIR to a folder with more space, and run the command again."
        )
    return PermanentError(
        f"The folder for temporary files, {folder}, can't be used: {error.strerror}. "
        "Set TMPDIR to a folder that can be written, and run the command again."
    )


def _folder() -> str:
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        # None of those that Python tries can be written, be it that their disk is full.
        return os.environ.get("TMPDIR") or "/tmp"  # noqa: S108


def _is_full(folder: str) -> bool:
    try:
        return shutil.disk_usage(folder).free == 0
    except OSError:
        return False


@contextmanager
def named_file(content: bytes | bytearray) -> Iterator[str]:
    """A path for a library that reads this content from nothing else; of a file that is deleted already.

    So a process that is killed leaves no data behind.
    """
    with temporary_file() as file:
        with explained():
            file.write(content)
            file.flush()
        # Linux opens by it what is open, whether it still has a name or not.
        yield f"/proc/self/fd/{file.fileno()}"


@contextmanager
def temporary_file() -> Iterator[IO[bytes]]:
    """A file without a name. Writing it may raise ``OSError``."""
    with explained():
        file = tempfile.TemporaryFile()
    try:
        yield file
    finally:
        # What could not be written before can't be written now; that has been said.
        with contextlib.suppress(OSError):
            file.close()


class HashedFiles:
    """Records in many small files, chosen by a number of each record. None of them has a name."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._files: list[IO[bytes]] = []

    def __enter__(self: T) -> T:
        with explained():
            for _ in range(FILE_COUNT):
                self._files.append(self._stack.enter_context(tempfile.TemporaryFile(buffering=BUFFER_BYTES)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # What could not be written before can't be written now; that has been said.
        with contextlib.suppress(OSError):
            self._stack.close()

    def write(self, number: int, record: bytes) -> None:
        """Add a record to the file that is ``number``'s."""
        try:
            self._files[number % FILE_COUNT].write(record)
        except OSError as error:
            raise unusable(error) from None

    def contents(self) -> Iterator[bytes]:
        """All that was written, a file at a time."""
        for file in self._files:
            with explained():
                file.seek(0)
                content = file.read()
            yield content
