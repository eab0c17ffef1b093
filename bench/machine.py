"""What was measured on: processor, memory, versions. No names and no paths."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "scipy", "nibabel", "nilearn", "isal", "numba", "tfce", "snakemake")


def describe() -> dict[str, Any]:
    """Words about the machine, by topic."""
    import numpy  # noqa: F401 - loads the BLAS that is described
    from threadpoolctl import threadpool_info

    blas = next((i for i in threadpool_info() if i["user_api"] == "blas" and "64_" in i["prefix"]), None)
    blas = blas or next((i for i in threadpool_info() if i["user_api"] == "blas"), {})
    return {
        "processor": _processor(),
        "cores": _cores(),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "BLAS": f"{blas.get('internal_api')} {blas.get('version')} ({blas.get('architecture')})",
        "load": f"{os.getloadavg()[0]:.1f} processes at work when the measurements began",
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    """Model name; where the system hides it, the model number of the family beside it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        pairs = [line.partition(":") for line in cpuinfo.read_text(encoding="utf-8").splitlines()]
        found = {key.strip(): value.strip() for key, _, value in reversed(pairs)}
        name = found.get("model name", platform.processor())
        return f"{name} (family {found.get('cpu family', '?')}, model {found.get('model', '?')})"
    if platform.system() == "Darwin":
        call = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(call, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor()
