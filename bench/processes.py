"""Each measurement in a process of its own, with the peak of its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORKER = Path(__file__).with_name("worker.py")


class TaskError(Exception):
    """A measurement ended without a result; the message is the end of what it wrote."""


@dataclass(frozen=True)
class Sample:
    """What a task returned, its own time in seconds, and the peak of its memory in MB (10^6 bytes)."""

    seconds: float
    peak_mb: float
    values: dict[str, Any]


def measure(task: str, **options: Any) -> Sample:
    """Run a task, ``module:function``, with options that JSON can hold.

    The task times itself, so that the start of Python and imports do not count. This process must stay
    small: on Linux the peak of a new process starts from the size of its parent.

    Raises
    ------
    TaskError
        The process ended otherwise than with a result, for example for want of memory.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        call = [sys.executable, str(WORKER), task, json.dumps(options), str(result)]
        done = subprocess.run(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode != 0 or not result.exists():
            raise TaskError(f"{task} ended with {done.returncode}: {done.stderr.strip()[-600:]}")
        values = json.loads(result.read_text(encoding="utf-8"))
    return Sample(values.get("seconds", float("nan")), values["peak_mb"], values)
