"""What methods, limits and references say of mediation, from what ran."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from conn.report.contract import Outputs
from conn.report.mediation_results import MediationResult, results
from conn.report.words import count, listed


def ran(outputs: Outputs) -> list[MediationResult]:
    """Analyses that have results."""
    return list(results(outputs.out, outputs.config))


def methods(outputs: Outputs) -> Iterable[str]:
    """Sentences of the methods text, one analysis after the other."""
    for result in ran(outputs):
        yield from _one(result)


def _one(result: MediationResult) -> Iterable[str]:
    record, settings = result.record, result.settings
    design = "crossover" if settings.crossover else "two arms"
    chance = "randomised" if settings.randomised else "not randomised"
    yield (
        f"Mediation {result.name} ({design}, {chance}, n = {record['n']}): {record['equations'][0]}; "
        f"{record['equations'][1]}. {record['exchange'].removesuffix('.')} (Freedman and Lane 1983; Winkler "
        "et al. 2014). How strongly the errors of both would have to be correlated for b to vanish is "
        "rho_zero (Imai et al. 2010)."
    )
    families = [_family(one) for one in record["families"]]
    if families:
        yield (
            f"The p of a mediated effect is the larger of those of a and b; p_fwe over {listed(families)} "
            "(intersection-union, MacKinnon et al. 2002)."
        )
    if len(record["holm"]) > 1:
        kinds = count(len(record["holm"]), "family", "families")
        yield f"p_fwe holds within one of its {kinds}; p_holm goes over all of them (Holm 1979)."
    draws = record["bootstrap"]["draws"]
    yield (
        f"Intervals of a·b are percentiles of {draws:,} bootstrap samples of people within levels"
        f"{' and strata' if settings.strata else ''}, with levels widened for small samples (Hesterberg "
        "2015); they select nothing."
    )
    if settings.together:
        yield f"{count(len(settings.together), 'edge')} entered one model together (Preacher and Hayes 2008)."
    if settings.interaction:
        yield "A further model lets b differ between the arms."
    if settings.crossover:
        yield "The crossover follows Montoya and Hayes (2017)."


def has_several_families(outputs: Outputs) -> bool:
    """Whether Holm's procedure had anything to do in a mediation analysis."""
    return any(len(result.record["holm"]) > 1 for result in ran(outputs))


def _family(family: Any) -> str:
    noun = "voxel" if family["kind"] == "seeds" else str(family["kind"]).removesuffix("s")
    return count(int(family["features"]), noun)


def limits(outputs: Outputs) -> Iterable[str]:
    """What mediation cannot tell."""
    found = ran(outputs)
    if found:
        yield (
            "Mediation analyses do not show what causes what: connectivity and symptoms were measured at the "
            "same time, the reverse model fits the same data, and a cause of both need not have been "
            "measured."
        )
    chosen = [result.name for result in found if not result.settings.randomised]
    if chosen:
        yield f"In the mediation analyses {listed(chosen)}, not even the total effect is one of treatment."
