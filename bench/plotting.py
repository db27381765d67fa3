"""The picture of ``bench/results.json``: throughput by workers and by the size of the input."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def plot(results: dict[str, Any], target: Path) -> None:
    """Write the PNG. Needs matplotlib (the extra ``bench``)."""
    import matplotlib as mpl  # type: ignore[import-not-found, unused-ignore]

    mpl.use("Agg")
    from matplotlib import pyplot  # type: ignore[import-not-found, unused-ignore]

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    workers = results.get("workers", {}).get("programs", {})
    if workers:
        counts = [int(name.split()[0]) for name in workers]
        rates = [found["lines_per_sec"] for found in workers.values()]
        left.plot(counts, rates, "o-", color="#15376d", label="measured")
        left.plot(counts, [rates[0] * count / counts[0] for count in counts], "--", color="#999999", label="linear")
        left.set_xticks(counts)
        left.set_ylim(bottom=0)
        left.set_xlabel("workers")
        left.set_ylabel("lines a second")
        left.set_title(f"By workers ({results['machine']['cpus']} CPUs)")
        left.legend()
    sizes = results.get("sizes", {})
    if sizes:
        megabytes = [found["bytes"] / 1024**2 for found in sizes.values()]
        right.plot(megabytes, [found["lines_per_sec"] for found in sizes.values()], "o-", color="#15376d")
        right.set_xscale("log")
        right.set_ylim(bottom=0)
        right.set_xlabel("input, MiB")
        right.set_ylabel("lines a second")
        memory = right.twinx()
        memory.plot(
            megabytes, [found["median_peak_bytes"] / 1024**2 for found in sizes.values()], "s:", color="#b83280"
        )
        memory.set_ylim(bottom=0)
        memory.set_ylabel("peak memory, MiB (dotted)", color="#b83280")
        right.set_title("By size of the input, 1 worker")
    figure.tight_layout()
    figure.savefig(target, dpi=130)
