"""Checks across keys: regions, time points, variables and contrasts that models refer to."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path

from conn.config import association_checks, mediation_checks, prediction_checks, replication_checks
from conn.config.contrasts import SENSITIVITY, contrasts_of
from conn.config.model import Config, Crossover, Model, ModelBase, Moderator
from conn.config.pairs import pairs_of, partial_set
from conn.errors import ConfigError
from conn.rois import networks, registry, selection

FEWEST_PARTIAL = 3
CATEGORY_KEYS = ("group", "arm", "outcome", "sequence")
"""Keys of models that name a category; the outcome of a moderator is a number."""


def check(config: Config, path: Path) -> None:
    """Raise for references that lead nowhere.

    Parameters
    ----------
    config
        A configuration that is valid by itself.
    path
        Its file, for the message.

    Raises
    ------
    ConfigError
        Every mistake found, one a line.
    """
    problems = [*_regions(config), *_models(config)]
    problems += [*mediation_checks.problems(config), *prediction_checks.problems(config)]
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))


def _regions(config: Config) -> Iterator[str]:
    try:
        custom = registry.own_labels(config.rois)
        labels = {roi.label for roi in registry.regions(config.rois)}
        single = selection.single(config.connectivity.seeds, custom)
        unique = selection.unique(config.connectivity.together, custom)
        partial = partial_set(config)
    except ConfigError as error:
        yield str(error)
        return
    asked = [("seeds", seed.roi) for seed in single]
    asked += [(f"together.{seed.group}", seed.roi) for seed in unique]
    asked += [("partial.rois", label) for label in partial]
    for key, label in dict.fromkeys(asked):
        if label not in labels:
            yield f"connectivity.{key}: {label} is not among rois.use or rois.custom; add it there"
    yield from _removed(config, {seed.roi for seed in (*single, *unique)}, set(partial))
    yield from _together(config, unique, labels)
    if config.connectivity.partial is not None and len(partial) < FEWEST_PARTIAL:
        yield (
            f"connectivity.partial.rois: {len(partial)} regions ({', '.join(partial)}); at least "
            f"{FEWEST_PARTIAL} are needed, for with two there is none to hold constant"
        )
    yield from association_checks.problems(config, labels, set(partial))
    yield from replication_checks.problems(config, labels, set(partial))
    maps = {seed.label for seed in (*single, *unique)}
    yield from _networks(config, labels)
    own = config.connectivity.networks
    for name, model in config.models.items():
        yield from _model_seeds(name, model, maps, custom, [seed.label for seed in unique])
        known = partial if config.connectivity.partial else None
        yield from _model_edges(name, model, labels, known, own)
        yield from _model_networks(name, model, labels, known, own)


def _networks(config: Config, labels: set[str]) -> Iterator[str]:
    """Networks of one's own: names that are free, regions of this study, every pair once."""
    for name in config.connectivity.networks:
        key = f"connectivity.networks.{name}"
        if name in {"all", "none", *networks.names()}:
            yield f"{key}: the name is taken; conn rois networks lists those of the registry"
            continue
        seen: set[frozenset[str]] = set()
        for a, b, _ in networks.declared(name, config.connectivity.networks):
            for label in (a, b):
                if label not in labels:
                    near = difflib.get_close_matches(label, labels, n=2)
                    hint = f"; did you mean {' or '.join(near)}?" if near else "; add it to rois.use"
                    yield f"{key}: {label} is not a region of this study{hint}"
            if a == b:
                yield f"{key}: {a} is paired with itself"
            elif frozenset((a, b)) in seen:
                yield f"{key}: the pair {a}, {b} is listed twice"
            seen.add(frozenset((a, b)))


def _removed(config: Config, seeds: set[str], partial: set[str]) -> Iterator[str]:
    """Nuisance regions that something else is asked of."""
    own = registry.own_labels(config.rois)
    try:
        nuisance = registry.expand(config.connectivity.nuisance_regions, own, "connectivity.nuisance_regions")
    except ConfigError as error:
        yield str(error)
        return
    for label in nuisance:
        for key, others in (("seeds", seeds), ("partial.rois", partial)):
            if label in others:
                yield (
                    f"connectivity.nuisance_regions: {label} is removed from everything, so nothing of it is "
                    f"left for connectivity.{key}; take it out of one of them"
                )


def _together(config: Config, unique: tuple[selection.Seed, ...], labels: set[str]) -> Iterator[str]:
    owner: dict[str, str] = {}
    for group in config.connectivity.together:
        members = [seed for seed in unique if seed.group == group]
        if len(members) < 2:
            yield (
                f"connectivity.together.{group}: {len(members)} region; at least two are entered together. "
                "A map of one region by itself: connectivity.seeds"
            )
        for seed in members:
            first = owner.setdefault(seed.roi, group)
            if first != group:
                yield (
                    f"connectivity.together.{group}: {seed.roi} is in {first} too; its map would have two "
                    "meanings under one name. A region may be in one group"
                )
            if seed.label in labels:
                yield (
                    f"connectivity.together.{group}: the map of {seed.roi} would be called {seed.label}, "
                    f"and a region has that name; rename rois.custom.{seed.label}"
                )


def _model_seeds(
    name: str, model: ModelBase, maps: set[str], custom: tuple[str, ...], unique: list[str]
) -> Iterator[str]:
    for factor, labels in model.seed_factors.items():
        for label in labels:
            if label not in maps:
                yield (
                    f"models.{name}.seed_factors.{factor}: {label} has no map; "
                    f"{registry.nearest_names(label, sorted(maps))}"
                )
        if factor in maps:
            yield (
                f"models.{name}.seed_factors.{factor}: a map has that name, and files of both would be "
                "called the same; choose another"
            )
    if isinstance(model.seeds, str):
        return
    try:
        for seed in registry.expand(model.seeds, (*custom, *unique), f"models.{name}.seeds"):
            if seed not in maps:
                yield f"models.{name}.seeds: {seed} has no map; add it to connectivity.seeds"
    except ConfigError as error:
        yield str(error)


def _model_edges(
    name: str,
    model: ModelBase,
    labels: set[str],
    partial: tuple[str, ...] | None,
    own: networks.Declared,
) -> Iterator[str]:
    if model.edge_measure == "partial" and partial is None:
        yield (
            f"models.{name}.edge_measure: partial correlations are not computed; add connectivity.partial "
            "(partial: {} takes all regions)"
        )
        return
    known = labels if model.edge_measure == "pearson" or partial is None else set(partial)
    named = ["all", "none", *networks.names(), *own]
    if isinstance(model.edges, str) and model.edges not in named:
        hint = registry.nearest_names(model.edges, named)
        yield f"models.{name}.edges: {model.edges!r} is neither all, none, nor a network; {hint}"
        return
    for pair in pairs_of(model, own):
        for label in pair:
            if label not in labels:
                near = difflib.get_close_matches(label, labels, n=2)
                hint = f"; did you mean {' or '.join(near)}?" if near else ""
                yield f"models.{name}.edges: {label} is not a region of this study{hint}"
            elif label not in known:
                yield (
                    f"models.{name}.edges: {label} is not in connectivity.partial.rois, and "
                    f"models.{name}.edge_measure is partial; add it there"
                )
        if pair[0] == pair[1]:
            yield f"models.{name}.edges: {pair[0]} is paired with itself"


def _model_networks(
    name: str,
    model: ModelBase,
    labels: set[str],
    partial: tuple[str, ...] | None,
    own: networks.Declared,
) -> Iterator[str]:
    known = labels if model.edge_measure == "pearson" or partial is None else set(partial)
    for network in model.networks:
        if network not in (*networks.names(), *own):
            hint = registry.nearest_names(network, (*networks.names(), *own))
            yield f"models.{name}.networks: {network!r} is no network; {hint}"
            continue
        missing = sorted({label for a, b, _ in networks.declared(network, own) for label in (a, b)} - known)
        if missing:
            yield (
                f"models.{name}.networks: {network} needs {', '.join(missing)}, which this study does not "
                "have; add the network's name (or its regions) to rois.use (and to "
                "connectivity.partial.rois, if edges are partial correlations)"
            )


def _models(config: Config) -> Iterator[str]:
    for name, model in config.models.items():
        known = contrasts_of(model)
        for contrast in model.contrasts:
            if contrast not in known:
                yield (
                    f"models.{name}.contrasts: {contrast!r} is no contrast of {model.design}; "
                    f"known: {', '.join(known)}"
                )
        carryover = model.contrasts.get("carryover") if isinstance(model, Crossover) else None
        if carryover is not None and carryover.confirmatory:
            yield (
                f"models.{name}.contrasts.carryover: confirmatory is true, but carry-over is reported and "
                "never decides; its power is low. Remove confirmatory"
            )
        for contrast in known:
            if f"{contrast}{SENSITIVITY}" in known:
                yield (
                    f"models.{name}.tests: {contrast}{SENSITIVITY} is the name of {contrast} with motion as "
                    "a covariate; call it something else"
                )
        yield from _carried(config, name, model)
        yield from _time_points(config, name, model)
        yield from _levels(name, model)
        yield from _variables(config, name, model)


def _carried(config: Config, name: str, model: Model) -> Iterator[str]:
    """Observations carried forward are a sensitivity analysis, which confirms nothing."""
    planned = [contrast for contrast, options in model.contrasts.items() if options.confirmatory]
    texts = [
        *model.covariates,
        *(getattr(model, key, None) or "" for key in ("predictor", "outcome", "formula")),
    ]
    used = re.findall(r"\b([A-Za-z]\w*\.locf(?:\.\w+)?)", " ".join(texts))
    used = [reference for reference in used if reference.split(".")[0] in config.clinical.scales]
    if planned and used:
        yield (
            f"models.{name}.contrasts.{planned[0]}: confirmatory is true, but {used[0]} carries observations "
            "forward, which is a sensitivity analysis beside the primary one. Remove confirmatory, or name the "
            "score itself"
        )


def _time_points(config: Config, name: str, model: Model) -> Iterator[str]:
    known = {label for d in config.datasets.values() for label in d.time_points.labels}
    open_ended = any(not d.time_points.labels for d in config.datasets.values())
    points = {key: getattr(model, key, None) for key in ("before", "after", "at", "treatment", "control")}
    points |= {f"points[{i}]": point for i, point in enumerate(getattr(model, "points", ()))}
    for key, point in points.items():
        if point is not None and point not in known and not open_ended:
            near = difflib.get_close_matches(point, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
            yield f"models.{name}.{key} = {point!r}: no such time point; {hint}"
    for one, other in (("before", "after"), ("treatment", "control")):
        if points[one] is not None and points[one] == points[other]:
            yield f"models.{name}: {one} and {other} are both {points[one]!r}"


def _levels(name: str, model: Model) -> Iterator[str]:
    for key in ("levels", "arm_levels", "outcome_levels"):
        levels: tuple[str, ...] = getattr(model, key, ())
        twice = [level for level in dict.fromkeys(levels) if levels.count(level) > 1]
        if twice:
            yield f"models.{name}.{key}: {twice[0]!r} is listed twice"


def _variables(config: Config, name: str, model: ModelBase) -> Iterator[str]:
    names = {*config.clinical.variables, "response", "remission", "dataset"}
    keys = ("group", "arm", "sequence") if isinstance(model, Moderator) else CATEGORY_KEYS
    asked = {
        **{key: getattr(model, key, None) for key in keys},
        **{f"subset.{key}": key for key in model.subset},
        **{f"strata[{i}]": key for i, key in enumerate(model.strata)},
    }
    for key, variable in asked.items():
        if variable is not None and variable not in names:
            near = difflib.get_close_matches(variable, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(names))}"
            yield f"models.{name}.{key}: no variable {variable!r} in clinical.variables; {hint}"
        if variable in {"response", "remission"} and getattr(config.clinical, variable) is None:
            yield f"models.{name}.{key}: {variable} needs a rule; add clinical.{variable}"
