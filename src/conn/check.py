"""`conn check`: everything short of computing, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from conn import confounds, projection, resources
from conn.analysis_check import NOT_DONE, analyses
from conn.cohort import Cohort
from conn.config.model import Denoise, Model
from conn.config.pairs import partial_set
from conn.design import Design, compile_model, describe
from conn.errors import ConnError, InputError, TooLittleDataError
from conn.exclusions import OF_MEASURES, PARTIAL, Exclusion
from conn.images import Grid, read_header
from conn.index import Run, sidecar
from conn.preflight import foreseen_cohort, foreseen_runs
from conn.preregistration import state_lines
from conn.receipts import Receipt
from conn.rois import networks, on_grid, registry
from conn.rois.placement import Placed
from conn.stages.collect import refuse_nothing
from conn.stages.measure import cover, foreseen_refusals, lacking, nuisance_regions, read_tissues
from conn.stages.needs import gaps_of
from conn.stages.project import Plan, RunSettings, brain, excluded, floors, plan, repetition_time
from conn.study import Study
from conn.tables import MISSING

PREFERRED = ("scrubbing.5", "simple", "scrubbing.2", "24P")
"""Strategies that are proposed, best first; neither global signal regression nor CompCor ever is."""

WANTED_SHARE = 0.9
AROMA = (
    "ICA-AROMA is not offered: the published strategy is the non-aggressive one, which is no orthogonal "
    "projection (what it removes depends on the components called signal too) and comes in smoothed images, "
    "so it cannot be joined with the other cleaning in one step."
)

_Regions = tuple[tuple[registry.Roi, Placed], ...]


@dataclass(frozen=True)
class Foreseen:
    """What is known about a run before its image is read.

    Attributes
    ----------
    run
        The run.
    plan
        None when the input is bad.
    included
        False when the whole run will be left out.
    exclusions
        Rows that the run will have in `exclusions.tsv`, of the whole run or of regions.
    df
        (strategy, band) to degrees of freedom and seconds kept.
    voxels
        Number of voxels in its mask.
    """

    run: Run
    plan: Plan | None
    included: bool
    exclusions: tuple[Exclusion, ...] = ()
    df: Mapping[tuple[str, str], tuple[int, float]] = field(default_factory=dict)
    voxels: int = 0

    @property
    def receipt(self) -> Receipt:
        """The receipt that the run will have, as far as it is known."""
        reason = None if self.included else self.exclusions[0].reason
        numbers = self.plan.numbers if self.plan else {}
        return Receipt(self.run.key, "measure", self.included, reason, numbers, self.exclusions)


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
        Something would stop the analysis; the message is the whole text, with the mistakes last.
    """
    regions: dict[str, _Regions] = {}
    foreseen = [foresee(study, key, regions) for key in study.runs]
    problems: list[ConnError] = []
    parts = [
        _data(study),
        _excluded(foreseen_exclusions(study, foreseen)),
        _cleaning(study.config.denoise, foreseen),
        *_group(study, foreseen, problems),
        ["LOCK", *state_lines(study)] if study.plans else [],
        _resources(study, foreseen),
    ]
    undone = [f"{part[0]}: {line}" for part in parts for line in part if line.startswith(NOT_DONE)]
    if undone:
        parts.append(
            [f"{NOT_DONE}, unlike the rest", *(line.replace(f"{NOT_DONE}: ", "") for line in undone)]
        )
    if problems:
        parts.append(["WOULD STOP THE ANALYSIS", *map(str, problems)])
    text = "\n\n".join("\n".join(part) for part in parts if part)
    if problems:
        raise type(max(problems, key=lambda error: error.exit_code))(text)
    return text


def foresee(study: Study, key: str, regions: dict[str, _Regions]) -> Foreseen:
    """Header, confounds, mask and regions of one run; reads no functional volume.

    Parameters
    ----------
    study
        The study.
    key
        Of the run.
    regions
        Regions by grid, filled on the way.
    """
    run, denoise = study.runs[key], study.config.denoise
    settings = study.run_settings(key)
    relative = settings.pop("roots")
    roots = tuple(map(study.absolute, relative))
    absolute = _absolute(study, run)
    made, df = None, {}
    try:
        # Strategies first: they are told also when the configured one is what cannot run.
        df = _choices(absolute, denoise, RunSettings(**settings, roots=roots))
        made = plan(absolute, denoise, RunSettings(**settings, roots=roots))
        below = floors(made, denoise)
        if below:
            return Foreseen(run, made, False, tuple(excluded(run, *row) for row in below), df)
        grid, voxels = brain(absolute, made.header)
    except InputError as error:
        message = str(error)
        for here, there in zip(roots, relative, strict=True):
            message = message.replace(f"{here}/", f"{there}/")
        return Foreseen(run, made, False, (excluded(run, "bad_input", message),), df)
    rois, asked = study.config.rois, study.config.connectivity
    nuisance = nuisance_regions(rois, asked)
    placed = _placed(study, run, grid, regions)
    wanted = {} if rois.grey_matter is None else study.tissues(key)
    maps, refused = read_tissues(run, grid, rois, {k: study.absolute(v) for k, v in wanted.items()})
    grey = maps["GM"] >= rois.grey_matter if rois.grey_matter is not None and "GM" in maps else None
    covers, rows = cover(run, placed, grid, voxels, np.ones(voxels.size, dtype=bool), rois, grey)
    there = {roi.label for (roi, _), found in zip(placed, covers, strict=True) if found.members.size}
    refused += foreseen_refusals(run, made.numbers["df"], there, nuisance, denoise.min_df)
    if refused:
        return Foreseen(run, made, False, refused, df, voxels.size)
    used = {roi.label for roi in registry.regions(rois)}
    rows = tuple(row for row in rows if row.roi in used)
    rows += lacking(run, made.numbers, there, rois, asked, removed=len(nuisance))
    return Foreseen(run, made, True, rows, df, voxels.size)


def _placed(study: Study, run: Run, grid: Grid, regions: dict[str, _Regions]) -> _Regions:
    """Regions of the study and nuisance regions on the grid of a run."""
    space = run.entities.get("space", MISSING)
    name = repr((grid.shape, grid.affine.tolist(), space))
    if name not in regions:
        rois = study.config.rois
        everything = (*registry.regions(rois), *nuisance_regions(rois, study.config.connectivity))
        regions[name] = tuple(
            (roi, on_grid.place(roi, grid, space, rois, study.root)) for roi in dict.fromkeys(everything)
        )
    return regions[name]


def foreseen_exclusions(study: Study, foreseen: Sequence[Foreseen]) -> tuple[Exclusion, ...]:
    """Rows that `exclusions.tsv` will have from index, images and regions, as far as they are known."""
    found = [*study.index.exclusions, *(run.exclusion for run in study.index.runs if run.exclusion)]
    return tuple(dict.fromkeys([*found, *(row for one in foreseen for row in one.exclusions)]))


def _absolute(study: Study, run: Run) -> Run:
    def moved(path: Path | None) -> Path | None:
        return None if path is None else study.absolute(path)

    return replace(run, bold=moved(run.bold), mask=moved(run.mask), confounds=moved(run.confounds))


def _choices(run: Run, denoise: Denoise, settings: RunSettings) -> dict[tuple[str, str], tuple[int, float]]:
    assert run.bold is not None and run.confounds is not None
    header = read_header(run.bold)
    tr = repetition_time(header, sidecar(run.bold, settings.roots), settings.repetition_time)
    table = confounds.read_confounds(run.confounds)
    confounds.check_rows(table, header.volumes)
    bands = {_band(denoise.high_pass, denoise.low_pass or 0.1): denoise.low_pass or 0.1}
    bands[_band(denoise.high_pass, None)] = 0.0
    found = {}
    for strategy in confounds.runnable(table):
        if denoise.high_pass < confounds.lowest_high_pass(strategy):
            continue
        chosen = confounds.select(table, strategy, settings.dummy_scans)
        seconds = float((~chosen.censored).sum() * tr)
        for name, low_pass in bands.items():
            df = projection.retained_df(
                chosen.regressors, chosen.censored, tr, denoise.high_pass, low_pass or None
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


def _excluded(rows: Sequence[Exclusion]) -> list[str]:
    if not rows:
        return ["EXCLUSIONS", "none foreseen before the images are read"]
    counts = Counter(row.reason for row in rows)
    summary = ", ".join(f"{n} {reason}" for reason, n in counts.most_common())
    whole = [f"  {_whose(row)}: {row.reason}: {row.value}{_limit(row)}" for row in rows if row.roi == "n/a"]
    regions: dict[tuple[str, str, str], list[Exclusion]] = {}
    for row in rows:
        if row.roi != "n/a":
            regions.setdefault((row.roi, row.reason, row.limit), []).append(row)
    lines = [
        f"  {roi if reason in OF_MEASURES else f'region {roi}'} in {len(found)} runs: {reason}: "
        f"{', '.join(dict.fromkeys(row.value for row in found[:3]))}{_limit(found[0])}"
        for (roi, reason, _), found in regions.items()
    ]
    return ["EXCLUSIONS", f"{len(rows)} foreseen before the images are read: {summary}", *whole, *lines]


def _whose(row: Exclusion) -> str:
    session = "" if row.session == "n/a" else f" ses-{row.session}"
    return f"sub-{row.subject}{session}" + ("" if row.run == "n/a" else f" ({row.run})")


def _limit(row: Exclusion) -> str:
    return "" if row.limit == "n/a" else f" ({row.limit})"


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


def _group(study: Study, foreseen: Sequence[Foreseen], problems: list[ConnError]) -> Iterator[list[str]]:
    receipts = {one.run.key: one.receipt for one in foreseen}
    runs = foreseen_runs(study, receipts)
    try:
        made = foreseen_cohort(study, runs)
    except ConnError as error:
        problems.append(error)
        yield ["COHORT", f"cannot be made: {error}"]
        return
    yield _cohort(made)
    try:
        refuse_nothing(study.index.runs, receipts)
    except TooLittleDataError as error:
        problems.append(error)
        return
    clinical, inference = study.config.clinical, study.config.inference
    policy = study.config.connectivity.combine_runs
    for name, model in study.config.models.items():
        try:
            design = compile_model(name, model, clinical, made.table, runs, inference, policy)
            lines = [
                *describe(design),
                *_edge_words(study, model),
                *_signs(study, model),
                *_empty(study, name, design, foreseen),
            ]
        except ConnError as error:
            problems.append(error)
            lines = [f"cannot be computed: {error}"]
        yield [f"MODEL {name}", *lines]
    gaps = gaps_of(row for one in foreseen for row in one.exclusions)
    yield from analyses(study, made.table, runs, problems, gaps)


def _edge_words(study: Study, model: Model) -> list[str]:
    """What the edges of a model are, when they are no plain correlations."""
    if model.edges == "none" or model.edge_measure == "pearson":
        return []
    n = len(partial_set(study.config))
    return [f"Edges are partial correlations within a set of {n} regions, each pair given all the others."]


def _signs(study: Study, model: Model) -> list[str]:
    """Networks whose mean has edges that count turned round, with these edges."""
    lines = []
    for name in model.declared_networks:
        edges = networks.declared(name, study.config.connectivity.networks)
        turned = [f"{a}-{b}" for a, b, sign in edges if sign < 0]
        if turned:
            lines.append(
                f"Network {name} is the mean of sign times Fisher z over {len(edges)} edges; turned round: "
                f"{', '.join(turned)}."
            )
    return lines


def _empty(study: Study, name: str, design: Design, foreseen: Sequence[Foreseen]) -> Iterator[str]:
    """What a model asks for and cannot test, because one of its scans has no such matrix or map."""
    model = study.config.models[name]
    scans = {run for contrast in design.contrasts for run in contrast.runs}
    asked = {seed: f"map of {seed}" for seed in study.seeds(name)}
    if model.edges != "none" and model.edge_measure == "partial":
        asked[PARTIAL] = "partial edge"
    for what, words in asked.items():
        rows = [row for one in foreseen if one.run.key in scans for row in one.exclusions if row.roi == what]
        if rows:
            lacking = ", ".join(dict.fromkeys(_whose(row).split(" (")[0] for row in rows[:3]))
            yield (
                f"WILL BE EMPTY, no {words}: {len(rows)} of its {len(scans)} scans lack it "
                f"({lacking}; {rows[0].reason}: {rows[0].value}), and a test needs all rows. Ask for fewer "
                "regions in connectivity, or leave these people out."
            )


def _cohort(made: Cohort) -> list[str]:
    table: pd.DataFrame = made.table
    present = table[table["n_runs"] != "0"]
    counts = Counter(zip(present["dataset"], present["time_point"], strict=True))
    return [
        "COHORT",
        *(f"{', '.join(cell)}: {n} subjects with usable runs" for cell, n in counts.items()),
        *(f"left out: {e.reason}: sub-{e.subject} {e.value}" for e in made.exclusions),
        *made.notes,
    ]


def _resources(study: Study, foreseen: Sequence[Foreseen]) -> list[str]:
    planned = [
        resources.Planned(_absolute(study, one.run), one.plan, one.voxels)
        for one in foreseen
        if one.plan is not None and one.included
    ]
    return ["RESOURCES", *resources.describe(study, planned)]
