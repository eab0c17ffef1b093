"""What methods, limits and references say of replications, from what ran."""

from __future__ import annotations

from collections.abc import Iterable

from conn.report.contract import Outputs
from conn.report.replication_results import ReplicationResult, results
from conn.report.words import count, listed


def ran(outputs: Outputs) -> list[ReplicationResult]:
    """Replications that have results."""
    return list(results(outputs.out, outputs.config))


def methods(outputs: Outputs) -> Iterable[str]:
    """Sentences of the methods text."""
    found = ran(outputs)
    for result in found:
        yield from _one(result)
    if not found:
        return
    yield (
        "The common effect weights each trial by one over its squared standard error; since these are "
        "estimated, its standard error is widened and its t has the degrees of freedom of Meier (1953). "
        "Cochran's Q is tested by Welch's F (1951); the interval of I² is that of the Q profile (Viechtbauer "
        "2007)."
    )
    if any(result.most_trials > 2 for result in found):
        yield (
            "From three trials on, the variance between trials is that of Paule and Mandel (1982), with the "
            "modified interval of Hartung, Knapp, Sidik and Jonkman (Röver et al. 2015) and a prediction "
            "interval (Higgins et al. 2009)."
        )
    yield (
        "Replicability is tested by partial conjunction (Benjamini and Heller 2008): that fewer than two "
        "trials have an effect in one direction, from one-sided p of each trial's t distribution, Holm over "
        "features."
    )


def _one(result: ReplicationResult) -> Iterable[str]:
    what = "data set" if result.asked.by == "dataset" else f"value of {result.asked.by}"
    yield (
        f"Replication {result.name}: the model {result.asked.model} ({listed(result.contrasts)}) was "
        f"compiled and fitted within each {what} by itself."
    )
    for family in result.record["families"]:
        sets = (
            f"all {family['permutations']:,}"
            if family["complete"]
            else f"{family['permutations'] - 1:,} random"
        )
        yield (
            f"{family['contrast']}, {count(int(family['features']), str(family['kind']).removesuffix('s'))}: "
            "p_fwe by the largest |z| over features, where z is the sum of the trials' z weighted by the "
            f"precision that their designs promise, under {sets} combinations of rearrangements within "
            "trials (Zaykin 2011)."
        )


def limits(outputs: Outputs) -> Iterable[str]:
    """What a replication cannot tell."""
    if ran(outputs):
        yield (
            "A replication compares the trials that are there. It does not say that the effect is found "
            "elsewhere, and the weights take standard errors of small trials nearly at their word."
        )
