"""`conn status` and `conn why`: what ran, what failed, and why something is not in the analysis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from conn import not_done, paths
from conn.combination import choose
from conn.exclusions import OF_MEASURES, PARTIAL, XDF, Exclusion, to_table
from conn.files import read_json
from conn.jobs import KILLED
from conn.locks import hold
from conn.preregistration import summary
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
    wanted = study.products | {"report": (paths.REPORT,)}
    lines = [
        f"{stage:8s} {sum((out / p).exists() for p in files)} of {len(files)}"
        for stage, files in wanted.items()
    ]
    left_out = [e for e in first_level(out, study.index) if e.roi == "n/a"]
    lines.append(f"left out so far: {len(left_out)} (conn why SUBJECT says why)")
    lines += summary(study)
    lines += not_done.lines(out, study.analyses)
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
        Subject with or without ``sub-``, run key, region label, or the name of a map or matrix as
        `exclusions.tsv` has it.
    """
    name = what.removeprefix("sub-")
    rows = [row for row in _rows(study) if name in {row["subject"], row["run"], row["roi"]}]
    known = {label for run in study.index.runs for label in (run.subject, run.key)}
    regions = {roi.label for roi in registry.regions(study.config.rois)}
    lines = [_sentence(row) for row in rows]
    runs = _table(study, paths.RUNS)
    included = [r for r in runs if r["included"] == "true" and name in {r["subject"], r["run"]}]
    lines += [f"included: {r['path']} (k = {r['df']}, mean FD {r['mean_fd']} mm)" for r in included]
    lines += _unused(study, name)
    if lines:
        return "\n".join(lines)
    if name in regions and runs:
        return f"{what}: covered well enough (rois.min_coverage) in every run of the analysis"
    if name in _measures(study) and runs:
        return f"{what}: there in every run of the analysis"
    if name in known | regions | _measures(study):
        return f"{what}: nothing has excluded it so far; it has not been computed yet"
    return f"{what}: no such subject, run or region in this study, and no exclusion names it"


def _measures(study: Study) -> set[str]:
    """Maps and matrices that a run may lack, as `exclusions.tsv` names them."""
    asked = study.config.connectivity
    matrices = {PARTIAL: asked.partial is not None, XDF: asked.xdf}
    return {name for name, wanted in matrices.items() if wanted} | {
        seed.label for seed in study.maps.values() if seed.others
    }


def _unused(study: Study, name: str) -> Iterator[str]:
    """Included runs that models pass over, because another one stands for the time point."""
    policy = study.config.connectivity.combine_runs
    if not ((study.out / paths.COHORT).exists() and (study.out / paths.RUNS).exists()):
        return
    cohort, runs = read_tsv(study.out / paths.COHORT), read_tsv(study.out / paths.RUNS)
    path_of = dict(zip(runs["run"], runs["path"], strict=True))
    for one in choose(cohort, runs, policy)[1]:
        if name in {one.subject, one.run}:
            yield (
                f"not used in models: {path_of[one.run]}: connectivity.combine_runs {policy} takes "
                f"{path_of[one.used]} for {one.time_point}"
            )


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


def _part(entry: Exclusion) -> str:
    """What of a run is left out; empty for all of it."""
    if entry.roi == "n/a":
        return ""
    return entry.roi if entry.reason in OF_MEASURES else f"region {entry.roi}"


def _sentence(row: Mapping[str, str]) -> str:
    entry = Exclusion(**row)
    where = " ".join(
        part
        for part in (
            f"sub-{entry.subject}",
            f"ses-{entry.session}" if entry.session != "n/a" else "",
            _part(entry),
        )
        if part
    )
    limit = f" (limit: {entry.limit})" if entry.limit != "n/a" else ""
    return f"left out at {entry.stage}: {where}: {entry.reason}: {entry.value}{limit}"
