"""Real S3 servers: nanio (keeps files, checks signatures) and moto (in memory, takes any secret)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import botocore.config

from tests.harness import registry
from tests.harness.process import answers_http, free_port, running
from tests.harness.venvs import venv

NANIO_VERSION, MOTO_VERSION = "0.1.7", "5.2.5"
ACCESS_KEY, SECRET_KEY = "AKIADEMOACCESSKEY", "s3cr$t/of+the-store"


@dataclass(frozen=True)
class ObjectStore:
    """A running S3 server."""

    port: int
    access_key: str = ACCESS_KEY
    secret_key: str = SECRET_KEY
    host: str = "127.0.0.1"

    def client(self) -> Any:
        """A boto3 client of it."""
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.host}:{self.port}",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=botocore.config.Config(retries={"max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    def bucket(self, name: str) -> Bucket:
        """A new, empty bucket."""
        self.client().create_bucket(Bucket=name)
        return Bucket(self, name)


@dataclass(frozen=True)
class Bucket:
    """A bucket of a running S3 server."""

    store: ObjectStore
    name: str

    def settings(self, role: str, *, provider: str = "MINIO", prefix: str = "") -> dict[str, Any]:
        """The job's settings that make this bucket its ``source``, ``destination`` or ``ledger``."""
        values = {
            "provider": provider,
            "key": self.store.access_key,
            "secret": self.store.secret_key,
            "container": self.name,
            "prefix": prefix,
            "host": self.store.host,
            "port": self.store.port,
            "secure": False,
        }
        return {f"{role}_{key}": value for key, value in values.items()}

    def put(self, key: str, data: bytes | Path) -> None:
        """Store an object."""
        body = data.read_bytes() if isinstance(data, Path) else data
        self.store.client().put_object(Bucket=self.name, Key=key, Body=body)

    def get(self, key: str) -> bytes:
        """The content of an object."""
        content: bytes = self.store.client().get_object(Bucket=self.name, Key=key)["Body"].read()
        return content

    def keys(self, prefix: str = "") -> list[str]:
        """The names of its objects."""
        pages = self.store.client().get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@contextlib.contextmanager
def start_nanio(folder: Path) -> Iterator[ObjectStore]:
    """Run nanio on a free port, with its data below ``folder``."""
    port = free_port()
    data = folder / "nanio-data"
    data.mkdir(parents=True)
    program = venv("nanio", [f"nanio=={NANIO_VERSION}"]) / "nanio"
    command: list[str | Path] = [
        program,
        "serve",
        "--data-dir",
        data,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-access-log",
    ]
    with running(
        "nanio",
        command,
        ready=lambda: answers_http(f"http://127.0.0.1:{port}/"),
        log=folder / "nanio.log",
        environment={"NANIO_ACCESS_KEY": ACCESS_KEY, "NANIO_SECRET_KEY": SECRET_KEY},
    ):
        registry.register(f"nanio {NANIO_VERSION}")
        yield ObjectStore(port)


@contextlib.contextmanager
def start_moto(folder: Path) -> Iterator[ObjectStore]:
    """Run moto's server on a free port."""
    port = free_port()
    program = venv("moto", [f"moto[s3,server]=={MOTO_VERSION}"]) / "moto_server"
    with running(
        "moto",
        [program, "-H", "127.0.0.1", "-p", str(port)],
        ready=lambda: answers_http(f"http://127.0.0.1:{port}/moto-api/"),
        log=folder / "moto.log",
    ):
        registry.register(f"moto {MOTO_VERSION}")
        yield ObjectStore(port)
