"""First-level results of small trials in which an edge carries the effect of treatment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from conn import images, paths
from conn.config.model import Clinical, Scale, Variable
from conn.files import write_json
from conn.rois import networks, registry
from conn.tables import write_tsv

NETWORK = "descendingModulation"
REGIONS = sorted({label for pair in networks.edges(NETWORK) for label in pair})
CARRIER = (REGIONS[0], REGIONS[1])
"""The edge that carries the effect."""

GRID = images.Grid((5, 6, 7), np.array([[3.0, 0, 0, -9], [0, 3, 0, -10], [0, 0, 3, -12], [0, 0, 0, 1]]))
SEED = registry.Roi("aL", "MNI152", shapes=(registry.Shape((-8.0, -8.0, -10.0), radius=3.0),))
VOXEL = (3, 4, 5)
"""The voxel that does."""

CLINICAL = Clinical(
    baseline="pre",
    endpoint="post",
    scales={"MADRS": Scale(columns={"pre": "a", "post": "b"})},
    variables={
        **{name: Variable(column=name, kind="category") for name in ("arm", "order", "site")},
        "age": Variable(column="age"),
    },
)


def write_study(out: Path, n: int = 40, *, maps: bool = False, seed: int = 1) -> pd.DataFrame:
    """Two arms (and two orders); drug raises the edge by 0.3 z, and a unit of z lowers MADRS by 20 points.

    Returns
    -------
    DataFrame
        One row per person: arm, age, MADRS and z of the edge at both time points.
    """
    rng = np.random.default_rng(seed)
    people, cohort, runs, collected = [], [], [], {}
    for number in range(n):
        subject, arm = f"{number:02d}", "drug" if number % 2 else "placebo"
        own = rng.normal(0.3, 0.1, (len(REGIONS), len(REGIONS)))
        person: dict[str, Any] = {"subject": subject, "arm": arm, "age": int(rng.integers(20, 60))}
        person |= {"order": "drugFirst" if number % 4 < 2 else "placeboFirst", "site": f"s{number % 3}"}
        scans = {p: own + rng.normal(0, 0.12, own.shape) for p in ("pre", "post")}
        voxels = {p: rng.normal(0, 0.15, GRID.shape) for p in ("pre", "post")}
        scans["post"][0, 1] += 0.3 * (arm == "drug")
        carried = scans["post"][0, 1] - scans["pre"][0, 1]
        voxels["post"][VOXEL] = voxels["pre"][VOXEL] + carried + rng.normal(0, 0.02)
        before = round(float(rng.normal(28, 4)), 1)
        after = round(before - 4 - 20 * float(carried) + float(rng.normal(0, 1.5)), 1)
        person |= {"pre": before, "post": after, "z_pre": scans["pre"][0, 1], "z_post": scans["post"][0, 1]}
        people.append(person)
        for point in ("pre", "post"):
            key = f"r{subject}{point}"
            about = {"arm": arm, "age": person["age"], "order": person["order"], "site": person["site"]}
            row = {"dataset": "trial", "subject": subject, "time_point": point, "runs": key, **about}
            cohort.append(row | {"mean_fd": 0.1, "MADRS": person[point], "MADRS_change": 0})
            runs.append({"run": key, "df": 60, "included": "true"})
            collected[key] = _write_scan(out, subject, point, scans[point], voxels[point] if maps else None)
    write_tsv(out / paths.COHORT, pd.DataFrame(cohort))
    write_tsv(out / paths.RUNS, pd.DataFrame(runs))
    write_json(out / paths.COLLECTED, collected)
    return pd.DataFrame(people).set_index("subject")


def _write_scan(out: Path, subject: str, point: str, z: Any, voxels: Any) -> dict[str, str]:
    entities = {"sub": subject, "ses": point, "task": "rest", "space": "MNI152NLin2009cAsym"}
    upper = np.triu(z, 1)
    table = pd.DataFrame(np.tanh(upper + upper.T), columns=REGIONS)
    np.fill_diagonal(table.to_numpy(), 1.0)
    table.insert(0, "roi", REGIONS)
    write_tsv(out / paths.relmat(entities), table, digits=15)
    files = [paths.relmat(entities)]
    if voxels is not None:
        images.write_map(out / paths.seed_map(entities, "aL"), GRID, voxels)
        files.append(paths.seed_map(entities, "aL"))
    return {path.as_posix(): "0" * 64 for path in files}
