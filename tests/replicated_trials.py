"""Several trials of two arms as the stages before a replication leave them: tables, and matrices of runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn import paths
from conn.config.model import Clinical, ParallelArms, Variable

REGIONS = ("PAG", "sgACCL", "insulaL", "NAcL")
ARMS = ("drug", "placebo")
CLINICAL = Clinical(
    baseline="pre",
    endpoint="post",
    variables={
        "arm": Variable(column="arm", kind="category"),
        "site": Variable(column="site", kind="category"),
        "sex": Variable(column="sex", kind="category"),
        "age": Variable(column="age"),
    },
)


def model(**options: Any) -> ParallelArms:
    """Arms compared after treatment."""
    settings = {"before": "pre", "after": "post", "arm": "arm", "levels": ARMS, "randomised": True}
    return ParallelArms(**({"design": "parallel_arms"} | settings | options))


@dataclass(frozen=True)
class Trial:
    """One trial: its people, and by how much the first edge (PAG-sgACCL) changes in the drug arm."""

    n: int = 24
    effect: float = 0.0
    sd: float = 0.2
    women_only: bool = False
    arms: Sequence[str] = ARMS
    first: int = 0
    lost: Sequence[int] = field(default_factory=tuple)


def write(out: Path, trials: Mapping[str, Trial], seed: int = 0, site_in: str | None = None) -> None:
    """Write `cohort.tsv`, `runs.tsv` and the matrices of trials.

    With `site_in` all people are in the one data set of this name, and the trial is their site.
    """
    rng = np.random.default_rng(seed)
    cohort: list[dict[str, str]] = []
    runs: list[dict[str, str]] = []
    collected: dict[str, dict[str, str]] = {}
    for place, (name, trial) in enumerate(trials.items()):
        for person in range(trial.n):
            subject = f"{100 * place + person + 1 + trial.first:03d}"
            arm = trial.arms[person % len(trial.arms)]
            level = 0.2 + 0.2 * rng.standard_normal(6)
            for point in ("pre", "post"):
                z = level + trial.sd / np.sqrt(2) * rng.standard_normal(6)
                z[0] += trial.effect if arm == "drug" and point == "post" else 0.0
                run = f"{name}s{subject}{point}"
                there = not (point == "post" and person in trial.lost)
                if there:
                    collected[run] = _matrix(out, run, z)
                    runs.append({"run": run, "df": "80", "included": "true"})
                cohort.append(
                    {
                        "dataset": site_in or name,
                        "subject": subject,
                        "time_point": point,
                        "runs": run if there else "n/a",
                        "n_runs": "1" if there else "0",
                        "arm": arm,
                        "site": name,
                        "sex": "f" if trial.women_only else "fm"[(person // 2) % 2],
                        "age": f"{30 + (7 * person) % 19}",
                        "mean_fd": "0.1",
                        "df": "80",
                    }
                )
    pd.DataFrame(cohort).to_csv(out / paths.COHORT, sep="\t", index=False)
    pd.DataFrame(runs).to_csv(out / paths.RUNS, sep="\t", index=False)
    (out / paths.COLLECTED).parent.mkdir(parents=True, exist_ok=True)
    (out / paths.COLLECTED).write_text(json.dumps(collected))


def _matrix(out: Path, run: str, z: np.ndarray) -> dict[str, str]:
    n = len(REGIONS)
    values = np.eye(n)
    values[np.triu_indices(n, 1)] = np.tanh(z)
    values = values + np.triu(values, 1).T
    name = f"{run}_stat-pearsoncorrelation_relmat.tsv"
    frame = pd.DataFrame(values, columns=pd.Index(REGIONS), index=pd.Index(REGIONS, name="roi"))
    frame.to_csv(out / name, sep="\t", float_format="%.12g")
    return {name: ""}
