"""`conn status` and `conn why`: what ran, what failed, and why something is not in the analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from conn import paths
from conn.exclusions import Exclusion, to_table
from conn.files import read_json
from conn.jobs import KILLED
from conn.locks import hold
from conn.rois import registry
from conn.stages.collect import first_level
from conn.study import Study
from conn.tables import read_tsv


def status(study: Study) -> tuple[str, int]:
    """Progress by stage, failures with their logs.

    Returns
    -------
    text, exit code
        0 when the report is there and nothing failed, else 1.
    """
    out = study.out
    models = study.config.models
    wanted: dict[str, list[Path]] = {
        "project": [paths.project_receipt(key) for key in study.runs],
        "measure": [paths.measure_receipt(key) for key in study.runs],
        "collect": [paths.COLLECTED],
        "cohort": [paths.COHORT],
        "design": [paths.design_json(model) for model in models],
        "test": [paths.test_result(model, what) for model in models for what in study.tests(model)],
        "correct": [paths.correct_receipt(model) for model in models],
        "report": [paths.REPORT],
    }
    lines = [
        f"{stage:8s} {sum((out / p).exists() for p in files)} of {len(files)}"
        for stage, files in wanted.items()
    ]
    left_out = [e for e in first_level(out, study.index) if e.roi == "n/a"]
    lines.append(f"left out so far: {len(left_out)} (conn why SUBJECT says why)")
    failures = list(_failures(out, _alive(out)))
    lines += failures
    return "\n".join(lines), 0 if (out / paths.REPORT).exists() and not failures else 1


def _alive(out: Path) -> bool:
    """Whether a run is at work in the folder."""
    if not out.is_dir():
        return False
    lock = hold(out)
    if lock is not None:
        lock.release()
    return lock is None


def _failures(out: Path, alive: bool) -> Iterator[str]:
    for path in sorted((out / paths.ERRORS).glob("*.json")):
        note = read_json(path)
        if alive and note["message"] == KILLED:
            yield f"running: {note['job']} (log: {note['log']})"
        else:
            yield f"failed: {note['job']}: {note['message']} (log: {note['log']})"


def why(study: Study, what: str) -> str:
    """All that keeps a subject, run or region out of the analysis, and where it is in.

    Parameters
    ----------
    study
        The study.
    what
        Subject with or without ``sub-``, run key, or region label.
    """
    name = what.removeprefix("sub-")
    rows = [row for row in _rows(study) if name in {row["subject"], row["run"], row["roi"]}]
    known = {label for run in study.index.runs for label in (run.subject, run.key)}
    regions = {roi.label for roi in registry.regions(study.config.rois.use, study.config.rois.custom)}
    lines = [_sentence(row) for row in rows]
    runs = _table(study, paths.RUNS)
    included = [r for r in runs if r["included"] == "true" and name in {r["subject"], r["run"]}]
    lines += [f"included: {r['path']} (k = {r['df']}, mean FD {r['mean_fd']} mm)" for r in included]
    if lines:
        return "\n".join(lines)
    if name in regions and runs:
        return f"{what}: covered well enough (rois.min_coverage) in every run of the analysis"
    if name in known | regions:
        return f"{what}: nothing has excluded it so far; it has not been computed yet"
    return f"{what}: no such subject, run or region in this study, and no exclusion names it"


def _rows(study: Study) -> list[dict[str, str]]:
    if (study.out / paths.EXCLUSIONS).exists():
        return _table(study, paths.EXCLUSIONS)
    table = to_table(first_level(study.out, study.index))
    return [{str(k): str(v) for k, v in row.items()} for row in table.to_dict("records")]


def _table(study: Study, path: Path) -> list[dict[str, str]]:
    if not (study.out / path).exists():
        return []
    records = read_tsv(study.out / path).to_dict("records")
    return [{str(k): str(v) for k, v in row.items()} for row in records]


def _sentence(row: Mapping[str, str]) -> str:
    entry = Exclusion(**row)
    where = " ".join(
        part
        for part in (
            f"sub-{entry.subject}",
            f"ses-{entry.session}" if entry.session != "n/a" else "",
            f"region {entry.roi}" if entry.roi != "n/a" else "",
        )
        if part
    )
    limit = f" (limit: {entry.limit})" if entry.limit != "n/a" else ""
    return f"left out at {entry.stage}: {where}: {entry.reason}: {entry.value}{limit}"
