"""What can be wrong with a model before anybody looks at single people."""

from __future__ import annotations

from collections import Counter

from conn.cohort import did_you_mean
from conn.config.model import CONTRASTS
from conn.design.plans import plan_of
from conn.design.source import Source
from conn.errors import DesignError


def contrast_names(source: Source) -> list[str]:
    known = CONTRASTS[source.model.design]
    for name in source.model.contrasts:
        if name not in known:
            raise DesignError(
                f"{source.key}.contrasts: a {source.model.design} design has no contrast {name!r}; it has "
                f"{', '.join(known)}.{did_you_mean(name, known)}"
            )
    return [name for name in known if name in (source.model.contrasts or known[:1])]


def check_settings(source: Source) -> None:
    before, after = (getattr(source.model, field, None) for field in ("before", "after"))
    if before is not None and before == after:
        raise DesignError(f"{source.key}: before and after are both {before!r}; there is no change to test")
    for field in ("at", "before", "after"):
        point = getattr(source.model, field, None)
        if point is not None:
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
    if source.group is not None:
        _check_levels(source, source.group)


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
            f"{source.key}.{field}: no subject has an included run at {point!r} (subjects with runs: {others})"
        )


def _check_levels(source: Source, group: str) -> None:
    plan = plan_of(CONTRASTS[source.model.design][0], source.model)
    column = source.column(group, "group", plan)
    if column.kind == "number":
        raise DesignError(
            f"{source.key}.group: {group!r} is a number. Declare kind: category under "
            f"clinical.variables.{group}, or use a regression design."
        )
    if source.levels[0] == source.levels[1]:
        raise DesignError(f"{source.key}.levels: both levels are {source.levels[0]!r}")
    counts = Counter(str(value) for value in column.by_person.values())
    for level in source.levels:
        if level not in counts:
            listed = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items())) or "none"
            raise DesignError(
                f"{source.key}.levels: no subject has {group} = {level!r}; the levels are {listed}."
                f"{did_you_mean(level, counts)}"
            )
