"""Checks across keys of replications: their model, its contrasts, what tells trials apart, edges."""

from __future__ import annotations

from collections.abc import Iterator, Set

from conn.config import association_checks
from conn.config.contrasts import contrasts_of
from conn.config.model import Config
from conn.config.pairs import replicated_features
from conn.config.replication import Replication
from conn.rois.registry import nearest_names


def problems(config: Config, labels: Set[str], partial: Set[str]) -> Iterator[str]:
    """What cannot be right.

    Parameters
    ----------
    config
        A configuration that is valid by itself.
    labels
        Regions of the study.
    partial
        Regions of its partial correlations.
    """
    for name, asked in config.replication.items():
        key = f"replication.{name}"
        yield from _trials(key, asked, config)
        model = config.models.get(asked.model)
        if model is None:
            hint = nearest_names(asked.model, list(config.models))
            yield f"{key}.model: there is no model {asked.model!r}; {hint}"
            continue
        known = contrasts_of(model)
        for contrast in asked.contrasts:
            if contrast not in known:
                yield f"{key}.contrasts: {contrast!r} is no contrast of {model.design}; known: {', '.join(known)}"
        looked_at = replicated_features(asked, model)
        if looked_at.nothing:
            yield f"{key}: model {asked.model} tests maps alone; name edges or networks"
        elif asked.edges is not None or asked.networks is not None:
            own = partial if looked_at.edge_measure == "partial" else labels
            yield from association_checks.features(key, looked_at, labels, own, config)


def _trials(key: str, asked: Replication, config: Config) -> Iterator[str]:
    if asked.by != "dataset":
        known = [*config.clinical.variables]
        if asked.by not in known:
            yield f"{key}.by: no variable {asked.by!r}; {nearest_names(asked.by, ['dataset', *known])}"
        elif config.clinical.variables[asked.by].kind == "number":
            yield f"{key}.by: {asked.by} is a number; give it kind: category in clinical.variables.{asked.by}"
        return
    for trial in asked.trials:
        if trial not in config.datasets:
            yield f"{key}.trials: there is no data set {trial!r}; {nearest_names(trial, list(config.datasets))}"
    if len(config.datasets) < 2:
        yield f"{key}.by: there is one data set, {next(iter(config.datasets))}; a replication needs two trials"
