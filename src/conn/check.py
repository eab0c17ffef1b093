"""`conn check`: everything short of computing, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from conn import confounds, images, projection
from conn.cohort import build_cohort, read_clinical
from conn.config.model import Denoise
from conn.design import compile_model, describe
from conn.errors import ConnError, InputError
from conn.index import Run
from conn.receipts import Receipt
from conn.stages.collect import run_table
from conn.stages.project import Plan, RunSettings, floors, plan
from conn.study import Study
from conn.tables import format_tsv

PREFERRED = ("scrubbing.5", "simple", "scrubbing.2", "24P")
"""Strategies that are proposed, best first; global signal regression never is."""

WANTED_SHARE = 0.9
AROMA = (
    "Non-aggressive ICA-AROMA is not offered: it is no projection (what it removes depends on a regression "
    "over signal components too), so it cannot be joined with the other cleaning in one step."
)


@dataclass(frozen=True)
class Foreseen:
    """What is known about a run before it is computed."""

    run: Run
    plan: Plan | None
    reasons: tuple[tuple[str, str, str], ...]
    df: Mapping[tuple[str, str], tuple[int, float]]
    """(strategy, band) → degrees of freedom and seconds kept."""


def check(study: Study) -> str:
    """Describe what a configuration means: data, exclusions, cleaning, cohort, designs, resources.

    Parameters
    ----------
    study
        From `conn.study.open_study`.

    Returns
    -------
    str
        Text for a terminal.

    Raises
    ------
    ConnError
        The first mistake that would stop the analysis.
    """
    foreseen = [foresee(study, key) for key in study.runs]
    parts = [
        _data(study),
        _excluded(study, foreseen),
        _cleaning(study.config.denoise, foreseen),
        *_group(study, foreseen),
        _resources(study, foreseen),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def foresee(study: Study, key: str) -> Foreseen:
    """Header, confounds and degrees of freedom of one run; reads no volume."""
    run, denoise = study.runs[key], study.config.denoise
    settings = study.run_settings(key)
    roots = tuple(Path(root) for root in settings.pop("roots"))
    absolute = _absolute(study, run)
    try:
        made = plan(absolute, denoise, RunSettings(**settings, roots=tuple(study.absolute(r) for r in roots)))
    except InputError as error:
        return Foreseen(run, None, (("bad_input", str(error), "n/a"),), {})
    return Foreseen(
        run, made, floors(made, denoise), _choices(absolute, made, denoise, settings["dummy_scans"])
    )


def _absolute(study: Study, run: Run) -> Run:
    def moved(path: Path | None) -> Path | None:
        return None if path is None else study.absolute(path)

    return replace(run, bold=moved(run.bold), mask=moved(run.mask), confounds=moved(run.confounds))


def _choices(
    run: Run, made: Plan, denoise: Denoise, dummy_scans: int
) -> dict[tuple[str, str], tuple[int, float]]:
    assert run.confounds is not None
    table = confounds.read_confounds(run.confounds)
    bands = {_band(denoise.high_pass, denoise.low_pass or 0.1): denoise.low_pass or 0.1}
    bands[_band(denoise.high_pass, None)] = 0.0
    found = {}
    for strategy in confounds.runnable(table):
        chosen = confounds.select(table, strategy, dummy_scans)
        seconds = float((~chosen.censored).sum() * made.tr)
        for name, low_pass in bands.items():
            df = projection.retained_df(
                chosen.regressors, chosen.censored, made.tr, denoise.high_pass, low_pass or None
            )
            found[strategy, name] = df, seconds
    return found


def _band(high_pass: float, low_pass: float | None) -> str:
    return f"hp{high_pass:g}" if low_pass is None else f"bp{high_pass:g}-{low_pass:g}"


def _data(study: Study) -> list[str]:
    lines = ["DATA"]
    for name in study.config.datasets:
        runs = [run for run in study.index.runs if run.dataset == name]
        points = Counter(run.time_point or "none" for run in runs)
        subjects = len({run.subject for run in runs})
        lines.append(f"{name}: {len(runs)} runs of {subjects} subjects")
        lines.append("  runs by time point: " + ", ".join(f"{p} {n}" for p, n in points.items()))
    return [*lines, *study.index.notes]


def _excluded(study: Study, foreseen: Sequence[Foreseen]) -> list[str]:
    rows = [*study.index.exclusions, *(r.exclusion for r in study.index.runs if r.exclusion)]
    lines = [f"  sub-{e.subject} {_session(e.session)}{e.reason}: {e.value}" for e in rows]
    lines += [
        f"  sub-{f.run.subject} {_session(f.run.session)}{f.run.name}: {reason}: {value} ({limit})"
        for f in foreseen
        for reason, value, limit in f.reasons
    ]
    if not lines:
        return ["EXCLUSIONS", "none foreseen before the images are read"]
    counts = Counter(e.reason for e in rows) + Counter(r for f in foreseen for r, _, _ in f.reasons)
    summary = ", ".join(f"{n} {reason}" for reason, n in counts.most_common())
    return ["EXCLUSIONS", f"{len(lines)} foreseen before the images are read: {summary}", *lines]


def _session(session: str | None) -> str:
    return "" if session in {None, "n/a"} else f"ses-{session} "


def _cleaning(denoise: Denoise, foreseen: Sequence[Foreseen]) -> list[str]:
    band = _band(denoise.high_pass, denoise.low_pass)
    lines = [
        "CLEANING",
        f"configured: {denoise.strategy}+{band}; floors: min_df {denoise.min_df}, "
        f"min_seconds {denoise.min_seconds:g}",
        "degrees of freedom (k) by strategy:",
        f"  {'strategy':34s}{'k median':>9s}{'k min':>7s}{'seconds min':>13s}{'subjects kept':>15s}",
    ]
    kept: dict[tuple[str, str], float] = {}
    everyone = {(f.run.dataset, f.run.subject) for f in foreseen}
    for choice in dict.fromkeys(c for f in foreseen for c in f.df):
        values = [f.df[choice] for f in foreseen if choice in f.df]
        ks, seconds = [v[0] for v in values], [v[1] for v in values]
        stay = _subjects_kept(foreseen, choice, denoise)
        kept[choice] = len(stay) / max(len(everyone), 1)
        mark = " <- configured" if choice == (denoise.strategy, band) else ""
        lines.append(
            f"  {'+'.join(choice):34s}{np.median(ks):9.0f}{min(ks):7d}{min(seconds):13.0f}"
            f"{len(stay):8d} of {len(everyone)}{mark}"
        )
    return [*lines, *_proposal(kept, (denoise.strategy, band)), AROMA]


def _subjects_kept(
    foreseen: Sequence[Foreseen], choice: tuple[str, str], denoise: Denoise
) -> set[tuple[str, str]]:
    """Subjects who keep at least one run at every time point at which they have one."""
    passing: dict[tuple[str, str, str], bool] = {}
    for f in foreseen:
        df, seconds = f.df.get(choice, (0, 0.0))
        cell = (f.run.dataset, f.run.subject, f.run.time_point or "")
        enough = df >= denoise.min_df and seconds >= denoise.min_seconds
        passing[cell] = passing.get(cell, False) or enough
    failed = {cell[:2] for cell, good in passing.items() if not good}
    return {cell[:2] for cell in passing} - failed


def _proposal(kept: Mapping[tuple[str, str], float], configured: tuple[str, str]) -> Iterator[str]:
    if kept.get(configured, 0.0) >= WANTED_SHARE:
        yield f"{'+'.join(configured)} keeps {kept[configured]:.0%} of subjects: nothing to change."
        return
    ranked = sorted(
        kept, key=lambda c: (c[1].startswith("hp"), PREFERRED.index(c[0]) if c[0] in PREFERRED else 99)
    )
    for choice in ranked:
        if choice[0] in PREFERRED and kept[choice] >= WANTED_SHARE:
            yield (
                f"{'+'.join(configured)} keeps {kept.get(configured, 0.0):.0%} of subjects; "
                f"{'+'.join(choice)} keeps {kept[choice]:.0%}. Nothing switches by itself: to use it, set "
                f"denoise.strategy: {choice[0]}"
                + (" and denoise.low_pass: null." if choice[1].startswith("hp") else ".")
            )
            return
    yield (
        f"No strategy keeps {WANTED_SHARE:.0%} of subjects under these floors: the runs are short or move "
        "much. Lower denoise.min_df or denoise.min_seconds only with a reason."
    )


def _group(study: Study, foreseen: Sequence[Foreseen]) -> Iterator[list[str]]:
    runs = _foreseen_runs(study, foreseen)
    clinical = study.config.clinical
    folders = {name: study.absolute(folder) for name, folder in study.bids_dirs.items()}
    data = {n: read_clinical(f, clinical, study.subjects[n]["found"]) for n, f in folders.items()}
    only = {name: found["only"] for name, found in study.subjects.items()}
    made = build_cohort(clinical, data, runs, study.time_points, only)
    table = made.table
    present = table[table["n_runs"] != "0"]
    counts = Counter(zip(present["dataset"], present["time_point"], strict=True))
    yield [
        "COHORT",
        *(f"{', '.join(cell)}: {n} subjects with usable runs" for cell, n in counts.items()),
        *(f"left out: {e.reason}: sub-{e.subject} {e.value}" for e in made.exclusions),
        *(note for one in data.values() for note in one.notes),
        *made.notes,
    ]
    for name, model in study.config.models.items():
        lines = [f"MODEL {name}"]
        try:
            design = compile_model(name, model, clinical, table, runs, study.config.inference)
            lines += describe(design)
        except ConnError as error:
            lines.append(f"cannot be computed: {error}")
        yield lines


def _foreseen_runs(study: Study, foreseen: Sequence[Foreseen]) -> pd.DataFrame:
    receipts = {
        f.run.key: Receipt(
            f.run.key,
            "measure",
            not f.reasons,
            f.reasons[0][0] if f.reasons else None,
            f.plan.numbers if f.plan else {},
        )
        for f in foreseen
    }
    text = format_tsv(run_table(study.index.runs, receipts))
    rows = [line.split("\t") for line in text.splitlines()]
    return pd.DataFrame(rows[1:], columns=pd.Index(rows[0]), dtype=str)


def _resources(study: Study, foreseen: Sequence[Foreseen]) -> list[str]:
    kept, peak = 0.0, 0.0
    copies = 2 if study.map_fwhm > 0 else 1
    masks: dict[str, int] = {}
    for f in foreseen:
        if f.plan is None or f.reasons:
            continue
        size = masks.setdefault(str(f.plan.header.grid.shape), _mask_size(study, f.run))
        kept += 4.0 * f.plan.basis.shape[1] * size * copies
        peak = max(peak, 4.0 * np.prod(f.plan.header.grid.shape) * (copies * f.plan.basis.shape[1] + 64))
    what = "kept in" if study.config.connectivity.keep_projection else "passing through"
    return [
        "RESOURCES",
        f"projections: {kept / 1e9:.2f} GB {what} cache/project; at most {peak / 1e9:.2f} GB of memory a run",
    ]


def _mask_size(study: Study, run: Run) -> int:
    assert run.mask is not None
    try:
        return int((images.read_volume(study.absolute(run.mask))[1] > 0).sum())
    except InputError:
        return 0
