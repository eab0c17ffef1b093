"""What of connectivity a model or a clinical analysis looks at: maps, edges and networks, spelled out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from conn.config.association import Association
from conn.config.mediation import Mediation
from conn.config.model import Config, Model
from conn.config.pairs import pairs_of, partial_set, predicting_edges, replicated_features
from conn.config.prediction import Prediction
from conn.config.reliability import Reliability
from conn.config.replication import Replication
from conn.rois import networks, registry, selection
from conn.stages.needs import Needs

Pairs = tuple[tuple[str, str], ...]
Analysis = Association | Mediation | Prediction | Replication
"""A clinical analysis that tests something; reliability tests nothing."""


@dataclass(frozen=True)
class Outcomes:
    """What is looked at.

    Attributes
    ----------
    seeds
        Whose maps are.
    compared
        Seeds whose maps are compared with each other.
    every_edge
        Whether all pairs of `edge_regions` are.
    edge_regions
        Regions of the matrices that edges are taken from, when all are, or when they are partial.
    pairs
        Pairs that are named, those of networks that stand for their edges included.
    together
        Pairs that enter one model together.
    networks
        Networks that are looked at by their mean, with their edges and signs.
    partial
        Whether edges or networks are of partial correlations.
    """

    seeds: tuple[selection.Seed, ...] = ()
    compared: tuple[selection.Seed, ...] = ()
    every_edge: bool = False
    edge_regions: tuple[str, ...] = ()
    pairs: Pairs = ()
    together: Pairs = ()
    networks: dict[str, tuple[networks.Edge, ...]] = field(default_factory=dict)
    partial: bool = False

    @property
    def maps(self) -> tuple[selection.Seed, ...]:
        """Every seed whose map is used."""
        return tuple(dict.fromkeys([*self.seeds, *self.compared]))

    @property
    def regions(self) -> set[str]:
        """Every region behind it."""
        used = {region for seed in self.maps for region in seed.regions}
        united = [(a, b) for edges in self.networks.values() for a, b, _ in edges]
        used |= {region for pair in [*self.pairs, *self.together, *united] for region in pair}
        return used | set(self.edge_regions)


def outcomes_of_model(config: Config, model: Model) -> Outcomes:
    """What a group model tests."""
    known = _known_seeds(config)
    return _outcomes(
        config,
        seeds=_seeds(config, model.seeds),
        compared=[known[label] for labels in model.seed_factors.values() for label in labels],
        every_edge=model.edges == "all",
        pairs=pairs_of(model, config.connectivity.networks),
        united=model.declared_networks,
        measure=model.edge_measure,
    )


def outcomes_of_analysis(config: Config, asked: Analysis | Reliability) -> Outcomes:
    """What a clinical analysis looks at."""
    own = config.connectivity.networks
    if isinstance(asked, Prediction):
        edges = asked.features == "edges"
        return _outcomes(
            config,
            seeds=_seeds(config, asked.seeds),
            every_edge=edges and asked.edges == "all",
            pairs=predicting_edges(asked, own) if edges else (),
            united=asked.networks,
            measure=asked.edge_measure,
        )
    if isinstance(asked, Mediation):
        return _outcomes(
            config,
            seeds=_seeds(config, asked.seeds),
            every_edge=asked.edges == "all",
            pairs=pairs_of(asked, own),
            together=asked.together,
            united=asked.networks,
            measure=asked.edge_measure,
        )
    looked_at = (
        replicated_features(asked, config.models[asked.model]) if isinstance(asked, Replication) else asked
    )
    return _outcomes(
        config,
        every_edge=looked_at.edges == "all",
        pairs=pairs_of(looked_at, own),
        united=looked_at.declared_networks,
        measure=looked_at.edge_measure,
    )


def needs_of(config: Config, asked: Analysis | Reliability) -> Needs:
    """What the features of a clinical analysis need of a scan."""
    found = outcomes_of_analysis(config, asked)
    sets: dict[str, tuple[str, ...]] = {f"{a}-{b}": (a, b) for a, b in (*found.pairs, *found.together)}
    for name, edges in found.networks.items():
        sets[f"network {name}"] = tuple(dict.fromkeys(label for a, b, _ in edges for label in (a, b)))
    sets |= {f"map of {seed.label}": (seed.label,) for seed in found.seeds}
    return Needs(found.edge_regions if found.every_edge else (), sets, found.partial)


def _outcomes(
    config: Config,
    *,
    seeds: Iterable[selection.Seed] = (),
    compared: Iterable[selection.Seed] = (),
    every_edge: bool,
    pairs: Pairs,
    together: Pairs = (),
    united: Iterable[str],
    measure: str,
) -> Outcomes:
    own = config.connectivity.networks
    declared = {name: networks.declared(name, own) for name in united}
    partial = measure == "partial" and bool(every_edge or pairs or together or declared)
    regions: tuple[str, ...] = ()
    if partial:
        regions = partial_set(config)
    elif every_edge:
        regions = tuple(roi.label for roi in registry.regions(config.rois))
    return Outcomes(tuple(seeds), tuple(compared), every_edge, regions, pairs, together, declared, partial)


def _known_seeds(config: Config) -> dict[str, selection.Seed]:
    own = registry.own_labels(config.rois)
    return selection.seeds(config.connectivity.seeds, config.connectivity.together, own)


def _seeds(config: Config, asked: tuple[str, ...] | str) -> tuple[selection.Seed, ...]:
    known = _known_seeds(config)
    if isinstance(asked, str):
        return () if asked == "none" else tuple(known.values())
    labels = registry.expand(asked, (*registry.own_labels(config.rois), *known), "seeds")
    return tuple(known[label] for label in labels)
