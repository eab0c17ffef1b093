"""Simulated trials with known truth, and dress rehearsals of real data sets."""

from conn.simulate.cohort import Prepared, prepare
from conn.simulate.demo import DEMO_ROIS, demo_spec
from conn.simulate.edges import PlantedEdge
from conn.simulate.motion import Motion, Restless
from conn.simulate.rehearsal import Rehearsal, rehearse
from conn.simulate.results import simulate_z
from conn.simulate.scores import Score, ScoreLink
from conn.simulate.signal import Signal
from conn.simulate.spec import CohortSpec, TruthModel
from conn.simulate.truth import TrueEffect, Truth, derive_truth, simulate_cohort

__all__ = [
    "DEMO_ROIS",
    "CohortSpec",
    "Motion",
    "PlantedEdge",
    "Prepared",
    "Rehearsal",
    "Restless",
    "Score",
    "ScoreLink",
    "Signal",
    "TrueEffect",
    "Truth",
    "TruthModel",
    "demo_spec",
    "derive_truth",
    "prepare",
    "rehearse",
    "simulate_cohort",
    "simulate_z",
]
