"""Run `snakemake --lint` on the workflow; every message is an error but the one that we decided against."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DECIDED = "Specify a conda environment or container for each rule."
"""One locked environment serves all rules (docs/decisions.md)."""


def study(folder: Path) -> Path:
    """The smallest study that the workflow can be parsed for."""
    func = folder / "data" / "derivatives" / "fmriprep" / "sub-01" / "func"
    func.mkdir(parents=True)
    run = "sub-01_task-rest"
    for name in (
        f"{run}_space-MNI152NLin2009cAsym_desc-preproc_bold.nii.gz",
        f"{run}_space-MNI152NLin2009cAsym_desc-brain_mask.nii.gz",
        f"{run}_desc-confounds_timeseries.tsv",
    ):
        (func / name).touch()
    config = folder / "conn.yaml"
    config.write_text("datasets: {lint: {bids_dir: data}}\n")
    return config


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        call = [sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "workflow" / "Snakefile")]
        call += ["--configfile", str(study(folder)), "--directory", str(folder), "--lint"]
        done = subprocess.run(call, capture_output=True, text=True, check=False, cwd=folder)
    printed = done.stdout + done.stderr
    if "Lints for" not in printed and "Congratulations" not in printed:
        sys.stderr.write(printed)
        return 1
    messages = list(undecided(printed))
    print("\n".join(messages) or "snakemake --lint: nothing but what was decided")
    return 1 if messages else 0


def undecided(printed: str) -> Iterator[str]:
    where = ""
    for line in printed.splitlines():
        if line.startswith("Lints for "):
            where = line.removeprefix("Lints for ")
        elif line.startswith("    * ") and not line.startswith(f"    * {DECIDED}"):
            yield f"{where} {line.removeprefix('    * ')}"


if __name__ == "__main__":
    sys.exit(main())
