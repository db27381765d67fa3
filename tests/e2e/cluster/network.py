"""The network of the cluster's pods: a bridge, whose address stands for this machine's loopback address."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.harness.process import ServiceError

BRIDGE = "tl-cluster0"
# What the tests' servers listen on is 127.0.0.1, which in a pod is the pod's own.
ADDRESS, SUBNET = "10.199.77.1", "10.199.77.0/24"
PLUGINS = Path("/usr/lib/cni")


@dataclass(frozen=True)
class Network:
    """The pods' network."""

    plugins: Path
    configs: Path
    address: str = ADDRESS
    """From the pods and from this machine: every port of 127.0.0.1."""


def _run(*command: str, check: bool = True) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode:
        raise ServiceError(f"{' '.join(command)} failed: {done.stderr.strip()}")


def _rules(change: str, check: bool = True) -> None:
    to_loopback = ["-d", ADDRESS, "-p", "tcp", "-j", "DNAT", "--to-destination", "127.0.0.1"]
    for chain, incoming in (("PREROUTING", ["-i", BRIDGE]), ("OUTPUT", [])):
        _run("iptables", "--wait", "-t", "nat", change, chain, *incoming, *to_loopback, check=check)


@contextlib.contextmanager
def start(folder: Path) -> Iterator[Network]:
    """Make the bridge and what CNI reads; gone in the end.

    :raises ServiceError: a program is missing, or this machine does not allow it.
    """
    for program in ("ip", "iptables", "sysctl"):
        if shutil.which(program) is None:
            raise ServiceError(f"{program} is missing")
    if not (PLUGINS / "bridge").exists():
        raise ServiceError("the CNI plugins are missing: install the Debian package containernetworking-plugins")
    configs = folder / "cni"
    configs.mkdir()
    ranges = [[{"subnet": SUBNET, "gateway": ADDRESS}]]
    addresses = {"type": "host-local", "ranges": ranges, "dataDir": str(folder / "addresses")}
    bridge = {"type": "bridge", "bridge": BRIDGE, "isGateway": True, "ipam": addresses}
    plugins = {"cniVersion": "1.0.0", "name": "cluster", "plugins": [bridge]}
    (configs / "10-cluster.conflist").write_text(json.dumps(plugins))
    _remove()
    _run("ip", "link", "add", BRIDGE, "type", "bridge")
    try:
        _run("ip", "address", "add", f"{ADDRESS}/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        _run("sysctl", "-q", "-w", f"net.ipv4.conf.{BRIDGE}.route_localnet=1")
        _rules("-A")
        yield Network(PLUGINS, configs)
    finally:
        _remove()


def _remove() -> None:
    """Also what a run that was killed has left."""
    _rules("-D", check=False)
    _run("ip", "link", "delete", BRIDGE, check=False)
