"""What `conn simulate` does with its options."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from conn.errors import ConfigError
from conn.simulate.scenarios import DEMO, scenario
from conn.simulate.truth import simulate_cohort


def run(options: argparse.Namespace) -> str:
    """Simulate a cohort, or rehearse a real data set; returns a sentence for the terminal."""
    out: Path = options.out
    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"{out}: the folder is not empty; choose another or empty it")
    if options.plant and options.like is None:
        raise ConfigError("--plant needs --like: it plants effects that go with columns of real tables")
    if options.like is not None and options.scenario != DEMO:
        raise ConfigError(
            f"--scenario {options.scenario} does not go with --like; --plant plants effects in a rehearsal"
        )
    if options.like is not None:
        return _rehearse(options)
    spec = scenario(options.scenario, options.subjects, options.seed)
    spec = replace(
        spec,
        volumes=options.volumes or spec.volumes,
        voxel_mm=options.voxel_mm,
        first_label=options.first_label,
    )
    simulate_cohort(out, spec, workers=options.workers)
    return f"{out}: {spec.n_subjects} simulated people; what was planted stands in truth.json"


def _rehearse(options: argparse.Namespace) -> str:
    from conn.simulate.rehearsal import rehearse
    from conn.simulate.rehearsal_effects import Plan, plan_for

    plan = plan_for(options.like) if options.plant else Plan(())
    rehearse(
        options.out,
        options.like,
        options.derivatives_like,
        task=options.task,
        space=options.space,
        voxel_mm=options.voxel_mm,
        volumes=options.volumes,
        tr=options.tr,
        subjects=options.subject,
        seed=options.seed,
        edges=plan.edges,
        effects=plan.effects,
        workers=options.workers,
    )
    return f"{options.out}: simulated images in the layout of {options.like.name}, with its clinical tables"
