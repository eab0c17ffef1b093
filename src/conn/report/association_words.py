"""Associations and reliability in the methods text."""

from __future__ import annotations

from collections.abc import Iterator

from conn.config.association import Association
from conn.config.reliability import Reliability
from conn.report.contract import Outputs
from conn.report.words import listed

_TESTED = (
    "Residuals of the change of connectivity changed places within arms and strata, the same ones for all "
    "scales and features, and the largest |t| of a family gave p_fwe (Freedman and Lane 1983; Winkler et al. "
    "2014); p_holm is Holm's procedure (Holm 1979) over the families of an analysis, p_fdr that of Benjamini "
    "and Hochberg (1995). Pearson's r was primary; correlations of ranks and percentage bend correlations "
    "(Wilcox 1994) stand beside it."
)
_ROBUST = (
    "t is a slope over its heteroscedasticity-consistent standard error (HC3, MacKinnon and White 1985), so "
    "that people with extreme scores may vary more; permuting such a statistic keeps its error in large "
    "samples (DiCiccio and Romano 2017)."
)
_PLAIN = "t is a slope over its standard error with one error variance for all people."
_CEILING = (
    "The ceiling of a correlation is the root of the product of the reliabilities of both variables "
    "(Spearman 1904)"
)


def methods(outputs: Outputs) -> Iterator[str]:
    """Sentences on every association that was asked for."""
    asked = outputs.config.associations
    for name, one in asked.items():
        yield _one(name, one)
    if not asked:
        return
    yield _TESTED
    yield _ROBUST if has_robust_slopes(outputs) else _PLAIN
    if has_intervals(outputs):
        yield (
            "Intervals of r and of its difference between arms are bias-corrected and accelerated (BCa, "
            "Efron 1987), of people resampled within arms."
        )
    if any(one.arm is not None for one in asked.values()):
        yield (
            "Arms were compared by their slopes, which changed places as residuals of the common slope; the "
            "difference of r stands beside them."
        )
    if has_robust_slopes(outputs) and any(len(one.levels) > 2 for one in asked.values()):
        yield "More than two arms were compared in pairs, and the largest |t| of all pairs counted."
    if has_ceiling(outputs):
        yield f"{_CEILING}{_scales(outputs)}."


def _one(name: str, asked: Association) -> str:
    held = [*asked.covariates, *(["the baselines of scale and feature"] if asked.adjusted else [])]
    parts = [
        f"{name}: the change of connectivity from {asked.before} to {asked.after} was correlated with "
        f"{listed(list(asked.scales))}"
    ]
    parts += [f"holding {listed(held)} constant"] if held else []
    parts += [f"within {listed(list(asked.levels))} and over all of them"] if asked.levels else []
    parts += [f"in strata of {listed(list(asked.strata))}"] if asked.strata else []
    people = (
        "in people with all scales" if asked.people == "common" else "each scale in the people who have it"
    )
    parts += [people] if len(asked.scales) > 1 else []
    return f"{', '.join(parts)}."


def _scales(outputs: Outputs) -> str:
    """Scales whose reliability was not measured here; sources stand with the results."""
    named = {scale for one in outputs.config.associations.values() for scale in one.scale_reliability}
    if not named:
        return ", with scales counted as free of error"
    return f", those of {listed(sorted(named))} from elsewhere (sources stand with the results)"


def has_intervals(outputs: Outputs) -> bool:
    """Whether people were resampled."""
    return any(one.resamples for one in outputs.config.associations.values())


def has_robust_slopes(outputs: Outputs) -> bool:
    """Whether a slope of an association has an error variance of each person."""
    return bool(outputs.config.associations) and outputs.config.inference.robust_slopes


def has_ceiling(outputs: Outputs) -> bool:
    """Whether any association has a ceiling."""
    return any(one.reliability is not None for one in outputs.config.associations.values())


def reliability_methods(outputs: Outputs) -> Iterator[str]:
    """Sentences on every analysis of reliability that was asked for."""
    for name, one in outputs.config.reliability.items():
        yield f"In {name} were compared: {'; and '.join(_compared(one))}."


def _compared(asked: Reliability) -> Iterator[str]:
    if asked.stable is not None:
        yield (
            f"sessions at {asked.before} and {asked.after} of people who were not treated in between, by "
            "intraclass correlations ICC(2,1) and ICC(3,1) (Shrout and Fleiss 1979, intervals of McGraw and "
            "Wong 1996) with their standard error of measurement (Weir 2005)"
        )
    if asked.split_half:
        yield (
            "halves of runs, across people, stepped up to whole runs (Spearman 1910; Brown 1910) after the "
            "correlation that cleaning alone gives halves of white noise was taken off"
        )


def limits(outputs: Outputs) -> Iterator[str]:
    """What associations cannot tell."""
    asked = outputs.config.associations
    if not asked:
        return
    yield (
        "Associations of change with change do not show what causes what: neither connectivity nor symptoms "
        "were assigned, and both were measured at the same times."
    )
    if any(not one.confirmatory for one in asked.values()):
        yield (
            "Associations that are not marked confirmatory suggest, and need confirmation in other people; a "
            "correlation that was picked because it is large is larger than it will be there."
        )
