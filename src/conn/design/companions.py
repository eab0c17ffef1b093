"""Plans that need the clinical rules: the score beside a dichotomy, and the baseline of an outcome."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace

from conn.config.contrasts import OUTCOMES, continuous
from conn.config.model import Clinical, Formula, Model, Moderator, Remission, Response
from conn.design.phrases import and_words
from conn.design.plans import Factor, Plan, plan_of, product_column
from conn.errors import DesignError


def complete_plan(contrast: str, model: Model, clinical: Clinical) -> Plan:
    """The row of the compile table that belongs to a contrast of a model, with what the clinical rules add.

    Parameters
    ----------
    contrast
        Its name.
    model
        Its settings.
    clinical
        Scales, rules and time points.

    Raises
    ------
    DesignError
        A dichotomy whose rule is not set.
    """
    base = continuous(model).get(contrast)
    if base is not None:
        return _continuous(contrast, plan_of(base, model), clinical)
    plan = plan_of(contrast, model)
    return _with_baseline(plan, model, clinical) if isinstance(model, Moderator) else plan


def _with_baseline(plan: Plan, model: Moderator, clinical: Clinical) -> Plan:
    """The score before treatment as a covariate of a later one, unless another was stated."""
    scale, _, point = model.outcome.partition(".")
    known = scale in clinical.scales and clinical.baseline is not None
    if model.baseline is not None or not known or point == clinical.baseline:
        return plan
    if point.split(".")[0] in ("change", "percent_change", "rci"):
        return plan
    own = f"{scale}.{clinical.baseline}"
    return plan if own in plan.covariates else replace(plan, covariates=(own, *plan.covariates))


def _continuous(name: str, plan: Plan, clinical: Clinical) -> Plan:
    """The same rows on the score at which a dichotomy is judged, adjusted for the score at baseline.

    Nobody is cut in two, so that cells are those of the other factor alone, if there is one.
    """
    divided = next(factor for factor in plan.factors if factor.reference in OUTCOMES)
    others = tuple(factor for factor in plan.factors if factor is not divided)
    rule: Response | Remission | None = getattr(clinical, divided.reference)
    if rule is None:
        raise DesignError(
            f"{divided.reference} needs the rule clinical.{divided.reference}, which is not set"
        )
    score = f"{rule.scale}.{clinical.point_of(rule)}"
    own = [] if clinical.baseline is None else [f"{rule.scale}.{clinical.baseline}"]
    own = [one for one in own if one != score and one not in plan.covariates]
    words = f"the score behind {divided.reference}: slope per unit of {score}"
    data = plan.estimand.rpartition(": ")[2]
    column = score
    if others and plan.name == "interaction":
        words = f"the score behind {divided.reference}: {_arms(others[0])}, of the slopes per unit of {score}"
        column = product_column(others[0], score)
    return replace(
        plan,
        name=name,
        estimand=f"{words}: {data}",
        exchange="labels",
        effect_type="none" if len(plan.variates) > 1 else "slope",
        tested=({column: 1.0},),
        joint=len(plan.variates) > 1,
        terms="by_arm" if others else "predictor",
        factors=others,
        covariates=(*own, *plan.covariates),
        predictor=score,
        exchanged="the tested column" if others else "",
    )


def _arms(factor: Factor) -> str:
    one, other = factor.levels
    return f"difference, {one} minus {other}"


def alone_notes(model: Model, clinical: Clinical) -> Iterator[str]:
    """Tests of a formula on a dichotomy: no contrast on its score stands beside them, and how to have one.

    The columns that a formula tests are the user's own. Which of them would stand for the score, with which
    weights, does not follow from the weights of levels: a product with another category has several.

    Parameters
    ----------
    model
        Its settings.
    clinical
        Scales and rules.
    """
    if not isinstance(model, Formula):
        return
    for outcome in OUTCOMES:
        tests = [name for name, columns in model.tests.items() if any(map(_speaks_of(outcome), columns))]
        rule: Response | Remission | None = getattr(clinical, outcome)
        if not tests or rule is None:
            continue
        score = f"{rule.scale}.{clinical.point_of(rule)}"
        own = "" if clinical.baseline is None else f" + {rule.scale}.{clinical.baseline}"
        yield (
            f"{and_words(tests)}: no contrast on the score itself stands beside {outcome} in a formula, "
            f"whose tested columns are your own. It discards information to divide people: add a model with "
            f"formula {_with(model.formula, outcome, score)}{own}, and test the columns of {score}"
        )


def _speaks_of(outcome: str) -> Callable[[str], bool]:
    """Whether a column of a formula is of an outcome, by itself or in a product."""
    return lambda column: any(part.partition("=")[0] == outcome for part in column.split(":"))


def _with(formula: str, outcome: str, score: str) -> str:
    """A formula with the score in place of the outcome."""
    return re.sub(rf"(?<![\w.]){outcome}(?![\w.])", score, formula)
