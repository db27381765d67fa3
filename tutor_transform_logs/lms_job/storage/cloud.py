"""An object store as a container, through libcloud."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, TypeVar

import requests
import urllib3
from libcloud.common.exceptions import BaseHTTPError
from libcloud.common.types import InvalidCredsError, LibcloudError
from libcloud.storage.base import Container, Object, StorageDriver
from libcloud.storage.drivers.s3 import BaseS3StorageDriver
from libcloud.storage.types import ContainerDoesNotExistError, ObjectDoesNotExistError

from ..config.schema import StorageConfig
from ..util.backoff import retrying
from ..util.contact import Contact, why_unreachable
from ..util.errors import NoContainer, ObjectGone, PermanentError, TransientError
from ..util.formatting import count, printable
from ..util.secrets import hide, remember
from ..util.temporary import named_file
from .base import AT_ONCE, ObjectChanged, StoredObject, read_all
from .cloud_driver import default_credentials, make_driver, secret_options
from .cloud_http import (
    CloudAdapter,
    ConditionUnknown,
    EndlessListing,
    Version,
    is_raised_by_libcloud,
    name_for_download,
    problem_of_name,
    what_failed,
)
from .read_ahead import ReadAhead

# An object up to this size is sent by one PUT; a larger one by libcloud's stream upload, as a multipart upload.
SINGLE_PUT_BYTES = 5 * 1024**2

# How a store refuses a range of an object that is shorter.
BAD_RANGE = (requests.codes.bad_request, requests.codes.requested_range_not_satisfiable)

T = TypeVar("T")

# The exceptions that libcloud raises while a network or a server is down. LibcloudError is the base of nearly all of
# its exceptions: the permanent ones are caught before.
TRANSIENT = (LibcloudError, requests.RequestException, urllib3.exceptions.HTTPError, OSError)

# What libcloud raises, beside others, for an answer that it does not expect: XML without an element, no number.
UNEXPECTED = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, BaseHTTPError)


class CloudStorage:
    """A container of a libcloud storage driver; one connection, so one instance a worker."""

    def __init__(
        self, config: StorageConfig, max_wait_secs: float, was_reached: Callable[[], bool] = lambda: False
    ) -> None:
        """``was_reached``: has it answered to an earlier run?"""
        self._config = config
        self._contact = Contact(f"{config.provider} {config.host} {config.port}", was_reached)
        self._max_wait_secs = max_wait_secs
        self._credentials = default_credentials() if config.provider == "S3" and not config.key else None
        self._driver: StorageDriver | None = None
        self._adapter = CloudAdapter()
        self._driver_key: tuple[str, str, str] | None = None
        self._secrets: set[str] = set()
        # Google's is made like S3's, and has other headers for conditions.
        self._knows_conditions = not config.provider.startswith("GOOGLE")
        self._ahead: ReadAhead[Any] | None = None

    def check(self, create: bool = False) -> None:
        self._retrying("reach", lambda: self._container(create))

    def _container(self, create: bool) -> None:
        driver = self._connected()
        try:
            driver.get_container(self._config.container)
        except ContainerDoesNotExistError:
            if not create:
                raise
            driver.create_container(self._config.container)

    def check_writable(self, name: str) -> bool:
        """Not known before something is written."""
        return False

    def listing(self, prefix: str) -> Iterator[StoredObject]:
        found: dict[str, int] = {}

        def list_all() -> None:
            found.clear()
            driver = self._connected()
            container = driver.get_container(self._config.container)
            with self._adapter.watching_pages() as pages:
                for entry in driver.iterate_container_objects(container, prefix=prefix):
                    if entry.name not in found:
                        found[entry.name] = entry.size
                        pages.moved()

        try:
            self._retrying("list", list_all, prefix)
        except EndlessListing:
            raise PermanentError(
                f"The listing of {self.where(prefix)} does not end: after {count(len(found), 'object')}, the store "
                "answers with the same ones again. Choose a container or a prefix with fewer objects, or a store that "
                "lists all of them in pages, as S3 does."
            ) from None
        # An empty one whose name ends in "/" is a console's stand-in for a folder. Not every provider obeys the prefix.
        names = sorted(name for name in found if name.startswith(prefix) and (found[name] or not name.endswith("/")))
        yield from (StoredObject(name, found[name]) for name in names)

    def read(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The object's bytes; a stream that breaks is resumed at the byte where it broke, of the same object."""
        if self._ahead is not None and (start, end) == (0, None) and (found := self._ahead.take(name)) is not None:
            return iter((found,))
        return self.read_version(name, Version(self.where(name)), start, end)

    @contextmanager
    def reading_ahead(self, names: Sequence[str], at_once: int = AT_ONCE) -> Iterator[None]:
        before = self._ahead
        others: list[CloudStorage] = []

        def connect() -> Callable[[str], Any]:
            others.append(self._with_own_connection())
            return others[-1]._read_early

        ahead = self._ahead = ReadAhead(names, connect, at_once)
        try:
            yield
        finally:
            ahead.close()
            self._ahead = before
            for other in others:
                # libcloud's objects refer to each other: their connections would stay open for an unknown time.
                other._adapter.close()

    def _read_early(self, name: str) -> Any:
        """What :meth:`reading_ahead` keeps of an object: all of it."""
        return b"".join(self.read_version(name, Version(self.where(name)), 0, None))

    def _with_own_connection(self) -> CloudStorage:
        """For a thread. It does not wait for a store that is unavailable, and says nothing of that."""
        other = copy.copy(self)
        other._driver, other._adapter, other._ahead = None, CloudAdapter(), None
        other._contact, other._max_wait_secs = Contact(self._config.provider), 0.0
        return other

    def read_version(self, name: str, version: Version, start: int, end: int | None) -> Generator[bytes, None, None]:
        """Like :meth:`read`, of one ``version``, which is the first that is met if it is new.

        Whoever does not read it to its end closes it, or drops it: then its connection is closed, too.
        """
        if problem := problem_of_name(self._config.provider, name):
            raise ObjectGone(f"{self.where(name)} can't be read: its name {problem}")
        position = start
        stream: Generator[bytes, None, None] | None = None

        def next_piece() -> bytes:
            """The next bytes; empty at the end."""
            nonlocal position, stream
            # After an error the next try opens another stream.
            opened, stream = stream or self._stream(name, position, end, version), None
            try:
                for chunk in opened:
                    piece = chunk if end is None else chunk[: end - position]
                    if piece:
                        position += len(piece)
                        stream = opened
                        return piece
                size = self._size(name) if version.size is None else version.size
            except (ObjectDoesNotExistError, ContainerDoesNotExistError):
                raise ObjectGone(f"{self.where(name)} does not exist any more") from None
            if position < min(size, size if end is None else end):
                raise ConnectionError("the stream ended early")
            return b""

        try:
            while end is None or position < end:
                # Each piece has all of the waiting time: a slow connection that makes progress is not given up.
                piece = self._retrying("read", next_piece, name)
                if not piece:
                    return
                yield piece
        finally:
            if stream is not None:
                stream.close()

    def _stream(self, name: str, start: int, end: int | None, version: Version) -> Generator[bytes, None, None]:
        driver = self._connected()
        entry = self._object(driver, name_for_download(driver, name))
        if start == 0 and end is None:
            yield from self._opened(lambda: driver.download_object_as_stream(entry), version)
            return
        try:
            yield from self._opened(lambda: driver.download_object_range_as_stream(entry, start, end), version)
        except (LibcloudError, BaseHTTPError):
            # An object that ends before ``start`` has no such range. Not every store cuts off one that ends behind it.
            if self._adapter.status not in BAD_RANGE:
                raise
            size = self._size(name)
            if start < size and (end is None or end <= size):
                raise
            if start < size:
                yield from self._stream(name, start, size, version)
        except NotImplementedError:
            # A provider without ranges: the bytes before ``start`` are read and dropped.
            skip = start
            with closing(self._opened(lambda: driver.download_object_as_stream(entry), version)) as chunks:
                for chunk in chunks:
                    if skip < len(chunk):
                        yield chunk[skip:]
                    skip = max(0, skip - len(chunk))

    def _opened(self, download: Callable[[], Iterator[bytes]], version: Version) -> Generator[bytes, None, None]:
        """A stream, if it is of the same version; its answer is closed with it. Raises :class:`~.errors.ObjectGone`."""
        self._adapter.forget_stream()
        answer = None
        try:
            try:
                stream = download()
            finally:
                answer = self._adapter.streamed
            version.check(self._adapter.etag)
            version.size = self._adapter.size
            yield from stream
        finally:
            if answer is not None:
                # One that was not read to its end has the store still sending, and keeps a connection.
                answer.close()

    def _size(self, name: str) -> int:
        return int(self._connected().get_object(self._config.container, name).size)

    def write(self, name: str, chunks: Callable[[], Iterable[bytes]], private: bool = False) -> None:
        """Upload whole: a single PUT or a completed multipart upload shows the object at once, or never."""
        if problem := problem_of_name(self._config.provider, name):
            raise PermanentError(f"{self.where(name)} can't be written: its name {problem}. Change the prefix.")
        self._retrying("write", lambda: self._upload(name, chunks()), name)

    def _upload(self, name: str, chunks: Iterable[bytes]) -> None:
        driver = self._connected()
        container = Container(self._config.container, {}, driver)
        # libcloud would guess a type from the name, and fail on a name that it can't guess from.
        extra = {"content_type": "application/octet-stream"}
        iterator = iter(chunks)
        head = bytearray()
        for chunk in iterator:
            head += chunk
            if len(head) > SINGLE_PUT_BYTES:
                whole = itertools.chain((bytes(head),), iterator)
                driver.upload_object_via_stream(whole, container, name, extra=extra)
                return
        # libcloud sends one PUT only from a file on disk.
        with named_file(head) as path:
            driver.upload_object(path, container, name, extra=extra)

    def version_of(self, name: str) -> str:
        def ask() -> str:
            try:
                return str(self._connected().get_object(self._config.container, name).hash)
            except ObjectDoesNotExistError:
                return ""

        return self._retrying("read", ask, name)

    def write_if(self, name: str, content: bytes, version: str) -> str:
        # Not every store knows conditions, and of those that don't, some ignore them.
        if self.version_of(name) != version:
            raise ObjectChanged(name)
        condition = {"If-Match": f'"{version}"'} if version else {"If-None-Match": "*"}
        try:
            return self._retrying("write", lambda: self._put(name, content, condition), name)
        except ObjectChanged:
            # Perhaps by an earlier try, whose answer was lost.
            written = self.version_of(name)
            if written and read_all(self, name) == content:
                return written
            raise

    def _put(self, name: str, content: bytes, condition: Mapping[str, str]) -> str:
        """One PUT, under a ``condition`` where the store knows such. Returns the object's new version."""
        driver = self._connected()
        container = Container(self._config.container, {}, driver)
        more: dict[str, Any] = {}
        if self._knows_conditions and isinstance(driver, BaseS3StorageDriver):
            more["headers"] = dict(condition)
        with named_file(content) as path:
            try:
                extra = {"content_type": "application/octet-stream"}
                return str(driver.upload_object(path, container, name, extra=extra, **more).hash)
            except ConditionUnknown:
                self._knows_conditions = False
        return self._put(name, content, condition)

    def delete(self, name: str) -> None:
        def remove() -> None:
            driver = self._connected()
            try:
                driver.delete_object(self._object(driver, name))
            except ObjectDoesNotExistError:
                pass

        self._retrying("delete", remove, name)

    def where(self, name: str) -> str:
        return f"{self._config.provider}:{self._config.container}/{name}"

    def _object(self, driver: StorageDriver, name: str) -> Object:
        """The object by its name alone: libcloud's ``get_object`` costs a request more."""
        container = Container(self._config.container, {}, driver)
        return Object(name, 0, "", {}, {}, container, driver)

    def _connected(self) -> StorageDriver:
        """The driver, made again when the default credentials have been refreshed."""
        config = self._config
        key = (config.key, config.secret, config.token)
        if self._credentials is not None:
            frozen = self._credentials.get_frozen_credentials()
            key = (frozen.access_key, frozen.secret_key, frozen.token or "")
        if self._driver is None or key != self._driver_key:
            self._secrets = {*key[1:], *secret_options(config.options)}
            remember(self._secrets)
            self._driver = make_driver(config, self._adapter, *key)
            self._driver_key = key
        return self._driver

    def _retrying(self, verb: str, action: Callable[[], T], name: str = "") -> T:
        """``action`` with the job's retries. libcloud's errors become the job's, which say ``verb`` and ``name``."""

        def attempt() -> T:
            try:
                done = action()
                self._contact.made()
                return done
            except (InvalidCredsError, ContainerDoesNotExistError) as error:
                raise self._permanent(error) from None
            except TRANSIENT as error:
                if self._contact.is_typo(error):
                    raise PermanentError(
                        f"{self._place} can't be reached ({why_unreachable(error)}), and never was: check the host and "
                        "the port, and that it is running."
                    ) from None
                raise self._transient(verb, name, error) from None
            except UNEXPECTED as error:
                if not is_raised_by_libcloud(error):
                    raise
                if isinstance(error, BaseHTTPError) and (error.code == 429 or error.code >= 500):
                    raise self._transient(verb, name, error) from None
                raise PermanentError(
                    f"{self.where('')}: the store answers with what libcloud can't read ({self._describe(error)}). "
                    "Check the provider, the host and the port."
                ) from None

        return retrying(attempt, self._max_wait_secs)

    def _transient(self, verb: str, name: str, error: Exception) -> TransientError:
        if refusal := self._masked(self._adapter.refusal):
            provider, place = self._config.provider, f"{self._config.container}/{name}"
            # First what matters: a terminal may not have the width for all of it.
            return TransientError(
                f"{provider} answers {refusal}: can't {verb} {place}", trouble=f"{provider} answers {refusal}"
            )
        what = self._describe(error)
        return TransientError(f"Can't {verb} {self.where(name)}: {what}", trouble=f"Can't {verb}: {what}")

    def _permanent(self, error: Exception) -> PermanentError:
        if isinstance(error, ContainerDoesNotExistError):
            return NoContainer(
                f"The container {self._config.container} does not exist ({self._place}): create it first."
            )
        return PermanentError(f"{self._place} refuses the credentials: check the key and the secret.")

    @property
    def _place(self) -> str:
        """The store, for people."""
        config = self._config
        port = f":{config.port}" if config.host and config.port else ""
        return f"{config.provider} at {config.host or 'its default host'}{port}"

    def _describe(self, error: Exception) -> str:
        """The error's text, for a terminal."""
        return self._masked(why_unreachable(error) or what_failed(error))

    def _masked(self, text: str) -> str:
        """A text for a terminal, without any secret that a URL, a header or an answer in it may hold."""
        secrets = self._secrets | {" ".join(secret.split()) for secret in self._secrets}
        # Masked first: what is cut or written in another way would not be found.
        return printable(hide(text, secrets))[:300]
