"""The interface to local directories and object stores. The rest of the job does not know which of them it uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

# What stays in a processor's cache while it is split into lines.
READ_CHUNK = 256 * 1024
# Of an object whose size can't be read. An object of 0 bytes would not be opened.
UNKNOWN_BYTES = 1
# Requests to an object store, where many objects are to be read.
AT_ONCE = 16


@dataclass(frozen=True)
class StoredObject:
    """An object in a listing: its name below the container, and its stored size in bytes."""

    name: str
    size: int


class ObjectChanged(Exception):
    """An object is another one than a conditional write replaces, or exists where it creates one."""


class Readable(Protocol):
    """The part of a storage that is needed to read the source."""

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` up to, but not including, ``end``; fewer if the object is shorter."""


class Source(Readable, Protocol):
    """A container that logs are read from.

    Names are relative to the container, include the prefix, and have ``/`` between their parts.

    Every method raises :class:`~.errors.PermanentError` if the store refuses, and :class:`~.errors.Unavailable` if it
    does not answer. Reading raises :class:`~.errors.ObjectGone` if the object does not exist, or no longer exists, and
    :class:`~.errors.ObjectUnreadable` if it exists and can't be read.
    """

    def check(self, create: bool = False) -> None:
        """Check that the container exists; with ``create``, create it if it does not."""

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        """The objects whose names begin with ``prefix``, sorted by name."""

    def where(self, name: str) -> str:
        """Where ``name`` is, as text for messages."""

    def reading_ahead(self, names: Sequence[str], at_once: int = AT_ONCE) -> AbstractContextManager[None]:
        """Within it, these (small) objects are read from their first byte on, in this order.

        An object store is asked for some of them at the same time, before they are read; each is still asked for once.
        """


class Storage(Source, Protocol):
    """A container that is written to as well."""

    def check_writable(self, name: str) -> bool:
        """Check, without writing anything, that ``name`` can be written. ``False`` if only a write would tell.

        Raises :class:`~.errors.PermanentError` if it certainly can't be written.
        """

    def write(self, name: str, chunks: Callable[[], Iterable[bytes]], private: bool = False) -> None:
        """Write an object completely or not at all. ``chunks`` is called again for each try.

        ``private``: on a disk, only the owner can read the file. An object store ignores it.
        """

    def version_of(self, name: str) -> str:
        """A text that changes whenever the object is replaced; ``""`` if there is no such object."""

    def write_if(self, name: str, content: bytes, version: str) -> str:
        """Write a (small) object if its :meth:`version_of` still is ``version``. Returns the new version.

        Raises :class:`ObjectChanged` if it is not. In a store with conditional writes nobody else can have written it
        between the comparison and the write.
        """

    def delete(self, name: str) -> None:
        """Delete an object. It is not an error if the object does not exist."""


def read_all(storage: Storage, name: str) -> bytes:
    """The content of a (small) object. Raises :class:`~.errors.ObjectGone` if it does not exist."""
    return b"".join(storage.read(name))


def write_all(storage: Storage, name: str, content: bytes, private: bool = False) -> None:
    """Write a (small) object completely or not at all."""
    storage.write(name, lambda: (content,), private)


def join_name(*parts: str) -> str:
    """Join parts of an object's name with ``/``, leaving out empty ones."""
    return "/".join(part.strip("/") for part in parts if part.strip("/"))
