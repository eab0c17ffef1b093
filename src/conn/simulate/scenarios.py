"""Trials that each hold one clinical truth, and one that holds them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from conn.errors import ConfigError
from conn.simulate.demo import DEMO_ROIS, demo_spec
from conn.simulate.edges import PlantedEdge
from conn.simulate.motion import Motion, Restless
from conn.simulate.scores import Score, ScoreLink
from conn.simulate.spec import CohortSpec

DEMO = "demo"
"""What is simulated when nothing is said."""

PEOPLE = 60
"""People of a scenario when nothing else is said."""

ROIS = tuple(sphere for sphere in DEMO_ROIS if sphere[0] not in ("hippocampusAntL", "hippocampusAntR"))
"""Those of the demo without the anterior hippocampus, which shares voxels with the amygdala."""

CARRIER = PlantedEdge(
    "PAG", "thalamusMDL", baseline_z=0.3, delta_z={"drug": -0.4}, person_sd=0.12, change_sd=0.25
)
MARKER = PlantedEdge(
    "amygdalaLBL", "precuneusL", baseline_z=0.1, person_sd=0.25, change_sd=0.25, persistence=0.0
)
MODERATOR = PlantedEdge("pgACCR", "insulaR", baseline_z=0.2, person_sd=0.25, change_sd=0.1)
MOVED = PlantedEdge("dACCR", "supramarginalR", fd_slope=1.5, person_sd=0.1, change_sd=0.1)
UNMOVED = PlantedEdge(
    "sgACCL", "amygdalaCML", baseline_z=0.3, delta_z={"drug": -0.5}, person_sd=0.1, change_sd=0.1
)

RESTLESS = Restless("drug", Motion(step_mm=0.05, spikes=10.0, spike_mm=0.6))
"""Mean framewise displacement of about 0.27 mm instead of 0.10."""

THROUGH_CARRIER = ScoreLink("PAG", "thalamusMDL", {"drug": 12.0, "placebo": 12.0}, "change")
FORETOLD = ScoreLink("amygdalaLBL", "precuneusL", {"drug": -18.0, "placebo": -18.0})
MODERATED = ScoreLink("pgACCR", "insulaR", {"drug": -20.0})

MADRS = Score(baseline_mean=34.0, noise_sd=1.5, change={"drug": (-11.0, 5.0), "placebo": (-8.0, 5.0)})
SHAPS = Score(
    "SHAPS",
    baseline_mean=36.0,
    baseline_sd=6.0,
    change={"drug": (-6.0, 5.0), "placebo": (-4.0, 5.0)},
    minimum=14,
    maximum=56,
    noise_sd=2.0,
    missing=0.1,
    tied=0.5,
)
"""Snaith-Hamilton scale in its form of 14 items from 1 to 4; a tenth of the later scores is lost."""


def scenario(name: str, n_subjects: int | None = None, seed: int = 0) -> CohortSpec:
    """A trial by its name.

    Parameters
    ----------
    name
        ``demo``; ``mediation``: a drug acts on a score partly through an edge; ``responder``: an edge
        foretells who responds, and no longer differs after treatment; ``moderator``: it does so under the
        drug alone; ``motion``: people on the drug move more, which passes for an effect on an edge;
        ``clinic``: all of these.
    n_subjects
        People; None: 24 for the demo, 60 for others.
    seed
        Everything random starts from it.

    Raises
    ------
    ConfigError
        No such scenario.
    """
    if name not in SCENARIOS:
        raise ConfigError(f"scenario {name!r} is none of {', '.join(SCENARIOS)}")
    spec = SCENARIOS[name]()
    return replace(spec, n_subjects=spec.n_subjects if n_subjects is None else n_subjects, seed=seed)


def _trial(
    edges: tuple[PlantedEdge, ...],
    links: tuple[ScoreLink, ...] = (),
    arms: tuple[str, ...] = ("drug", "placebo"),
    restless: Restless | None = None,
    global_gain: Mapping[str, float] | None = None,
) -> CohortSpec:
    return CohortSpec(
        rois=ROIS,
        edges=edges,
        n_subjects=PEOPLE,
        arms=arms,
        score=replace(MADRS, links=links),
        further_scores=(SHAPS,),
        restless=restless,
        global_gain=global_gain or {},
    )


def _mediation() -> CohortSpec:
    return _trial((CARRIER,), (THROUGH_CARRIER,))


def _responder() -> CohortSpec:
    """All get the drug, as in an open trial; about half respond."""
    spec = _trial((MARKER,), (replace(FORETOLD, per_z={"drug": -18.0}),), ("drug",))
    return replace(spec, score=replace(spec.score, change={"drug": (-17.0, 5.0)}))


def _moderator() -> CohortSpec:
    return _trial((MODERATOR,), (MODERATED,))


def _motion() -> CohortSpec:
    return _trial((MOVED, UNMOVED), restless=RESTLESS, global_gain={"drug": 1.5})


def _clinic() -> CohortSpec:
    edges = (CARRIER, MARKER, MODERATOR, MOVED, UNMOVED)
    links = (THROUGH_CARRIER, FORETOLD, MODERATED)
    return _trial(edges, links, restless=RESTLESS, global_gain={"drug": 1.5})


SCENARIOS: Mapping[str, Callable[[], CohortSpec]] = {
    DEMO: demo_spec,
    "mediation": _mediation,
    "responder": _responder,
    "moderator": _moderator,
    "motion": _motion,
    "clinic": _clinic,
}
