"""What the report says of each design: its name, time points, groups, comparison and unit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from conn.config.contrasts import continuous
from conn.config.model import (
    Crossover,
    Formula,
    GroupByTime,
    Model,
    Moderator,
    OneSample,
    Paired,
    ParallelArms,
    Regression,
    TreatmentByOutcome,
    TwoSample,
    Within,
)
from conn.points import at
from conn.report.words import humanised, listed

DESIGNS: Mapping[str, str] = MappingProxyType(
    {
        "paired": "paired: each person against themselves",
        "one_sample": "one sample: mean connectivity at one time point",
        "two_sample": "groups at one time point",
        "group_by_time": "group by time: change compared between groups",
        "regression": "regression of connectivity on a number",
        "parallel_arms": "parallel arms: arms compared after treatment",
        "crossover": "crossover: treatment and control in the same people",
        "within": "several time points within people",
        "treatment_by_outcome": "treatment by outcome: two arms by two outcomes",
        "moderator": "moderator: connectivity by arm on an outcome",
        "formula": "a linear model written as a formula",
    }
)


def time_points(model: Model) -> tuple[str, ...]:
    """Time points that a model compares, in order."""
    if isinstance(model, Within):
        return model.points
    if isinstance(model, Crossover):
        return (model.control, model.treatment)
    if isinstance(model, TwoSample | OneSample | Moderator):
        return (model.at,)
    if isinstance(model, Paired | GroupByTime | ParallelArms):
        return (model.before, model.after)
    return (model.at,) if model.at is not None else (str(model.before), str(model.after))


def groupings(model: Model) -> tuple[str, ...]:
    """Names of the categories that make the groups of a model."""
    if isinstance(model, TwoSample | GroupByTime):
        return (model.group,)
    if isinstance(model, Within):
        return () if model.group is None else (model.group,)
    if isinstance(model, ParallelArms | Moderator):
        return (model.arm,)
    if isinstance(model, Crossover):
        return (model.sequence,)
    if isinstance(model, TreatmentByOutcome):
        return (model.arm, model.outcome)
    return ()


# The comparison of a model, for the methods text -------------------------------------------------------


def comparison(model: Model) -> str:
    """What a model compares, from its settings."""
    made: Callable[[Any], str] = _COMPARISONS[model.design]
    return made(model)


def _levels(levels: tuple[str, ...]) -> str:
    return f"{levels[0]} minus {levels[1]}" if len(levels) == 2 else f"any difference of {listed(levels)}"


def _when(model: Regression | TreatmentByOutcome | Formula) -> str:
    """When connectivity was measured; empty where there is one time point only."""
    return at(model.at).strip() if model.at else f"{model.after} minus {model.before}"


def _bracketed(model: Regression | Formula) -> str:
    return f" ({_when(model)})" if _when(model) else ""


def _parallel(model: ParallelArms) -> str:
    lot = "randomised" if model.randomised else "not randomised"
    return f"{model.arm} ({lot}): {_levels(model.levels)}, {model.after} after {model.before}"


def _crossover(model: Crossover) -> str:
    first, second = model.levels
    order = f"{model.sequence} {first} had {model.treatment} first, {second} had {model.control} first"
    return f"{model.treatment} minus {model.control}; {order}"


def _within(model: Within) -> str:
    groups = f", {model.group}: {listed(model.levels)}" if model.group else ""
    return f"any change over {listed(model.points)}{groups}"


def _by_outcome(model: TreatmentByOutcome) -> str:
    arms, outcomes = _levels(model.arm_levels), _levels(model.outcome_levels)
    when = f", {_when(model)}" if _when(model) else ""
    return f"{model.arm}: {arms}, by {model.outcome}: {outcomes}{when}"


_COMPARISONS: Mapping[str, Callable[[Any], str]] = MappingProxyType(
    {
        "paired": lambda m: f"{m.after} minus {m.before}",
        "one_sample": lambda m: f"mean{at(m.at)} against 0",
        "two_sample": lambda m: f"{m.group}: {_levels(m.levels)}{at(m.at)}",
        "group_by_time": lambda m: f"{m.group}: {_levels(m.levels)}, {m.after} minus {m.before}",
        "regression": lambda m: f"slope of connectivity{_bracketed(m)} on {m.predictor}",
        "parallel_arms": _parallel,
        "crossover": _crossover,
        "within": _within,
        "treatment_by_outcome": _by_outcome,
        "moderator": lambda m: f"{m.outcome} on {m.arm} ({_levels(m.levels)}) by connectivity{at(m.at)}",
        "formula": lambda m: f"connectivity{_bracketed(m)} on the formula {m.formula}",
    }
)


# The unit of an estimate ---------------------------------------------------------------------------------


def unit(model: Model, base: str) -> str:
    """Unit of the estimate of a contrast: some Fisher z, or of an outcome per Fisher z.

    Parameters
    ----------
    model
        The model.
    base
        Name of the contrast, that of a pair of groups without the pair.

    Returns
    -------
    str
        A phrase that begins with a capital letter.
    """
    if base in continuous(model):
        return _score_unit(model, continuous(model)[base])
    if isinstance(model, Regression):
        return f"Slope, Fisher z per unit of {humanised(model.predictor)}"
    if isinstance(model, Crossover):
        return _crossover_unit(model, base)
    if isinstance(model, ParallelArms) and base == "adjusted":
        return f"Difference in Fisher z at {model.after}, adjusted for {model.before}"
    if isinstance(model, TreatmentByOutcome):
        return _by_outcome_unit(model, base)
    if isinstance(model, Formula):
        return _formula_unit(model, base)
    if isinstance(model, Moderator):
        what = "Difference of slopes" if base == "moderation" else "Slope"
        return f"{what}, {humanised(model.outcome)} per unit of Fisher z"
    return _UNITS[model.design, base]


def _score_unit(model: Model, base: str) -> str:
    """Of a contrast on the score behind a dichotomy."""
    what = (
        "Difference of slopes" if (model.design, base) == ("treatment_by_outcome", "interaction") else "Slope"
    )
    return f"{what}, Fisher z per point of the score"


_UNITS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("paired", "change"): "Change in Fisher z",
        ("one_sample", "mean"): "Mean Fisher z",
        ("two_sample", "difference"): "Difference in Fisher z",
        ("group_by_time", "interaction"): "Difference of changes in Fisher z",
        ("group_by_time", "time"): "Change in Fisher z",
        ("group_by_time", "group"): "Difference in mean Fisher z",
        ("parallel_arms", "change"): "Difference of changes in Fisher z",
        ("within", "within"): "Change in Fisher z",
        ("within", "groupByWithin"): "Difference of changes in Fisher z",
    }
)


def _crossover_unit(model: Crossover, base: str) -> str:
    if base == "carryover":
        return "Difference of sums of Fisher z between sequences"
    what = "first minus second period" if base == "period" else f"{model.treatment} minus {model.control}"
    return f"Difference in Fisher z, {what}"


def _formula_unit(model: Formula, base: str) -> str:
    what = "Change in Fisher z" if model.at is None else "Fisher z"
    columns = list(model.tests[base])
    if columns == ["intercept"]:
        return f"Mean {what[0].lower()}{what[1:]}" if model.at is None else f"Mean {what}"
    return f"{what} per unit of {humanised(columns[0]) if len(columns) == 1 else 'the tested combination'}"


def _by_outcome_unit(model: TreatmentByOutcome, base: str) -> str:
    what = "change in Fisher z" if model.at is None else "Fisher z"
    return f"Difference of differences, {what}" if base == "interaction" else f"Difference in {what}"


CAUTIONS: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("crossover", "carryover"): (
            "This test never decides. Carry-over is what the first treatment leaves behind in the second "
            "period. The test compares people with each other and sees only large carry-over; choosing the "
            "analysis by it makes the whole procedure wrong more often than it says (Freeman 1989). Whatever "
            "its p, the treatment effect stands as it is."
        ),
        ("crossover", "period"): (
            "A period effect is no effect of treatment, and the treatment effect is free of it."
        ),
    }
)
"""What must be said beside the results of some contrasts, by design and contrast."""


def caution(model: Model, base: str) -> str:
    """What must be said beside the results of a contrast; empty if nothing."""
    beside = continuous(model)
    if base in beside:
        return (
            "The same question as the dichotomy's, asked of the score from which it was cut. Where the two "
            "disagree, this one uses what was measured; the cut depends on where it was made."
        )
    if base in beside.values():
        return (
            "Responders are cut from a score: people just beside the cut count as different, and most of "
            "what was "
            "measured is thrown away. Read it with the contrast on the score itself, which stands beside it."
        )
    if isinstance(model, Moderator) and base == "prognosis":
        return "Prognosis is the same in both arms: it does not say whom to treat with which."
    return CAUTIONS.get((model.design, base), "")
