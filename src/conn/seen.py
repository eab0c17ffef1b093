"""What was seen already: results of the same question, though the model or analysis has another name now.

A new name, other covariates or another cleaning make no new data. A plan is late when results of the same
design, time points, groups and outcomes were there already, of at least one seed, edge or network of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

Settings = Mapping[str, Any]
"""Dotted key to JSON value, as in `conn.lock.Plan`."""

QUESTION = (
    "design",
    "at",
    "before",
    "after",
    "treatment",
    "control",
    "points",
    "group",
    "arm",
    "arm_levels",
    "sequence",
    "levels",
    "predictor",
    "outcome",
    "outcome_levels",
    "event",
    "against",
    "scales",
)
"""Options that say what is asked of whom; all others say how, or of which part of the brain or the people."""


def seen_as(
    name: str, settings: Settings, results_of: Sequence[str], known: Mapping[str, Iterable[Settings]]
) -> str:
    """Under which other name there are results of the question of a plan; empty when there are none.

    Parameters
    ----------
    name, settings
        A model or analysis, as in `conn.lock.Plan`.
    results_of
        Models and analyses that have results.
    known
        Model or analysis to all settings that it is known to have had.
    """
    for other in results_of:
        if other != name and any(same(name, settings, other, one) for one in known.get(other, ())):
            return other
    return ""


def same(name: str, settings: Settings, other: str, others: Settings) -> bool:
    """Whether two plans ask the same of data that they share; a name means nothing.

    Parameters
    ----------
    name, settings, other, others
        Two models or analyses.
    """
    if _section(name) != _section(other):
        return False
    one, two = _own(name, settings), _own(other, others)
    if not _people_in_common(settings, others, one, two):
        return False
    asked, before = ([_set(own.get(key)) for key in QUESTION] for own in (one, two))
    if not any(asked) or asked != before:
        return False
    return _tests_in_common(one, two) and bool(set(_looked_at(one)) & set(_looked_at(two)))


def _section(name: str) -> str:
    """``models``, or the section of an analysis."""
    return name.partition(".")[0] if "." in name else "models"


def _own(name: str, settings: Settings) -> dict[str, Any]:
    """The options of a model or an analysis itself, without its name."""
    prefix = f"{name}." if "." in name else f"models.{name}."
    return {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}


def _set(value: Any) -> Any:
    """Lists in an order of their own: groups that change places are the same groups."""
    return sorted(map(str, value)) if isinstance(value, list) else value


def _people_in_common(settings: Settings, others: Settings, one: Settings, two: Settings) -> bool:
    """Whether data sets are shared, and no subset keeps the people apart."""
    sets = [{key.split(".")[1] for key in both if key.startswith("datasets.")} for both in (settings, others)]
    if all(sets) and not sets[0] & sets[1]:
        return False
    first, second = (own.get("subset") or {} for own in (one, two))
    return all(set(first[key]) & set(second[key]) for key in set(first) & set(second))


def _tests_in_common(one: Settings, two: Settings) -> bool:
    """Whether formulas test a column in common; designs without tests of their own do."""
    tests = [{column for test in (own.get("tests") or {}).values() for column in test} for own in (one, two)]
    return tests[0] == tests[1] or bool(tests[0] & tests[1])


def _looked_at(own: Settings) -> Iterator[tuple[str, str]]:
    """Seeds, edges and networks, with the edges of these."""
    yield from (("seed", label) for label in own.get("seeds") or ())
    edges = own.get("edges") or ()
    pairs = map("-".join, combinations(sorted(own.get("edge_regions") or ()), 2))
    yield from (("edge", pair) for pair in (pairs if isinstance(edges, str) else edges))
    for network, members in (own.get("networks") or {}).items():
        yield "network", network
        yield from (("edge", edge.removesuffix(" (-1)")) for edge in members)
