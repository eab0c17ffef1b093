"""Stage exclusions: everything left out at any stage, in one table."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from conn import paths
from conn.design import load_design
from conn.exclusions import Exclusion, to_table
from conn.files import read_json
from conn.index import Index
from conn.stages.collect import first_level
from conn.stages.features import scans
from conn.stages.left_out import Analyses, left_out
from conn.stages.needs import gaps_of
from conn.tables import read_tsv, write_tsv

PEOPLE_LEFT_OUT = frozenset({"lost", "left_out", "excluded", "homeless", "not_done"})
"""Under one of these every clinical analysis says whom it left out, or why it was not done."""


def gather(out: Path, index: Index, models: Sequence[str], analyses: Analyses | None = None) -> None:
    """Write `exclusions.tsv`; remove results of models and analyses that are no longer asked for.

    It is written from index, receipts, cohort, runs and designs, not from results: who is in a clinical
    analysis is known before it has run.

    Parameters
    ----------
    out
        Output folder.
    index
        All runs found.
    models
        Names of the models.
    analyses
        The clinical analyses; none by default.
    """
    wanted = analyses or Analyses()
    first = [*first_level(out, index)]
    rows = [*first, *_cohort(out), *(row for m in models for row in _design(out, m))]
    rows += left_out(
        wanted,
        lambda key: scans(out, key, wanted.combine_runs),
        gaps_of(first),
        lambda: (read_tsv(out / paths.COHORT), read_tsv(out / paths.RUNS)),
    )
    write_tsv(out / paths.EXCLUSIONS, to_table(rows))
    _forget_models(out, models)
    for kind, names in wanted.names.items():
        _forget_analyses(out, kind, names)


def _forget_models(out: Path, models: Sequence[str]) -> None:
    for folder in (out / paths.GROUP).glob("*"):
        if folder.name not in models and (out / paths.design_json(folder.name)).exists():
            shutil.rmtree(folder)


def _forget_analyses(out: Path, kind: str, names: frozenset[str]) -> None:
    """Remove results of analyses that were taken out, and nothing that is not ours."""
    folder = out / kind
    for path in sorted(folder.glob("*.json")):
        if path.stem in names or not _is_ours(path):
            continue
        results = [*folder.glob(f"{path.stem}_seed-*_stat-*_statmap.nii.gz")]
        results += [folder / f"{path.stem}_model.json", folder / f"{path.stem}_trials.tsv"]
        results += [path.with_suffix(".tsv")]
        # The summary goes last: it is what says that the others are ours.
        for result in (*results, path):
            result.unlink(missing_ok=True)
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _is_ours(path: Path) -> bool:
    """Whether a file is the summary of an analysis: it says its own name, and who is not in it."""
    try:
        record = read_json(path)
    except (OSError, ValueError):
        return False
    if not isinstance(record, dict) or record.get("name") != path.stem:
        return False
    return not PEOPLE_LEFT_OUT.isdisjoint(record)


def _cohort(out: Path) -> Iterator[Exclusion]:
    for row in read_json(out / paths.COHORT_NOTES)["exclusions"]:
        yield Exclusion(**row)


def _design(out: Path, model: str) -> Iterator[Exclusion]:
    """People whom a model asks for and cannot have; whom it does not ask for stands in its design only."""
    design = load_design(out / paths.model_folder(model), model)
    told = {entry for one in design.contrasts if not one.sensitivity for entry in one.lost}
    for contrast in design.contrasts:
        for dataset, subject, reason in contrast.lost:
            # A repetition with motion as a covariate lacks these people too: once is enough.
            if contrast.sensitivity and (dataset, subject, reason) in told:
                continue
            yield Exclusion(
                dataset,
                subject,
                stage="design",
                reason="not_in_model",
                value=f"{model}, {contrast.name}: {reason}",
            )
