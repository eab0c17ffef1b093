"""Stage reliability: how precisely edges are measured, from halves of runs and from repeated sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import paths
from conn.clinic.agreement import FEWEST, agreement
from conn.clinic.halves import FEWEST as FEWEST_HALVES
from conn.clinic.halves import half_z, split_half
from conn.cohort import Person
from conn.config.model import Clinical, CombineRuns
from conn.config.reliability import Reliability
from conn.errors import DesignError, InputError
from conn.files import read_json, write_json
from conn.stages.enrolment import Asked, Enrolled, Lost, enrol
from conn.stages.features import Edge, Scans, edges_of, networks_of, scans, signed_places
from conn.tables import MISSING, read_tsv, to_number, write_tsv

Floats = NDArray[np.float64]
KIND = "reliability"
Wanted = Literal["all", "none"] | Sequence[Edge]

FEATURE = ("network", "roi_a", "roi_b")
AGREEMENT = (
    *("n_stable", "icc_absolute", "icc_absolute_low", "icc_absolute_high"),
    *("icc_consistent", "icc_consistent_low", "icc_consistent_high"),
    *("sem", "sem_low", "sem_high", "detectable_change", "shift"),
)
HALVES = tuple(
    f"half_{point}{part}"
    for point in ("before", "after", "change")
    for part in ("_n", "", "_low", "_high", "_r", "_shared")
)
CHANGE = ("sem_change", "sem_source", "sd_change", "n_change", "reliability_change")
LACKING = ("n_lacking",)
COLUMNS = (*FEATURE, *AGREEMENT, *HALVES, *CHANGE, *LACKING)
"""Of the table."""


def reliability(
    out: Path,
    name: str,
    asked: Reliability,
    clinical: Clinical,
    edges: Wanted,
    networks: Mapping[str, Sequence[Sequence[str | int]]],
    *,
    combine_runs: CombineRuns,
    alpha: float = 0.05,
) -> None:
    """Compare halves of runs and sessions of untreated people, and write table and summary.

    Parameters
    ----------
    out
        Output folder.
    name
        Of the analysis.
    asked
        Its options.
    clinical
        Kinds of variables.
    edges
        Pairs of regions, ``all`` or ``none``.
    networks
        Edges of each network.
    combine_runs
        What is taken of several runs of one time point.
    alpha
        Intervals have coverage 1 - alpha.

    Raises
    ------
    DesignError
        Too few people for anything that was asked for.
    """
    from_scans = scans(out, f"reliability.{name}", combine_runs)
    points = [asked.before, *([asked.after] if asked.after is not None else [])]
    enrolled = enrolled_in(from_scans, asked, clinical)
    tables, told = [], {}
    for kind in ("edges", "networks"):
        labels = _labels(from_scans, enrolled, asked, edges, networks, kind)
        if not labels:
            continue
        sample = _Sample(from_scans, enrolled, asked, edges, networks, kind, points)
        table, told[kind] = _of_kind(sample, labels, alpha)
        tables.append(table)
    skipped = _skipped(from_scans.name, asked, told)
    whole = pd.DataFrame([row for table in tables for row in table.to_dict("records")])[list(COLUMNS)]
    write_tsv(out / paths.analysis(KIND, name, ".tsv"), whole)
    write_json(
        out / paths.analysis(KIND, name),
        _summary(name, asked, enrolled, told, alpha, lost_in(from_scans, enrolled, asked), skipped),
    )


def enrolled_in(from_scans: Scans, asked: Reliability, clinical: Clinical) -> Enrolled:
    """Who takes part; who lacks the second scan has halves of the first one all the same."""
    extra = () if asked.stable is None else tuple(asked.stable)
    return enrol(from_scans, clinical, Asked(asked.subset, [asked.before], categories=extra))


def lost_in(from_scans: Scans, enrolled: Enrolled, asked: Reliability) -> tuple[Lost, ...]:
    """Who is asked for and is not there, or only with the first of two scans."""
    if asked.after is None:
        return enrolled.lost
    once = [person for person in enrolled.people if not from_scans.runs.get((person, asked.after))]
    why = f"no included run at {asked.after}" + (f", so halves of {asked.before} alone" * asked.split_half)
    return (*enrolled.lost, *((*person, why) for person in once))


def stable_in(enrolled: Enrolled, asked: Reliability) -> NDArray[np.bool_]:
    """Who was not treated in between, of shape (n,)."""
    if asked.stable is None:
        return np.zeros(len(enrolled.people), dtype=bool)
    found = np.ones(len(enrolled.people), dtype=bool)
    for name, levels in asked.stable.items():
        found &= np.isin(enrolled.text(name), levels)
    return found


def refuse_few(name: str, asked: Reliability, n: int) -> None:
    """Refuse agreement of sessions of too few people.

    Raises
    ------
    DesignError
        Fewer than agreement needs have both sessions.
    """
    if n < FEWEST:
        levels = ", ".join(f"{k}: {list(v)}" for k, v in (asked.stable or {}).items())
        raise DesignError(
            f"{name}.stable: {n} people ({levels or 'everybody'}) have both sessions; agreement "
            f"needs {FEWEST}"
        )


def few_halves(name: str, asked: Reliability, counts: Mapping[str, int]) -> list[str]:
    """What halves of runs cannot tell, because too few people have them.

    Parameters
    ----------
    name
        Of the analysis, for errors.
    asked
        Its options.
    counts
        People with both halves: ``before``, and with a second time point ``after`` and ``change``.

    Raises
    ------
    DesignError
        Nothing is left to compare.
    """
    shown = {"before": f"at {asked.before}", "after": f"at {asked.after}", "change": "of the change"}
    few = {part: n for part, n in counts.items() if n < FEWEST_HALVES}
    told = [
        f"halves of runs {shown[part]}: {n} people have them, and split-half reliability needs "
        f"{FEWEST_HALVES}"
        for part, n in few.items()
    ]
    if asked.stable is None and len(few) == len(counts):
        raise DesignError(f"{name}: {'; '.join(told)}. Nothing is left to compare")
    return told


def _labels(
    from_scans: Scans,
    enrolled: Enrolled,
    asked: Reliability,
    edges: Wanted,
    networks: Mapping[str, Sequence[Sequence[str | int]]],
    kind: str,
) -> tuple[Edge, ...]:
    if kind == "networks":
        return tuple((network, str(len(own))) for network, own in networks.items())
    if edges == "none":
        return ()
    found = edges_of(from_scans, enrolled.people, [asked.before], _all_or(edges), asked.edge_measure)
    return found.labels


def _all_or(edges: Wanted) -> Literal["all"] | Sequence[Edge]:
    return "all" if isinstance(edges, str) else edges


@dataclass(frozen=True, eq=False)
class _Sample:
    """Edges or networks of the people of an analysis."""

    scans: Scans
    enrolled: Enrolled
    asked: Reliability
    edges: Wanted
    networks: Mapping[str, Sequence[Sequence[str | int]]]
    kind: str
    points: Sequence[str]

    @property
    def people(self) -> tuple[Person, ...]:
        return self.enrolled.people

    def z(self) -> Mapping[str, Floats]:
        """Fisher z of everybody by time point, of shape (n, n_features)."""
        measure = self.asked.edge_measure
        if self.kind == "edges":
            found = edges_of(self.scans, self.people, self.points, _all_or(self.edges), measure)
        else:
            found = networks_of(self.scans, self.people, self.points, self.networks, measure)
        return {point: np.asarray(z, dtype=np.float64) for point, z in found.z.items()}

    def stable(self) -> NDArray[np.bool_]:
        """Who was not treated in between, of shape (n,)."""
        return stable_in(self.enrolled, self.asked)

    def halves(self, point: str) -> tuple[Floats, Floats, Floats]:
        """Fisher z of everybody in first and second halves, and the correlation of halves of noise."""
        series = self.scans.files(self.people, point, "_stat-mean_timeseries.tsv")
        about = self.scans.files(self.people, point, "_stat-mean_timeseries.json")
        pick = _picker(self)
        found: dict[str, tuple[Floats, Floats]] = {}
        for run, file in series.items():
            table = read_tsv(self.scans.out / file)
            values = np.array([[to_number(cell) for cell in row] for row in table.to_numpy()])
            first, second = half_z(values)
            labels = [str(column) for column in table.columns]
            found[run] = pick(first, labels), pick(second, labels)
        shared = {run: _shared(self.scans.out / file) for run, file in about.items()}
        n = len(next(iter(found.values()))[0]) if found else 0
        first_half = self.scans.mean(self.people, point, lambda run: found[run][0], n)
        second_half = self.scans.mean(self.people, point, lambda run: found[run][1], n)
        noise = self.scans.mean(self.people, point, lambda run: np.array([shared[run]]), 1)
        return np.asarray(first_half), np.asarray(second_half), np.asarray(noise[:, 0])


def _shared(path: Path) -> float:
    value = read_json(path).get("SplitHalfNoise")
    if value is None:
        raise InputError(f"{path.name}: has no SplitHalfNoise, so its halves cannot be compared; run again")
    return float(value)


def _picker(sample: _Sample) -> Callable[[Floats, Sequence[str]], Floats]:
    """From a matrix of regions to the edges, or the means of networks."""

    def edge(z: Floats, place: Mapping[str, int], pairs: Sequence[Edge]) -> Floats:
        return z[[place[a] for a, _ in pairs], [place[b] for _, b in pairs]]

    def network(z: Floats, labels: Sequence[str], edges: Sequence[Sequence[str | int]]) -> float:
        at, sign = signed_places(sample.scans, labels, edges)
        return float((sign * z[at]).mean())

    def pick(z: Floats, labels: Sequence[str]) -> Floats:
        place = {label: i for i, label in enumerate(labels)}
        if sample.kind == "networks":
            return np.array([network(z, labels, edges) for edges in sample.networks.values()])
        pairs = list(combinations(labels, 2)) if isinstance(sample.edges, str) else sample.edges
        return edge(z, place, pairs)

    return pick


def _of_kind(sample: _Sample, labels: Sequence[Edge], alpha: float) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Rows of edges or of networks, and what is to be said of them."""
    table = pd.DataFrame(index=range(len(labels)), columns=pd.Index(COLUMNS), dtype=object)
    table["network"] = [a if sample.kind == "networks" else MISSING for a, _ in labels]
    table["roi_a"] = [MISSING if sample.kind == "networks" else a for a, _ in labels]
    table["roi_b"] = [MISSING if sample.kind == "networks" else b for _, b in labels]
    z = sample.z()
    table["n_lacking"] = _lacking(sample, z)
    told: dict[str, Any] = {}
    if sample.asked.stable is not None:
        told["stable"] = _sessions(table, sample, z, alpha)
    if sample.asked.split_half:
        told["halves"] = _halves(table, sample, alpha)
    if sample.asked.after is not None:
        _change(table, sample, z)
    return table, told


def _lacking(sample: _Sample, z: Mapping[str, Floats]) -> NDArray[np.int64]:
    """People with a scan who have no value of a feature in it, of shape (n_features,)."""
    gone = np.zeros(next(iter(z.values())).shape, dtype=bool)
    for point, values in z.items():
        scanned = np.array([bool(sample.scans.runs.get((p, point))) for p in sample.people], dtype=bool)
        gone |= scanned[:, None] & ~np.isfinite(values)
    return np.asarray(gone.sum(axis=0))


def _skipped(name: str, asked: Reliability, told: Mapping[str, Any]) -> list[str]:
    """What halves cannot tell; they are of the same people for edges and networks."""
    of_kinds: list[dict[str, Any]] = list(told.values())
    found = of_kinds[0].get("halves", {}) if of_kinds else {}
    return few_halves(name, asked, {part: one["n"] for part, one in found.items()}) if found else []


def _sessions(table: pd.DataFrame, sample: _Sample, z: Mapping[str, Floats], alpha: float) -> dict[str, int]:
    """Agreement of the two sessions of people who were not treated in between."""
    both = np.stack([z[point] for point in sample.points], axis=1)[sample.stable()]
    scanned = np.asarray(np.isfinite(both).any(axis=2))
    both = both[np.asarray(scanned.all(axis=1))]
    refuse_few(sample.scans.name, sample.asked, len(both))
    found = agreement(both, alpha)
    there = np.isfinite(found.sem)
    table["n_stable"] = np.where(there, found.n, 0)
    for column, values in (
        ("icc_absolute", found.absolute),
        ("icc_absolute_low", found.absolute_low),
        ("icc_absolute_high", found.absolute_high),
        ("icc_consistent", found.consistent),
        ("icc_consistent_low", found.consistent_low),
        ("icc_consistent_high", found.consistent_high),
        ("sem", found.sem),
        ("sem_low", found.sem_low),
        ("sem_high", found.sem_high),
        ("detectable_change", found.detectable),
        ("shift", found.shift),
    ):
        table[column] = values
    table["sem_change"] = np.sqrt(2) * found.sem
    table["sem_source"] = np.where(there, "sessions", MISSING)
    return {"n": found.n}


def _halves(table: pd.DataFrame, sample: _Sample, alpha: float) -> dict[str, Any]:
    """Agreement of halves at each time point, and of their change."""
    by_point = {point: sample.halves(point) for point in sample.points}
    named = dict(zip(("before", "after"), (by_point[point] for point in sample.points), strict=False))
    if len(sample.points) == 2:
        first, second = (by_point[point] for point in sample.points)
        named["change"] = (second[0] - first[0], second[1] - first[1], (first[2] + second[2]) / 2)
    told: dict[str, Any] = {}
    for name, (first_half, second_half, noise) in named.items():
        there = np.isfinite(noise)
        told[name] = {"n": int(there.sum()), "shared": None}
        if there.sum() < FEWEST_HALVES:
            continue
        shared = float(noise[there].mean())
        found = split_half(first_half[there], second_half[there], shared, alpha)
        told[name]["shared"] = shared
        known = np.isfinite(found.r)
        table[f"half_{name}_n"] = np.where(known, found.n, 0)
        table[f"half_{name}"] = found.reliability
        table[f"half_{name}_low"], table[f"half_{name}_high"] = found.low, found.high
        table[f"half_{name}_r"], table[f"half_{name}_shared"] = found.r, shared
    return told


def _change(table: pd.DataFrame, sample: _Sample, z: Mapping[str, Floats]) -> None:
    """Reliability of the change among people who may have been treated, and the error that it has.

    Agreement of sessions comes first: it knows of what differs from day to day, which halves of a run share.
    """
    change = z[sample.points[1]] - z[sample.points[0]]
    rows = change[~sample.stable()]
    rows = rows[np.isfinite(rows).any(axis=1)]
    table["n_change"] = len(rows)
    if len(rows) < FEWEST:
        return
    sd = rows.std(axis=0, ddof=1)
    table["sd_change"] = sd
    if sample.asked.stable is None and table["half_change"].notna().any():
        halves = table["half_change"].to_numpy(dtype=float)
        table["sem_change"] = sd * np.sqrt(np.maximum(1 - halves, 0))
        table["sem_source"] = np.where(np.isfinite(halves), "halves", MISSING)
    sem = table["sem_change"].to_numpy(dtype=float)
    table["reliability_change"] = 1 - np.square(sem / np.where(sd > 0, sd, np.nan))


def _summary(
    name: str,
    asked: Reliability,
    enrolled: Enrolled,
    told: Mapping[str, Any],
    alpha: float,
    lost: Sequence[Lost],
    skipped: Sequence[str],
) -> dict[str, Any]:
    return {
        "name": name,
        "before": asked.before,
        "after": asked.after,
        "stable": None if asked.stable is None else {k: list(v) for k, v in asked.stable.items()},
        "split_half": asked.split_half,
        "declared": asked.edges != "all",
        "edge_measure": asked.edge_measure,
        "alpha": alpha,
        "n": len(enrolled.people),
        "found": dict(told),
        "lost": [list(one) for one in lost],
        "skipped": list(skipped),
    }
