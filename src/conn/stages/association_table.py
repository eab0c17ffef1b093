"""Table and summary of an association."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import paths
from conn.clinic.arm_difference import ArmDifference
from conn.clinic.association import Association as Found
from conn.clinic.attenuation import ceiling, flags, reliability_of_rest
from conn.clinic.correlations import span, without
from conn.clinic.people import People
from conn.config.association import Association
from conn.config.model import Clinical
from conn.errors import InputError
from conn.multiplicity import holm_families
from conn.stages.association_result import DIFFERENCE, EVERYBODY, Result, baseline_of, scale_reliability
from conn.stages.enrolment import Enrolled
from conn.stages.features import Edge
from conn.tables import MISSING, read_tsv, to_number

Floats = NDArray[np.float64]
COLUMNS = (
    *("scale", "network", "roi_a", "roi_b", "arm", "family", "n", "df"),
    *("r", "ci_low", "ci_high", "ci_z_low", "ci_z_high", "ci_sim_low", "ci_sim_high"),
    *("slope", "slope_se", "stat", "p", "p_fwe", "p_fdr", "p_holm", "p_fisher_z"),
    *("r_spearman", "ci_spearman_low", "ci_spearman_high", "p_spearman"),
    *("r_robust", "ci_robust_low", "ci_robust_high", "p_robust"),
    *("reliability_edge", "reliability_scale", "ceiling", "flag", "n_lacking"),
)
"""Of the table."""

SHOWN = 6
"""Pairs of scale and feature whose people are kept for the figure."""


def table(
    out: Path,
    asked: Association,
    clinical: Clinical,
    enrolled: Enrolled,
    results: Sequence[Result],
    labels: Mapping[str, Sequence[Edge]],
    alpha: float,
) -> pd.DataFrame:
    """One row for each scale, feature and set of people.

    Parameters
    ----------
    out
        Output folder, with the table of reliability.
    asked, clinical
        Options.
    enrolled
        People.
    results
        What was found.
    labels
        Features of each kind.
    alpha
        Error rate.
    """
    errors = {kind: _sem_of_change(out, asked, kind, own) for kind, own in labels.items()}
    parts = []
    for result in results:
        for scale, reference in enumerate(asked.scales):
            rows = _rows(result, scale, reference, labels[result.kind])
            if result.arm != DIFFERENCE and asked.reliability is not None:
                sem_scale = _sem_of_scale(asked, clinical, enrolled, reference)
                _add_ceiling(rows, result, scale, asked, errors[result.kind], sem_scale)
            parts.append(rows)
    whole = pd.DataFrame([row for part in parts for row in part.to_dict("records")])
    families = [whole["family"] == name for name in dict.fromkeys(whole["family"])]
    for rows, p_holm in zip(
        families, holm_families([whole.loc[rows, "p_fwe"] for rows in families]), strict=True
    ):
        whole.loc[rows, "p_holm"] = p_holm
    return whole[list(COLUMNS)]


def _rows(result: Result, scale: int, reference: str, labels: Sequence[Edge]) -> pd.DataFrame:
    found, people, row = result.of(scale)
    networks = result.kind == "networks"
    rows = pd.DataFrame(index=range(len(labels)), columns=pd.Index(COLUMNS), dtype=object)
    rows["scale"], rows["arm"], rows["family"] = reference, result.arm, result.family
    rows["network"] = [a if networks else MISSING for a, _ in labels]
    rows["roi_a"] = [MISSING if networks else a for a, _ in labels]
    rows["roi_b"] = [MISSING if networks else b for _, b in labels]
    rows["n"], rows["df"] = found.n, found.df
    values = _of_difference(found, row) if isinstance(found, ArmDifference) else _of_people(found, row)
    for column, numbers in values.items():
        rows[column] = numbers
    rows["n"] = np.where(np.isfinite(values["p"]), found.n, 0)
    rows["flag"] = MISSING
    rows["n_lacking"] = (~np.isfinite(people.connectivity)).sum(axis=0)
    return rows


def _of_people(found: Found, row: int) -> dict[str, Floats]:
    with np.errstate(invalid="ignore", divide="ignore"):
        stat = found.slope[row] / found.slope_se[row]
    return {
        "r": found.pearson.r[row],
        "ci_low": found.pearson.low[row],
        "ci_high": found.pearson.high[row],
        "ci_z_low": found.fisher_low[row],
        "ci_z_high": found.fisher_high[row],
        "ci_sim_low": found.sim_low[row],
        "ci_sim_high": found.sim_high[row],
        "slope": found.slope[row],
        "slope_se": found.slope_se[row],
        "stat": stat,
        "p": found.p[row],
        "p_fwe": found.p_fwe[row],
        "p_fdr": found.p_fdr[row],
        "r_spearman": found.spearman.r[row],
        "ci_spearman_low": found.spearman.low[row],
        "ci_spearman_high": found.spearman.high[row],
        "p_spearman": found.p_spearman[row],
        "r_robust": found.bend.r[row],
        "ci_robust_low": found.bend.low[row],
        "ci_robust_high": found.bend.high[row],
        "p_robust": found.p_bend[row],
    }


def _of_difference(found: ArmDifference, row: int) -> dict[str, Floats]:
    return {
        "r": found.r.r[row],
        "ci_low": found.r.low[row],
        "ci_high": found.r.high[row],
        "slope": found.slope[row],
        "slope_se": found.slope_se[row],
        "stat": found.stat[row],
        "p": found.p[row],
        "p_fwe": found.p_fwe[row],
        "p_fdr": found.p_fdr[row],
        "p_fisher_z": found.p_fisher[row],
    }


def _sem_of_change(out: Path, asked: Association, kind: str, labels: Sequence[Edge]) -> Floats:
    """Standard error of the change of each feature from an analysis of reliability; NaN where unknown."""
    unknown = np.full(len(labels), np.nan)
    if asked.reliability is None:
        return unknown
    path = paths.analysis("reliability", asked.reliability, ".tsv")
    rows = read_tsv(out / path)
    if "sem_change" not in rows:
        raise InputError(f"{path}: has no column sem_change; run again")
    known = {}
    for one in rows.to_dict("records"):
        key = {one["network"]} if kind == "networks" else {one["roi_a"], one["roi_b"]}
        known[frozenset(key)] = to_number(str(one["sem_change"]))
    keys = [frozenset({a}) if kind == "networks" else frozenset({a, b}) for a, b in labels]
    return np.array([known.get(key, np.nan) for key in keys])


def _sem_of_scale(asked: Association, clinical: Clinical, enrolled: Enrolled, reference: str) -> float:
    """Standard error of measurement of one score of a scale; NaN where its reliability is not given."""
    scale, _, what = reference.partition(".")
    share = scale_reliability(asked, clinical, scale)
    if share is None or what.startswith("percent_change"):
        return float("nan")
    column = enrolled.columns.get(baseline_of(reference, clinical), enrolled.columns[reference])
    scores = [float(v) for person, v in column.by_person.items() if person in set(enrolled.people)]
    return float(np.std(scores, ddof=1) * np.sqrt(1 - share.value))


def _add_ceiling(
    rows: pd.DataFrame, result: Result, scale: int, asked: Association, sem: Floats, sem_scale: float
) -> None:
    """How large a correlation can be, where the reliability of the edge is known."""
    _, people, place = result.of(scale)
    held = people.nuisance(place)
    there = people.complete
    edge = np.full(rows.shape[0], np.nan)
    own = None if people.baseline is None else people.baseline[:, there]
    # A change less b times its baseline is the later value less (1 + b) times it: errors of √2, or of 1 + b.
    after = people.connectivity[:, there] if own is None else people.connectivity[:, there] + own
    size = sem[there] if own is None else sem[there] / np.sqrt(2)
    edge[there] = reliability_of_rest(after, own, held, size)
    rows["reliability_edge"] = edge
    score = people.scores[:, [place]]
    changed = ".change" in asked.scales[scale]
    of_scale = np.full(rows.shape[0], np.nan)
    if np.isfinite(sem_scale):
        base = None if people.score_baselines is None else people.score_baselines[:, [place]]
        if base is None:
            error = sem_scale * (np.sqrt(2) if changed else 1.0)
        else:
            error, score = sem_scale, score + base if changed else score
        of_scale[:] = reliability_of_rest(score, base, people.held, error)[0]
    rows["reliability_scale"] = of_scale
    limit = ceiling(edge, np.where(np.isnan(of_scale), 1.0, of_scale))
    rows["ceiling"] = limit
    rows["flag"] = [flag or MISSING for flag in flags(rows["r"].to_numpy(dtype=float), limit)]


def summary(
    name: str,
    asked: Association,
    enrolled: Enrolled,
    results: Sequence[Result],
    labels: Mapping[str, Sequence[Edge]],
    rows: pd.DataFrame,
    skipped: Sequence[str],
    alpha: float,
) -> dict[str, Any]:
    """What the report needs beside the table: options, families, people, and those of the figure."""
    return {
        "name": name,
        "options": asked.model_dump(mode="json"),
        "alpha": alpha,
        "n": len(enrolled.people),
        "families": [_family(result, len(asked.scales)) for result in results],
        "skipped": list(skipped),
        "declared": {"edges": asked.edges != "all", "networks": True},
        "shown": _shown(asked, enrolled, results, labels, rows),
    }


def _family(result: Result, n_scales: int) -> dict[str, Any]:
    first = result.found[0]
    sets = first.permutations
    levels = result.people[0].levels
    return {
        "name": result.family,
        "kind": result.kind,
        "arm": result.arm,
        "n": [one.n for one in result.found],
        "arms": {arm: int((result.people[0].arms == arm).sum()) for arm in levels},
        "scales": n_scales,
        "joint": len(result.found) == 1,
        "tests": sum(one.n_features for one in result.found),
        "permutations": sets.n_set,
        "complete": sets.complete,
        "exact": sets.exact,
        "smallest_p": sets.smallest_p,
        "held": result.people[0].n_held,
        "critical_t": first.critical if isinstance(first, Found) else None,
        "robust": first.robust,
        "rank": first.rank if isinstance(first, ArmDifference) else 0,
    }


def _shown(
    asked: Association,
    enrolled: Enrolled,
    results: Sequence[Result],
    labels: Mapping[str, Sequence[Edge]],
    rows: pd.DataFrame,
) -> list[dict[str, Any]]:
    """People of the pairs of scale and feature with the smallest p, adjusted for what is held constant."""
    whole = [result for result in results if result.arm == EVERYBODY]
    kinds: dict[str, Result] = {result.kind: result for result in whole}
    of_all = rows[(rows["arm"] == EVERYBODY) & rows["p"].notna()]
    order = np.lexsort((-np.abs(of_all["r"].to_numpy(float)), of_all["p_fwe"].to_numpy(float)))
    shown = []
    for one in of_all.iloc[order[:SHOWN]].to_dict("records"):
        kind = "networks" if one["network"] != MISSING else "edges"
        scale = asked.scales.index(str(one["scale"]))
        pair = (one["network"], one["network"]) if kind == "networks" else (one["roi_a"], one["roi_b"])
        place = [(a, a if kind == "networks" else b) for a, b in labels[kind]].index(pair)
        _, people, row = kinds[kind].of(scale)
        x, y = adjusted(people, row, place)
        shown.append(
            {
                "scale": one["scale"],
                "network": one["network"],
                "roi_a": one["roi_a"],
                "roi_b": one["roi_b"],
                "arm": people.arms.tolist(),
                "score": np.round(x, 9).tolist(),
                "connectivity": np.round(y, 9).tolist(),
            }
        )
    return shown


def adjusted(people: People, scale: int, feature: int) -> tuple[Floats, Floats]:
    """Score and connectivity of a feature without what is held constant, but with the means of cells.

    Parameters
    ----------
    people
        Everybody.
    scale, feature
        Columns.

    Returns
    -------
    score, connectivity
        ndarrays of shape (n,).
    """
    held = people.nuisance(scale)
    if people.baseline is not None:
        held = np.column_stack([held, people.baseline[:, feature]])
    cells = held[:, : np.unique(people.cells).size]
    found = []
    for values in (people.scores[:, scale], people.connectivity[:, feature]):
        column = values[:, None]
        rest = without(span(held), column)
        found.append((rest + column - without(span(cells), column))[:, 0])
    return found[0], found[1]
