"""`conn check --power`: the smallest effect that the configured designs find, in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from conn import paths
from conn.config.model import Regression
from conn.power import POWER, Detectable, detectable, foreseen
from conn.probes import Foreseen, Probe, foreseen_probes, has_first_level, probes, unprobed_words
from conn.rois import networks
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
        "Fisher z, and as r for an edge near r = 0 (farther off the same z is a smaller r).",
    ]
    if not has_first_level(study):
        head.append(_without_data())
        parts = ["\n".join(_foreseen_words(one, alpha)) for one in foreseen_probes(study)]
        return "\n\n".join(["\n".join(head), *parts])
    permutations, seed = study.config.inference.permutations, study.config.seed
    found = [(probe, needed(probe, permutations, alpha, seed)) for probe in probes(study)]
    head.append("Variances are those of your own rows; no effect is taken from them.")
    write_tsv(study.out / paths.CHECK_POWER, power_table(found))
    parts = ["\n".join(_words(probe, families)) for probe, families in found]
    parts += filter(None, [unprobed_words(study, read_tsv(study.out / paths.RUNS))])
    table = f"table: {study.config.out}/{paths.CHECK_POWER.as_posix()}"
    return "\n\n".join(["\n".join(head), *parts, table])


def needed(probe: Probe, permutations: int, alpha: float, seed: int) -> tuple[Needed, ...]:
    """Smallest effects of the edges of a contrast, and of the networks that lie within them."""
    find = partial(detectable, permutations=permutations, alpha=alpha, seed=seed)
    edges = find(probe.data, probe.rows)
    names = tuple(f"{a}-{b}" for a, b in probe.edges)
    found = [Needed("edge", names, probe.edges, edges)]
    means = network_means(probe)
    if means:
        data = np.column_stack(list(means.values()))
        made = find(data, probe.rows)
        found.append(Needed("network", tuple(means), (("", ""),) * len(means), made))
    return tuple(found)


def network_means(probe: Probe) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Mean over the edges of each network that lies within the model; arrays of shape (n,).

    A model whose edges are a network declares it. Of the others, those count whose edges are all tested.
    """
    place = {frozenset(pair): i for i, pair in enumerate(probe.edges)}
    asked = probe.settings.edges
    names = (asked,) if isinstance(asked, str) and asked not in {"all", "none"} else networks.names()
    found = {}
    for name in names:
        pairs = [frozenset(pair) for pair in networks.edges(name)]
        if all(pair in place for pair in pairs):
            found[name] = probe.data[:, [place[pair] for pair in pairs]].mean(axis=1)
    return found


def _words(probe: Probe, families: Sequence[Needed]) -> Iterator[str]:
    yield probe.title + _unit(probe)
    if probe.stands_in:
        yield probe.stands_in
    for family in families:
        if family.kind == "edge":
            yield from _edge_words(family, len(probe.edges), isinstance(probe.settings, Regression))
        else:
            yield from _network_words(family, isinstance(probe.settings, Regression))


def _unit(probe: Probe | Foreseen) -> str:
    settings = probe.settings
    return f"; z per unit of {settings.predictor}" if isinstance(settings, Regression) else ""


def _edge_words(family: Needed, n_edges: int, slope: bool) -> Iterator[str]:
    found, lost = family.found, n_edges - family.size
    if not family.size:
        yield "  no edge can be tested: every edge is missing in somebody"
        return
    yield f"  an edge by itself: {_spread(found.single, slope)}"
    limit = f"|{found.scale}| above {found.critical:.2f}" if np.isfinite(found.critical) else "never reached"
    yield f"  an edge corrected for {family.size} edges ({limit}): {_spread(found.family, slope)}"
    if lost:
        yield f"  {lost} edges that somebody lacks have no number"


def _spread(values: np.ndarray[tuple[int], np.dtype[np.float64]], slope: bool) -> str:
    there = values[~np.isnan(values)]
    if np.isinf(there).all():
        return "no effect is large enough with so few people"
    low, middle, high = np.quantile(there, [0, 0.5, 1])
    return f"z {middle:.3g} in the median edge ({low:.3g} to {high:.3g})" + _as_r(middle, slope)


def _as_r(z: float, slope: bool) -> str:
    return "" if slope or not np.isfinite(z) else f", r {np.tanh(z):.2f}"


def _network_words(family: Needed, slope: bool) -> Iterator[str]:
    for i, name in enumerate(family.names):
        single, corrected = family.found.single[i], family.found.family[i]
        if np.isnan(single):
            yield f"  mean of network {name}: somebody lacks one of its edges"
            continue
        more = f"; corrected for {family.size} networks z {corrected:.3g}" if family.size > 1 else ""
        yield f"  mean of network {name}: z {single:.3g}{_as_r(single, slope)}{more}"


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

    A person's edge is off the mean by `person_sd` in all scans, and by `change_sd` more in the later ones.
    """
    person, change = probe.weights.sum(axis=1), probe.weights[:, 1]
    variance = (person * _SIMULATED.person_sd) ** 2 + (change * _SIMULATED.change_sd) ** 2
    return np.asarray(np.sqrt(variance + probe.noise))


def _foreseen_words(probe: Foreseen, alpha: float) -> Iterator[str]:
    sd = simulated_sd(probe)
    found = foreseen(sd, probe.rows, max(probe.n_edges, 1), alpha=alpha)
    slope = isinstance(probe.settings, Regression)
    yield probe.title + _unit(probe)
    yield f"  SD of a row {np.sqrt(np.mean(sd**2)):.3g} (median k {probe.df:.0f})"
    yield f"  an edge by itself: z {found.single[0]:.3g}{_as_r(found.single[0], slope)}"
    yield (
        f"  an edge corrected for {probe.n_edges} edges: z {found.family[0]:.3g}"
        f"{_as_r(found.family[0], slope)}, at most"
    )


def power_table(found: Sequence[tuple[Probe, Sequence[Needed]]]) -> pd.DataFrame:
    """`check_power.tsv`: one row per contrast and edge, then per network."""
    tables = [_table(probe, family) for probe, families in found for family in families]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=pd.Index(COLUMNS))


def _table(probe: Probe, family: Needed) -> pd.DataFrame:
    made, slope = family.found, isinstance(probe.settings, Regression)
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
        "mdc_r": nothing if slope else np.tanh(made.single),
        "mdc_fwe": made.family,
        "mdc_fwe_r": nothing if slope else np.tanh(made.family),
        "family_size": family.size,
        "source": "rows",
    }
    return pd.DataFrame(columns, columns=pd.Index(COLUMNS))
