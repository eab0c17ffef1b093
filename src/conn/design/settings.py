"""What can be wrong with a model before anybody looks at single people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from conn.cohort import did_you_mean
from conn.config.contrasts import chosen_contrasts, contrasts_of
from conn.design.plans import Factor, Plan, plan_of
from conn.design.source import Source
from conn.errors import DesignError

POINTS = ("at", "before", "after", "treatment", "control")
"""Keys of models that name one time point."""


def contrast_names(source: Source) -> tuple[str, ...]:
    """Contrasts to compile, the primary one first; unknown ones are refused."""
    known = contrasts_of(source.model)
    for name in source.model.contrasts:
        if name not in known:
            raise DesignError(
                f"{source.key}.contrasts: a {source.model.design} design has no contrast {name!r}; it has "
                f"{', '.join(known)}.{did_you_mean(name, known)}"
            )
    return chosen_contrasts(source.model)


def check_settings(source: Source) -> None:
    """Refuse time points, references and levels that cannot be.

    Raises
    ------
    DesignError
        The message names the key.
    """
    for earlier, later in (("before", "after"), ("treatment", "control")):
        points = [getattr(source.model, field, None) for field in (earlier, later)]
        if points[0] is not None and points[0] == points[1]:
            raise DesignError(
                f"{source.key}: {earlier} and {later} are both {points[0]!r}; there is no change to test"
            )
    for field, point in _points(source):
        _check_point(source, field, point)
    for field, references in (("covariates", source.model.covariates), ("strata", source.model.strata)):
        twice = [r for r, count in Counter(references).items() if count > 1]
        if twice:
            raise DesignError(f"{source.key}.{field}: {twice[0]!r} is listed twice")
    both = sorted(set(source.model.covariates) & set(source.model.strata))
    if both:
        raise DesignError(
            f"{source.key}: {both[0]!r} is listed under covariates and under strata; strata are "
            "nuisance columns already. Remove it from covariates."
        )
    plan = plan_of(contrasts_of(source.model)[0], source.model)
    for factor in plan.factors:
        _check_levels(source, plan, factor)


def _points(source: Source) -> Iterator[tuple[str, str]]:
    """Keys with the time points that they name."""
    for field in POINTS:
        point = getattr(source.model, field, None)
        if point is not None:
            yield field, point
    for number, point in enumerate(getattr(source.model, "points", ())):
        yield f"points[{number}]", point


def _check_point(source: Source, field: str, point: str) -> None:
    known = list(dict.fromkeys(source.cohort["time_point"]))
    if point not in known:
        raise DesignError(
            f"{source.key}.{field}: nobody has a time point {point!r}; the cohort has {', '.join(known)}."
            f"{did_you_mean(point, known)}"
        )
    counts = {p: sum(bool(runs) for (_, q), runs in source.runs.items() if q == p) for p in known}
    if counts[point] == 0:
        others = ", ".join(f"{p} {count}" for p, count in counts.items())
        raise DesignError(
            f"{source.key}.{field}: no subject has an included run at {point!r} (subjects with runs: "
            f"{others})"
        )


def _check_levels(source: Source, plan: Plan, factor: Factor) -> None:
    column, group = source.column(factor.reference, factor.field, plan), factor.reference
    if column.kind == "number":
        raise DesignError(
            f"{source.key}.{factor.field}: {group!r} is a number. Declare kind: category under "
            f"clinical.variables.{group}, or use a regression design."
        )
    twice = [level for level, count in Counter(factor.levels).items() if count > 1]
    if twice:
        what = "both levels are" if len(factor.levels) == 2 else "a level is listed twice:"
        raise DesignError(f"{source.key}.{factor.levels_field}: {what} {twice[0]!r}")
    counts = Counter(str(value) for value in column.by_person.values())
    for level in factor.levels:
        if level not in counts:
            listed = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items())) or "none"
            raise DesignError(
                f"{source.key}.{factor.levels_field}: no subject has {group} = {level!r}; the levels are "
                f"{listed}.{did_you_mean(level, counts)}"
            )
