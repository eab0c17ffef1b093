"""Stage cohort: clinical tables and runs become one row per subject and time point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from conn import paths
from conn.cohort import Cohort, build_cohort, read_clinical
from conn.config.model import Clinical
from conn.files import write_json
from conn.tables import read_tsv, write_tsv


def cohort(
    out: Path,
    clinical: Clinical,
    bids_dirs: Mapping[str, str],
    time_points: Mapping[str, Mapping[str, Sequence[str]]],
    subjects: Mapping[str, Mapping[str, Sequence[str]]],
) -> Cohort:
    """Write `cohort.tsv`, and what was left out on the way.

    Parameters
    ----------
    out
        Output folder, with `runs.tsv`.
    clinical
        Tables, scales, rules, variables.
    bids_dirs
        Data set → folder of its tables, relative to `out`.
    time_points
        Data set → label → values, in the order of the trial.
    subjects
        Data set → ``found`` and ``only``, subject labels.
    """
    runs = read_tsv(out / paths.RUNS)
    data = {
        name: read_clinical(out / folder, clinical, subjects[name]["found"])
        for name, folder in bids_dirs.items()
    }
    made = build_cohort(clinical, data, runs, time_points, {n: s["only"] for n, s in subjects.items()})
    exclusions = [asdict(exclusion) for exclusion in made.exclusions]
    write_json(out / paths.COHORT_NOTES, {"exclusions": exclusions, "notes": list(made.notes)})
    write_tsv(out / paths.COHORT, made.table)
    return made
