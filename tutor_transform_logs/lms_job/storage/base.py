"""One small interface over local files and object stores; the rest of the job knows only this."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

READ_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class StoredObject:
    """An object as a listing shows it: its name below the container, its stored size in bytes."""

    name: str
    size: int


class Readable(Protocol):
    """What reading the source takes."""

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The bytes from ``start`` to before ``end``; fewer if the object is shorter."""


class Storage(Readable, Protocol):
    """A container. Names are below the container, with ``/`` between their parts, prefix included.

    Every call raises :class:`~.errors.PermanentError` where the store says no and :class:`~.errors.Unavailable` where
    it does not answer; reading raises :class:`~.errors.ObjectGone` for an object that does not exist (any more).
    """

    def check(self, create: bool = False) -> None:
        """See that the container is there (or make it, with ``create``)."""

    def check_writable(self, name: str) -> bool:
        """Can ``name`` be written, as far as can be told without writing? ``False``: it can't be told.

        Raises :class:`~.errors.PermanentError` if it certainly can't.
        """

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        """The objects whose names begin with ``prefix``, sorted by name."""

    def write(self, name: str, chunks: Callable[[], Iterable[bytes]], private: bool = False) -> None:
        """Put an object in place whole, or not at all. ``chunks`` is called again for every new try."""

    def delete(self, name: str) -> None:
        """Remove an object; one that is not there is no error."""

    def where(self, name: str) -> str:
        """The place of ``name`` as text that a person can follow."""


def read_all(storage: Storage, name: str) -> bytes:
    """A whole (small) object. Raises :class:`~.errors.ObjectGone` if it is not there."""
    return b"".join(storage.read(name))


def write_all(storage: Storage, name: str, content: bytes, private: bool = False) -> None:
    """Write a (small) object whole."""
    storage.write(name, lambda: (content,), private)


def join_name(*parts: str) -> str:
    """Join parts of an object's name with ``/``, leaving out empty ones."""
    return "/".join(part.strip("/") for part in parts if part.strip("/"))
