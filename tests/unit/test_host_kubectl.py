"""What is not sent to a cluster because it would not be taken. ``kubectl`` is a stand-in that must not be called."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest
from tutor.exceptions import TutorError

from tutor_transform_logs.kubectl import ANNOTATIONS_BYTES, DATA_BYTES, Kubectl, applied_size


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file with what ``kubectl`` was given."""
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\ncat >{tmp_path}/sent\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path / "sent"


def _of_bytes(size: int) -> dict[str, Any]:
    """A ConfigMap that needs annotations of this size, and in which some characters need more bytes than one."""
    document: dict[str, Any] = {"kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"k": "é<"}}
    document["data"]["k"] += "x" * (size - applied_size(document))
    return document


def _secret(size: int) -> dict[str, Any]:
    data = base64.b64encode(b"x" * size).decode()
    return {"kind": "Secret", "metadata": {"name": "s"}, "data": {"k": data}}


def test_a_config_map_that_kubectl_could_not_keep(sent: Path) -> None:
    Kubectl("openedx").apply([_of_bytes(ANNOTATIONS_BYTES)])
    assert json.loads(sent.read_text())["items"][0]["kind"] == "ConfigMap"
    sent.unlink()
    with pytest.raises(TutorError, match=r"^The ConfigMap c would have 262,145 bytes, and Kubernetes takes 262,144\. "):
        Kubectl("openedx").apply([_of_bytes(200), _of_bytes(ANNOTATIONS_BYTES + 1)])
    assert not sent.exists()


def test_a_config_that_no_secret_can_hold(sent: Path) -> None:
    Kubectl("openedx").apply_own(_secret(DATA_BYTES), "m")
    sent.unlink()
    with pytest.raises(
        TutorError, match=r"^The Secret s would have 1,048,577 bytes, and Kubernetes takes 1,048,576\. "
    ):
        Kubectl("openedx").apply_own(_secret(DATA_BYTES + 1), "m")
    assert not sent.exists()
