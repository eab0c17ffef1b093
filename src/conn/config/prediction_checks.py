"""Checks across keys of predictions."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from conn.config.model import Config
from conn.config.pairs import partial_set, predicting_edges
from conn.config.prediction import Prediction
from conn.config.times import Moment, order_of
from conn.errors import ConfigError
from conn.rois import networks, registry, selection


def problems(config: Config) -> Iterator[str]:
    """What cannot be right: time points, features, references and their time, categories, data sets."""
    for name, prediction in config.prediction.items():
        key = f"prediction.{name}"
        yield from _point(config, f"{key}.at", prediction.at)
        yield from _features(config, key, prediction)
        yield from _references(config, key, prediction)
        yield from _times(config, key, prediction)
        asked = {
            "harmonise": prediction.harmonise,
            "leave_out": prediction.leave_out,
            **{f"strata[{i}]": variable for i, variable in enumerate(prediction.strata)},
            **{f"subset.{variable}": variable for variable in prediction.subset},
        }
        known = {name for name, variable in config.clinical.variables.items() if variable.kind == "category"}
        known |= {"dataset", "response", "remission"}
        for field, variable in asked.items():
            if variable is not None and variable not in known:
                yield f"{key}.{field}: {variable!r} is no category; {registry.nearest_names(variable, sorted(known))}"
        for field in ("train", "test"):
            for dataset in getattr(prediction, field):
                if dataset not in config.datasets:
                    yield f"{key}.{field}: {dataset!r} is none of datasets: {', '.join(config.datasets)}"


def _references(config: Config, key: str, prediction: Prediction) -> Iterator[str]:
    """Names before the dot that mean nothing, and rules that are not set."""
    clinical = config.clinical
    known = {*clinical.variables, *clinical.scales, "mean_fd", "dataset", "response", "remission"}
    asked = [("outcome", prediction.outcome)]
    asked += [(f"clinical[{i}]", reference) for i, reference in enumerate(prediction.clinical or ())]
    asked += [(f"remove[{i}]", reference) for i, reference in enumerate(prediction.remove)]
    for field, reference in asked:
        name = reference.partition(".")[0]
        if name not in known:
            yield f"{key}.{field}: {name!r} is unknown; {registry.nearest_names(name, sorted(known))}"
        elif name in {"response", "remission"} and getattr(clinical, name) is None:
            yield f"{key}.{field}: {name} needs a rule; add clinical.{name}"


def _times(config: Config, key: str, prediction: Prediction) -> Iterator[str]:
    """What is not known when the scan is made, or is the outcome, as far as the order of a trial is stated."""
    orders = {
        dataset: order_of(one.time_points.labels, config.clinical)
        for dataset, one in config.datasets.items()
        if one.time_points.labels
    }
    moment = Moment(prediction.at, prediction.outcome, config.clinical, orders)
    yield from moment.objections(prediction.used(config.clinical), key)


def _point(config: Config, key: str, point: str) -> Iterator[str]:
    known = {label for d in config.datasets.values() for label in d.time_points.labels}
    if point not in known and all(d.time_points.labels for d in config.datasets.values()):
        near = difflib.get_close_matches(point, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(known))}"
        yield f"{key} = {point!r}: no such time point; {hint}"


def _features(config: Config, key: str, prediction: Prediction) -> Iterator[str]:
    """Edges, networks and maps that the study does not have."""
    try:
        labels = {roi.label for roi in registry.regions(config.rois)}
        custom = registry.own_labels(config.rois)
        single = selection.single(config.connectivity.seeds, custom)
        unique = selection.unique(config.connectivity.together, custom)
    except ConfigError:
        return  # told with the regions themselves
    maps = {seed.label for seed in (*single, *unique)}
    for seed in prediction.seeds:
        if seed not in maps:
            yield f"{key}.seeds: {seed} has no map; {registry.nearest_names(seed, sorted(maps))}"
    named = prediction.edges if isinstance(prediction.edges, str) and prediction.edges != "all" else None
    own = config.connectivity.networks
    for network in (*prediction.networks, *([named] if named else [])):
        if network not in (*networks.names(), *own):
            hint = registry.nearest_names(network, (*networks.names(), *own))
            yield f"{key}: {network!r} is no network; {hint}"
            return
    partial = prediction.edge_measure == "partial"
    if partial and config.connectivity.partial is None:
        yield f"{key}.edge_measure: partial correlations are not computed; add connectivity.partial"
        return
    known = set(partial_set(config)) if partial else labels
    asked = {label for pair in predicting_edges(prediction, own) for label in pair}
    for label in sorted(asked - known):
        where = "connectivity.partial.rois" if partial and label in labels else "rois.use"
        hint = f"add it, or the name of its network, to {where}"
        if label not in labels and not (named or prediction.networks):
            hint = registry.nearest_names(label, sorted(known))
        yield f"{key}: region {label} is not in this study; {hint}"
