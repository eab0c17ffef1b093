"""`conn check --null`: false positives of the configured designs on null data, in words and as a table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from conn import paths
from conn.errors import ConfigError
from conn.nulls import MOST_FEATURES, NullCheck, check_nulls
from conn.probe_voxels import voxel_probes
from conn.probes import Probe, compile_now, edge_probes, refuse_without_first_level, unprobed_words
from conn.study import Study
from conn.tables import read_tsv, write_tsv

SETS = 200
PERMUTATIONS = 200

SLOW_FEATURES = 100
"""Features where each is computed by itself in every rearrangement; 500 would take ten minutes."""

_SUBSAMPLE = 7
"""Keeps the draw of features apart from the draws of null data."""


@dataclass(frozen=True, eq=False)
class ProbedNulls:
    """What null data said about one contrast.

    Attributes
    ----------
    probe
        The contrast.
    left_out
        Edges that somebody lacks or that do not vary.
    drawn
        Edges or voxels that were used, of those that are left.
    alpha
        Family-wise error asked for.
    checks
        One per kind of null data.
    """

    probe: Probe
    left_out: int
    drawn: int
    alpha: float
    checks: tuple[NullCheck, ...]


def check_null(study: Study, sets: int = SETS, permutations: int = PERMUTATIONS) -> str:
    """Test null data made from a study's edges and voxels, say what came out, write `check_null.tsv`.

    Parameters
    ----------
    study
        The study; the last run must have reached stage collect.
    sets, permutations
        Null data sets of each kind, and rearrangements of each of them.

    Returns
    -------
    str
        Text for a terminal.

    Raises
    ------
    ConnError
        There is no first level yet, or a model cannot be computed.
    """
    alpha, seed = study.config.inference.alpha, study.config.seed
    if 1 / (permutations + 1) > alpha:
        raise ConfigError(
            f"--permutations {permutations}: the smallest p would be {1 / (permutations + 1):.2g}, above "
            f"alpha {alpha:g}, and nothing could be significant. Ask for at least {int(np.ceil(1 / alpha))}."
        )
    found = [probed(probe, sets, permutations, alpha, seed) for probe in null_probes(study)]
    write_tsv(study.out / paths.CHECK_NULL, null_table(found, permutations, seed))
    head = [
        "NULL DATA",
        f"{sets} null data sets of each kind, {permutations} rearrangements each, alpha {alpha:g}, seed "
        f"{seed}. They hold no effect: what is significant is false.",
    ]
    parts = ["\n".join(head), *("\n".join(_words(one)) for one in found)]
    parts += filter(None, [unprobed_words(study, read_tsv(study.out / paths.RUNS), lambda *_: "")])
    return "\n\n".join([*parts, f"table: {study.config.out}/{paths.CHECK_NULL.as_posix()}"])


def null_probes(study: Study) -> Iterator[Probe]:
    """Edges of every contrast, then voxels; edges only stand in where a model tests maps and there are none.

    Raises
    ------
    ConnError
        See `conn.probes.probes`.
    """
    refuse_without_first_level(study)
    table = read_tsv(study.out / paths.RUNS)
    for name, model in study.config.models.items():
        design = compile_now(study, name, table)
        voxels = list(voxel_probes(study, design, MOST_FEATURES))
        if model.edges != "none" or not voxels:
            yield from edge_probes(study, design)
        yield from voxels


def most_features(probe: Probe) -> int:
    """Features of a null data set at most: fewer where each has to be computed by itself."""
    rows, beside = probe.rows, probe.covariate is not None
    by_itself = rows.variances is not None and (beside or rows.contrast.ndim == 2)
    by_itself = by_itself or (rows.own_variances and beside)
    return SLOW_FEATURES if by_itself or probe.data.ndim == 3 else MOST_FEATURES


def probed(probe: Probe, sets: int, permutations: int, alpha: float, seed: int) -> ProbedNulls:
    """Null data of one contrast, of at most 500 of its edges or voxels."""
    there, most = np.flatnonzero(probe.there), most_features(probe)
    if there.size > most:
        rng = np.random.default_rng([seed, _SUBSAMPLE])
        chosen = np.sort(rng.choice(there, most, replace=False))
    else:
        chosen = there
    checks: tuple[NullCheck, ...] = ()
    if chosen.size:
        own = None if probe.covariate is None else probe.covariate[:, chosen]
        settings = {"sets": sets, "permutations": permutations, "seed": seed}
        checks = check_nulls(probe.data[..., chosen], probe.rows, covariate=own, alpha=alpha, **settings)
    return ProbedNulls(probe, probe.data.shape[-1] - there.size, chosen.size, alpha, checks)


def verdict(check: NullCheck) -> str:
    """``impossible``, ``liberal``, ``unclear`` (high, as without a fault) or ``fine``."""
    if check.impossible:
        return "impossible"
    if check.liberal:
        return "liberal"
    return "unclear" if check.too_high else "fine"


def _words(found: ProbedNulls) -> Iterator[str]:
    probe = found.probe
    yield f"{probe.title}; {_used(found)}"
    if probe.stands_in and not probe.maps:
        yield probe.stands_in
    if probe.smallest_p > found.alpha:
        yield (
            "  Nothing can be significant here, in null data neither: the smallest p is "
            f"{probe.smallest_p:.2g}."
        )
    if not found.checks:
        yield f"  Nothing can be tested: every {probe.kind} is missing in somebody."
    for check in found.checks:
        yield from _check_words(check)


def _used(found: ProbedNulls) -> str:
    probe, total = found.probe, found.probe.data.shape[-1]
    if probe.maps:
        maps = f"{probe.maps} seed maps" if probe.maps > 1 else "one seed map"
        return f"{found.drawn} voxels of {maps}, drawn with the seed"
    lost = f"; {found.left_out} that somebody lacks are left out" if found.left_out else ""
    if found.drawn + found.left_out == total:
        return f"{found.drawn} edges{lost}"
    return f"{found.drawn} of {total} edges, drawn with the seed{lost}"


def _check_words(check: NullCheck) -> Iterator[str]:
    if check.impossible:
        yield f"  {check.method}: not possible, {check.impossible}."
        return
    yield (
        f"  {check.method}: {check.false} of {check.sets} sets with a false positive, {_percent(check.rate)} "
        f"[{_percent(check.low)} to {_percent(check.high)}]; single tests {_percent(check.uncorrected)}"
    )
    yield f"    probes {check.assumption}."
    if check.references:
        low, middle, high = np.quantile(check.references, [0, 0.5, 1])
        yield (
            f"    The same rows rearranged, so that it holds ({len(check.references)} times): "
            f"{_percent(low)} to {_percent(high)}, median {_percent(middle)}."
        )
    yield f"    {_judgement(check)}"


def _judgement(check: NullCheck) -> str:
    kind = verdict(check)
    if kind == "liberal":
        beside = " and above all rearrangements of the same rows" if check.references else ""
        return (
            f"WARNING: {_percent(check.rate)} is above {_percent(check.limit)}{beside}: what this assumption "
            "should guarantee does not hold here. Significant results of this contrast are less sure than "
            "p_fwe says."
        )
    if kind == "unclear":
        return f"NOTE: {_percent(check.rate)} is above {_percent(check.limit)}, {_why_unclear(check)}."
    return f"No sign against it (warned above {_percent(check.limit)})."


def _why_unclear(check: NullCheck) -> str:
    if check.rate <= max(check.references, default=0.0):
        return "but so are the same rows when the assumption is made to hold: so few people cannot tell"
    return f"but the interval still holds {_percent(check.alpha)}; --sets {5 * check.sets} would tell"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def null_table(found: list[ProbedNulls], permutations: int, seed: int) -> pd.DataFrame:
    """`check_null.tsv`: one row per contrast and kind of null data."""
    rows = [
        {
            "model": one.probe.model,
            "contrast": one.probe.contrast.name,
            "method": check.method,
            "verdict": verdict(check),
            "n": one.probe.contrast.n,
            "edges": check.features,
            "alpha": check.alpha,
            "sets": check.sets,
            "permutations": permutations,
            "false": check.false,
            "rate": check.rate,
            "rate_low": check.low,
            "rate_high": check.high,
            "rate_uncorrected": check.uncorrected,
            "reference_median": float(np.median(check.references)) if check.references else None,
            "reference_highest": max(check.references, default=None),
            "seed": seed,
            "probes": check.assumption,
            "kind": one.probe.kind,
            "impossible": check.impossible or None,
        }
        for one in found
        for check in one.checks
    ]
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


COLUMNS = (
    "model",
    "contrast",
    "method",
    "verdict",
    "n",
    "edges",
    "alpha",
    "sets",
    "permutations",
    "false",
    "rate",
    "rate_low",
    "rate_high",
    "rate_uncorrected",
    "reference_median",
    "reference_highest",
    "seed",
    "probes",
    "kind",
    "impossible",
)
"""Columns of `check_null.tsv`."""
