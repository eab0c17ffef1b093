"""`conn check --power`: the smallest effect that the configured designs find, in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from conn import paths
from conn.config.model import Formula, Model
from conn.design import DesignContrast
from conn.glm import Floats
from conn.power import POWER, Detectable, detectable, foreseen, of_outcome
from conn.probes import (
    Foreseen,
    Probe,
    Scans,
    expected_runs,
    foreseen_probes,
    has_first_level,
    probes,
    side_by_side,
    unprobed_words,
    value_weights,
)
from conn.simulate.edges import PlantedEdge
from conn.study import Study
from conn.tables import read_tsv, write_tsv

COLUMNS = (
    "model",
    "contrast",
    "kind",
    "name",
    "roi_a",
    "roi_b",
    "n",
    "df",
    "sd",
    "se",
    "mdc",
    "mdc_r",
    "mdc_fwe",
    "mdc_fwe_r",
    "family_size",
    "source",
    "unit",
)
"""Columns of `check_power.tsv`."""

_SIMULATED = PlantedEdge("", "")


@dataclass(frozen=True, eq=False)
class Needed:
    """Smallest effects of one family.

    Attributes
    ----------
    kind
        ``edge`` or ``network``.
    names
        Of its tests.
    pairs
        Their regions; empty text for networks.
    found
        Smallest effects.
    """

    kind: str
    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    found: Detectable

    @property
    def size(self) -> int:
        """Number of tests that are possible."""
        return int(np.isfinite(self.found.se).sum())


def check_power(study: Study) -> str:
    """Smallest effects found with a power of 80 %, in words; with a first level also `check_power.tsv`.

    Parameters
    ----------
    study
        The study. Without matrices of single scans the variances are those of the simulator.

    Returns
    -------
    str
        Text for a terminal.

    Raises
    ------
    ConnError
        No scan can be used, or a model cannot be computed.
    """
    alpha = study.config.inference.alpha
    head = [
        "POWER",
        f"Smallest effect that is found with a probability of {POWER:.0%}, two-sided alpha {alpha:g}; in "
        "Fisher z, and as r for an edge near r = 0 (farther off the same z is a smaller r); where a number "
        "is tested, in the unit of the heading.",
    ]
    if not has_first_level(study):
        head.append(_without_data())
        runs = expected_runs(study)
        parts = ["\n".join(_foreseen_words(one, alpha)) for one in foreseen_probes(study, runs, unforeseen)]
        parts += filter(None, [unprobed_words(study, runs, unforeseen)])
        return "\n\n".join(["\n".join(head), *parts])
    permutations, seed = study.config.inference.permutations, study.config.seed
    looked_at = [probe for probe in probes(study) if not unmeasured(probe.settings, probe.contrast)]
    found = [(probe, needed(probe, permutations, alpha, seed)) for probe in looked_at]
    head.append("Variances are those of your own rows; no effect is taken from them.")
    write_tsv(study.out / paths.CHECK_POWER, power_table(found))
    parts = ["\n".join(_words(probe, families)) for probe, families in found]
    parts += filter(None, [unprobed_words(study, read_tsv(study.out / paths.RUNS), unmeasured)])
    table = f"table: {study.config.out}/{paths.CHECK_POWER.as_posix()}"
    return "\n\n".join(["\n".join(head), *parts, table])


def unmeasured(model: Model, contrast: DesignContrast) -> str:
    """Why no single number says how large an effect of a contrast must be; empty when one does."""
    if contrast.statistic == "t" or contrast.rank == 1:
        return ""
    if isinstance(model, Formula):
        return "the smallest effect of an F of several columns is no single number; test columns one by one"
    if contrast.n_variates > 1:
        return "the courses of more than two groups differ in more ways than one number says"
    return ""


def unforeseen(model: Model, contrast: DesignContrast) -> str:
    """The same before there are data."""
    if contrast.effect_type == "outcome":
        return (
            f"the smallest slope of {contrast.per_unit} depends on how much edges vary beside it, which only "
            "matrices of single scans tell"
        )
    return unmeasured(model, contrast)


def needed(probe: Probe, permutations: int, alpha: float, seed: int) -> tuple[Needed, ...]:
    """Smallest effects of the edges of a contrast, and of networks: those declared, or within the edges."""
    several = probe.data.ndim == 3
    values = value_weights(len(probe.data)) if several else None
    asked = partial(detectable, values=values, permutations=permutations, alpha=alpha, seed=seed)

    def find(data: Floats, covariate: Floats | None) -> Detectable:
        found = asked(data, probe.rows, covariate=covariate)
        outcome = probe.contrast.effect_type == "outcome"
        return of_outcome(found, data, probe.rows, covariate) if outcome else found

    edges = find(probe.data, probe.covariate)
    names = tuple(f"{a}-{b}" for a, b in probe.edges)
    found = [Needed("edge", names, probe.edges, edges)]
    if probe.networks:
        data, covariate = side_by_side(list(probe.networks.values()))
        made = find(data, covariate)
        names = tuple(probe.networks)
        found.append(Needed("network", names, (("", ""),) * len(names), made))
    return tuple(found)


@dataclass(frozen=True)
class _Reading:
    """How a smallest effect of a contrast reads.

    Attributes
    ----------
    unit
        Of the number.
    heading
        What the effect is, where it is no plain change or difference in z.
    """

    unit: str
    heading: str

    @property
    def plain(self) -> bool:
        """Whether the number is a Fisher z, which has an r."""
        return self.unit == "z"

    def number(self, value: float) -> str:
        """A number; what is no Fisher z has its unit in the heading."""
        return f"z {value:.3g}" if self.plain else f"{value:.3g}"

    def as_r(self, value: float) -> str:
        """The r near r = 0 of a Fisher z."""
        return f", r {np.tanh(value):.2f}" if self.plain and np.isfinite(value) else ""


def reading(contrast: DesignContrast) -> _Reading:
    """How smallest effects of a contrast read: a slope is per unit of its number, and no r."""
    number = contrast.per_unit
    if contrast.effect_type == "outcome":
        unit = f"{number} per unit of z"
        return _Reading(
            unit, f"{unit}{', difference between the arms' if contrast.covariate_weights else ''}"
        )
    one = np.count_nonzero(contrast.contrast) == contrast.rank and np.max(contrast.contrast) == 1
    per = f" {'per unit of' if one else 'of'} {number}" if number else ""
    unit = f"z{per}"
    if contrast.n_variates > 1:
        what = "change" if contrast.exchange == "flips" or per else "difference of changes"
        if per:
            what = f"{unit}: {what}"
        return _Reading(unit, f"{what} between any two time points, wherever the others are")
    if contrast.statistic == "F":
        return _Reading(unit, "difference between any two groups, wherever the others are")
    if contrast.covariate_weights:
        what = f"{unit}," if per else "difference"
        return _Reading(unit, f"{what} adjusted for the baseline of the edge")
    return _Reading(unit, unit if per else "")


def _words(probe: Probe, families: Sequence[Needed]) -> Iterator[str]:
    read = reading(probe.contrast)
    yield _heading(probe, read)
    if probe.stands_in:
        yield probe.stands_in
    for family in families:
        if family.kind == "edge":
            yield from _edge_words(family, len(probe.edges), read)
        else:
            yield from _network_words(family, read)


def _heading(probe: Probe | Foreseen, read: _Reading) -> str:
    return f"{probe.title}; {read.heading}" if read.heading else probe.title


def _edge_words(family: Needed, n_edges: int, read: _Reading) -> Iterator[str]:
    found, lost = family.found, n_edges - family.size
    if not family.size:
        yield "  no edge can be tested: every edge is missing in somebody"
        return
    yield f"  an edge by itself: {_spread(found.single, read)}"
    limit = (
        f"{_statistic(found.scale)} above {found.critical:.2f}"
        if np.isfinite(found.critical)
        else "never reached"
    )
    yield f"  an edge corrected for {family.size} edges ({limit}): {_spread(found.family, read)}"
    if lost:
        yield f"  {lost} edges that somebody lacks have no number"


def _statistic(scale: str) -> str:
    return scale if scale == "F" else f"|{scale}|"


def _spread(values: Floats, read: _Reading) -> str:
    there = values[~np.isnan(values)]
    if np.isinf(there).all():
        return "no effect is large enough with so few people"
    low, middle, high = np.quantile(there, [0, 0.5, 1])
    return f"{read.number(middle)} in the median edge ({low:.3g} to {high:.3g}){read.as_r(middle)}"


def _network_words(family: Needed, read: _Reading) -> Iterator[str]:
    for i, name in enumerate(family.names):
        single, corrected = family.found.single[i], family.found.family[i]
        if np.isnan(single):
            yield f"  mean of network {name}: somebody lacks one of its edges"
            continue
        several = family.size > 1
        more = f"; corrected for {family.size} networks {read.number(corrected)}" if several else ""
        yield f"  mean of network {name}: {read.number(single)}{read.as_r(single)}{more}"


# Before the first level -------------------------------------------------------------------------------


def _without_data() -> str:
    return (
        "There are no matrices of single scans yet. Variances are those of the simulator (a person's edges "
        f"differ from the mean by an SD of {_SIMULATED.person_sd:g}, a later scan's by "
        f"{_SIMULATED.change_sd:g} more) plus the noise of the length of your scans, 1/(k - 2). Edges count "
        "as independent, which is the worst case. Say it again after conn run … --until collect."
    )


def simulated_sd(probe: Foreseen) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Standard deviation of each row by the simulator's parameters; ndarray of shape (n,).

    A person's edge is off the mean by `person_sd` in all scans, and by `change_sd` more in each later one. Of
    rows of several values it is that of the difference between two time points that varies most; with a
    baseline held constant, what the baseline does not predict.
    """
    variances = [_covariance(one, one) + one.noise for one in probe.read]
    variance = max(variances, key=lambda one: float(one.mean()))
    if probe.baseline is not None:
        shared = _covariance(probe.read[0], probe.baseline)
        variance = variance - shared**2 / (_covariance(probe.baseline, probe.baseline) + probe.baseline.noise)
    return np.asarray(np.sqrt(variance))


def _covariance(one: Scans, other: Scans) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Covariance of two values of a person, without the noise of scans."""
    person = one.weights.sum(axis=1) * other.weights.sum(axis=1)
    later = np.zeros(len(person))
    if one is other:
        later = np.square(one.weights[:, 1:]).sum(axis=1)
    return np.asarray(person * _SIMULATED.person_sd**2 + later * _SIMULATED.change_sd**2)


def _foreseen_words(probe: Foreseen, alpha: float) -> Iterator[str]:
    sd, contrast = simulated_sd(probe), probe.contrast
    own = 0 if probe.baseline is None else 1
    n_tests, n_values = max(probe.n_edges, 1), contrast.n_variates
    found = foreseen(sd, probe.rows, n_tests, n_values=n_values, own=own, alpha=alpha)
    read = reading(contrast)
    yield _heading(probe, read)
    yield f"  SD of a row {np.sqrt(np.mean(sd**2)):.3g} (median k {probe.df:.0f})"
    yield f"  an edge by itself: {read.number(found.single[0])}{read.as_r(found.single[0])}"
    yield (
        f"  an edge corrected for {probe.n_edges} edges: {read.number(found.family[0])}"
        f"{read.as_r(found.family[0])}, at most"
    )


def power_table(found: Sequence[tuple[Probe, Sequence[Needed]]]) -> pd.DataFrame:
    """`check_power.tsv`: one row per contrast and edge, then per network."""
    tables = [_table(probe, family) for probe, families in found for family in families]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=pd.Index(COLUMNS))


def _table(probe: Probe, family: Needed) -> pd.DataFrame:
    made, read = family.found, reading(probe.contrast)
    nothing = np.full(made.se.size, np.nan)
    columns = {
        "model": probe.model,
        "contrast": probe.contrast.name,
        "kind": family.kind,
        "name": family.names,
        "roi_a": [a for a, _ in family.pairs],
        "roi_b": [b for _, b in family.pairs],
        "n": probe.contrast.n,
        "df": made.df,
        "sd": made.sd,
        "se": made.se,
        "mdc": made.single,
        "mdc_r": np.tanh(made.single) if read.plain else nothing,
        "mdc_fwe": made.family,
        "mdc_fwe_r": np.tanh(made.family) if read.plain else nothing,
        "family_size": family.size,
        "source": "rows",
        "unit": read.unit,
    }
    return pd.DataFrame(columns, columns=pd.Index(COLUMNS))
