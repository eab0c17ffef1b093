"""Benchmark of the dry run: how long it takes until a large study knows what there is to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from conn import paths
from conn.runner import command
from conn.study import open_study

BARE = """\
from pathlib import Path

FILES = {{
    path.name: path for path in sorted(Path({data!r}).glob("sub-*/ses-*/func/*desc-preproc_bold.nii.gz"))
}}


rule all:
    input:
        expand("measure/{{run}}.json", run=FILES),


rule project:
    input:
        lambda wildcards: FILES[wildcards.run],
    output:
        "project/{{run}}.json",
    shell:
        "touch {{output}}"


rule measure:
    input:
        "project/{{run}}.json",
    output:
        "measure/{{run}}.json",
    shell:
        "touch {{output}}"
"""


def _time(call: list[str]) -> dict[str, Any]:
    start = perf_counter()
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    seconds = perf_counter() - start
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return {"seconds": seconds, "output": done.stdout[-400:]}


def ours(folder: str) -> dict[str, Any]:
    """`snakemake -n` of the whole workflow, as `conn run -n` calls it."""
    study = open_study(Path(folder) / "study.yaml")
    study.out.mkdir(exist_ok=True)
    (study.out / paths.CACHE / "index.json").unlink(missing_ok=True)
    return _time(command(study, 2, None, ["--dry-run", "--quiet", "progress"]))


def bare(folder: str) -> dict[str, Any]:
    """`snakemake -n` of two bare rules per run, without anything of ours."""
    place = Path(folder) / "bare"
    place.mkdir(exist_ok=True)
    data = str(Path(folder) / "data" / "derivatives" / "fmriprep")
    (place / "Snakefile").write_text(BARE.format(data=data), encoding="utf-8")
    call = [sys.executable, "-m", "snakemake", "--snakefile", str(place / "Snakefile"), "--directory"]
    options = ["--cores", "2", "--dry-run", "--quiet", "progress", "--scheduler", "greedy", "--nocolor"]
    return _time([*call, str(place), *options])
