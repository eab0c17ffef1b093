"""Simulated trials with known truth, and dress rehearsals of real data sets."""

from conn.simulate.clinical_truth import ClinicalTruth
from conn.simulate.cohort import Prepared, prepare
from conn.simulate.demo import DEMO_ROIS, demo_spec
from conn.simulate.edges import PlantedEdge
from conn.simulate.motion import Motion, Restless
from conn.simulate.rehearsal import Rehearsal, rehearse
from conn.simulate.rehearsal_effects import ColumnEffect
from conn.simulate.results import Results, simulate_results, simulate_z
from conn.simulate.scenarios import SCENARIOS, scenario
from conn.simulate.scores import Score, ScoreLink
from conn.simulate.signal import Signal
from conn.simulate.spec import CohortSpec, TruthModel
from conn.simulate.truth import TrueEffect, Truth, derive_truth, simulate_cohort

__all__ = [
    "DEMO_ROIS",
    "SCENARIOS",
    "ClinicalTruth",
    "CohortSpec",
    "ColumnEffect",
    "Motion",
    "PlantedEdge",
    "Prepared",
    "Rehearsal",
    "Restless",
    "Results",
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
    "scenario",
    "simulate_cohort",
    "simulate_results",
    "simulate_z",
]
