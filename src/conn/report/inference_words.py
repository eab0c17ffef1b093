"""How contrasts were tested, in sentences for the methods text, from what ran."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import numpy as np

from conn.config.contrasts import continuous
from conn.config.model import Crossover, EdgeEnhancement, ParallelArms
from conn.report.context import any_finite
from conn.report.contract import ContrastResult, Outputs
from conn.report.words import count, humanised, listed


def statistic_words(contrast: ContrastResult) -> str:
    """Which statistic a contrast is tested by."""
    rows, unequal = contrast.rows, _unequal(contrast)
    if rows.n_variates > 1 and unequal:
        return "Johansen's F, with a covariance for each group"
    if rows.n_variates > 1:
        return "Wilks' lambda as an F" if rows.rank > 1 else "Hotelling's T² as an F"
    if contrast.is_f:
        what = "G (an F with a variance for each group)" if unequal else "F"
        return f"{what} of {count(rows.rank, 'combination')} of coefficients"
    if rows.own_variances:
        return "t over a robust standard error (HC3)"
    return "Aspin-Welch t" if unequal else "t"


def _unequal(contrast: ContrastResult) -> bool:
    return bool(np.ptp(contrast.rows.variance_groups) > 0)


def sentences(outputs: Outputs) -> list[str]:
    """What is special about the tests of this study: several values, several groups, baselines, order."""
    return [
        *_missing(outputs),
        *_several_points(outputs),
        *_several_seeds(outputs),
        *_several_groups(outputs),
        *_slopes(outputs),
        *_arms(outputs),
        *_crossover(outputs),
        *_scores(outputs),
        *_outcome(outputs),
        *_sensitivity(outputs),
        *_networks(outputs),
        *_further(outputs),
    ]


def _missing(outputs: Outputs) -> Iterator[str]:
    share = outputs.config.inference.min_share
    if share < 1 and outputs.contrasts():
        yield (
            f"Voxels and edges were tested where at least {100 * share:g} % of the rows have a value, and at "
            "least "
            "three in every cell; rows without a value moved with the others and were left out after each "
            "rearrangement, and statistics were brought to z by their own degrees of freedom."
        )


def _several_seeds(outputs: Outputs) -> Iterator[str]:
    if any(c.compared for c in outputs.contrasts()):
        yield (
            "Whether an effect differs between the maps of several seeds was tested by the F of their "
            "differences "
            "within people (Hotelling 1931), the seeds of a person as one row of several values."
        )


def _several_points(outputs: Outputs) -> Iterator[str]:
    found = [c for c in outputs.contrasts() if c.rows.n_variates > 1]
    own = (
        " Groups of unequal size have a covariance each (Johansen 1980; one combination of groups after "
        "Krishnamoorthy and Yu 2004), and every statistic goes to z by its own degrees of freedom."
        if any(map(_unequal, found))
        else ""
    )
    if found:
        yield (
            "Changes over more than two time points were tested in all orthonormal contrasts of the time "
            "points together, by Hotelling's T² (Hotelling 1931) or, with more than two groups, Wilks' "
            "lambda; "
            "sphericity is not assumed, and the values of a person kept together in every rearrangement."
            + own
        )


def _several_groups(outputs: Outputs) -> Iterator[str]:
    found = [c for c in outputs.contrasts() if is_f_of_groups(c)]
    if not found:
        return
    own = (
        "; groups of unequal size have a variance each (G of Winkler et al. 2014, after Welch 1951)"
        if any(map(_unequal, found))
        else ""
    )
    yield (
        f"More than two groups were compared by an F, which says whether anything differs{own}. Pairs of "
        "groups "
        "are contrasts of their own, each among its own people, and the F does not protect them."
    )


def _slopes(outputs: Outputs) -> Iterator[str]:
    if has_robust_slopes(outputs):
        yield (
            "Slopes were tested over heteroscedasticity-consistent standard errors (HC3, MacKinnon and White "
            "1985), which do not assume that people vary alike whatever the predictor; permuting such a "
            "statistic keeps its error in large samples (DiCiccio and Romano 2017)."
        )


def _arms(outputs: Outputs) -> Iterator[str]:
    models = [m for m in outputs.config.models.values() if isinstance(m, ParallelArms)]
    if has_baseline(outputs):
        yield (
            "Connectivity after treatment was adjusted for that before it, of the same voxel or edge "
            "(ANCOVA): "
            "residuals of covariates and this baseline were rearranged, and both were fitted again to each "
            "rearrangement in each voxel or edge (Freedman and Lane 1983). By how much the slope on the "
            "baseline differs between groups stands beside it for edges, with an uncorrected p."
        )
    if any(not m.randomised for m in models):
        yield (
            "Arms that were not randomised were compared by their changes first, and adjusted for baseline "
            "beside it, for the two answer different questions then (Lord 1967)."
        )


def _scores(outputs: Outputs) -> Iterator[str]:
    """What stands beside comparisons of responders."""
    models = outputs.config.models
    if any(c.name in continuous(models[c.model]) for c in outputs.contrasts()):
        yield (
            "Beside every comparison of people who were divided by a score, the same people were "
            "analysed by the "
            "score at the time point where it was judged, adjusted for that at baseline."
        )


def _outcome(outputs: Outputs) -> Iterator[str]:
    if has_outcome(outputs):
        yield (
            "Whether connectivity moderates the effect of the arm was tested by the product of both in a "
            "regression of the outcome. For the test, outcome and product changed roles, which leaves their "
            "partial correlation as it is, and residuals of the product were rearranged in each voxel or "
            "edge "
            "(Freedman and Lane 1983); slopes are given in units of the outcome."
        )


def _crossover(outputs: Outputs) -> Iterator[str]:
    if has_crossover(outputs):
        yield (
            "In the crossover, sequences were compared in the first minus the second period, so that the "
            "treatment effect is free of a period effect common to all. Carry-over, where shown, is "
            "reported; it "
            "never decides on the analysis (Freeman 1989)."
        )


def _sensitivity(outputs: Outputs) -> Iterator[str]:
    if any(c.repeated is not None for c in outputs.contrasts()):
        yield (
            "The first contrast of a model was repeated over edges with mean framewise displacement as one "
            "more "
            "covariate (its difference where rows are differences). That is a sensitivity analysis and not a "
            "test of its own: never confirmatory, and not counted by Holm's procedure."
        )


def _networks(outputs: Outputs) -> Iterator[str]:
    if has_networks(outputs):
        yield (
            "Declared networks were each tested as one, by the mean Fisher z of their edges. Edges are read "
            "after their network (closed testing, Marcus et al. 1976): p_closed is the larger one of the p "
            "of "
            "the network and of the edge's own, among the edges of all declared networks."
        )
    if any((c.networks["n_negative"] > 0).any() for c in outputs.contrasts()):
        yield (
            "Edges that were declared with the sign -1 entered the mean of their network with their Fisher z "
            "turned round."
        )


def _further(outputs: Outputs) -> Iterator[str]:
    if has_column(outputs, "p_tail"):
        yield (
            "p_tail comes from a generalised Pareto distribution fitted to the tail of the permutation "
            "distribution (Winkler et al. 2016); it stands beside the count and never instead of it."
        )
    if has_column(outputs, "p_equivalence"):
        bound = outputs.config.inference.equivalence
        within = "a bound" if bound is None else f"±{bound:g} in Fisher z"
        tests = f"two one-sided tests that an effect lies within {within} (Schuirmann 1987)"
        yield f"p_equivalence comes from {tests}; it is not corrected for the number of edges."
    if has_column(outputs, "p_score"):
        yield _score_words(outputs.config.inference.edge_enhancement or EdgeEnhancement())


def _score_words(asked: EdgeEnhancement) -> str:
    """How edges were scored by their neighbours."""
    if asked.kind == "tfnbs":
        powers = f"E = {asked.extent_power:g}, H = {asked.height_power:g}"
        how = f"the threshold-free network-based statistic (Baggio et al. 2018; {powers})"
    else:
        above = f" above {asked.threshold:g}"
        how = f"the {asked.kind} of components{above} (network-based statistic, Zalesky et al. 2010)"
    return (
        f"Edges were also scored by {how}, with a family-wise p of its own (p_score) that says something of "
        "an "
        "edge's surroundings, not of the edge alone."
    )


# What ran, also for the list of references -----------------------------------------------------------------


def has_several_values(outputs: Outputs) -> bool:
    """Whether a row holds several values, tested together: time points, or maps of several seeds."""
    return any(c.rows.n_variates > 1 or c.compared for c in outputs.contrasts())


def is_f_of_groups(contrast: ContrastResult) -> bool:
    """Whether a contrast compares more than two groups in one value."""
    return contrast.is_f and contrast.rows.n_variates == 1 and len(contrast.rows.levels) > 2


def has_welch_f(outputs: Outputs) -> bool:
    """Whether an F allows each group its own variance."""
    return any(is_f_of_groups(c) and _unequal(c) for c in outputs.contrasts())


def has_own_covariances(outputs: Outputs) -> bool:
    """Whether groups have a covariance each, of several values."""
    return any(c.rows.n_variates > 1 and _unequal(c) for c in outputs.contrasts())


def has_robust_slopes(outputs: Outputs) -> bool:
    """Whether a slope has an error variance of each person."""
    return any(c.rows.own_variances for c in outputs.contrasts())


def has_baseline(outputs: Outputs) -> bool:
    """Whether the baseline of each voxel or edge is a covariate."""
    return any(c.rows.covariate_weights and c.rows.effect_type == "ancova" for c in outputs.contrasts())


def has_outcome(outputs: Outputs) -> bool:
    """Whether connectivity explains an outcome."""
    return any(c.rows.effect_type == "outcome" for c in outputs.contrasts())


def has_crossover(outputs: Outputs) -> bool:
    """Whether a crossover has results."""
    return any(isinstance(outputs.config.models[c.model], Crossover) for c in outputs.contrasts())


def has_arms_by_choice(outputs: Outputs) -> bool:
    """Whether arms were not randomised."""
    models = outputs.config.models.values()
    return any(isinstance(m, ParallelArms) and not m.randomised for m in models)


def has_networks(outputs: Outputs) -> bool:
    """Whether declared networks were tested."""
    return any(len(c.networks) > 0 for c in outputs.contrasts())


def has_column(outputs: Outputs, name: str) -> bool:
    """Whether any edge or network has a value in a column."""
    return any(any_finite(table, name) for c in outputs.contrasts() for table in (c.edges, c.networks))


def families_words(outputs: Outputs) -> str:
    """What the families are, in words."""
    config = outputs.config.inference
    kinds = {kind for c in outputs.contrasts() for f in c.families for kind in f.kinds}
    parts = ["all maps and edges of a contrast"] if config.joint_families else ["all edges of a contrast"]
    if outputs.has_maps and not config.joint_families:
        parts.append("all voxels of all seed maps of a contrast")
    parts += ["all comparisons of seeds of a contrast"] if "factors" in kinds else []
    parts += ["all declared networks of a contrast"] if "networks" in kinds else []
    return "; ".join(parts)


def repeated_words(again: ContrastResult, contrast: ContrastResult) -> str:
    """A repetition with motion as a covariate, for the list of contrasts."""
    return (
        f"{again.name}: repeats {contrast.shown} over edges with {added_words(again, contrast)} as "
        "covariate; "
        f"a sensitivity analysis, not a test of its own; n = {again.n}"
    )


def added_words(again: ContrastResult, contrast: ContrastResult) -> str:
    """Columns that a repetition has and the contrast has not."""
    added = [c for c in again.rows.columns if c not in contrast.rows.columns]
    names = dict.fromkeys(humanised(re.sub(r" \(\d+\)$", "", column)) for column in added)
    return listed(list(names)) + (f" ({len(added)} columns)" if len(added) > len(names) else "")


def limits(outputs: Outputs) -> Iterable[str]:
    """What the designs of this study cannot tell."""
    models = list(outputs.config.models.values())
    arms = [m for m in models if isinstance(m, ParallelArms)]
    if any(m.randomised for m in arms):
        yield "That arms were randomised is what the configuration says; nothing here can check it."
    if any(not m.randomised for m in arms):
        yield (
            "Arms that were not randomised can differ in more than treatment, and adjusting for baseline "
            "does not "
            "repair it: people of equal baseline in groups that differ in it regress to different means."
        )
    if has_crossover(outputs):
        yield (
            "What the first treatment leaves behind (carry-over) biases the effect of a crossover by half of "
            "its "
            "size, and a test that does not find it does not show that there is none."
        )
    if any(m.design == "one_sample" for m in models):
        yield (
            "A mean correlation above or below 0 depends on how the data were cleaned: 0 is no natural point "
            "of "
            "connectivity."
        )
    if any(c.is_f for c in outputs.contrasts()):
        yield "An F says that something differs; where, in which direction and by how much it does not say."
