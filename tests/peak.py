"""One stage in a process of its own; prints the resident memory before it and at its peak, in 10^6 bytes."""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path

from conn.config.model import Connectivity, CustomRoi, Denoise, Rois
from conn.index import Run
from conn.stages.measure import measure
from conn.stages.project import RunSettings, project


def peak_mb() -> float:
    """Linux hands the peak of a parent on to its children in `ru_maxrss`; its own table does not."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [row for row in status.read_text().splitlines() if row.startswith("VmHWM")]
        return int(line.split()[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main(stage: str, root: Path, fwhm_mm: float) -> None:
    files = (root / "sub-01_task-rest_bold.nii", root / "mask.nii", root / "confounds.tsv")
    run = Run("one", "d", "01", None, {"sub": "01", "task": "rest", "space": "MNI152"}, "all", *files, None)
    rois = {f"r{x}": CustomRoi(center=(4.0 * x, 0, 0), radius_mm=8, space="MNI152") for x in range(12)}
    before = peak_mb()
    if stage == "project":
        receipt = project(root, run, Denoise(low_pass=None), RunSettings(repetition_time=2.0), fwhm_mm)
    else:
        connectivity = Connectivity(seeds=tuple(rois), fwhm_mm=fwhm_mm)
        receipt = measure(root, run, Rois(use=(), custom=rois), connectivity, root, "bids:d:x")
    assert receipt.included, receipt
    print(json.dumps({"before": before, "peak": peak_mb(), "df": receipt.numbers["df"]}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
