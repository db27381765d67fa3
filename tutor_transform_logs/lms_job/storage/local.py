"""A directory as a container, with plain file I/O.

libcloud's LOCAL driver is not used: it reads a whole file into memory, leaves lock files behind, fails on a dangling
symbolic link and lets ``..`` leave its root.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NoReturn

from ..util import console
from ..util.errors import JobError, ObjectGone, ObjectUnreadable, PermanentError, Unavailable
from ..util.formatting import printable
from .base import AT_ONCE, READ_CHUNK, UNKNOWN_BYTES, ObjectChanged, StoredObject, write_all

log = logging.getLogger(__name__)

LOST_AND_FOUND = "lost+found"
DENIED = (errno.EACCES, errno.EPERM)


class LocalStorage:
    """The files below ``root``. Nothing outside it is read or written, not even through ``..`` or a symbolic link.

    A file that can't be deleted is a warning, not an error.
    """

    def __init__(self, root: str) -> None:
        self.root = Path(root)
        self._said_undeleted = False

    def check(self, create: bool = False) -> None:
        try:
            if create:
                self.root.mkdir(parents=True, exist_ok=True)
            with os.scandir(self.root):
                pass
        except OSError as error:
            hint = "it must exist and be readable by the job's user"
            raise PermanentError(f"The directory {self.root} can't be used: {error.strerror}; {hint}.") from None

    def check_writable(self, name: str) -> bool:
        path = self.root / name
        # In a directory that can't be entered, nothing exists.
        while not os.path.exists(path) and path != path.parent:
            path = path.parent
        if not os.path.isdir(path):
            path = path.parent
        if not os.access(path, os.W_OK | os.X_OK):
            number = errno.EROFS if os.statvfs(path).f_flag & os.ST_RDONLY else errno.EACCES
            raise_unwritable(path, OSError(number, os.strerror(number)))
        return True

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        seen: set[tuple[int, int]] = set()
        links: list[tuple[str, os.stat_result]] = []
        found: list[StoredObject] = []
        denied: list[OSError] = []
        outside: list[str] = []
        for name in self._names(prefix, denied.append):
            path = self.root / name
            try:
                status = path.stat()
            except OSError as error:
                # Otherwise a dangling link, or deleted since the directory was read.
                if error.errno in DENIED and not os.path.islink(path):
                    denied.append(error)
                continue
            if stat.S_ISDIR(status.st_mode) and not self._inside(path):
                outside.append(name)
            if not os.path.isfile(path):
                continue
            if path.is_symlink():
                links.append((name, status))
            else:
                seen.add((status.st_dev, status.st_ino))
                found.append(StoredObject(name, status.st_size))
        for name, status in links:
            # A link is another name for a file. It is listed if the file is in the root and not listed already.
            inode = (status.st_dev, status.st_ino)
            if not self._inside(self.root / name):
                outside.append(name)
            elif inode not in seen:
                seen.add(inode)
                found.append(StoredObject(name, status.st_size))
        if outside:
            self._say_outside(outside)
        found += self._unlisted(error for error in denied if not isinstance(error, FileNotFoundError))
        yield from sorted(found, key=lambda entry: entry.name)

    def _names(self, prefix: str, on_error: Callable[[OSError], None]) -> Iterator[str]:
        """Paths of files below the root, and of links to folders, that begin with ``prefix``.

        Walks only the directories that can contain them, and no linked ones.

        ``on_error`` takes what listing a directory raises.
        """
        top = self.root / prefix.rpartition("/")[0]
        if not self._inside(top):
            return
        for directory, folders, files in os.walk(top, onerror=on_error):
            below = os.path.relpath(directory, self.root)
            start = "" if below == "." else f"{below}/"
            folders[:] = [folder for folder in folders if f"{start}{folder}/".startswith(prefix)]
            files += [folder for folder in folders if os.path.islink(os.path.join(directory, folder))]
            yield from (name for name in (f"{start}{file}" for file in files) if name.startswith(prefix))

    def _unlisted(self, errors: Iterable[OSError]) -> list[StoredObject]:
        """What can't be listed must not count as empty: the ledger's objects, or parts of the output, may be there."""
        for error in errors:
            raise_unreadable(Path(error.filename), error)
        return []

    def _say_outside(self, links: Sequence[str]) -> None:
        """These links lead out of the root: what they lead to is not listed."""

    def _inside(self, path: Path) -> bool:
        return path.resolve().is_relative_to(self.root.resolve())

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        path = self.root / name
        if not self._inside(path):
            raise ObjectGone(f"{path} leads out of {self.root}")
        try:
            with open(path, "rb", opener=open_regular) as file:
                file.seek(start)
                left = end - start if end is not None else None
                while left is None or left > 0:
                    chunk = file.read(READ_CHUNK if left is None else min(READ_CHUNK, left))
                    if not chunk:
                        return
                    if left is not None:
                        left -= len(chunk)
                    yield chunk
        except FileNotFoundError:
            raise ObjectGone(f"{path} does not exist any more") from None
        except OSError as error:
            raise_unreadable(path, error)

    def write(self, name: str, chunks: Callable[[], Iterable[bytes]], private: bool = False) -> None:
        path = self.root / name
        if not self._inside(path.parent):
            raise PermanentError(f"{path} leads out of {self.root}: nothing was written. Choose another prefix.")
        # Each name has one writer, so the unfinished file can have a fixed name: a killed run leaves one file, not
        # several.
        unfinished = path.with_name(f".{path.name}.unfinished")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # What is there may be a link to another file, or have a mode of its own: never written to, but replaced.
            unfinished.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            descriptor = os.open(unfinished, flags, 0o600 if private else 0o644)
            with open(descriptor, "wb") as file:
                for chunk in chunks():
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
        except OSError as error:
            _remove(unfinished)
            raise_unwritable(path, error)
        except JobError:
            # ``chunks`` has failed.
            _remove(unfinished)
            raise

    def version_of(self, name: str) -> str:
        path = self.root / name
        try:
            status = path.stat()
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise_unreadable(path, error)
        return f"{status.st_dev}-{status.st_ino}-{status.st_mtime_ns}-{status.st_size}"

    def write_if(self, name: str, content: bytes, version: str) -> str:
        """The comparison and the write are two steps: what is in a directory is locked by the kernel (``ledger``)."""
        if self.version_of(name) != version:
            raise ObjectChanged(name)
        write_all(self, name, content)
        return self.version_of(name)

    def delete(self, name: str) -> None:
        path = self.root / name
        if self._inside(path.parent):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                self._say_undeleted(path, error)
            # Hidden directories hold only the job's own parts: delete them, too, when they are empty.
            for parent in path.parents:
                if parent == self.root or not parent.name.startswith("."):
                    break
                try:
                    parent.rmdir()
                except OSError:
                    break

    def _say_undeleted(self, path: Path, error: OSError) -> None:
        """Once: whatever prevents it prevents it for the other files beside it, too."""
        if not self._said_undeleted:
            self._said_undeleted = True
            text = f"{path} is no longer needed and can't be deleted: {error.strerror}. "
            hint = "Delete it. Other files that can't be deleted are not named."
            console.say(printable(text + hint), "notice", console.WARNING)

    def reading_ahead(self, names: Sequence[str], at_once: int = AT_ONCE) -> AbstractContextManager[None]:
        """Nothing is: a disk answers at once."""
        return nullcontext()

    def where(self, name: str) -> str:
        return str(self.root / name)


class LocalSource(LocalStorage):
    """A directory with logs: one that can't be read is reported, and the run goes on with the others.

    A folder that can't be listed is listed as an object with a ``/`` at the end of its name, and can't be read either.
    """

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._said_outside = False

    def _unlisted(self, errors: Iterable[OSError]) -> list[StoredObject]:
        paths = (Path(error.filename) for error in errors)
        # Each volume has one, and it never holds logs.
        return [
            StoredObject(path.relative_to(self.root).as_posix() + "/" * os.path.isdir(path), UNKNOWN_BYTES)
            for path in paths
            if path.name != LOST_AND_FOUND
        ]

    def _say_outside(self, links: Sequence[str]) -> None:
        """Once for all listings."""
        if not self._said_outside:
            self._said_outside = True
            log.warning(
                "%s out of %s, such as %s: what is there is not read. Mount or copy it into the directory to read it.",
                "1 link leads" if len(links) == 1 else f"{len(links):,} links lead",
                self.root,
                printable(links[0]),
            )

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if name.endswith("/"):
            raise ObjectGone(f"the folder {self.root / name} can't be read by the job's user (uid {os.getuid()})")
        try:
            yield from super().read(name, start, end)
        except ObjectUnreadable as error:
            raise ObjectGone(error.detail) from None


class NotAFile(OSError):
    """What was opened is a named pipe, a socket or a device: reading it may never end."""


def open_regular(path: str, flags: int) -> int:
    """An opener for :func:`open` that takes files (and leaves directories to it), and waits for nothing else.

    A named pipe would be opened only when somebody writes into it. Raises :class:`NotAFile`.
    """
    try:
        # For a file, O_NONBLOCK means nothing.
        descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o644)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise NotAFile(errno.ENXIO, "it is a socket or a device", path) from None
        raise
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return descriptor
    os.close(descriptor)
    raise NotAFile(errno.ENXIO, "it is a named pipe" if stat.S_ISFIFO(mode) else "it is a socket or a device", path)


def raise_unreadable(path: Path, error: OSError) -> NoReturn:
    """Raise the :class:`~.errors.JobError` for ``error``, which opening or reading the existing ``path`` has raised."""
    _raise_misplaced(path, error)
    if error.errno in DENIED:
        user = f"the job's user (uid {os.getuid()})"
        raise ObjectUnreadable(
            f"{path} can't be opened by {user}: {error.strerror}. Change the file's owner and run the command again.",
            f"{path} can't be read by {user}",
        ) from None
    raise Unavailable(f"Reading {path} failed: {error.strerror}. Run again to resume.") from None


def raise_unwritable(path: Path, error: OSError) -> NoReturn:
    """Raise the :class:`~.errors.JobError` for ``error``, which writing ``path`` or making it has raised."""
    _raise_misplaced(path, error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = "Make room and run again to resume."
        raise Unavailable(f"No space left to write {path}. {hint}") from None
    if error.errno == errno.EROFS:
        raise PermanentError(
            f"{path} can't be written: it is on a read-only file system. Mount that for writing, or choose another "
            "directory, and run the command again."
        ) from None
    if error.errno in DENIED:
        who = f"the job's user (uid {os.getuid()})"
        raise PermanentError(
            f"{path} can't be written by {who}: {error.strerror}. Change the directory's owner."
        ) from None
    raise Unavailable(f"Writing {path} failed: {error.strerror}. Run again to resume.") from None


def _raise_misplaced(path: Path, error: OSError) -> None:
    if isinstance(error, NotAFile):
        raise ObjectUnreadable(
            f"{path} is not a file ({error.strerror}). Put the right file back and run the command again.",
            f"{path} is not a file ({error.strerror})",
        ) from None
    if error.errno == errno.ELOOP:
        raise ObjectUnreadable(
            f"{path} is a symbolic link, and the job does not write through one. "
            "Remove the link and run the command again.",
            f"{path} is a symbolic link that leads nowhere",
        ) from None
    if isinstance(error, (IsADirectoryError, NotADirectoryError, FileExistsError)):
        raise ObjectUnreadable(
            f"{path} can't be used ({error.strerror}): a file is in the place of a directory, or a directory in the "
            "place of a file. Put the right one back and run the command again.",
            f"{path} does not exist any more",
        ) from None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # its name says that it is not a finished file
