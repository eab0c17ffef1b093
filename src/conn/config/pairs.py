"""Regions and pairs of regions that parts of a configuration ask for."""

from __future__ import annotations

from conn.config.features import Features
from conn.config.mediation import Mediation
from conn.config.model import Config, ModelBase
from conn.config.prediction import Prediction
from conn.config.reliability import Reliability
from conn.config.replication import Replication
from conn.rois import networks, selection


def partial_set(config: Config) -> tuple[str, ...]:
    """Regions of the partial correlation, in the order of all regions; empty when none is asked for.

    Raises
    ------
    ConfigError
        See `conn.rois.registry.expand`.
    """
    chosen = config.connectivity.partial
    return () if chosen is None else selection.partial_set(chosen.rois, config.rois)


def replicated_features(asked: Replication, model: ModelBase) -> Features:
    """Edges and networks of a replication: its own where it names some, else those of its model."""
    edges = model.edges if asked.edges is None else asked.edges
    named = model.networks if asked.networks is None else asked.networks
    return Features(edges=edges, networks=named, edge_measure=model.edge_measure, subset=model.subset)


def pairs_of(
    model: ModelBase | Features | Mediation | Reliability, own: networks.Declared
) -> tuple[tuple[str, str], ...]:
    """Pairs of regions that a model or an analysis names, those of a network spelled out; none for all and none."""
    if not isinstance(model.edges, str):
        return model.edges
    if model.edges not in (*networks.names(), *own):
        return ()
    return tuple((a, b) for a, b, _ in networks.declared(model.edges, own))


def predicting_edges(prediction: Prediction, own: networks.Declared) -> tuple[tuple[str, str], ...]:
    """Pairs of regions that a prediction names, those of networks spelled out; none for all."""
    if not prediction.networks and not isinstance(prediction.edges, str):
        return prediction.edges
    named = prediction.networks or (() if prediction.edges == "all" else (str(prediction.edges),))
    return tuple((a, b) for name in named for a, b, _ in networks.declared(name, own))
