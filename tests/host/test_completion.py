"""Shell completion of the command, as Tutor's own (click's) completion asks for it."""

from __future__ import annotations

import subprocess

import pytest

from tests.harness.tutor_cli import Tutor
from tutor_transform_logs.lms_job.config.providers import STORAGE_PROVIDERS
from tutor_transform_logs.options import OPTIONS

COMMAND = "tutor local do transform-tracking-logs"


def completed(tutor: Tutor, shell: str, typed: str) -> list[str]:
    """What the last word of ``typed`` can become, by what the shell's own script would ask."""
    detail = typed.split(" ")
    # fish gives the word to complete, the others its number.
    last = detail[-1] if shell == "fish" else str(len(detail) - 1)
    said = tutor(_TUTOR_COMPLETE=f"{shell}_complete", COMP_WORDS=typed, COMP_CWORD=last).output.splitlines()
    if shell == "zsh":
        return said[1::3]  # kind, value, help
    return [line.partition(",")[2].partition("\t")[0] for line in said if line]


VALUES = {
    "--transformer-type ": ["xapi", "caliper"],
    "--output-layout b": ["batches"],
    "--output-compression ": ["none", "gzip"],
    "--log-format ": ["text", "json"],
    "--workers a": ["auto"],
    "--source-provider mi": ["MINIO"],
    "--destination-provider L": ["LRS", "LOCAL"],
    "--ledger-provider ": list(STORAGE_PROVIDERS),
    "--batch-size ": [],
}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_options_and_their_values(tutor: Tutor, shell: str) -> None:
    assert completed(tutor, shell, "tutor local do transform-t") == ["transform-tracking-logs"]
    assert completed(tutor, shell, "tutor transform-logs dem") == ["demo"]
    assert completed(tutor, shell, f"{COMMAND} --verif") == ["--verify", "--verify-sample"]
    for typed, expected in VALUES.items():
        assert completed(tutor, shell, f"{COMMAND} {typed}") == expected, typed


def test_every_option(each_tutor: Tutor) -> None:
    offered = set(completed(each_tutor, "bash", f"{COMMAND} --"))
    assert {name for _, option in OPTIONS for name in [*option.opts, *option.secondary_opts]} <= offered


def test_in_a_real_bash(tutor: Tutor) -> None:
    """With the line that docs/reference/options.rst has for a user's profile."""
    script = (
        f'PATH="{tutor.bin}:$PATH"; eval "$(_TUTOR_COMPLETE=bash_source tutor)"\n'
        f"COMP_WORDS=({COMMAND} --output-layout s); COMP_CWORD=5\n"
        '_tutor_completion tutor; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environ = {**tutor.environ, "TUTOR_ROOT": str(tutor.root)}
    done = subprocess.run(["bash", "-c", script], env=environ, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["single"], done.stderr
