"""The trial of `make demo`, and the regions that simulations use when none are given."""

from __future__ import annotations

from conn.simulate.edges import PlantedEdge
from conn.simulate.regions import Point, Sphere
from conn.simulate.spec import CohortSpec, TruthModel


def _both(name: str, left: Point, right: Point, radius: float) -> tuple[Sphere, ...]:
    return ((f"{name}L", left, radius), (f"{name}R", right, radius))


def _mirrored(name: str, x: float, y: float, z: float, radius: float) -> tuple[Sphere, ...]:
    return _both(name, (-x, y, z), (x, y, z), radius)


_PAG = ((0.4, -29.2, -6.7), (0.4, -30.0, -7.7), (0.4, -31.3, -9.2), (0.4, -32.3, -10.6), (0.4, -33.3, -11.9))

DEMO_ROIS: tuple[Sphere, ...] = (
    *_mirrored("sgACC", 5, 25, -10, 4),
    *_mirrored("pgACC", 8, 41, 5, 5),
    *_mirrored("dACC", 9, 20, 34, 5),
    *_both("amygdalaLB", (-25, -5.5, -22.6), (28.3, -4, -22.5), 5),
    *_both("amygdalaCM", (-23, -8.1, -8.8), (26, -8.1, -8), 3.5),
    *_both("amygdalaSF", (-18.3, -4.6, -16.1), (22.1, -3.7, -13.4), 4),
    *_both("thalamusMD", (-5.8, -17.7, 7), (5.9, -16.6, 7), 4),
    *_both("thalamusVPL", (-19, -21.3, 5.5), (18.4, -20.1, 5.7), 3.5),
    *_both("pulvinar", (-15.8, -27.9, 6.7), (15.5, -26.7, 6.7), 5),
    *(("PAG", centre, 4.0) for centre in _PAG),
    *_both("insula", (-36, 18, 2), (38, 21, -1), 5),
    *_mirrored("precuneus", 11, -68, 42, 5),
    ("vmPFC", (0, 54, -8), 10),
    *_both("NAc", (-10.1, 8, -10.3), (9.4, 8.9, -10), 4),
    *_both("supramarginal", (-60, -39, 31), (62, -35, 32), 5),
    *_mirrored("middleTemporal", 61, -41, -2, 5),
    *_both("hippocampusAnt", (-25.6, -11.8, -21.5), (24.7, -11.2, -22.7), 4),
    *_both("hippocampusPost", (-25.2, -38.8, -2), (25.1, -37.2, -2.2), 4),
)
"""The regions of the registry that hold a voxel at 3 mm; nuclei of the lower brainstem have no signal."""

DEMO_EDGES: tuple[PlantedEdge, ...] = (
    PlantedEdge(
        "sgACCL",
        "amygdalaCML",
        baseline_z=0.42,
        delta_z={"drug": -0.84},
        sized_for=("armbytime", "drugprepost"),
    ),
    PlantedEdge(
        "PAG",
        "thalamusMDL",
        baseline_z=0.25,
        delta_z={"drug": -0.5, "placebo": -0.5},
        sized_for=("prepost",),
    ),
    PlantedEdge(
        "dACCR",
        "supramarginalR",
        baseline_z=-0.25,
        delta_z={"drug": 0.5, "placebo": 0.5},
        sized_for=("prepost",),
    ),
    PlantedEdge("pgACCR", "insulaR", slope=-0.055, person_sd=0.1, change_sd=0.1, sized_for=("slope",)),
)
"""One edge that only the drug changes, two that change in everybody, one that goes with the score."""

DEMO_MODELS: tuple[TruthModel, ...] = (
    TruthModel("prepost", "change"),
    TruthModel("drugprepost", "change", ("drug",)),
    TruthModel("armbytime", "interaction"),
    TruthModel("slope", "slope"),
)


def demo_spec(n_subjects: int = 24, seed: int = 0) -> CohortSpec:
    """The demo: 24 subjects, two sessions, 150 volumes at 3 mm, seed 0.

    Parameters
    ----------
    n_subjects, seed
        To make it smaller, or another one.
    """
    return CohortSpec(rois=DEMO_ROIS, edges=DEMO_EDGES, models=DEMO_MODELS, n_subjects=n_subjects, seed=seed)
