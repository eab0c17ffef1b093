"""Checks across keys of mediation analyses."""

from __future__ import annotations

from collections.abc import Iterator

from conn.config.mediation import Mediation
from conn.config.model import Config
from conn.config.pairs import pairs_of, partial_set
from conn.errors import ConfigError
from conn.rois import networks, registry, selection


def problems(config: Config) -> Iterator[str]:
    """Scales, variables, time points and connectivity that mediation analyses refer to."""
    try:
        labels = {roi.label for roi in registry.regions(config.rois)}
        partial = set(partial_set(config))
        maps = selection.seeds(
            config.connectivity.seeds, config.connectivity.together, registry.own_labels(config.rois)
        )
    except ConfigError:
        return  # told by `_regions`
    for name, one in config.mediation.items():
        key = f"mediation.{name}"
        yield from _words(config, key, one)
        if one.edge_measure == "partial" and config.connectivity.partial is None:
            yield f"{key}.edge_measure: partial correlations are not computed; add connectivity.partial"
        known = partial if one.edge_measure == "partial" else labels
        yield from _edges(key, one, known, config.connectivity.networks)
        if not isinstance(one.seeds, str):
            try:
                own = (*registry.own_labels(config.rois), *maps)
                asked = registry.expand(one.seeds, own, f"{key}.seeds")
                lost = [seed for seed in asked if seed not in maps]
                yield from (f"{key}.seeds: {seed} has no map; add it to connectivity.seeds" for seed in lost)
            except ConfigError as error:
                yield str(error)


def _words(config: Config, key: str, one: Mediation) -> Iterator[str]:
    scales, names = sorted(config.clinical.scales), sorted(config.clinical.variables)
    if one.outcome not in scales:
        yield f"{key}.outcome: {one.outcome!r} is no scale; {registry.nearest_names(one.outcome, scales)}"
    for field, variable in _variables(one):
        if variable not in (*names, "response", "remission", "dataset"):
            yield f"{key}.{field}: no variable {variable!r}; {registry.nearest_names(variable, names)}"
    labels = {label for d in config.datasets.values() for label in d.time_points.labels}
    open_ended = any(not d.time_points.labels for d in config.datasets.values())
    for field in ("before", "after"):
        point = getattr(one, field)
        if point not in labels and not open_ended:
            yield (
                f"{key}.{field} = {point!r}: no such time point; "
                f"{registry.nearest_names(point, sorted(labels))}"
            )


def _variables(one: Mediation) -> Iterator[tuple[str, str]]:
    yield ("sequence" if one.crossover else "arm"), one.who
    yield from ((f"subset.{variable}", variable) for variable in one.subset)
    yield from ((f"strata[{i}]", variable) for i, variable in enumerate(one.strata))


def _edges(key: str, one: Mediation, known: set[str], own: networks.Declared) -> Iterator[str]:
    named = [*networks.names(), *own]
    if isinstance(one.edges, str) and one.edges not in ("all", "none", *named):
        hint = registry.nearest_names(one.edges, ["all", "none", *named])
        yield f"{key}.edges: {one.edges!r} is neither all, none, nor a network; {hint}"
        return
    for network in one.networks:
        if network not in named:
            hint = registry.nearest_names(network, named)
            yield f"{key}.networks: {network!r} is no network; {hint}"
            return
    asked = [("edges", pair) for pair in pairs_of(one, own)] + [("together", pair) for pair in one.together]
    members = [edge for network in one.networks for edge in networks.declared(network, own)]
    asked += [("networks", (a, b)) for a, b, _ in members]
    for field, pair in dict.fromkeys(asked):
        if pair[0] == pair[1]:
            yield f"{key}.{field}: {pair[0]} is paired with itself"
        for label in sorted(set(pair) - known):
            yield (
                f"{key}.{field}: {label} is not a region of this study's matrices; add it to rois.use (and to "
                "connectivity.partial.rois, if edges are partial correlations)"
            )
