"""Files of a small trial, as the stages before the clinical ones leave them."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd

from conn import paths
from conn.clinic.halves import shared_noise
from conn.config.model import Clinical, Scale, Variable
from conn.projection import retained_basis

REGIONS = ("sgACCL", "insulaL", "NAcL", "PAG")
CLINICAL = Clinical(
    baseline="pre",
    endpoint="post",
    scales={
        "MADRS": Scale(columns={"pre": "MADRS_pre", "post": "MADRS_post"}),
        "SHAPS": Scale(columns={"pre": "SHAPS_pre", "post": "SHAPS_post"}),
    },
    variables={
        "arm": Variable(column="arm", kind="category"),
        "site": Variable(column="site", kind="category"),
        "age": Variable(column="age"),
    },
)


def write(out, n=40, volumes=120, effect=0.5, seed=0):
    """A trial in which the first edge changes with MADRS; returns scores and z by person.

    Cleaned series are of real runs: white noise of correlated regions, band-passed.
    """
    rng = np.random.default_rng(seed)
    basis = retained_basis(np.empty((volumes, 0)), np.zeros(volumes, dtype=bool), 2.0, 0.008, 0.1)
    cohort, runs, collected = [], [], {}
    level = 0.3 * rng.standard_normal((n, 6))
    for person in range(n):
        arm = "drug" if person % 2 == 0 else "placebo"
        pre = {"MADRS": 30 + rng.normal(0, 4), "SHAPS": 40 + rng.normal(0, 5)}
        gain = rng.normal(0, 6)
        post = {"MADRS": pre["MADRS"] + gain, "SHAPS": pre["SHAPS"] + 0.5 * gain + rng.normal(0, 4)}
        change = np.zeros(6)
        change[0] = effect * gain / 6 if arm == "drug" else 0
        for point, scores in (("pre", pre), ("post", post)):
            run = f"p{person:02d}{point}"
            z = level[person] + (change if point == "post" else 0)
            series = basis @ (basis.T @ _raw(rng, volumes, np.tanh(z)))
            collected[run] = _files(out, run, series, basis)
            runs.append({"run": run, "df": str(basis.shape[1]), "included": "true"})
            cell = {"dataset": "trial", "subject": f"{person:02d}", "time_point": point, "runs": run}
            cell |= {
                "arm": arm,
                "site": "xy"[(person // 2) % 2],
                "age": f"{20 + person % 7}",
                "mean_fd": "0.1",
            }
            for scale, score in scores.items():
                after = point == "post"
                cell[scale] = f"{score:.6f}"
                cell[f"{scale}_change"] = f"{score - pre[scale]:.6f}" if after else "n/a"
                cell[f"{scale}_percent_change"] = f"{100 * (score / pre[scale] - 1):.6f}" if after else "n/a"
            cohort.append(cell)
    runs = pd.DataFrame(runs).assign(
        session="1", run_entity="1", task="rest", acq="n/a", frames_kept="100", mean_fd="0.1"
    )
    pd.DataFrame(cohort).assign(n_runs="1", df="40").to_csv(out / paths.COHORT, sep="\t", index=False)
    runs.to_csv(out / paths.RUNS, sep="\t", index=False)
    (out / paths.COLLECTED).parent.mkdir(exist_ok=True)
    (out / paths.COLLECTED).write_text(json.dumps(collected))


def _raw(rng, volumes, r):
    """White noise of four regions, three pairs of which are correlated as asked."""
    first = rng.standard_normal((volumes, 1))
    others = rng.standard_normal((volumes, 3))
    rho = r[:3]
    return np.column_stack([first, rho * first + np.sqrt(1 - rho**2) * others])


def _files(out, run, series, basis):
    matrix, table = (f"{run}_stat-{name}.tsv" for name in ("pearsoncorrelation_relmat", "mean_timeseries"))
    about = f"{run}_stat-mean_timeseries.json"
    frame = pd.DataFrame(np.corrcoef(series.T), columns=REGIONS, index=pd.Index(REGIONS, name="roi"))
    frame.to_csv(out / matrix, sep="\t", float_format="%.12g")
    pd.DataFrame(series, columns=REGIONS).to_csv(out / table, sep="\t", index=False, float_format="%.9g")
    (out / about).write_text(json.dumps({"SplitHalfNoise": shared_noise(basis)}))
    return {matrix: "", table: "", about: ""}


def edit(out, change):
    """Change the cohort."""
    table = pd.read_csv(out / paths.COHORT, sep="\t", dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(out / paths.COHORT, sep="\t", index=False)
