"""Checks across keys of associations and reliability: regions, time points, variables, each other."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Set

from conn.clinic.scales import KINDS, REGISTRY, retest
from conn.config.association import Association
from conn.config.features import Features
from conn.config.model import Config
from conn.config.reliability import Reliability
from conn.rois import networks, registry


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
    asked: list[tuple[str, Association | Reliability]] = []
    asked += [(f"associations.{name}", one) for name, one in config.associations.items()]
    asked += [(f"reliability.{name}", one) for name, one in config.reliability.items()]
    for key, one in asked:
        yield from features(key, one, labels, partial if one.edge_measure == "partial" else labels, config)
        yield from _time_points(key, one, config)
    for name, association in config.associations.items():
        yield from _association(f"associations.{name}", association, config)
    for name, reliability in config.reliability.items():
        wanted = [*reliability.subset, *(reliability.stable or {})]
        yield from _variables(f"reliability.{name}", wanted, config)


def features(key: str, asked: Features, labels: Set[str], known: Set[str], config: Config) -> Iterator[str]:
    """What is wrong with the edges and networks of an analysis.

    Parameters
    ----------
    key
        Where it stands.
    asked
        Its edges and networks.
    labels, known
        Regions of the study, and those that its edges may be taken from.
    config
        A configuration that is valid by itself.
    """
    if asked.edge_measure == "partial" and config.connectivity.partial is None:
        yield f"{key}.edge_measure: partial correlations are not computed; add connectivity.partial"
        return
    own = config.connectivity.networks
    names = [*networks.names(), *own]
    if isinstance(asked.edges, str) and asked.edges not in {"all", "none", *names}:
        hint = registry.nearest_names(asked.edges, ["all", "none", *names])
        yield f"{key}.edges: {asked.edges!r} is neither all, none, nor a network; {hint}"
        return
    for pair in () if isinstance(asked.edges, str) else asked.edges:
        for label in pair:
            if label not in labels:
                yield f"{key}.edges: {label} is not a region of this study{_near(label, labels)}"
            elif label not in known:
                yield f"{key}.edges: {label} is not in connectivity.partial.rois; add it there"
        if pair[0] == pair[1]:
            yield f"{key}.edges: {pair[0]} is paired with itself"
    for network in asked.declared_networks:
        if network not in names:
            yield f"{key}.networks: {network!r} is no network; {registry.nearest_names(network, names)}"
            continue
        missing = sorted({label for a, b, _ in networks.declared(network, own) for label in (a, b)} - known)
        if missing:
            yield (
                f"{key}.networks: {network} needs {', '.join(missing)}, which this study does not have; add "
                "the network's name to rois.use (and to connectivity.partial.rois for partial correlations)"
            )


def _time_points(key: str, asked: Association | Reliability, config: Config) -> Iterator[str]:
    known = {label for d in config.datasets.values() for label in d.time_points.labels}
    if any(not d.time_points.labels for d in config.datasets.values()):
        return
    for field, point in (("before", asked.before), ("after", asked.after)):
        if point is not None and point not in known:
            hint = _near(point, known) or f"; known: {', '.join(sorted(known))}"
            yield f"{key}.{field} = {point!r}: no such time point{hint}"


def _variables(key: str, names: Iterable[str], config: Config) -> Iterator[str]:
    known = {*config.clinical.variables, "response", "remission", "dataset"}
    for name in names:
        if name not in known:
            hint = _near(name, known) or f"; known: {', '.join(sorted(known))}"
            yield f"{key}: no variable {name!r} in clinical.variables{hint}"


def _association(key: str, asked: Association, config: Config) -> Iterator[str]:
    arm = () if asked.arm is None else (asked.arm,)
    yield from _variables(key, [*arm, *asked.subset, *asked.strata], config)
    scales = [reference.partition(".")[0] for reference in asked.scales]
    for reference, scale in zip(asked.scales, scales, strict=True):
        if scale not in config.clinical.scales and scale not in config.clinical.variables:
            known = {*config.clinical.scales, *config.clinical.variables}
            yield f"{key}.scales: {reference!r} is no scale{_near(scale, known)}"
        elif asked.adjusted and scale not in config.clinical.scales:
            yield f"{key}.adjusted: {reference!r} is no scale of clinical.scales and has no baseline"
    if asked.adjusted and config.clinical.baseline is None:
        yield f"{key}.adjusted: the baseline of scales is that at clinical.baseline, which is not set"
    for scale, share in asked.scale_reliability.items():
        if scale not in scales:
            yield f"{key}.scale_reliability: {scale!r} is none of its scales: {', '.join(scales)}"
        elif share == REGISTRY:
            yield from _registered(f"{key}.scale_reliability.{scale}", scale, config)
    if asked.reliability is not None:
        yield from _reliability(key, asked, config)


def _registered(key: str, scale: str, config: Config) -> Iterator[str]:
    """Why the registry has no reliability of a scale that could be taken without a choice."""
    kind = config.clinical.scales[scale].kind if scale in config.clinical.scales else None
    if kind is None:
        yield f"{key}: {scale} has no kind in clinical.scales, so that nothing is known of it; give a number"
        return
    known = KINDS[kind].retest
    if retest(kind) is None:
        listed = "; ".join(
            f"{one.value:g}, {one.words} ({one.source}{'' if one.verified else '; not checked'})"
            for one in known
        )
        why = f"its reliabilities need a choice: {listed}" if known else "no test-retest reliability is known"
        yield f"{key}: of {kind} {why}; give a number"


def _reliability(key: str, asked: Association, config: Config) -> Iterator[str]:
    """Whether the ceiling comes from an analysis of the same change of the same kind of edges."""
    assert asked.reliability is not None
    other = config.reliability.get(asked.reliability)
    if other is None:
        yield f"{key}.reliability: no analysis {asked.reliability!r} in reliability"
    elif other.edge_measure != asked.edge_measure:
        yield (
            f"{key}.reliability: {asked.reliability} is about {other.edge_measure} correlations, this "
            f"association about {asked.edge_measure} ones"
        )
    elif other.after is None:
        yield f"{key}.reliability: {asked.reliability} has no `after`, so it knows nothing of a change"
    elif (other.before, other.after) != (asked.before, asked.after):
        yield (
            f"{key}.reliability: {asked.reliability} is about the change from {other.before} to "
            f"{other.after}, this association about that from {asked.before} to {asked.after}; the error of "
            f"one need not be that of the other. Name an analysis of reliability with before: {asked.before} and "
            f"after: {asked.after}, or leave reliability out"
        )


def _near(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=2)
    return f"; did you mean {' or '.join(close)}?" if close else ""
