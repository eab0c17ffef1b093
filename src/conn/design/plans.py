"""The compile table: what each contrast of each design asks for, before anybody looks at the people."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from conn.config.contrasts import split_pair
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
from conn.design.phrases import and_words
from conn.design.spec import EffectType, Exchange
from conn.points import at

Terms = Literal["none", "groups", "factorial", "sequence", "predictor", "by_arm", "formula"]
"""What stands in the matrix beside intercept, covariates and strata."""

Weights = Mapping[str, float]
INTERCEPT = "intercept"


@dataclass(frozen=True)
class Factor:
    """A category that makes cells, and its levels in the order of the model."""

    reference: str
    field: str
    levels: tuple[str, ...]
    levels_field: str = "levels"


@dataclass(frozen=True)
class Timing:
    """At which time points a variable that varies is read.

    One of `at`, `before` and `after` (their difference, or `mean`), or the weights of several contrasts.
    `words` says what becomes of it, around its name.
    """

    at: str | None = None
    before: str | None = None
    after: str | None = None
    mean: bool = False
    words: str = "{}"


@dataclass(frozen=True)
class Plan:
    """What a contrast asks for.

    Attributes
    ----------
    name
        Of the contrast.
    estimand
        What is estimated, in words.
    exchange, effect_type, exchanged
        As in `DesignContrast`.
    variates
        Time point to weight, for each value of a row.
    timing
        How variables that vary over time are read.
    tested
        Column to weight, for each combination of coefficients that is tested.
    joint
        The combinations are tested together, by an F.
    terms
        What stands in the matrix beside intercept, covariates and strata.
    factors
        Categories that make cells.
    order_column
        With the terms ``sequence``: the name of the column that is 1 in the first and -1 in the second cell.
    signed
        The row is multiplied by that column, so that it is the first minus the second period.
    baseline
        Time point whose connectivity is a covariate of each voxel or edge.
    covariates
        References to nuisance variables.
    formula
        With the terms ``formula``: what to parse.
    predictor
        With the terms ``predictor``: a reference.
    sensitivity
        A repetition with motion as a covariate.
    times_arm
        The row is multiplied by the column of the arms, and the covariate of each voxel or edge is the row
        itself: what is tested is a product with connectivity.
    """

    name: str
    estimand: str
    exchange: Exchange
    effect_type: EffectType
    variates: tuple[Weights, ...]
    timing: Timing
    tested: tuple[Weights, ...] = ({INTERCEPT: 1.0},)
    joint: bool = False
    terms: Terms = "none"
    factors: tuple[Factor, ...] = ()
    order_column: str = ""
    signed: bool = False
    baseline: str | None = None
    covariates: tuple[str, ...] = ()
    formula: str = ""
    predictor: str | None = None
    exchanged: str = ""
    sensitivity: bool = False
    times_arm: bool = False

    @property
    def points(self) -> tuple[str, ...]:
        """Time points that a person must have."""
        used = dict.fromkeys(point for weights in self.variates for point in weights)
        first = [] if self.baseline is None else [self.baseline]
        return tuple(dict.fromkeys([*first, *used]))

    @property
    def levels(self) -> tuple[str, ...]:
        """Names of the cells."""
        names: list[str] = [""] if self.factors else []
        for factor in self.factors:
            names = [f"{name}/{level}".removeprefix("/") for name in names for level in factor.levels]
        return tuple(names)


def plan_of(contrast: str, model: Model) -> Plan:
    """The row of the compile table that belongs to a contrast of a model."""
    base, pair = split_pair(model, contrast)
    make: Callable[[str, Any], Plan] = _TABLE[model.design]
    settings = model.model_copy(update={"levels": pair}) if pair else model
    made = make(base, settings)
    own = tuple(name for name in made.covariates if name not in model.covariates)
    return replace(made, name=contrast, covariates=(*own, *model.covariates))


def helmert(n: int) -> list[list[float]]:
    """Orthonormal contrasts of n values: each against the mean of those before it; n - 1 lists of n."""
    return [
        [-1 / math.sqrt(j * (j + 1))] * j + [j / math.sqrt(j * (j + 1))] + [0.0] * (n - j - 1)
        for j in range(1, n)
    ]


# Rows of a person -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Data:
    """The one value of a row: weights, how variables are read, and words."""

    weights: Weights
    timing: Timing
    words: str


def _at(point: str) -> _Data:
    return _Data({point: 1.0}, Timing(at=point), f"connectivity{at(point)}")


def _change(before: str, after: str) -> _Data:
    timing = Timing(before=before, after=after, words="change of {}")
    return _Data({before: -1.0, after: 1.0}, timing, f"change of connectivity, {after} minus {before}")


def _mean(before: str, after: str) -> _Data:
    words = f"connectivity averaged over {before} and {after}"
    return _Data({before: 0.5, after: 0.5}, Timing(before=before, after=after, mean=True), words)


def _outcome(model: Regression | TreatmentByOutcome | Formula) -> _Data:
    return _at(model.at) if model.at is not None else _change(str(model.before), str(model.after))


def group_columns(levels: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of groups: each level but the last, minus the last."""
    return tuple(f"{level} - {levels[-1]}" for level in levels[:-1])


def product_column(factor: Factor, number: str) -> str:
    """Name of the product of a factor of two levels and a number."""
    return f"({group_columns(factor.levels)[0]}) x {number}"


def _between(name: str, what: str, data: _Data, factor: Factor, **options: Any) -> Plan:
    """Two groups by a t, more by an F."""
    levels = factor.levels
    two = len(levels) == 2
    words = f"{what}, {levels[0]} minus {levels[1]}" if two else f"any {what} between {and_words(levels)}"
    settings: dict[str, Any] = {
        "estimand": f"{words}: {data.words}",
        "effect_type": "two_sample" if two else "none",
        "variates": (data.weights,),
        "timing": data.timing,
    }
    settings |= options if two else options | {"effect_type": "none"}
    tested = tuple({column: 1.0} for column in group_columns(levels))
    return Plan(
        name,
        exchange="labels",
        tested=tested,
        joint=not two,
        terms="groups",
        factors=(factor,),
        **settings,
    )


# One function per design ----------------------------------------------------------------------------


def _paired(name: str, model: Paired) -> Plan:
    data = _change(model.before, model.after)
    return Plan(name, f"mean {data.words}", "flips", "paired", (data.weights,), data.timing)


def _one_sample(name: str, model: OneSample) -> Plan:
    data = _at(model.at)
    return Plan(name, f"mean {data.words}", "flips", "paired", (data.weights,), data.timing)


def _two_sample(name: str, model: TwoSample) -> Plan:
    return _between(name, "difference", _at(model.at), Factor(model.group, "group", model.levels))


def _group_by_time(name: str, model: GroupByTime) -> Plan:
    factor = Factor(model.group, "group", model.levels)
    if name == "group":
        return _between(name, "difference", _mean(model.before, model.after), factor)
    data = _change(model.before, model.after)
    if name == "interaction":
        return _between(name, "difference of changes", data, factor)
    words = f"mean {data.words}: the unweighted mean of the changes of {and_words(model.levels)}"
    terms: Terms = "groups"
    return Plan(name, words, "flips", "paired", (data.weights,), data.timing, terms=terms, factors=(factor,))


def _regression(name: str, model: Regression) -> Plan:
    data, reference = _outcome(model), model.predictor
    return Plan(
        name,
        f"slope per unit of {reference}: {data.words}",
        "labels",
        "slope",
        (data.weights,),
        data.timing,
        tested=({reference: 1.0},),
        terms="predictor",
        predictor=reference,
    )


def _parallel_arms(name: str, model: ParallelArms) -> Plan:
    factor = Factor(model.arm, "arm", model.levels)
    if name == "change":
        return _between(name, "difference of changes", _change(model.before, model.after), factor)
    data = _at(model.after)
    words = f"{data.words}, adjusted for connectivity at {model.before} of the same voxel or edge"
    data = replace(data, words=words)
    return _between(name, "difference", data, factor, effect_type="ancova", baseline=model.before)


def _crossover(name: str, model: Crossover) -> Plan:
    treatment, control = model.treatment, model.control
    first, second = model.levels
    factor = Factor(model.sequence, "sequence", model.levels)
    if name == "carryover":
        data = _mean(control, treatment)
        data = replace(data, weights={control: 1.0, treatment: 1.0}, words="")
        words = (
            f"carry-over, the sequence {first} minus {second}: sum of connectivity at {treatment} and "
            f"{control}; its power is low, and it never changes the analysis"
        )
        return _between(name, "", data, factor, estimand=words, exchanged="sequence labels")
    effect = f"{treatment} - {control}"
    free = f"{treatment} minus {control}, free of period"
    settings: dict[str, Any] = {
        "effect_type": "paired",
        "variates": ({control: -1.0, treatment: 1.0},),
        "timing": Timing(before=control, after=treatment, words="difference of {}"),
        "terms": "sequence",
        "factors": (factor,),
    }
    if name == "treatmentFlips":
        words = f"{free}: mean difference within people, the period held constant"
        return Plan(name, words, "flips", order_column=PERIOD, **settings)
    settings |= {"order_column": effect, "signed": True}
    if name == "period":
        words = "first minus second period, free of treatment: mean difference within people"
        return Plan(name, words, "flips", **settings)
    words = (
        f"{free}: half of what the sequences {first} and {second} differ by in the first minus the "
        "second period"
    )
    return Plan(name, words, "labels", tested=({effect: 1.0},), exchanged="sequence labels", **settings)


PERIOD = "first period - second"
"""Column of a crossover that is 1 where the treatment came first and -1 where it came second."""


def _within(name: str, model: Within) -> Plan:
    points = model.points
    variates = tuple(dict(zip(points, row, strict=True)) for row in helmert(len(points)))
    over = f"connectivity over {and_words(points)}"
    factors = () if model.group is None else (Factor(model.group, "group", model.levels),)
    settings: dict[str, Any] = {
        "effect_type": "none",
        "variates": variates,
        "timing": Timing(words="{} at every time point"),
        "joint": True,
        "terms": "groups" if factors else "none",
        "factors": factors,
    }
    if name == "groupByWithin":
        tested = tuple({column: 1.0} for column in group_columns(model.levels))
        words = f"any difference of changes between {and_words(model.levels)}: {over}"
        return Plan(name, words, "labels", tested=tested, **settings)
    words = f"any change of {over}"
    if factors:
        words += f", the unweighted mean of {and_words(model.levels)}"
    return Plan(name, words, "flips", **settings)


def factorial_columns(factors: Sequence[Factor]) -> tuple[str, str, str]:
    """Names of the columns of two factors of two levels, and of their product."""
    one, other = (group_columns(factor.levels)[0] for factor in factors)
    return one, other, f"({one}) x ({other})"


def _treatment_by_outcome(name: str, model: TreatmentByOutcome) -> Plan:
    data = _outcome(model)
    factors = (
        Factor(model.arm, "arm", model.arm_levels, "arm_levels"),
        Factor(model.outcome, "outcome", model.outcome_levels, "outcome_levels"),
    )
    minus = [f"{one} minus {other}" for one, other in (model.arm_levels, model.outcome_levels)]
    words = {
        "interaction": f"difference of differences, {minus[0]} of {minus[1]}",
        "arm": f"difference, {minus[0]}, the unweighted mean of {and_words(model.outcome_levels)}",
        "outcome": f"difference, {minus[1]}, the unweighted mean of {and_words(model.arm_levels)}",
    }
    columns = dict(zip(("arm", "outcome", "interaction"), factorial_columns(factors), strict=True))
    return Plan(
        name,
        f"{words[name]}: {data.words}",
        "labels",
        "two_sample",
        (data.weights,),
        data.timing,
        tested=({columns[name]: 1.0},),
        terms="factorial",
        factors=factors,
        exchanged="cells",
    )


def _moderator(name: str, model: Moderator) -> Plan:
    """The outcome on arm, connectivity and their product, with the roles of outcome and connectivity changed.

    The t of a coefficient is a function of a partial correlation, which is the same from both sides: that of
    the product in the model of the outcome is that of the outcome in a model of the product, with the same
    other columns. So the product is the data, connectivity the covariate that each voxel or edge has of its
    own, and one engine serves all designs.
    """
    data = _at(model.at)
    one, other = model.levels
    factor = Factor(model.arm, "arm", model.levels)
    settings: dict[str, Any] = {
        "variates": (data.weights,),
        "timing": data.timing,
        "tested": ({model.outcome: 1.0},),
        "terms": "by_arm",
        "factors": (factor,),
        "predictor": model.outcome,
        "covariates": () if model.baseline is None else (model.baseline,),
        "exchanged": "the outcome",
    }
    if name == "prognosis":
        words = f"slope of {model.outcome} per unit of {data.words}, the same in {one} and {other}"
        return Plan(name, words, "labels", "outcome", **settings)
    words = f"difference, {one} minus {other}, of the slopes of {model.outcome} per unit of {data.words}"
    return Plan(name, words, "labels", "outcome", times_arm=True, baseline=model.at, **settings)


def _formula(name: str, model: Formula) -> Plan:
    data, test = _outcome(model), model.tests[name]
    joint = not isinstance(test, dict)
    tested = (dict(test),) if isinstance(test, dict) else tuple({column: 1.0} for column in test)
    effect: EffectType = "none" if joint else "slope"
    if not joint and list(test) == [INTERCEPT] and model.exchange == "flips":
        effect = "paired"
    shown = f"any of {and_words(tuple(test))}" if joint else weighted_words(tested[0])
    return Plan(
        name,
        f"{shown} in the model {model.formula}: {data.words}",
        model.exchange,
        effect,
        (data.weights,),
        data.timing,
        tested=tested,
        joint=joint,
        terms="formula",
        formula=model.formula,
        exchanged="" if model.exchange == "flips" else "the tested columns",
    )


def weighted_words(weights: Weights) -> str:
    """A weighted sum of columns, as in ``age plus 0.5 times sex=m``."""
    parts = [column if weight == 1 else f"{weight:g} times {column}" for column, weight in weights.items()]
    return " plus ".join(parts)


_TABLE: dict[str, Callable[[str, Any], Plan]] = {
    "paired": _paired,
    "one_sample": _one_sample,
    "two_sample": _two_sample,
    "group_by_time": _group_by_time,
    "regression": _regression,
    "parallel_arms": _parallel_arms,
    "crossover": _crossover,
    "within": _within,
    "treatment_by_outcome": _treatment_by_outcome,
    "moderator": _moderator,
    "formula": _formula,
}
