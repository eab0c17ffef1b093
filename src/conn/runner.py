"""Running the workflow for people who do not want to learn Snakemake."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from conn import not_done, paths
from conn.clean import forget_lost
from conn.errors import ConfigError, ResourceError
from conn.files import read_json
from conn.jobs import BUG
from conn.locks import Lock, hold
from conn.preflight import preflight
from conn.study import Study

STAGES = {
    "project": "project_all",
    "measure": "measure_all",
    "collect": "collect_all",
    "cohort": "cohort_all",
    "design": "design_all",
    "test": "test_all",
    "correct": "correct_all",
    "clinic": "clinic_all",
    "report": "all",
}
FIRST_LEVEL = frozenset({"project", "measure", "collect"})
TRIGGERS = ("mtime", "params", "input", "software-env")
"""Changes that run a rule again. Not `code`: Snakemake goes by the age of the script, and a fresh checkout or
installation makes all scripts new; the rules' own digests of code are among their parameters."""

_STEPS = re.compile(r"^(\d+) of (\d+) steps")
_ADVICE = re.compile(r"^(?:Some jobs were triggered|This was a dry-run)", re.MULTILINE)
_DETAILS = "    (check individual jobs above for details)\n"
_PART = re.compile(r"^\..+\.[a-z0-9_]{8}\.part$")
_WRITTEN = ("", "cache/**/", "figures/", "group/**/", "logs/**/", "sub-*/**/")


def snakefile() -> Path:
    """The workflow: inside the installed package, or beside it in a clone."""
    spec = find_spec("conn")
    assert spec is not None and spec.origin is not None
    package = Path(spec.origin).parent
    for folder in (package / "_workflow", package.parents[1] / "workflow"):
        if (folder / "Snakefile").is_file():
            return folder / "Snakefile"
    raise ConfigError("the workflow is not installed beside the package; install conn again")


def command(study: Study, cores: int, until: str | None, options: Sequence[str]) -> list[str]:
    """The Snakemake call that runs a study."""
    target = STAGES["report" if until is None else until]
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(snakefile())),
        *("--configfile", str(study.config_path), "--directory", str(study.out), "--cores", str(cores)),
        *("--keep-going", "--rerun-incomplete", "--scheduler", "greedy", "--nocolor"),
        *("--rerun-triggers", *TRIGGERS, "--workflow-profile", "none"),
        *(*options, "--", target),
    ]


def run(study: Study, cores: int = 1, until: str | None = None, *, dry_run: bool = False) -> int:
    """Run a study.

    Parameters
    ----------
    study
        From `conn.study.open_study`.
    cores
        Processors to use.
    until
        Last stage to run; None for the whole line.
    dry_run
        Only list what would run.

    Returns
    -------
    int
        0, or the exit code of the gravest failure (2 configuration, 3 input, 4 too little data, 5 resources,
        70 a bug).

    Raises
    ------
    ConnError
        What is wrong already before anything is computed; see `Study.prepare` and `conn.preflight`.
    ResourceError
        Another process is at work in the output folder.
    """
    if until not in FIRST_LEVEL:
        preflight(study)
    study.prepare()
    lock = hold(study.out)
    if lock is None:
        raise ResourceError(f"{study.config.out}: another run is at work in this folder; wait until it ends")
    try:
        if lock.sure:
            _tidy(study.out)
        if dry_run:
            return _list(command(study, cores, until, ["--dry-run", "--quiet", "rules"]), lock)
        return _follow(study, command(study, cores, until, []), lock)
    finally:
        lock.release()


def _tidy(out: Path) -> None:
    """Nobody is alive in the folder: what locks and temporary files there are, a killed run has left."""
    folder = out / ".snakemake" / "locks"
    for stale in folder.glob("*") if folder.is_dir() else ():
        stale.unlink(missing_ok=True)
    for part in _parts(out):
        part.unlink(missing_ok=True)
    forget_lost(out)


def _parts(out: Path) -> Iterator[Path]:
    for folder in _WRITTEN:
        yield from (path for path in out.glob(f"{folder}.*.part") if _PART.match(path.name))


def _list(call: list[str], lock: Lock) -> int:
    """Print the jobs by rule, and why they would run; Snakemake gives the table twice."""
    done = subprocess.run(
        call,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        pass_fds=[lock.handle],
    )
    if done.returncode != 0:
        sys.stderr.write(done.stdout)
        return BUG
    text = done.stdout[max(done.stdout.rfind("Job stats:"), 0) :]
    print(_ADVICE.split(text)[0].replace(_DETAILS, "").strip())
    return 0


def _follow(study: Study, call: list[str], lock: Lock) -> int:
    log = study.out / paths.LOGS / "snakemake.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    for note in (study.out / paths.ERRORS).glob("*.json"):
        note.unlink()
    tail: list[str] = []
    with (
        log.open("w", encoding="utf-8") as record,
        subprocess.Popen(
            call, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, pass_fds=[lock.handle]
        ) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            record.write(line)
            tail = [*tail[-30:], line]
            steps = _STEPS.match(line)
            if steps:
                _progress(int(steps[1]), int(steps[2]))
    return _conclude(study, process.returncode, tail)


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} jobs", end="" if done < total else "\n", file=sys.stderr, flush=True)
    elif done == total or done % max(total // 10, 1) == 0:
        print(f"{done} of {total} jobs", file=sys.stderr, flush=True)


def _conclude(study: Study, status: int, tail: Sequence[str]) -> int:
    notes = [read_json(p) for p in sorted((study.out / paths.ERRORS).glob("*.json"))]
    for note in notes:
        print(f"failed: {note['job']}: {note['message']} (log: {note['log']})", file=sys.stderr)
    for line in not_done.lines(study.out, study.analyses):
        print(line, file=sys.stderr)
    if status == 0:
        return 0
    if notes:
        return max(int(note["exit_code"]) for note in notes)
    sys.stderr.writelines(tail)
    return BUG
