"""The control plane of a cluster on the loopback address: etcd, the API server, the controllers, the scheduler."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.process import ServiceError, answers_http, free_port, listens, running, wait_for

KUBECTL = Path(sys.executable).with_name("kubectl")
NODE = "node"
SERVICE_ACCOUNTS_KEY = "service-accounts.pem"


@dataclass(frozen=True)
class ControlPlane:
    """A running control plane; who has ``kubeconfig`` may do everything."""

    url: str
    kubeconfig: Path
    folder: Path
    programs: Path

    def kubectl(self, *arguments: str | Path, stdin: str = "", check: bool = True) -> str:
        """``kubectl ARGUMENTS``; gives what it printed, without warnings if it has not failed.

        :raises ServiceError: it has, and that is to be checked.
        """
        done = subprocess.run(
            [KUBECTL, f"--kubeconfig={self.kubeconfig}", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
        )
        if not done.returncode:
            return done.stdout
        printed = done.stdout + done.stderr
        if check:
            raise ServiceError(f"kubectl {' '.join(map(str, arguments))[:300]} failed:\n{printed[-4000:]}")
        return printed

    def get(self, *arguments: str) -> Any:
        """``kubectl get ARGUMENTS --output=json``, parsed."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def apply(self, documents: list[dict[str, Any]], *options: str) -> str:
        """``kubectl apply`` these objects; gives what it printed. :raises ServiceError: it failed."""
        listed = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        return self.kubectl("apply", "--filename=-", *options, stdin=listed)

    def create(self, document: dict[str, Any]) -> None:
        """Create an object."""
        self.kubectl("create", "--filename=-", stdin=json.dumps(document))

    def kubeconfig_for(self, user: str, token: str) -> Path:
        """Write a kubeconfig for a user whom the API server knows by this token."""
        path = self.folder / f"kubeconfig-{user}"
        _write_kubeconfig(path, self.url, self.folder / "certificates/apiserver.crt", token)
        return path


def _write_kubeconfig(path: Path, url: str, authority: Path, token: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority": str(authority)}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))


@dataclass(frozen=True)
class Tokens:
    """What the API server knows its users by."""

    admin: str
    node: str


@contextlib.contextmanager
def start(folder: Path, programs: Path) -> Iterator[tuple[ControlPlane, Tokens]]:
    """Run a control plane on free ports, with its data below ``folder``."""
    with contextlib.ExitStack() as stack:
        plane, tokens = stack.enter_context(start_api_server(folder, programs, programs))
        controllers = {
            "service-account-private-key-file": folder / SERVICE_ACCOUNTS_KEY,
            "root-ca-file": folder / "certificates/apiserver.crt",
        }
        stack.enter_context(_client(plane, "kube-controller-manager", controllers))
        stack.enter_context(_client(plane, "kube-scheduler", {}))
        wait_for(lambda: _has_service_account(plane))
        yield plane, tokens


@contextlib.contextmanager
def start_api_server(folder: Path, programs: Path, etcd_programs: Path) -> Iterator[tuple[ControlPlane, Tokens]]:
    """Run an API server and its etcd only: it checks and keeps objects, and nobody acts on them."""
    tokens = Tokens(secrets.token_hex(16), secrets.token_hex(16))
    users = folder / "users.csv"
    users.touch(mode=0o600)
    users.write_text(
        f'{tokens.admin},admin,admin,"system:masters"\n{tokens.node},system:node:{NODE},{NODE},"system:nodes"\n'
    )
    key = folder / SERVICE_ACCOUNTS_KEY
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    certificate(folder / "kubelet-client", "apiserver")
    with contextlib.ExitStack() as stack:
        etcd = stack.enter_context(_etcd(folder, etcd_programs))
        port = free_port()
        plane = ControlPlane(f"https://127.0.0.1:{port}", folder / "kubeconfig", folder, programs)
        certificates = folder / "certificates"
        _write_kubeconfig(plane.kubeconfig, plane.url, certificates / "apiserver.crt", tokens.admin)
        options = {
            "etcd-servers": etcd,
            "bind-address": "127.0.0.1",
            "secure-port": port,
            "cert-dir": certificates,
            "token-auth-file": users,
            "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "service-cluster-ip-range": "10.96.0.0/24",
            "endpoint-reconciler-type": "none",
            "kubelet-preferred-address-types": "InternalIP",
            "kubelet-client-certificate": folder / "kubelet-client.crt",
            "kubelet-client-key": folder / "kubelet-client.key",
        }
        stack.enter_context(
            running(
                "kube-apiserver",
                _command(programs / "kube-apiserver", options),
                ready=lambda: plane.kubectl("get", "--raw=/readyz", check=False) == "ok",
                log=folder / "kube-apiserver.log",
                timeout_secs=120,
            )
        )
        yield plane, tokens


def _client(plane: ControlPlane, name: str, options: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    """Run a server that needs nothing but the API server."""
    port = free_port()
    of_all = {"kubeconfig": plane.kubeconfig, "bind-address": "127.0.0.1", "secure-port": port, "leader-elect": "false"}
    command = _command(plane.programs / name, {**of_all, **options})
    return running(name, command, ready=lambda: listens(port), log=plane.folder / f"{name}.log")


def _has_service_account(plane: ControlPlane) -> bool:
    """The controllers are at work: they have made the default namespace's account."""
    found = plane.kubectl("get", "serviceaccount", "default", "--ignore-not-found", "--output=name", check=False)
    return found.startswith("serviceaccount/")


def _command(program: Path, options: dict[str, Any]) -> list[str | Path]:
    return [program, *(f"--{name}={value}" for name, value in options.items())]


@contextlib.contextmanager
def _etcd(folder: Path, programs: Path) -> Iterator[str]:
    url, peers = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
    options = {
        "data-dir": folder / "etcd",
        "listen-client-urls": url,
        "advertise-client-urls": url,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"default={peers}",
        "unsafe-no-fsync": "true",
        "log-level": "warn",
    }
    command = _command(programs / "etcd", options)
    with running("etcd", command, ready=lambda: answers_http(f"{url}/health"), log=folder / "etcd.log"):
        yield url


def certificate(path: Path, name: str) -> None:
    """Make ``path``.key and .crt, a certificate that vouches for itself."""
    subject = ["-subj", f"/CN={name}", "-days", "2", "-nodes", "-newkey", "rsa:2048"]
    files = ["-keyout", f"{path}.key", "-out", f"{path}.crt"]
    subprocess.run(["openssl", "req", "-x509", *subject, *files], check=True, capture_output=True)
