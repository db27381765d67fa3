"""A pod as a process: its manifest's container, in a root file system, user and process ids of its own (bubblewrap).

What a manifest can get wrong is real: a path that is not mounted is not there, a file that is not on a volume can't be
written, a Secret can't be read by another user, nobody has a capability.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Where the tests' virtual environment is in the pod. (Its place on the host may be below a folder that pods mount.)
PYTHON = "/openedx/venv"

Find = Callable[[str, str], dict[str, Any] | None]


class NotFound(Exception):
    """The cluster has no object of this name."""


@dataclass(frozen=True)
class Image:
    """What is in the image: folders by their path in it, and its environment."""

    folders: dict[str, Path]
    environ: dict[str, str]


class Sandbox:
    """One pod's container."""

    def __init__(
        self,
        folder: Path,
        spec: dict[str, Any],
        labels: dict[str, str],
        environ: dict[str, str],
        image: Image,
        claims: Path,
    ) -> None:
        self._folder, self._spec, self._labels, self._image, self._claims = folder, spec, labels, image, claims
        self._environ = environ
        [self._container] = spec["containers"]
        self._process: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._started = threading.Event()
        folder.mkdir(parents=True)
        assert self._container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        # As the kubelet does it: a file that anybody may write, mounted over the path.
        self._termination_log = folder / "termination-log"
        self._termination_log.touch()
        self._termination_log.chmod(0o666)

    def start(self, find: Find, closed: threading.Event) -> None:
        """Start it, once the ConfigMaps and Secrets are there that it can't do without.

        It is not forked from the zygote: a pod has a root file system and a user of its own, from which it has to load
        the LMS and the job itself, and a fork would have those of the host.
        """
        mounts = None
        while mounts is None and not closed.is_set():
            try:
                mounts = self._mounts(find)
            except NotFound:
                time.sleep(0.05)
        context = {**self._spec["securityContext"], **self._container["securityContext"]}
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["allowPrivilegeEscalation"] is False
        read, write = os.pipe()
        command = ["bwrap", "--unshare-pid", "--as-pid-1", "--die-with-parent", "--info-fd", str(write)]
        command += ["--tmpfs", "/", "--proc", "/proc", "--dev", "/dev", "--clearenv"]
        command += ["--perms", "1777", "--size", str(64 * 1024**2), "--tmpfs", "/dev/shm"]
        for name in ("bin", "sbin", "lib", "lib64"):
            if Path("/", name).is_symlink():
                command += ["--symlink", os.readlink(Path("/", name)), f"/{name}"]
            elif Path("/", name).is_dir():
                command += ["--ro-bind", f"/{name}", f"/{name}"]
        of_host = [(path, Path(path), False) for path in ("/usr", "/etc", sys.base_prefix)]
        of_host.append((PYTHON, Path(sys.prefix), False))
        # The plugin itself is on the host alone.
        for path in Path(sys.prefix).glob("lib/python*/site-packages/__editable__*.pth"):
            of_host.append((f"{PYTHON}/{path.relative_to(sys.prefix)}", Path(os.devnull), False))
        of_image = [(target, source, False) for target, source in self._image.folders.items()]
        for target, source, writable in (*of_host, *of_image, *(mounts or ())):
            for parent in reversed(Path(target).parents[:-1]):
                command += ["--perms", "0755", "--dir", str(parent)]
            command += ["--bind" if writable else "--ro-bind", str(source), target]
        command += [
            "--bind",
            str(self._termination_log),
            self._container["terminationMessagePath"],
        ]
        if context["readOnlyRootFilesystem"]:
            command += ["--remount-ro", "/"]
        environ = {**self._image.environ, **self._environ, **self._own_environ()}
        for key, value in environ.items():
            command += ["--setenv", key, value]
        user, group = context["runAsUser"], context["runAsGroup"]
        command += ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
        command += ["--bounding-set=-all", "--inh-caps=-all", *self._container["args"]]
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, pass_fds=[write]
            )
        os.close(write)
        with open(read, encoding="utf-8") as info:
            self._pid = json.load(info)["child-pid"]
        self._started.set()

    def _own_environ(self) -> dict[str, str]:
        values = {}
        for variable in self._container["env"]:
            if "value" in variable:
                values[variable["name"]] = variable["value"]
            else:
                path = variable["valueFrom"]["fieldRef"]["fieldPath"]
                values[variable["name"]] = self._labels[path.removeprefix("metadata.labels['").removesuffix("']")]
        return values

    def _mounts(self, find: Find) -> list[tuple[str, Path, bool]]:
        """Where, what and whether it may be written to. Raises ``NotFound`` for what is not there yet."""
        volumes = {volume["name"]: volume for volume in self._spec["volumes"]}
        found = []
        for mount in self._container["volumeMounts"]:
            source, writable = self._volume(volumes[mount["name"]], find)
            found.append((mount["mountPath"].rstrip("/"), source, writable and not mount.get("readOnly")))
        # A folder before what is mounted in it.
        return sorted(found)

    def _volume(self, volume: dict[str, Any], find: Find) -> tuple[Path, bool]:
        group = self._spec["securityContext"]["fsGroup"]
        if "persistentVolumeClaim" in volume:
            return self._claims / f"claim-{volume['persistentVolumeClaim']['claimName']}", True
        folder = self._folder / volume["name"]
        folder.mkdir(exist_ok=True)
        if "emptyDir" in volume:
            os.chown(folder, 0, group)
            folder.chmod(0o2777)
            return folder, True
        if "secret" in volume:
            wanted = volume["secret"]
            secret = find("Secret", wanted["secretName"])
            if secret is None and not wanted["optional"]:
                raise NotFound(wanted["secretName"])
            data = (secret or {}).get("data", {})
            files = {key: base64.b64decode(value).decode() for key, value in data.items()}
            _write(folder, files, wanted["defaultMode"], group)
            return folder, False
        for source in volume.get("projected", {}).get("sources", [volume]):
            config_map = find("ConfigMap", source["configMap"]["name"])
            if config_map is None:
                raise NotFound(source["configMap"]["name"])
            items = source["configMap"].get("items")
            paths = {item["key"]: item["path"] for item in items} if items else {key: key for key in config_map["data"]}
            _write(folder, {path: config_map["data"][key] for key, path in paths.items()}, 0o644, group)
        return folder, False

    def wait(self) -> int:
        """Its exit status, as Kubernetes has it: 128 and the signal, if one ended it."""
        self._started.wait()
        assert self._process is not None
        status = self._process.wait()
        return status if status >= 0 else 128 - status

    def kill(self, number: int) -> None:
        """Send the container's first process a signal."""
        self._started.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, number)

    def terminate(self) -> None:
        """SIGTERM, and SIGKILL if that is not heard in time."""
        self.kill(signal.SIGTERM)
        assert self._process is not None
        try:
            self._process.wait(self._spec["terminationGracePeriodSeconds"])
        except subprocess.TimeoutExpired:
            self.kill(signal.SIGKILL)

    def termination_message(self) -> str:
        """What it has written to its terminationMessagePath, as far as Kubernetes keeps it."""
        return self._termination_log.read_bytes()[:4096].decode(errors="replace")

    def log(self) -> str:
        """What it has printed."""
        path = self._folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""


def _write(folder: Path, files: dict[str, str], mode: int, group: int) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.chown(path, 0, group)
        path.chmod(mode)
