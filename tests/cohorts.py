"""Many simulated cohorts of the demo's trial, analysed at the level of results by the demo's own models."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from conn import inference
from conn.config import load
from conn.design import compile_model
from conn.simulate import demo_spec, derive_truth, prepare, simulate_z
from conn.stages.rows import rearrangements

DEMO = Path(__file__).parents[1] / "config" / "demo.yaml"


@dataclass
class Tally:
    """What came out for one model, cohort by cohort."""

    found: dict[tuple[str, str], list[bool]] = field(default_factory=lambda: defaultdict(list))
    estimate: dict[tuple[str, str], list[float]] = field(default_factory=lambda: defaultdict(list))
    covered: dict[tuple[str, str], list[bool]] = field(default_factory=lambda: defaultdict(list))
    truth: dict[tuple[str, str], float] = field(default_factory=dict)
    sized: set[tuple[str, str]] = field(default_factory=set)
    any_false: list[bool] = field(default_factory=list)


def analyse(seeds: range, permutations: int = 499) -> dict[str, Tally]:
    """Simulate and analyse one cohort per seed; tallies by model."""
    config = load(DEMO)
    tallies = {name: Tally() for name in config.models}
    scene = prepare(demo_spec()).scene
    for seed in seeds:
        spec = demo_spec(seed=seed)
        prepared = prepare(spec, scene)
        z = simulate_z(spec, prepared)
        cohort, runs, rows = tables(spec, prepared)
        pairs = np.array(list(combinations(range(prepared.latent.n_rois), 2)))
        edges = {run: z[person, session][pairs[:, 0], pairs[:, 1]] for run, (person, session) in rows.items()}
        names = [(prepared.latent.labels[a], prepared.latent.labels[b]) for a, b in pairs]
        effects = derive_truth(spec, prepared).effects
        for name, model in config.models.items():
            design = compile_model(name, model, config.clinical, cohort, runs, config.inference)
            contrast = design.contrasts[0]
            data = np.array([sum(w * edges[r] for r, w in row.items()) for row in contrast.run_weights])
            sets = rearrangements(contrast, permutations, seed)
            result = inference.test(data, contrast.matrix, contrast.contrast, sets, contrast.variance_groups)
            corrected = inference.correct([result]).results[0]
            _count(tallies[name], name, names, effects, result, corrected)
    return tallies


def tables(spec, prepared):
    """`cohort.tsv` and `runs.tsv` of a cohort, and the place of every run."""
    people, runs, places = [], [], {}
    rng = np.random.default_rng([spec.seed, 77])
    for person in prepared.people:
        scores = dict(zip(spec.sessions, person.scores, strict=True))
        for session, point in enumerate(spec.sessions):
            key = f"p{person.number}{point}"
            places[key] = (person.number, session)
            runs.append({"run": key, "df": "30", "included": "true"})
            people.append(
                {
                    "dataset": "trial",
                    "subject": person.label,
                    "time_point": point,
                    "runs": key,
                    "n_runs": "1",
                    "df": "30",
                    "mean_fd": f"{rng.gamma(4, 0.03):.6f}",
                    "arm": person.arm,
                    "age": "40",
                    "sex": "F",
                    "MADRS": str(scores[point]),
                    "MADRS_change": str(scores[point] - scores["pre"]),
                    "MADRS_percent_change": "n/a",
                    "response": "n/a",
                    "remission": "n/a",
                }
            )
    return pd.DataFrame(people, dtype=str), pd.DataFrame(runs, dtype=str), places


def _count(tally, name, names, effects, result, corrected):
    mine = {frozenset((e.roi_a, e.roi_b)): e for e in effects if e.model == name}
    false = False
    for i, edge in enumerate(names):
        truth = mine.get(frozenset(edge))
        significant = bool(corrected.p_fwe[i] <= 0.05)
        if truth is None or abs(truth.delta_z) < 1e-9:
            false = false or significant
            continue
        tally.truth[edge] = truth.delta_z
        if truth.sized:
            tally.sized.add(edge)
        tally.found[edge].append(significant)
        tally.estimate[edge].append(float(result.effect[i]))
        tally.covered[edge].append(bool(corrected.ci_low[i] <= truth.delta_z <= corrected.ci_high[i]))
    tally.any_false.append(false)
