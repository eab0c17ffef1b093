"""Mediation from matrices and maps of single scans to table, maps and summary."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from conn import images, paths
from conn.config.mediation import Mediation
from conn.config.model import Inference
from conn.errors import ConfigError, DesignError
from conn.files import read_json
from conn.rois import networks
from conn.stages.mediation import Mediators, Resources, mediate
from conn.tables import read_tsv, write_tsv
from mediation_study import CARRIER, CLINICAL, GRID, NETWORK, REGIONS, SEED, VOXEL, write_study

SETTINGS: dict[str, Any] = {
    "arm": "arm",
    "levels": ("drug", "placebo"),
    "before": "pre",
    "after": "post",
    "randomised": True,
    "outcome": "MADRS",
    "bootstrap": 1000,
}


def run(out: Path, wanted: Mediators, **changes: Any) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Run an analysis; its table with numbers, and its summary."""
    settings = Mediation(**{**SETTINGS, **changes})
    inference = Inference(permutations=199)
    mediate(out, "m", settings, CLINICAL, inference, wanted, Resources(out), seed=1)
    return read(out), read_json(out / paths.analysis("mediation", "m"))


def read(out: Path) -> pd.DataFrame:
    path = out / paths.analysis("mediation", "m", ".tsv")
    if not path.exists():
        return pd.DataFrame()
    table = read_tsv(path).replace("n/a", "nan")
    text = {"kind", "roi_a", "roi_b", "network", "seed", "proportion_flag", "status"}
    return table.astype({column: float for column in table.columns if column not in text})


@pytest.mark.truth
def test_the_edge_that_carries_the_effect_is_the_only_one_found(tmp_path):
    people = write_study(tmp_path)
    table, record = run(tmp_path, Mediators("all"), covariates=("age",))
    assert len(table) == math.comb(len(REGIONS), 2)
    found = table[table["p_fwe"] <= 0.05]
    assert found[["roi_a", "roi_b"]].to_numpy().tolist() == [list(CARRIER)]
    row = found.iloc[0]
    assert row["ab_ci_low"] < -6 < row["ab_ci_high"] < 0
    assert row["ab_bca_low"] < -6 < row["ab_bca_high"] < 0
    assert abs(row["proportion"] - 1) < 0.25
    drug = (people["arm"] == "drug").to_numpy(float)
    rest = np.column_stack([drug, people["z_pre"], people["pre"], people["age"], np.ones(40)])
    second = sm.OLS(people["post"].to_numpy(), np.column_stack([people["z_post"], rest])).fit()
    assert [row["b"], row["b_se"]] == pytest.approx([second.params[0], second.bse[0]], rel=1e-6)
    assert row["t_b"] == pytest.approx(second.tvalues[0], rel=1e-6)
    assert row["rho_zero"] == pytest.approx(row["t_b"] / math.hypot(row["t_b"], math.sqrt(34)), rel=1e-6)
    first = sm.OLS(people["z_post"].to_numpy(), rest[:, [0, 1, 3, 4]]).fit()
    assert row["ab"] == pytest.approx(first.params[0] * second.params[0], rel=1e-6)
    total = sm.OLS(people["post"].to_numpy(), rest[:, [0, 2, 3, 4]]).fit()
    assert record["total_effect"]["estimate"] == pytest.approx(total.params[0])
    assert record["n_by_level"] == {"drug": 20, "placebo": 20}
    assert record["families"][0]["features"] == len(table)
    assert "nobody was randomised to a level of connectivity" in " ".join(record["caveats"])


def test_networks_are_a_family_of_their_own_and_edges_can_be_listed(tmp_path):
    write_study(tmp_path)
    wanted = Mediators([CARRIER], {NETWORK: networks.edges(NETWORK)})
    table, record = run(tmp_path, wanted, strata=("site",), interaction=True)
    assert table["kind"].tolist() == ["edge", "network"]
    assert table["network"].tolist() == ["nan", NETWORK]
    assert [one["kind"] for one in record["families"]] == ["edges", "networks"]
    assert table["p_fwe"].tolist() == table["p_joint"].tolist()
    row = table.iloc[0]
    assert row["ab_treated"] - row["ab_control"] == pytest.approx(row["a"] * row["interaction"], rel=1e-6)
    assert "+ site" in record["equations"][0]


def numbers(values: Any) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


@pytest.mark.oracle
def test_holm_goes_over_every_kind_of_feature_that_was_asked_for(tmp_path):
    write_study(tmp_path, maps=True)
    nets, pairs = {NETWORK: networks.edges(NETWORK)}, (CARRIER, (REGIONS[2], REGIONS[3]))
    wanted = Mediators("all", nets, {"aL": [SEED]})
    table, record = run(tmp_path, wanted, seeds=("aL",), together=pairs)
    assert record["holm"] == ["edges", "networks", "seeds", "together"]
    # Families whole, voxels from their map; then the closed test by brute force, family by family.
    voxels = images.read_volume(tmp_path / paths.analysis_map("mediation", "m", "aL", "pfwe"))[1]
    joined = record["together"]["mediators"]
    whole = {kind: table.loc[table["kind"] == kind, "p_fwe"].to_numpy() for kind in ("edge", "network")}
    whole |= {"seed": voxels[np.isfinite(voxels)], "together": np.array(numbers(m["p_fwe"] for m in joined))}
    found = {
        kind: table.loc[table["kind"] == kind, "p_holm"].to_numpy() for kind in ("edge", "network", "seed")
    }
    found["together"] = np.array(numbers(m["p_holm"] for m in joined))
    p_of = {
        kind: own if kind != "seed" else table.loc[table["kind"] == kind, "p_fwe"].to_numpy()
        for kind, own in whole.items()
    }
    for kind, own in p_of.items():
        others = [q for other, q in whole.items() if other != kind]
        expected = [closed(p, others) for p in own]
        np.testing.assert_allclose(found[kind], expected, rtol=1e-6)
    assert (found["edge"] > p_of["edge"] - 1e-12).all()
    assert found["edge"].min() == pytest.approx(4 * p_of["edge"].min())


def closed(p: float, others: list[Any]) -> float:
    """Largest p of all sets of a feature and one of each of some other families, by Bonferroni."""
    worst = p
    for size in range(1, len(others) + 1):
        for chosen in itertools.combinations(others, size):
            # Of each family the feature with the largest p makes the set hardest to reject.
            worst = max(worst, (1 + size) * min(p, *(max(q) for q in chosen)))
    return min(worst, 1.0)


def test_one_family_costs_nothing(tmp_path):
    write_study(tmp_path)
    table, record = run(tmp_path, Mediators("all"))
    assert record["holm"] == ["edges"]
    assert table["p_holm"].tolist() == table["p_fwe"].tolist()


@pytest.mark.truth
def test_maps_find_the_voxel_and_leave_out_the_seed(tmp_path):
    write_study(tmp_path, maps=True)
    table, record = run(tmp_path, Mediators("none", {}, {"aL": [SEED]}), edges="none", seeds=("aL",))
    assert table["kind"].tolist() == ["seed"]
    np.testing.assert_allclose(table[["x", "y", "z"]].to_numpy()[0], (GRID.affine @ [*VOXEL, 1])[:3])
    maps = {
        stat: images.read_volume(tmp_path / paths.analysis_map("mediation", "m", "aL", stat))[1]
        for stat in ("a", "b", "ab", "ta", "tb", "p", "pfwe")
    }
    assert np.argwhere(maps["pfwe"] <= 0.05).tolist() == [list(VOXEL)]
    assert maps["ab"][VOXEL] == pytest.approx(table["ab"][0], rel=1e-5)
    assert maps["pfwe"][VOXEL] == pytest.approx(table["p_fwe"][0], rel=1e-5)
    assert maps["tb"][VOXEL] == pytest.approx(table["t_b"][0], rel=1e-5)
    inside = np.isfinite(maps["ab"])
    assert 0 < inside.sum() == record["families"][0]["features"] < np.prod(GRID.shape)
    assert (np.isfinite(maps["pfwe"]) == inside).all()


def test_mediators_together_are_in_the_summary(tmp_path):
    write_study(tmp_path)
    pairs = (CARRIER, (REGIONS[2], REGIONS[3]))
    _, record = run(tmp_path, Mediators(), edges="none", together=pairs)
    one, other = record["together"]["mediators"]
    assert one["p_fwe"] <= 0.05 < other["p_fwe"]
    assert record["together"]["total"]["ab"] == pytest.approx(one["ab"] + other["ab"])
    assert record["families"] == []
    assert not (tmp_path / paths.analysis("mediation", "m", ".tsv")).exists()


def test_a_crossover_compares_the_same_people(tmp_path):
    people = write_study(tmp_path)
    options = {"arm": None, "sequence": "order", "levels": ("drugFirst", "placeboFirst")}
    table, record = run(tmp_path, Mediators([CARRIER]), **options)
    change, sign = people["z_post"] - people["z_pre"], np.where(people["order"] == "drugFirst", 1.0, -1.0)
    total = people["z_post"] + people["z_pre"]
    score = people["post"] - people["pre"]
    first = sm.OLS(change.to_numpy(), np.column_stack([np.ones(40), sign])).fit()
    matrix = np.column_stack([change, np.ones(40), sign, total - total.mean()])
    second = sm.OLS(score.to_numpy(), matrix).fit()
    row = table.iloc[0]
    assert [row["a"], row["b"], row["c_prime"]] == pytest.approx(
        [first.params[0], *second.params[:2]], rel=1e-6
    )
    assert "carries over" in record["caveats"][-1]


def test_who_is_left_out_is_named_and_a_trial_without_chance_is_called_so(tmp_path):
    write_study(tmp_path)
    cohort = read_tsv(tmp_path / paths.COHORT)
    at = {
        key: cohort["subject"].eq(key[0]) & cohort["time_point"].eq(key[1])
        for key in (("03", "post"), ("05", "pre"))
    }
    cohort.loc[at["03", "post"], "runs"] = "n/a"
    cohort.loc[at["05", "pre"], "MADRS"] = "n/a"
    cohort.loc[cohort["subject"].eq("07"), "arm"] = "waiting"
    write_tsv(tmp_path / paths.COHORT, cohort)
    table, record = run(tmp_path, Mediators([CARRIER]), randomised=False)
    assert record["left_out"] == [
        {"dataset": "trial", "subject": "03", "reason": "no included run at post"},
        {"dataset": "trial", "subject": "05", "reason": "MADRS.pre is missing"},
    ]
    assert (record["n"], table["n"][0]) == (37, 37)
    assert "intervals are erratic" not in " ".join(record["caveats"])
    assert record["caveats"][0].startswith("arm was not randomised")
    too_few = r"mediation\.m: 1 people of waiting have all .*Left out: MADRS\.pre is missing \(1\)"
    with pytest.raises(DesignError, match=too_few):
        run(tmp_path, Mediators([CARRIER]), levels=("drug", "waiting"))


def test_a_level_or_a_value_of_the_subset_that_nobody_has_is_an_error(tmp_path):
    write_study(tmp_path)
    with pytest.raises(ConfigError, match=r"m\.levels: nobody has 'nobody' as arm; known: drug, placebo$"):
        run(tmp_path, Mediators([CARRIER]), levels=("drug", "nobody"))
    with pytest.raises(ConfigError, match=r"m\.subset\.site: nobody has 'C' as site; known: s0, s1, s2$"):
        run(tmp_path, Mediators([CARRIER]), subset={"site": ("s0", "C")})


def test_an_edge_that_somebody_lacks_is_not_tested_and_not_entered_together(tmp_path):
    write_study(tmp_path)
    path = next(tmp_path.glob("sub-08/ses-pre/func/*relmat.tsv"))
    matrix = read_tsv(path)
    matrix.loc[0, REGIONS[1]] = matrix.loc[1, REGIONS[0]] = "n/a"
    write_tsv(path, matrix)
    other = (REGIONS[2], REGIONS[3])
    table, record = run(tmp_path, Mediators([CARRIER, other]))
    assert table["n"].tolist() == [39, 40]
    assert np.isfinite(table["p_fwe"]).tolist() == np.isfinite(table["ab_ci_low"]).tolist() == [False, True]
    assert record["families"][0]["features"] == 1
    with pytest.raises(DesignError, match=f"{'-'.join(CARRIER)} is missing in somebody"):
        run(tmp_path, Mediators(), edges="none", together=(CARRIER, other))


def test_few_people_are_warned_of_erratic_intervals(tmp_path):
    write_study(tmp_path, n=20)
    _, record = run(tmp_path, Mediators([CARRIER]))
    assert "One level of arm has 10 people" in record["caveats"][-1]


def test_a_proportion_of_nothing_is_flagged(tmp_path):
    write_study(tmp_path)
    table, _ = run(tmp_path, Mediators("all"))
    assert set(table["proportion_flag"]) <= {"nan", "total_includes_0", "opposite_signs"}
    direct = table["ab"] * table["c_prime"] < 0
    shown = (table["c_ci_low"] > 0) | (table["c_ci_high"] < 0)
    assert (table["proportion_flag"] == "opposite_signs").tolist() == (direct & shown).tolist()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sequence": "order"}, "either arm or"),
        ({"arm": None}, "either arm or"),
        ({"after": "pre"}, "must be two time points"),
        ({"levels": ("drug", "drug")}, "listed twice"),
        ({"together": (CARRIER,)}, "two different edges"),
        ({"edges": "none"}, "nothing is a mediator"),
        ({"arm": None, "sequence": "order", "interaction": True}, "a crossover has no interaction"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Mediation(**{**SETTINGS, **changes})
