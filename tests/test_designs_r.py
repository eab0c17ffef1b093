"""Statistics of designs against base R; see golden/make_designs.R."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from conn import inference
from conn.config.model import Crossover
from conn.permutation import permutation_set
from conn.slopes import slope_difference
from trials import compiled, contrast, data, trial

R = json.loads((Path(__file__).parent / "golden" / "designs.json").read_text())
pytestmark = pytest.mark.oracle


def observed(values, matrix, weights, groups=None, covariate=None):
    """What is observed; the rearrangements do not matter here."""
    values, n = np.array(values, dtype=float), len(matrix)
    own = permutation_set(n, "labels", n_permutations=1, seed=0, has_nuisance=True)
    return inference.test(values, matrix, weights, own, groups, covariate=covariate)


def successive(rows):
    """Successive differences of the levels, as values of rows: shape (q, n, 1)."""
    return np.diff(np.array(rows), axis=1).T[:, :, None]


def dummies(codes):
    codes = np.array(codes)
    return np.column_stack([np.ones(codes.size), *(codes == g for g in np.unique(codes)[1:])]).astype(float)


def f_of(found):
    f, first, second = found.stat[0], found.rank, found.df[0]
    return f, first, second, stats.f.sf(f, first, second)


def t_of(found):
    effect, se, t, df = (float(x[0]) for x in (found.effect, found.se, found.stat, found.df))
    half = stats.t.isf(0.025, df) * se
    return effect, se, t, df, 2 * stats.t.sf(abs(t), df), effect - half, effect + half


@pytest.mark.parametrize("result", ["within_wilks", "within_hotelling"])
def test_levels_within_people(result):
    ones = np.ones((9, 1))
    np.testing.assert_allclose(f_of(observed(successive(R["within"]), ones, [1.0])), R[result][:4], rtol=1e-9)


def test_levels_within_people_beside_a_covariate():
    matrix = np.column_stack([np.ones(9), R["within_age"]])
    found = observed(successive(R["within"]), matrix, [1.0, 0.0])
    np.testing.assert_allclose(f_of(found), R["within_age_wilks"][:4], rtol=1e-9)


@pytest.mark.parametrize("name", ["group", "arm", "four"])
def test_groups_by_levels_within_people(name):
    matrix = dummies(R[name])
    found = observed(successive(R[f"{name}_within"]), matrix, np.eye(matrix.shape[1])[1:])
    np.testing.assert_allclose(f_of(found), R[f"{name}_within_wilks"][:4], rtol=1e-9)


def test_one_way_f_and_welchs_f():
    score, matrix = np.array(R["score"])[:, None], dummies(R["arm"])
    rows = np.eye(3)[1:]
    np.testing.assert_allclose(f_of(observed(score, matrix, rows)), R["f"], rtol=1e-9)
    np.testing.assert_allclose(f_of(observed(score, matrix, rows, R["arm"])), R["welch_g"], rtol=1e-9)
    wide = np.column_stack([matrix, R["score_covariate"]])
    np.testing.assert_allclose(f_of(observed(score, wide, np.eye(4)[1:3])), R["f_covariate"], rtol=1e-9)


def test_welchs_t_of_two_arms():
    arm, score = np.array(R["arm"]), np.array(R["score"])
    chosen = arm != 2
    effect, _, t, df, p, low, high = t_of(
        observed(score[chosen][:, None], dummies(arm[chosen]), [0.0, 1.0], arm[chosen])
    )
    np.testing.assert_allclose((t, df, p, effect, low, high), R["welch_v"], rtol=1e-9)


def test_analysis_of_covariance():
    after, before = (np.array(R[name])[:, None] for name in ("after", "before"))
    matrix = dummies(R["treated"])
    found = observed(after, matrix, [0.0, 1.0], covariate=before)
    np.testing.assert_allclose(t_of(found), R["ancova"], rtol=1e-9)
    wide = np.column_stack([matrix, R["site"]])
    found = observed(after, wide, [0.0, 1.0, 0.0], covariate=before)
    np.testing.assert_allclose(t_of(found), R["ancova_site"], rtol=1e-9)
    np.testing.assert_allclose(t_of(observed(after - before, matrix, [0.0, 1.0])), R["change"], rtol=1e-9)
    own = permutation_set(len(matrix), "labels", n_permutations=4999, seed=0, has_nuisance=True)
    slopes = slope_difference(after, before, matrix, [0.0, 1.0], own)
    assert slopes.estimate[0] == pytest.approx(R["slopes"][0], rel=1e-9)
    # The permutation p is near that of the t distribution, which R has.
    p = R["slopes"][4]
    assert slopes.p[0] == pytest.approx(p, abs=0.01 + 4 * np.sqrt(p * (1 - p) / 5000))


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("treatment", "crossover_effect"),
        ("treatmentFlips", "crossover_balanced"),
        ("carryover", "carry_over"),
    ],
)
def test_a_compiled_crossover(name, result):
    first = np.array(R["drug_first"]) == 1
    people = {f"{n:02d}": {"order": "drug" if one else "placebo"} for n, one in enumerate(first, start=1)}
    tables = trial(people, ("d", "p"))
    model = Crossover(
        design="crossover", treatment="d", control="p", sequence="order", levels=("drug", "placebo")
    )
    one = contrast(compiled(model, tables), name)
    z = {}
    for person, early, late in zip(people, R["period_1"], R["period_2"], strict=True):
        drug_came_first = people[person]["order"] == "drug"
        z[f"r{person}d"], z[f"r{person}p"] = (early, late) if drug_came_first else (late, early)
    rows = data(one.run_weights, z)[:, None]
    np.testing.assert_allclose(t_of(observed(rows, one.matrix, one.contrast)), R[result], rtol=1e-9)
