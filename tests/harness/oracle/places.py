"""Where the logs of a round are, its output and its ledger: folders, or prefixes of a bucket."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from tests.harness.job import local
from tests.harness.object_store import Bucket
from tests.harness.site import files_below

BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# boto3 makes clients from what all threads share.
_making_clients = threading.Lock()


class Place(Protocol):
    """Objects by their names. Each is put in place whole, so that no run sees half of it."""

    local: bool

    def settings(self, role: str, prefix: str = "") -> dict[str, Any]:
        """The job's settings that make this its ``source``, ``destination`` or ``ledger``."""

    def put(self, name: str, content: bytes) -> None:
        """Write or replace an object."""

    def append(self, name: str, content: bytes, added: bytes) -> None:
        """Add bytes to an object that may be read meanwhile; it has ``content`` then."""

    def rename(self, old: str, new: str, content: bytes) -> None:
        """Give an object another name."""

    def remove(self, name: str) -> None:
        """Delete an object."""

    def contents(self, part: str = "") -> Mapping[str, bytes]:
        """All objects with this part in their names, hidden ones too."""


class Folder:
    """A folder of a disk."""

    local = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        # Beside it: half of a file must not be found in it.
        self._unfinished = folder.with_name(f"{folder.name}.unfinished")

    def settings(self, role: str, prefix: str = "") -> dict[str, Any]:
        return local(role, self._folder, prefix=prefix)

    def put(self, name: str, content: bytes) -> None:
        self._unfinished.write_bytes(content)
        os.replace(self._unfinished, self._folder / name)

    def append(self, name: str, content: bytes, added: bytes) -> None:
        with (self._folder / name).open("ab", buffering=0) as file:
            file.write(added)

    def rename(self, old: str, new: str, content: bytes) -> None:
        os.rename(self._folder / old, self._folder / new)

    def remove(self, name: str) -> None:
        (self._folder / name).unlink()

    def contents(self, part: str = "") -> Mapping[str, bytes]:
        paths = {str(path.relative_to(self._folder)): path for path in files_below(self._folder)}
        return {name: path.read_bytes() for name, path in paths.items() if part in name}


class BucketFolder:
    """What is below a prefix of a bucket."""

    local = False

    def __init__(self, bucket: Bucket, prefix: str, through: Bucket | None = None) -> None:
        """``through``: how the job gets to the bucket, if not directly."""
        self._bucket = bucket
        self._through = through or bucket
        self._prefix = f"{prefix}/"
        with _making_clients:
            self._client = bucket.store.client()

    def settings(self, role: str, prefix: str = "") -> dict[str, Any]:
        return self._through.settings(role, prefix=self._prefix + prefix)

    def put(self, name: str, content: bytes) -> None:
        self._client.put_object(Bucket=self._bucket.name, Key=self._prefix + name, Body=content)

    def append(self, name: str, content: bytes, added: bytes) -> None:
        self.put(name, content)

    def rename(self, old: str, new: str, content: bytes) -> None:
        self.put(new, content)
        self.remove(old)

    def remove(self, name: str) -> None:
        self._client.delete_object(Bucket=self._bucket.name, Key=self._prefix + name)

    def contents(self, part: str = "") -> Mapping[str, bytes]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket.name, Prefix=self._prefix)
        names = [entry["Key"].removeprefix(self._prefix) for page in pages for entry in page.get("Contents", [])]
        return {name: self._get(self._prefix + name) for name in names if part in name}

    def _get(self, key: str) -> bytes:
        content: bytes = self._client.get_object(Bucket=self._bucket.name, Key=key)["Body"].read()
        return content


class StoreFaults:
    """What a proxy before an object store does to requests while the store is disturbed: see ``faulty_store.py``."""

    def __init__(self, seed: int) -> None:
        # Of its own: requests come in any order.
        self._dice = random.Random(seed)
        self._disturbed = False

    def disturb(self, dice: random.Random) -> None:
        self._disturbed = True

    def calm(self) -> None:
        self._disturbed = False

    def __call__(self, number: int, line: str) -> bytes | float | None:
        if not self._disturbed or self._dice.random() > 0.08:
            return None
        choices: list[bytes | float] = [BUSY, BUSY, 0, self._dice.randrange(1, 3000), self._dice.uniform(0.01, 0.2)]
        return self._dice.choice(choices)
