"""One measurement: import a function, call it, write down what it returns and the peak of memory."""

from __future__ import annotations

import importlib
import json
import resource
import sys
from pathlib import Path

BYTES = 1 if sys.platform == "darwin" else 1024
"""Unit of `ru_maxrss`."""


def peak_mb() -> float:
    """Peak of memory so far, of this process or the largest of its children, in MB."""
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak * BYTES / 1e6


def main(task: str, options: str, result: str) -> None:
    module, _, name = task.partition(":")
    values = getattr(importlib.import_module(module), name)(**json.loads(options))
    values.setdefault("peak_mb", peak_mb())
    Path(result).write_text(json.dumps(values), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
