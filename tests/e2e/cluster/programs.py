"""Kubernetes and etcd, built from their Go modules: no package registry has their servers as programs."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path

from tests.harness.golang import go
from tests.harness.process import ServiceError
from tests.harness.venvs import filled_once

VERSION = "1.34.4"
# Its API server has a say about manifests, too.
NEWEST = "1.37.2"
MODULE = "k8s.io/kubernetes"
# The etcd is the one that this Kubernetes is tested with: its own go.mod says which.
SERVERS = {
    "etcd": "go.etcd.io/etcd/server/v3",
    **{
        name: f"{MODULE}/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")
    },
}
PAUSE = "pause"
# What a pod's first container does: it holds the pod's namespaces until it is told to end.
PAUSE_SOURCE = """package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	<-ended
}
"""


def ensure(version: str = VERSION, servers: tuple[str, ...] = tuple(SERVERS)) -> Path:
    """The folder with the programs of this version, and ``pause``; built once, which takes minutes.

    :raises ServiceError: there is no Go, or no registry of Go modules, or it does not have this version.
    """
    recipe = [version, *(SERVERS[name] for name in servers), PAUSE_SOURCE]
    return filled_once(f"kubernetes-{version}", recipe, lambda folder: _build(folder, version, servers)) / "bin"


def _build(folder: Path, version: str, servers: tuple[str, ...]) -> None:
    begun = time.monotonic()
    (folder / "go.mod").write_text("module cluster\n\ngo 1.24\n")
    module = json.loads(go(folder, MODULE, "mod", "download", "-json", f"{MODULE}@v{version}"))
    # Its go.mod takes these from folders beside it, which a module of ours does not have.
    beside = re.findall(r"^\s+(k8s\.io/\S+) v0\.0\.0(?: //.*)?$", Path(module["GoMod"]).read_text(), re.MULTILINE)
    replaced = "".join(f"replace {name} => {name} v0{version.removeprefix('1')}\n" for name in sorted(set(beside)))
    (folder / "go.mod").write_text(f"module cluster\n\ngo 1.24\n\nrequire {MODULE} v{version}\n\n{replaced}")
    major, minor, _ = version.split(".")
    stamp = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    stamped = " ".join(f"-X k8s.io/component-base/version.{name}={value}" for name, value in stamp.items())
    build = ("build", "-p=2", "-trimpath", f"-ldflags=-s -w {stamped}")
    (folder / PAUSE).mkdir()
    (folder / PAUSE / "main.go").write_text(PAUSE_SOURCE)
    for name, package in {PAUSE: f"./{PAUSE}", **{name: SERVERS[name] for name in servers}}.items():
        go(folder, MODULE, *build, f"-o=bin/{name}", package)
        print(f"cluster: built {name} {version} ({time.monotonic() - begun:.0f} s so far)", flush=True)


def ensure_newest() -> Path:
    """The folder with the API server of the newest version; the etcd of the other serves it, too."""
    return ensure(NEWEST, ("kube-apiserver",))


def main() -> None:
    """Build all that is not there yet, which takes longer than a test may take."""
    try:
        ensure()
        ensure_newest()
    except ServiceError as error:
        sys.exit(f"cluster: {error}")


if __name__ == "__main__":
    main()
