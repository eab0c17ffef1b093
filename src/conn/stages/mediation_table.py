"""Table and summary of a mediation analysis."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn.clinic.mediation import words
from conn.clinic.mediation.bootstrap import FEWEST_SHARE, Bootstrap, Interval
from conn.clinic.mediation.joint import Joint
from conn.clinic.mediation.paths import Coefficient, Paths
from conn.clinic.mediation.together import Together
from conn.clinic.mediation.trial import Trial
from conn.config.mediation import Mediation
from conn.config.model import Clinical, Inference
from conn.glm import fit, make_model
from conn.stages.mediation_rows import Rows
from conn.tables import MISSING

Floats = NDArray[np.floating[Any]]

NO_TOTAL, OPPOSITE = "total_includes_0", "opposite_signs"
"""Why a proportion means little: the interval of the total effect includes 0, or the direct effect points the
other way than the one through connectivity."""

PLACES = ("roi_a", "roi_b", "network", "seed", "x", "y", "z")


def columns(
    kind: str,
    about: Mapping[str, Any],
    found: Paths,
    intervals: Bootstrap,
    tested: Joint,
    n: NDArray[np.int64],
    alpha: float,
) -> pd.DataFrame:
    """Rows of the table, one per feature.

    Parameters
    ----------
    kind
        ``edges``, ``networks`` or ``seed``.
    about
        Names and places of the features.
    found, intervals, tested
        Estimates, bootstrap and tests of the features.
    n
        People with a value of each feature.
    alpha
        Intervals have coverage 1 - alpha.
    """
    table: dict[str, Any] = {"kind": kind.removesuffix("s")}
    table |= {place: about.get(place, MISSING) for place in PLACES}
    table |= {"n": n}
    for name in ("a", "b", "c", "c_prime"):
        table |= _coefficient(name, getattr(found, name), alpha)
    table |= {"ab": found.ab} | _interval("ab", intervals.ab)
    table |= {"t_a": tested.a.stat, "t_b": tested.b.stat, "p_a": tested.a.p, "p_b": tested.b.p}
    table |= {
        "p_joint": tested.p,
        "p_fwe_a": tested.a.p_fwe,
        "p_fwe_b": tested.b.p_fwe,
        "p_fwe": tested.p_fwe,
    }
    table |= {"proportion": found.proportion} | _limits("proportion", intervals.proportion)
    table |= {"proportion_flag": flags(found, alpha), "rho_zero": found.rho_zero}
    table |= {"reverse_a": found.reverse_a.estimate, "reverse_b": found.reverse_b.estimate}
    table |= {"reverse_ab": found.reverse_ab} | _interval("reverse_ab", intervals.reverse_ab)
    return pd.DataFrame(table | _by_arm(found, intervals), index=range(n.size))


def _coefficient(name: str, one: Coefficient, alpha: float) -> dict[str, Floats]:
    low, high = one.interval(alpha)
    return {name: one.estimate, f"{name}_se": one.se, f"{name}_ci_low": low, f"{name}_ci_high": high}


def _limits(name: str, one: Interval) -> dict[str, Floats]:
    return {f"{name}_ci_low": one.low, f"{name}_ci_high": one.high}


def _interval(name: str, one: Interval) -> dict[str, Floats]:
    bca = {f"{name}_bca_low": one.bca_low, f"{name}_bca_high": one.bca_high}
    return {f"{name}_se": one.se} | _limits(name, one) | bca


def _by_arm(found: Paths, intervals: Bootstrap) -> dict[str, Floats]:
    """The model with interaction; missing without."""
    gone = np.full(found.ab.size, np.nan)
    if found.interaction is None or found.b_middle is None:
        ends = ("", "_ci_low", "_ci_high")
        by_arm = [f"ab_{arm}{end}" for arm in ("treated", "control") for end in ends]
        return dict.fromkeys(["interaction", "interaction_se", "p_interaction", *by_arm], gone)
    assert intervals.ab_treated is not None
    assert intervals.ab_control is not None
    one, middle = found.interaction, found.b_middle.estimate
    table: dict[str, Floats] = {"interaction": one.estimate, "interaction_se": one.se, "p_interaction": one.p}
    sides = (("treated", 0.5, intervals.ab_treated), ("control", -0.5, intervals.ab_control))
    for arm, share, interval in sides:
        table |= {f"ab_{arm}": found.a.estimate * (middle + share * one.estimate)}
        table |= _limits(f"ab_{arm}", interval)
    return table


def flags(found: Paths, alpha: float) -> list[str]:
    """Why the proportion of each feature means little; ``n/a`` where nothing is wrong with it.

    Parameters
    ----------
    found
        Estimates.
    alpha
        The interval of the total effect has coverage 1 - alpha.
    """
    low, high = found.c.interval(alpha)
    none = (low <= 0) & (high >= 0)
    opposite = found.ab * found.c_prime.estimate < 0
    return [
        NO_TOTAL if one else OPPOSITE if other else MISSING for one, other in zip(none, opposite, strict=True)
    ]


def total_effect(trial: Trial, alpha: float) -> dict[str, float]:
    """Effect of treatment on the outcome, connectivity left aside.

    Parameters
    ----------
    trial
        Of n people.
    alpha
        The interval has coverage 1 - alpha.
    """
    matrix = trial.columns("outcome_before", "arm") if trial.adjusted else trial.columns("arm")
    model = make_model(matrix, np.eye(matrix.shape[1])[-1])
    got = fit(trial.outcome[:, None], model)
    one = Coefficient(got.effect, got.se, int(model.df))
    low, high = one.interval(alpha)
    numbers = {"estimate": one.estimate, "se": one.se, "ci_low": low, "ci_high": high, "p": one.p}
    return {key: float(value[0]) for key, value in numbers.items()} | {"df": float(one.df)}


def told(settings: Mediation) -> words.Told:
    """What words need of the settings."""
    return words.Told(
        settings.levels if not settings.crossover else (settings.after, settings.before),
        settings.before,
        settings.after,
        settings.outcome,
        settings.who,
        settings.covariates,
        settings.strata,
        settings.randomised,
        settings.crossover,
    )


def summary(
    name: str,
    rows: Rows,
    settings: Mediation,
    clinical: Clinical,
    inference: Inference,
    families: Sequence[Mapping[str, Any]],
    joined: Together | None,
    together_holm: Floats | None,
    lost: float,
) -> dict[str, Any]:
    """Everything beside the table, as JSON.

    Parameters
    ----------
    name
        Of the analysis.
    rows
        Its people.
    settings, clinical, inference
        As it ran.
    families
        Families in numbers.
    joined
        Several mediators together, or None.
    together_holm
        Their p over all families of the analysis, or None.
    lost
        Largest share of bootstrap samples in which a feature could not be fitted.
    """
    about, sizes = told(settings), Counter(rows.levels)
    return {
        "name": name,
        "question": words.question(about),
        "equations": words.equations(about),
        "exchange": words.exchange(about),
        "caveats": words.caveats(about, min(sizes[level] for level in settings.levels)),
        "direction": clinical.scales[settings.outcome].direction,
        "n": len(rows.people),
        "n_by_level": {level: sizes[level] for level in settings.levels},
        "left_out": [dict(zip(("dataset", "subject", "reason"), one, strict=True)) for one in rows.left_out],
        "alpha": inference.alpha,
        "total_effect": total_effect(rows.trial, inference.alpha),
        "families": list(families),
        "holm": _counted(families, joined),
        "bootstrap": {"draws": settings.bootstrap, "lost": lost, "fewest_share": FEWEST_SHARE},
        "together": None
        if joined is None or together_holm is None
        else _together(settings, joined, together_holm, inference.alpha),
        "settings": settings.model_dump(mode="json"),
    }


def _counted(families: Sequence[Mapping[str, Any]], joined: Together | None) -> list[str]:
    """Families over which Holm's procedure goes: those in which something was tested."""
    tested = [str(one["kind"]) for one in families if one["features"] > 0]
    return tested if joined is None else [*tested, "together"]


def _together(settings: Mediation, joined: Together, p_holm: Floats, alpha: float) -> dict[str, Any]:
    def interval(one: Interval, i: int) -> dict[str, float | None]:
        found = {"se": one.se, **_limits("ab", one), "ab_bca_low": one.bca_low, "ab_bca_high": one.bca_high}
        return {key: _number(values[i]) for key, values in found.items()}

    tests = joined.tests
    mediators = []
    for i, (roi_a, roi_b) in enumerate(settings.together):
        row = {"roi_a": roi_a, "roi_b": roi_b, "ab": _number(joined.ab[i])}
        for name in ("a", "b"):
            row |= {key: _number(v[i]) for key, v in _coefficient(name, getattr(joined, name), alpha).items()}
        p: dict[str, Floats] = {
            "p_a": tests.a.p,
            "p_b": tests.b.p,
            "p_joint": tests.p,
            "p_fwe": tests.p_fwe,
            "p_holm": p_holm,
        }
        mediators.append(row | interval(joined.specific, i) | {key: _number(v[i]) for key, v in p.items()})
    direct = {key: _number(v[0]) for key, v in _coefficient("c_prime", joined.c_prime, alpha).items()}
    total = {"ab": _number(joined.ab.sum())} | interval(joined.total, 0)
    return {"mediators": mediators, "total": total, "direct": direct}


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
