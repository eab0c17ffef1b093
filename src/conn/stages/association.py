"""Stage association: change of connectivity against scores, and what is written of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from conn import paths
from conn.clinic.arm_difference import ArmDifference, differ
from conn.clinic.association import Association as Found
from conn.clinic.association import associate, each_scale
from conn.clinic.people import People
from conn.config.association import Association
from conn.config.model import Clinical, CombineRuns
from conn.errors import DesignError
from conn.files import write_json
from conn.lock import EXPLORATORY
from conn.stages import association_table
from conn.stages.association_result import (
    DIFFERENCE,
    EVERYBODY,
    Result,
    baseline_of,
    needed,
    scale_reliability,
)
from conn.stages.enrolment import Asked, Enrolled, Lost, covariates, enrol
from conn.stages.features import Edge, Features, Scans, edges_of, networks_of, scans
from conn.tables import write_tsv

Floats = NDArray[np.float64]
KIND = "association"


def association(
    out: Path,
    name: str,
    asked: Association,
    clinical: Clinical,
    edges: Literal["all", "none"] | Sequence[Edge],
    networks: Mapping[str, Sequence[Sequence[str | int]]],
    *,
    combine_runs: CombineRuns,
    permutations: int,
    seed: int,
    alpha: float = 0.05,
    robust_slopes: bool = True,
    status: str = EXPLORATORY,
) -> None:
    """Correlate, and write table and summary.

    Parameters
    ----------
    out
        Output folder.
    name
        Of the analysis.
    asked
        Its options.
    clinical
        Scales and variables.
    edges
        Pairs of regions, ``all`` or ``none``.
    networks
        Edges of each network.
    combine_runs
        What is taken of several runs of one time point.
    permutations
        Number of rearrangements.
    seed
        Of rearrangements and resamples.
    alpha
        Family-wise error; intervals have coverage 1 - alpha.
    robust_slopes
        See `conn.config.model.Inference.robust_slopes`.
    status
        What the lock says of it, see `conn.lock.label`.

    Raises
    ------
    DesignError
        Nothing could be correlated; the reasons are told.
    """
    from_scans = scans(out, f"associations.{name}", combine_runs)
    enrolled = enrolled_in(from_scans, asked, clinical)
    settings = {
        "permutations": permutations,
        "seed": seed,
        "resamples": asked.resamples,
        "alpha": alpha,
        "robust": robust_slopes,
    }
    results, skipped = [], []
    labels: dict[str, tuple[Edge, ...]] = {}
    for kind in ("edges", "networks"):
        features = _features(from_scans, enrolled, asked, edges, networks, kind)
        if features is None:
            continue
        labels[kind] = features.labels
        made, told = _results(kind, features, enrolled, asked, clinical, settings)
        results += made
        skipped += told
    if not results:
        raise DesignError(f"{from_scans.name}: nothing could be correlated. {'; '.join(skipped)}")
    table = association_table.table(out, asked, clinical, enrolled, results, labels, alpha)
    write_tsv(out / paths.analysis(KIND, name, ".tsv"), table.assign(status=status))
    summary = association_table.summary(name, asked, enrolled, results, labels, table, skipped, alpha)
    lost = [list(one) for one in lost_in(enrolled, asked, clinical)]
    used = {scale: scale_reliability(asked, clinical, scale) for scale in asked.scale_reliability}
    sources = {scale: asdict(one) for scale, one in used.items() if one is not None}
    more = {"lost": lost, "scale_reliability": sources, "status": status}
    write_json(out / paths.analysis(KIND, name), summary | more)


def enrolled_in(from_scans: Scans, asked: Association, clinical: Clinical) -> Enrolled:
    """Who takes part, by the scans that there are.

    Raises
    ------
    ConfigError
        A reference means nothing; a category is a number.
    DesignError
        Nobody takes part.
    """
    enrolled = enrol(from_scans, clinical, asked_of(asked, clinical))
    if not enrolled.people:
        counts = Counter(why for *_, why in enrolled.lost)
        reasons = "; ".join(f"{why}: {n}" for why, n in counts.most_common())
        none = "subset and levels leave nobody to ask for"
        raise DesignError(f"{from_scans.name}: nobody has all that is asked for ({reasons or none})")
    return enrolled


def lost_in(enrolled: Enrolled, asked: Association, clinical: Clinical) -> tuple[Lost, ...]:
    """Who is asked for and is not there; with people of their own for each scale, also who lacks a scale."""
    lost = list(enrolled.lost)
    for one in asked.scales if asked.people == "each" else ():
        for name in needed(asked, clinical, one):
            there = enrolled.having([name])
            gone = [person for person, has in zip(enrolled.people, there, strict=True) if not has]
            lost += [(*person, f"{name} missing, so not with {one}") for person in gone]
    return tuple(lost)


def asked_of(asked: Association, clinical: Clinical) -> Asked:
    """What people of an association must have."""
    scores = [name for one in asked.scales for name in needed(asked, clinical, one)]
    common = asked.people == "common"
    return Asked(
        asked.subset,
        [asked.before, asked.after],
        [*([asked.arm] if asked.arm is not None else []), *asked.strata],
        asked.levels,
        [*asked.covariates, *(scores if common else [])],
        asked.before,
        asked.after,
        optional=[*([] if common else scores), *_baselines(asked, clinical)],
    )


def _baselines(asked: Association, clinical: Clinical) -> list[str]:
    """Baseline scores whose spread says how large the error of a scale is."""
    scales = [one for one in asked.scales if one.partition(".")[0] in asked.scale_reliability]
    return [baseline_of(one, clinical) for one in scales] if clinical.baseline is not None else []


def _features(
    from_scans: Scans,
    enrolled: Enrolled,
    asked: Association,
    edges: Literal["all", "none"] | Sequence[Edge],
    networks: Mapping[str, Sequence[Sequence[str | int]]],
    kind: str,
) -> Features | None:
    """Edges or networks of everybody, or None when none are asked for."""
    points, measure = [asked.before, asked.after], asked.edge_measure
    if kind == "networks":
        return networks_of(from_scans, enrolled.people, points, networks, measure) if networks else None
    if edges == "none":
        return None
    wanted: Literal["all"] | Sequence[Edge] = "all" if isinstance(edges, str) else edges
    return edges_of(from_scans, enrolled.people, points, wanted, measure)


def people_of(
    features: Features, enrolled: Enrolled, asked: Association, clinical: Clinical, scales: Sequence[str]
) -> People:
    """Connectivity and scores of those who have some scales.

    Parameters
    ----------
    features
        Of everybody who is enrolled.
    enrolled
        Who they are.
    asked
        Options.
    clinical
        Scales.
    scales
        References.
    """
    names = [name for one in scales for name in needed(asked, clinical, one)]
    rows = enrolled.having(names)
    own = enrolled.of(rows)
    n = len(own.people)
    before, after = (np.asarray(features.z[p], dtype=np.float64)[rows] for p in (asked.before, asked.after))
    arms = own.text(asked.arm) if asked.arm is not None else np.full(n, EVERYBODY)
    strata = [own.text(name).tolist() for name in asked.strata]
    baselines = [own.values(baseline_of(one, clinical)) for one in scales] if asked.adjusted else None
    return People(
        connectivity=after - before,
        scores=np.column_stack([own.values(one) for one in scales]),
        arms=arms,
        levels=tuple(level for level in asked.levels or (EVERYBODY,) if (arms == level).any()),
        covariates=covariates(own, asked.covariates),
        strata=np.array([" ".join(parts) for parts in zip(*strata, strict=True)] or [""] * n, dtype=str),
        baseline=before if asked.adjusted else None,
        score_baselines=None if baselines is None else np.column_stack(baselines),
    )


def _results(
    kind: Literal["edges", "networks"],
    features: Features,
    enrolled: Enrolled,
    asked: Association,
    clinical: Clinical,
    settings: Mapping[str, Any],
) -> tuple[list[Result], list[str]]:
    """What was found in each set of people; and what could not be done."""
    made: list[Result] = []
    skipped: list[str] = []
    for arm, own in people_sets(features, enrolled, asked, clinical):
        try:
            made.append(Result(kind, arm, _found(arm, own, settings), tuple(own)))
        except DesignError as error:
            skipped.append(f"{kind}, {arm}: {error}")
    return made, skipped


def people_sets(
    features: Features, enrolled: Enrolled, asked: Association, clinical: Clinical
) -> Iterator[tuple[str, list[People]]]:
    """Each arm by itself, everybody, and everybody for the difference between arms.

    Parameters
    ----------
    features, enrolled, asked, clinical
        See `people_of`.

    Yields
    ------
    str, list of People
        Name of the set; its people, once for all scales or once for each.
    """
    groups = [asked.scales] if asked.people == "common" else [(one,) for one in asked.scales]
    everybody = [people_of(features, enrolled, asked, clinical, scales) for scales in groups]
    several = len(asked.levels) > 1
    for arm in (*asked.levels, EVERYBODY, *((DIFFERENCE,) if several else ())):
        yield arm, [one.of(one.arms == arm) if arm in asked.levels else one for one in everybody]


def _found(
    arm: str, people: Sequence[People], settings: Mapping[str, Any]
) -> tuple[Found | ArmDifference, ...]:
    if arm == DIFFERENCE:
        return tuple(differ(one, **settings, divisor=len(people)) for one in people)
    if len(people) == 1:
        return (associate(people[0], **settings),)
    return tuple(each_scale(list(people), **settings))
