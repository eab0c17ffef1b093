"""Checks across keys: regions, time points, variables and contrasts that models refer to."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path

from conn.config.model import CONTRASTS, Config, ModelBase
from conn.errors import ConfigError
from conn.rois import registry


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
    if problems:
        raise ConfigError("\n".join(f"{path}: {problem}" for problem in problems))


def _regions(config: Config) -> Iterator[str]:
    custom = tuple(config.rois.custom)
    try:
        labels = {roi.label for roi in registry.regions(config.rois.use, config.rois.custom)}
        seeds = registry.expand(config.connectivity.seeds, custom, "connectivity.seeds")
    except ConfigError as error:
        yield str(error)
        return
    for seed in seeds:
        if seed not in labels:
            yield f"connectivity.seeds: {seed} is not among rois.use or rois.custom; add it there"
    for name, model in config.models.items():
        yield from _model_regions(name, model, labels, set(seeds), custom)


def _model_regions(
    name: str, model: ModelBase, labels: set[str], seeds: set[str], custom: tuple[str, ...]
) -> Iterator[str]:
    if not isinstance(model.seeds, str):
        try:
            for seed in registry.expand(model.seeds, custom, f"models.{name}.seeds"):
                if seed not in seeds:
                    yield f"models.{name}.seeds: {seed} has no map; add it to connectivity.seeds"
        except ConfigError as error:
            yield str(error)
    if not isinstance(model.edges, str):
        for pair in model.edges:
            for label in pair:
                if label not in labels:
                    near = difflib.get_close_matches(label, labels, n=2)
                    hint = f"; did you mean {' or '.join(near)}?" if near else ""
                    yield f"models.{name}.edges: {label} is not a region of this study{hint}"
            if pair[0] == pair[1]:
                yield f"models.{name}.edges: {pair[0]} is paired with itself"


def _models(config: Config) -> Iterator[str]:
    known = {label for d in config.datasets.values() for label in d.time_points.labels}
    open_ended = any(not d.time_points.labels for d in config.datasets.values())
    for name, model in config.models.items():
        design = str(getattr(model, "design", ""))
        for contrast in model.contrasts:
            if contrast not in CONTRASTS[design]:
                yield (
                    f"models.{name}.contrasts: {contrast!r} is no contrast of {design}; "
                    f"known: {', '.join(CONTRASTS[design])}"
                )
        points = {key: getattr(model, key, None) for key in ("before", "after", "at")}
        for key, point in points.items():
            if point is not None and point not in known and not open_ended:
                near = difflib.get_close_matches(point, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
                yield f"models.{name}.{key} = {point!r}: no such time point; {hint}"
        if points["before"] is not None and points["before"] == points["after"]:
            yield f"models.{name}: before and after are both {points['before']!r}"
        yield from _variables(config, name, model)


def _variables(config: Config, name: str, model: ModelBase) -> Iterator[str]:
    names = {*config.clinical.variables, "response", "remission", "dataset"}
    asked = {
        "group": getattr(model, "group", None),
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
