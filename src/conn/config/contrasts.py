"""Names of the contrasts that a model has, and which of them it tests when it names none."""

from __future__ import annotations

import re
from itertools import combinations

from conn.config.model import (
    CONTRASTS,
    Formula,
    GroupByTime,
    Model,
    ModelBase,
    ParallelArms,
    TwoSample,
    Within,
)

PAIRWISE = {
    "two_sample": ("difference",),
    "group_by_time": ("interaction", "group"),
    "parallel_arms": ("adjusted", "change"),
}
"""Contrasts that compare groups: with more than two, each pair of groups has one of its own."""

CONTINUOUS = "Score"
"""Ends the name of a contrast that asks of the outcome itself what another asks of responders."""

OUTCOMES = ("response", "remission")
"""Categories that are cut from a score."""

_OF_OUTCOME: dict[tuple[str, str], tuple[str, ...]] = {
    ("two_sample", "group"): ("difference",),
    ("group_by_time", "group"): ("interaction", "group"),
    ("parallel_arms", "arm"): ("adjusted", "change"),
    ("within", "group"): ("groupByWithin",),
    ("treatment_by_outcome", "outcome"): ("interaction", "outcome"),
}
"""By design and key of the category: contrasts that compare its levels."""

SENSITIVITY = "FD"
"""Ends the name of a contrast that is repeated with motion as a covariate."""


def contrasts_of(model: Model) -> tuple[str, ...]:
    """Every contrast that a model can test.

    Parameters
    ----------
    model
        Its settings.

    Returns
    -------
    tuple of str
        The primary one first; letters and digits only.
    """
    pairs = tuple(f"{base}{pair}" for base in PAIRWISE.get(model.design, ()) for pair in level_pairs(model))
    return _own(model) + pairs + tuple(continuous(model))


def continuous(model: Model) -> dict[str, str]:
    """Contrasts on a score instead of on those whom it divides, with the contrast that each stands beside."""
    return {
        f"{base}{CONTINUOUS}": base
        for (design, key), bases in _OF_OUTCOME.items()
        if model.design == design and getattr(model, key, None) in OUTCOMES
        for base in bases
    }


def _own(model: Model) -> tuple[str, ...]:
    known = CONTRASTS[model.design]
    if isinstance(model, Formula):
        return tuple(model.tests)
    if isinstance(model, ParallelArms) and not model.randomised:
        return ("change", "adjusted")
    if isinstance(model, Within) and model.group is not None:
        return ("groupByWithin", "within")
    return known[:1] if isinstance(model, Within) else known


def default_contrasts(model: Model) -> tuple[str, ...]:
    """Contrasts that a model tests when it names none: the primary one, and what belongs beside it."""
    known = _own(model)
    if model.design in ("parallel_arms", "formula"):
        return _own(model)
    if model.design == "crossover":
        return known[:3]
    return known[:1]


def chosen_contrasts(model: Model) -> tuple[str, ...]:
    """Contrasts that a model tests, the primary one first; a dichotomy never without its score."""
    wanted = tuple(model.contrasts) or default_contrasts(model)
    beside = tuple(name for name, base in continuous(model).items() if base in wanted)
    return tuple(name for name in contrasts_of(model) if name in wanted or name in beside)


def level_pairs(model: ModelBase) -> dict[str, tuple[str, str]]:
    """The pairs of more than two groups by the end of their contrasts' names, as in ``DrugVsPlacebo``."""
    if not isinstance(model, TwoSample | GroupByTime | ParallelArms) or len(model.levels) == 2:
        return {}
    words = [_word(level) for level in model.levels]
    if "" in words or len(set(words)) < len(words):
        words = [str(number) for number, _ in enumerate(words, start=1)]
    pairs = combinations(zip(words, model.levels, strict=True), 2)
    return {f"{one}Vs{other}": (first, second) for (one, first), (other, second) in pairs}


def split_pair(model: Model, contrast: str) -> tuple[str, tuple[str, ...]]:
    """The contrast that a pairwise one is a part of, with the two groups; no groups for any other."""
    for base in PAIRWISE.get(model.design, ()):
        pair = level_pairs(model).get(contrast.removeprefix(base))
        if pair is not None and contrast.startswith(base):
            return base, pair
    return contrast, ()


def _word(level: str) -> str:
    """Letters and digits of a level, a capital where something else was left out."""
    return "".join(part[0].upper() + part[1:] for part in re.findall("[A-Za-z0-9]+", level))
