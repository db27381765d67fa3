"""The cluster's node: containerd and a kubelet, with all their files below one folder."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.cluster import names, network
from tests.e2e.cluster.control_plane import NODE, ControlPlane, certificate
from tests.e2e.cluster.network import Network
from tests.e2e.docker import Docker
from tests.harness.process import ServiceError, free_port, running
from tests.harness.venvs import cache_folder

PAUSE_IMAGE = "transform-logs.test/pause:1"
CGROUP = "/transform-logs-cluster"
# Where Debian keeps servers, which is not on a plain user's PATH.
_PLACES = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])

CONTAINERD = """version = 2
root = "{images}"
state = "{folder}/containerd-state"
disabled_plugins = ["io.containerd.internal.v1.opt"]
[grpc]
  address = "{folder}/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  netns_mounts_under_state_dir = true
  # A machine that is a container itself lets nobody make a process less likely to be killed than it is.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{plugins}"
    conf_dir = "{configs}"
"""


@dataclass(frozen=True)
class Node:
    """A node that is ready."""

    folder: Path
    network: Network

    def ctr(self, *arguments: str | Path, check: bool = True) -> str:
        """``ctr ARGUMENTS`` on the images and containers of the kubelet. :raises ServiceError: it failed."""
        command = ["ctr", f"--address={self.folder}/containerd.sock", "--namespace=k8s.io", *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if check and done.returncode:
            raise ServiceError(f"ctr {' '.join(map(str, arguments))[:200]} failed:\n{done.stdout[-2000:]}")
        return done.stdout

    def add_image(self, docker: Docker, tag: str) -> None:
        """Give the node an image that the Docker daemon has, in place of earlier ones of this name."""
        name = f"docker.io/{tag}" if "/" in tag else f"docker.io/library/{tag}"
        known = self.ctr("images", "list", "--quiet").split()
        if name in known:
            return
        earlier = [image for image in known if image.startswith(name.rpartition(":")[0] + ":")]
        if earlier:
            self.ctr("images", "remove", *earlier)
        archive = self.folder / "image.tar"
        docker("save", f"--output={archive}", tag)
        self.ctr("images", "import", archive)
        archive.unlink()


def _pause_archive(program: Path, archive: Path) -> None:
    """Write an image with one program, as ``docker save`` does."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.add(program, "pause")
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": _architecture(),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE_IMAGE], "Layers": ["layer.tar"]}]
    files = {
        "layer.tar": layer.getvalue(),
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(archive, "w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


def _architecture() -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


@contextlib.contextmanager
def start(folder: Path, plane: ControlPlane, token: str) -> Iterator[Node]:
    """Run a node until the block ends; what its pods left then goes, too.

    :raises ServiceError: containerd or the kubelet can't run here.
    """
    with contextlib.ExitStack() as stack:
        net = stack.enter_context(network.start(folder))
        node = Node(folder, net)
        stack.callback(clean, folder)
        stack.enter_context(names.serve(net.address, plane))
        stack.enter_context(_containerd(node))
        _pause_archive(plane.programs / "pause", folder / "pause.tar")
        node.ctr("images", "import", folder / "pause.tar")
        _end_pods(node)
        stack.callback(_end_pods, node)
        stack.enter_context(_kubelet(node, plane, token))
        yield node


@contextlib.contextmanager
def _containerd(node: Node) -> Iterator[None]:
    program = shutil.which("containerd", path=_PLACES)
    if program is None:
        raise ServiceError("containerd is missing: install the Debian package containerd")
    folder, net = node.folder, node.network
    config = folder / "containerd.toml"
    paths = {"folder": folder, "images": _images_folder(), "plugins": net.plugins, "configs": net.configs}
    config.write_text(CONTAINERD.format(pause=PAUSE_IMAGE, **paths))
    command = [program, f"--config={config}"]
    ready = lambda: "Server" in node.ctr("version", check=False)  # noqa: E731
    with running("containerd", command, ready=ready, log=folder / "containerd.log"):
        yield


@contextlib.contextmanager
def _kubelet(node: Node, plane: ControlPlane, token: str) -> Iterator[None]:
    folder = node.folder
    certificate(folder / "kubelet-server", NODE)
    config = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "127.0.0.1",
        "port": free_port(),
        "readOnlyPort": 0,
        "healthzPort": 0,
        "tlsCertFile": str(folder / "kubelet-server.crt"),
        "tlsPrivateKeyFile": str(folder / "kubelet-server.key"),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(plane.folder / "kubelet-client.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDNS": [node.network.address],
        "clusterDomain": names.DOMAIN,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": CGROUP,
        "failSwapOn": False,
        # Docker's own machines of today, among others, have it still.
        "failCgroupV1": False,
        "makeIPTablesUtilChains": False,
        "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
        "podLogsDir": str(folder / "pod-logs"),
        "volumePluginDir": str(folder / "volume-plugins"),
        # The disk of this machine is not the cluster's.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"memory.available": "100Mi"},
        "maxPods": 60,
    }
    _make_cgroup()
    (folder / "kubelet.json").write_text(json.dumps(config))
    command: list[str | Path] = [
        plane.programs / "kubelet",
        f"--config={folder / 'kubelet.json'}",
        f"--kubeconfig={plane.kubeconfig_for('kubelet', token)}",
        f"--root-dir={folder / 'kubelet'}",
        f"--cert-dir={folder / 'kubelet-certificates'}",
        f"--hostname-override={NODE}",
        f"--node-ip={node.network.address}",
    ]

    def ready() -> bool:
        path = "{.status.conditions[?(@.type=='Ready')].status}"
        return plane.kubectl("get", "node", NODE, f"--output=jsonpath={path}", check=False).strip() == "True"

    with running("kubelet", command, ready=ready, log=folder / "kubelet.log", timeout_secs=120):
        yield


def _cgroups() -> list[Path]:
    """Where our pods' group is in each hierarchy of version 1, or in the one of version 2."""
    root = Path("/sys/fs/cgroup")
    if (root / "cgroup.controllers").exists():
        return [root / CGROUP[1:]]
    return [path / CGROUP[1:] for path in root.iterdir() if (path / "cgroup.procs").exists()]


def _make_cgroup() -> None:
    for group in _cgroups():
        group.mkdir(exist_ok=True)
        cpus = group / "cpuset.cpus"
        if cpus.exists():
            # Empty in a new group of version 1, which then takes no process.
            for name in ("cpuset.cpus", "cpuset.mems"):
                (group / name).write_text((group.parent / name).read_text())


def _end_pods(node: Node) -> None:
    """Remove what is or was in pods, also in those of an earlier run. Images stay."""
    for line in node.ctr("tasks", "list", "--quiet", check=False).split():
        node.ctr("tasks", "delete", "--force", line, check=False)
    for line in node.ctr("containers", "list", "--quiet", check=False).split():
        node.ctr("containers", "delete", line, check=False)


def _images_folder() -> Path:
    """Where containerd keeps images from one run to the next: it takes long to unpack them, and to remove them."""
    return cache_folder() / "cluster-images"


def clean(folder: Path) -> None:
    """Remove mounts, processes and groups that a node with this folder left."""
    found = subprocess.run(["pgrep", "-f", f"containerd-shim.*-address {folder}/"], capture_output=True, text=True)
    for pid in found.stdout.split():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for target in reversed([target for target in mounted if target.startswith(f"{folder}/")]):
        subprocess.run(["umount", "--lazy", target], capture_output=True)
    for group in _cgroups():
        below = sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True)
        for path in (*below, group):
            with contextlib.suppress(OSError):
                path.rmdir()
