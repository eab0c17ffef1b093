"""Stage replication: one model within each of several trials, and what they say together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import paths
from conn.config.model import Clinical, CombineRuns, Inference, Model
from conn.config.replication import Replication
from conn.design.within import TrialDesign, Trials, compile_within, contrasts_to_replicate, trials_of
from conn.errors import DesignError
from conn.files import write_json
from conn.lock import EXPLORATORY
from conn.stages import replication_table
from conn.stages.features import Edge
from conn.stages.inputs import files_of, matrices_of
from conn.stages.replication_fits import Chance, TrialRows, fit
from conn.stages.replication_table import Family
from conn.stages.rows import rows_of
from conn.stages.test import between, signed, united
from conn.tables import read_tsv, write_tsv

Floats = NDArray[np.floating[Any]]
KIND = "replication"
FEWEST = 2
"""Trials with a design that a replication needs."""


@dataclass(frozen=True)
class Wanted:
    """What is compared over trials.

    Attributes
    ----------
    edges
        Pairs of regions, ``all`` or ``none``.
    networks
        Edges of each network, with their signs.
    measure
        Whether an edge is a Pearson or a partial correlation.
    """

    edges: Literal["all", "none"] | Sequence[Edge]
    networks: Mapping[str, Sequence[Sequence[str | int]]]
    measure: Literal["pearson", "partial"] = "pearson"


@dataclass(frozen=True, eq=False)
class Prepared:
    """Trials with their designs, before anything is computed.

    Attributes
    ----------
    trials
        Who is in which.
    designs
        By contrast, one of each trial.
    skipped
        Contrasts that cannot be compared, with the reason.
    """

    trials: Trials
    designs: Mapping[str, Sequence[TrialDesign]]
    skipped: Mapping[str, str]

    def usable(self, contrast: str) -> list[TrialDesign]:
        """Trials that have a design."""
        return [one for one in self.designs[contrast] if one.design is not None]


def prepare(
    name: str,
    asked: Replication,
    model: Model,
    clinical: Clinical,
    inference: Inference,
    cohort: pd.DataFrame,
    runs: pd.DataFrame,
    *,
    order: Sequence[str] = (),
    combine_runs: CombineRuns = "weighted",
) -> Prepared:
    """Tell trials apart and compile the design of every contrast in each of them.

    Parameters
    ----------
    name, asked
        The analysis.
    model, clinical, inference
        Settings of its model, of scores and variables, of tests.
    cohort, runs
        `cohort.tsv` and `runs.tsv`.
    order
        Data sets as configured, which come in this order.
    combine_runs
        What is taken of several runs of one time point.

    Raises
    ------
    ConfigError, DesignError
        There are no two trials in which any contrast can be fitted, and why.
    """
    key = f"{KIND}.{name}"
    trials = trials_of(asked.by, asked.trials, cohort, clinical, key=key, order=order)
    designs, skipped = {}, {}
    for contrast in contrasts_to_replicate(asked.contrasts, model, clinical, key):
        made = compile_within(
            trials, contrast, asked.model, model, clinical, cohort, runs, inference, combine_runs
        )
        designs[contrast] = made
        if sum(one.design is not None for one in made) < FEWEST:
            told = "; ".join(f"{one.trial}: {one.reason.rstrip('.')}" for one in made if one.reason)
            skipped[contrast] = f"fewer than two trials have a design. {told}"
    if len(skipped) == len(designs):
        raise DesignError(f"{key}: {'. '.join(f'{one}: {why}' for one, why in skipped.items())}")
    return Prepared(trials, designs, skipped)


def trial_words(one: TrialDesign) -> str:
    """A trial before anything is computed: how many people, what dropped out, or why it is left out."""
    if one.design is None:
        return f"{one.trial}: left out: {one.reason}"
    contrast = one.contrast
    groups = Counter(contrast.row_levels)
    told = ", ".join(f"{level} {groups[level]}" for level in contrast.levels)
    text = f"{one.trial}: n = {contrast.n}{f' ({told})' if told else ''}"
    if one.constant:
        text += f"; the same in everybody, and so not in its design: {', '.join(one.constant)}"
    return text + (f"; {len(contrast.lost)} lost" if contrast.lost else "")


def replicate(
    out: Path,
    name: str,
    asked: Replication,
    model: Model,
    clinical: Clinical,
    inference: Inference,
    wanted: Wanted,
    *,
    seed: int,
    order: Sequence[str] = (),
    combine_runs: CombineRuns = "weighted",
    status: str = EXPLORATORY,
) -> None:
    """Fit a model within each trial, put the trials together, and write tables and summary.

    Parameters
    ----------
    out
        Output folder, with `cohort.tsv`, `runs.tsv` and the first level's results.
    name, asked, model, clinical, inference, order, combine_runs
        See `prepare`.
    wanted
        Edges and networks.
    seed
        Of the rearrangements.
    status
        What the lock says of it, see `conn.lock.label`.

    Raises
    ------
    ConfigError, DesignError
        See `prepare`.
    """
    cohort, runs = read_tsv(out / paths.COHORT), read_tsv(out / paths.RUNS)
    prepared = prepare(
        name, asked, model, clinical, inference, cohort, runs, order=order, combine_runs=combine_runs
    )
    chance = Chance(inference.permutations, seed, inference.alpha, inference.min_share)
    families: list[Family] = []
    for contrast in prepared.designs:
        if contrast not in prepared.skipped:
            families += _families(out, contrast, prepared.usable(contrast), wanted, chance)
    pooled, trials = replication_table.tables(families, inference.alpha)
    write_tsv(out / paths.analysis(KIND, f"{name}_trials", ".tsv"), trials.assign(status=status))
    write_tsv(out / paths.analysis(KIND, name, ".tsv"), pooled.assign(status=status))
    record = replication_table.summary(
        name, asked, prepared.trials, prepared.designs, prepared.skipped, families, inference.alpha
    )
    write_json(out / paths.analysis(KIND, name), record | {"status": status})


def _families(
    out: Path, contrast: str, usable: Sequence[TrialDesign], wanted: Wanted, chance: Chance
) -> list[Family]:
    """Edges and networks of a contrast, each tested as a family."""
    loaded = [_matrices(out, one, wanted.measure) for one in usable]
    names = [one.trial for one in usable]
    found = []
    if wanted.edges != "none":
        regions = loaded[0][0]
        every = list(combinations(regions, 2))
        pairs = every if isinstance(wanted.edges, str) else [(str(a), str(b)) for a, b in wanted.edges]
        trials = [
            _rows(one, {run: between(z, labels, pairs) for run, z in matrices.items()}, len(pairs))
            for one, (labels, matrices) in zip(usable, loaded, strict=True)
        ]
        found.append(Family(contrast, "edges", tuple(pairs), names, fit(trials, chance)))
    if wanted.networks:
        members = [[signed(edge) for edge in edges] for edges in wanted.networks.values()]
        trials = [
            _rows(
                one,
                {run: np.array([united(z, labels, m) for m in members]) for run, z in matrices.items()},
                len(members),
            )
            for one, (labels, matrices) in zip(usable, loaded, strict=True)
        ]
        labels = tuple((network, str(len(edges))) for network, edges in wanted.networks.items())
        found.append(Family(contrast, "networks", labels, names, fit(trials, chance)))
    return found


def _matrices(out: Path, one: TrialDesign, measure: str) -> tuple[list[str], dict[str, Floats]]:
    assert one.design is not None
    return matrices_of(out, files_of(out, one.design, paths.relmat_ending(measure)))


def _rows(one: TrialDesign, values: Mapping[str, Floats], n_features: int) -> TrialRows:
    return TrialRows(one.contrast, rows_of(one.contrast, values.__getitem__, n_features))
