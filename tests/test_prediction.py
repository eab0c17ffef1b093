"""Prediction: nothing leaks, chance looks like chance, a planted difference is found."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logit
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import balanced_accuracy_score, brier_score_loss, roc_auc_score

from conn.clinic.prediction import combat, exchange, folds, kernel, model_file, scores
from conn.clinic.prediction.analysis import Plan, predict
from conn.clinic.prediction.bounded import auc_variance, limits
from conn.clinic.prediction.chance import chance
from conn.clinic.prediction.crossfit import Crossfit, crossfit, folds_of
from conn.clinic.prediction.curves import learning_curve, roc
from conn.clinic.prediction.delong import delong
from conn.clinic.prediction.external import external
from conn.clinic.prediction.interval import interval, u_variance
from conn.clinic.prediction.people import People, people
from conn.clinic.prediction.pipeline import fit
from conn.clinic.prediction.recipe import Recipe
from conn.clinic.prediction.steps import best
from conn.errors import DesignError, InputError

GOLDEN = Path(__file__).parent / "golden"
AUC = json.loads((GOLDEN / "prediction_auc.json").read_text())
COMBAT = json.loads((GOLDEN / "combat.json").read_text())
RATES = json.loads((Path(__file__).parents[1] / "docs" / "explanation" / "prediction_rates.json").read_text())
FEW = (0.1, 1.0, 10.0)
QUICK = Recipe("classifier", penalties=FEW, inner_folds=3)


def cohort(seed, n=30, n_features=40, effect=0.0, n_clinical=0, cases=0.5):
    """People of whom the first `cases` respond; an effect in the first five features."""
    rng = np.random.default_rng([7, seed])
    outcome = (np.arange(n) < round(cases * n)).astype(float)
    imaging = rng.normal(size=(n, n_features))
    imaging[:, :5] += effect * outcome[:, None]
    clinical = rng.normal(size=(n, n_clinical))
    return people([f"p{i}" for i in range(n)], imaging, clinical), outcome


def full(seed=0, n=36, n_features=12):
    """People with gaps, sites, covariates and clinical values: every step has something to do."""
    who, outcome = cohort(seed, n, n_features, effect=1.0, n_clinical=2)
    rng = np.random.default_rng(seed)
    imaging = np.where(rng.random(who.imaging.shape) < 0.05, np.nan, who.imaging)
    site = np.array(["a", "b", "c"])[np.arange(n) % 3]
    clinical = who.clinical.copy()
    clinical[3, 0] = np.nan
    return people(who.names, imaging, clinical, rng.normal(size=(n, 2)), site), outcome


# Nothing leaks ------------------------------------------------------------------------------------


def changed(who: People, rows) -> People:
    """The same people, of whom some have become entirely others."""
    imaging, clinical, covariates = who.imaging.copy(), who.clinical.copy(), who.covariates.copy()
    for block in (imaging, clinical, covariates):
        block[rows] = 1000 + np.arange(block.shape[1])
    return replace(who, imaging=imaging, clinical=clinical, covariates=covariates)


@pytest.mark.parametrize("reduce", ["none", "best", "pca"])
@pytest.mark.parametrize("kind", ["classifier", "regression"])
def test_what_the_people_of_a_fold_are_changes_no_model_that_they_are_tested_with(kind, reduce):
    who, outcome = full()
    recipe = Recipe(kind, penalties=FEW, reduce=reduce, n_reduced=4, inner_folds=3)
    fold = folds_of(outcome, recipe, 4, 1, 0)
    before = crossfit(who, outcome, recipe, fold, 0)
    tested = np.flatnonzero(fold[0] == 2)
    one, rest = tested[0], tested[1:]
    after = crossfit(
        changed(who, rest), np.where(np.isin(np.arange(who.n), rest), 1 - outcome, outcome), recipe, fold, 0
    )
    assert after.predicted[0, one] == before.predicted[0, one]
    others = fold[0] != 2
    assert (after.predicted[0, others] != before.predicted[0, others]).any()


@pytest.mark.calibration
def test_features_chosen_outside_the_folds_would_find_noise_and_ours_do_not():
    inside, outside = [], []
    recipe = Recipe("classifier", penalties=(1.0,), reduce="best", n_reduced=10)
    for seed in range(30):
        who, outcome = cohort(seed, n=30, n_features=300)
        fold = folds_of(outcome, recipe, 5, 1, seed)
        leaky = replace(who, imaging=who.imaging[:, best(who.imaging, outcome, 10)])
        for found, given_people in ((inside, who), (outside, leaky)):
            made = crossfit(given_people, outcome, recipe, fold, seed)
            found.append(scores.cross_validated("auc", made, outcome, "classifier"))
    assert np.mean(outside) > 0.8
    assert abs(np.mean(inside) - 0.5) < 3.3 * np.std(inside, ddof=1) / np.sqrt(30)


def test_two_rows_of_a_person_are_refused():
    with pytest.raises(DesignError, match="anna has 2 rows"):
        people(["anna", "ben", "anna"], np.zeros((3, 1)))


# Folds --------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(6, 40), st.integers(6, 40), st.integers(2, 6), st.integers(0, 99))
def test_folds_are_even_and_stratified(cases, controls, n_folds, seed):
    outcome = np.repeat([1.0, 0.0], [cases, controls])
    fold = folds.stratified(outcome, "classifier", n_folds, (seed,))
    for rows in (fold, fold[outcome == 1], fold[outcome == 0]):
        sizes = np.bincount(rows, minlength=n_folds)
        assert sizes.max() - sizes.min() <= 1


def test_sites_are_spread_over_folds():
    outcome, site = np.tile([0.0, 1.0], 20), np.repeat(["a", "b"], 20)
    fold = folds.stratified(outcome, "classifier", 5, (1,), site)
    assert all(
        np.bincount(fold[(site == s) & (outcome == y)]).tolist() == [2] * 5 for s in "ab" for y in (0, 1)
    )


def test_folds_of_a_score_hold_low_and_high_people():
    outcome = np.random.default_rng(0).normal(size=40)
    fold = folds.stratified(outcome, "regression", 4, (0,))
    means = [outcome[fold == k].mean() for k in range(4)]
    assert np.ptp(means) < 0.5


def test_a_class_too_small_for_the_folds_is_an_error_that_says_what_to_do():
    with pytest.raises(DesignError, match=r"smaller class has 6 people; 5 folds need 7.*no number of folds"):
        folds.check(np.repeat([0.0, 1.0], [20, 6]), "classifier", 5, 5)
    with pytest.raises(DesignError, match=r"smaller class has 8 people; 10 folds need 11.*Set folds to 7"):
        folds.check(np.repeat([0.0, 1.0], [20, 8]), "classifier", 10, 5)
    with pytest.raises(DesignError, match="14 people; 5 folds with 5 inner folds need 18, so that 10"):
        folds.check(np.arange(14.0), "regression", 5, 5)
    with pytest.raises(DesignError, match="same outcome"):
        folds.check(np.ones(20), "classifier", 5, 5)


@pytest.mark.parametrize(("n_folds", "least"), [(3, 11), (4, 7), (5, 7), (6, 7), (7, 8), (10, 11)])
def test_whoever_has_enough_people_has_enough_with_one_more(n_folds, least):
    def accepted(kind, outcome):
        try:
            folds.check(outcome, kind, n_folds, 5)
        except DesignError:
            return False
        return True

    counts = range(1, 70)
    of_class = [accepted("classifier", np.repeat([0.0, 1.0], [70, n])) for n in counts]
    of_score = [accepted("regression", np.arange(float(n))) for n in counts]
    for found in (of_class, of_score):
        assert found == sorted(found)
        assert True in found
    assert of_class.index(True) + 1 == least


@pytest.mark.parametrize("n_folds", [3, 4, 5, 6])
def test_in_the_smallest_class_that_is_accepted_everything_can_be_worked_out(n_folds):
    recipe = Recipe("classifier", penalties=(1.0, 10.0), inner_folds=5)
    few = folds.enough_of_class(n_folds)
    outcome = np.repeat([1.0, 0.0], [few, 12])
    who = people(range(outcome.size), np.random.default_rng(2).normal(size=(outcome.size, 8)))
    made = crossfit(who, outcome, recipe, folds_of(outcome, recipe, n_folds, 2, 0), 0, inner=True)
    for name in ("auc", "balanced_accuracy", "brier"):
        found = interval(name, made, outcome, "classifier")
        assert found.low < found.estimate < found.high
    for fold in made.fold:
        for one in range(n_folds):
            for other in range(one):
                kept = outcome[(fold != one) & (fold != other)]
                assert min(kept.sum(), (1 - kept).sum()) >= folds.FEWEST


# Models -------------------------------------------------------------------------------------------


@pytest.mark.oracle
@pytest.mark.parametrize("n_features", [3, 60])
def test_logistic_regression_is_that_of_scikit_learn(n_features):
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(40, n_features)), (rng.random(40) < 0.4).astype(float)
    penalties = np.array([0.02, 1.0, 50.0])
    dual, intercept = kernel.solve(x @ x.T / penalties[:, None, None], y, "classifier")
    for number, penalty in enumerate(penalties):
        theirs = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=100_000).fit(x, y)
        np.testing.assert_allclose(x.T @ dual[number] / penalty, theirs.coef_[0], atol=2e-5)
        np.testing.assert_allclose(intercept[number], theirs.intercept_[0], atol=2e-5)


@pytest.mark.oracle
def test_ridge_regression_is_that_of_scikit_learn():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 50)), rng.normal(size=30)
    dual, intercept = kernel.solve((x @ x.T / 3.0)[None], y, "regression")
    theirs = Ridge(alpha=3.0).fit(x, y)
    np.testing.assert_allclose(x.T @ dual[0] / 3, theirs.coef_, atol=1e-9)
    np.testing.assert_allclose(intercept[0], theirs.intercept_, atol=1e-9)


def test_perfectly_separated_classes_have_finite_coefficients():
    who, outcome = cohort(0, effect=40.0, n_clinical=1)
    fitted = fit(replace(who, clinical=outcome[:, None] * 10), outcome, QUICK, (0,))
    assert np.isfinite(fitted.score(who)).all()
    assert scores.auc(fitted.predict(who), outcome) == 1


@pytest.mark.oracle
def test_the_chosen_penalty_is_that_of_a_plain_loop_over_folds():
    who, outcome = cohort(4, effect=0.8)
    fold = folds.stratified(outcome, "classifier", 3, (5,))
    losses = []
    for penalty in FEW:
        total = 0.0
        for k in range(3):
            train, test = fold != k, fold == k
            mean, sd = who.imaging[train].mean(axis=0), who.imaging[train].std(axis=0)
            x = (who.imaging - mean) / sd / np.sqrt(who.imaging.shape[1])
            model = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=100_000).fit(
                x[train], outcome[train]
            )
            chances = model.predict_proba(x[test])[:, 1]
            total -= np.log(np.where(outcome[test] == 1, chances, 1 - chances)).sum()
        losses.append(total)
    assert fit(who, outcome, QUICK, (5,)).penalty == FEW[int(np.argmin(losses))]


@pytest.mark.oracle
def test_harmonisation_is_that_of_neurocombat():
    values, site = np.array(COMBAT["values"]), np.array(COMBAT["site"])
    made = combat.learn(values, site).apply(values, site)
    # neuroCombat stops at a change of 1e-4
    np.testing.assert_allclose(made, COMBAT["combat"], atol=2e-3)


@pytest.mark.truth
def test_harmonisation_removes_a_shift_and_leaves_unknown_sites_alone():
    rng = np.random.default_rng(0)
    site = np.repeat(["a", "b"], 40)
    values = rng.normal(size=(80, 30)) + 2.0 * (site == "b")[:, None]
    learnt = combat.learn(values, site)
    made = learnt.apply(values, site)
    assert abs(made[site == "a"].mean() - made[site == "b"].mean()) < 0.05
    np.testing.assert_array_equal(learnt.apply(values[:3], np.array(["z"] * 3)), values[:3])


@pytest.mark.truth
def test_the_site_cannot_be_told_from_harmonised_features():
    who, _ = cohort(1, n=60)
    site = np.array(["a", "b"])[np.arange(60) % 2]
    shifted = who.imaging + (site == "b")[:, None]
    truth = (site == "b").astype(float)
    fold = folds_of(truth, QUICK, 5, 2, 0)
    found = []
    for used in (None, site):
        made = crossfit(people(who.names, shifted, site=used), truth, QUICK, fold, 0)
        found.append(scores.cross_validated("auc", made, truth, "classifier"))
    assert found[0] > 0.95
    assert found[1] < 0.6


@pytest.mark.truth
def test_a_covariate_that_makes_the_only_difference_is_removed():
    rng = np.random.default_rng(3)
    outcome = np.repeat([1.0, 0.0], 30)
    motion = outcome + rng.normal(0, 0.5, 60)
    imaging = rng.normal(size=(60, 20)) + 2 * motion[:, None]
    fold = folds_of(outcome, QUICK, 5, 3, 0)
    found = []
    for covariates in (None, motion[:, None]):
        made = crossfit(people(range(60), imaging, None, covariates), outcome, QUICK, fold, 0)
        found.append(scores.cross_validated("auc", made, outcome, "classifier"))
    assert found[0] > 0.85
    assert found[1] < 0.65


# Scores -------------------------------------------------------------------------------------------


@pytest.mark.oracle
def test_scores_are_those_of_scikit_learn_and_r():
    rng = np.random.default_rng(0)
    y = (rng.random(50) < 0.4).astype(float)
    p = rng.random(50).round(1)
    assert scores.auc(p, y) == pytest.approx(roc_auc_score(y, p))
    assert scores.brier(p, y) == pytest.approx(brier_score_loss(y, p))
    cut = np.full(50, 0.45)
    assert scores.balanced_accuracy(p, cut, y) == pytest.approx(balanced_accuracy_score(y, p > 0.45))
    chances = 1 / (1 + np.exp(-np.array(AUC["odds"])))
    found = scores.calibration(chances, np.array(AUC["y"]), "classifier")
    assert found.slope == pytest.approx(AUC["slope"][0], abs=1e-6)
    assert found.intercept == pytest.approx(AUC["intercept"][0], abs=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("score", ["s100b", "ndka", "wfns"])
def test_delong_is_that_of_proc(score):
    found = delong(np.array(AUC[score]), np.array(AUC["outcome"]))
    np.testing.assert_allclose([found.low, found.auc, found.high], AUC[f"{score}_ci"], atol=1e-9)
    assert found.se == pytest.approx(AUC[f"{score}_se"][0], abs=1e-9)


def test_the_interval_of_asah_is_the_published_one():
    found = delong(np.array(AUC["s100b"]), np.array(AUC["outcome"]))
    assert (round(found.auc, 10), round(found.low, 7), round(found.high, 7)) == (
        0.7313685637,
        0.6301182,
        0.8326189,
    )


@pytest.mark.truth
def test_the_variance_of_an_auc_is_unbiased():
    rng = np.random.default_rng(0)
    y = np.repeat([1.0, 0.0], [3, 5])
    drawn = rng.normal(size=(8000, 8)) + 0.5 * y
    areas, variances = np.array([(scores.auc(v, y), u_variance(v, y)) for v in drawn]).T
    assert variances.mean() == pytest.approx(areas.var(), rel=0.08)


def test_a_pooled_leave_one_out_auc_of_noise_is_below_chance_and_ours_is_not():
    pooled, honest = [], []
    alone = Recipe("classifier", penalties=(100.0,))
    for seed in range(40):
        who, outcome = cohort(seed, n=20, n_features=10)
        each = crossfit(who, outcome, alone, np.arange(20)[None], seed)
        pooled.append(scores.auc(each.predicted[0], outcome))
        made = crossfit(who, outcome, alone, folds_of(outcome, alone, 5, 1, seed), seed)
        honest.append(scores.cross_validated("auc", made, outcome, "classifier"))
    assert np.mean(pooled) < 0.4
    assert abs(np.mean(honest) - 0.5) < 3.3 * np.std(honest, ddof=1) / np.sqrt(40)


@pytest.mark.oracle
def test_the_interval_is_that_of_a_plain_loop():
    who, outcome = cohort(3, effect=0.5)
    fold = folds_of(outcome, QUICK, 4, 2, 0)
    made = crossfit(who, outcome, QUICK, fold, 0, inner=True)
    a, b = [], []
    for repeat in range(2):
        for k in range(4):
            rows, rest = fold[repeat] == k, fold[repeat] != k
            loss = (made.predicted[repeat] - outcome)[rows] ** 2
            inner = (made.inner[repeat, k] - outcome)[rest] ** 2
            a.append((inner.mean() - loss.mean()) ** 2)
            b.append(loss.var(ddof=1) / loss.size)
    every = (made.predicted - outcome) ** 2
    usual = np.sqrt(np.mean(every.var(axis=1, ddof=1)) / outcome.size)
    nested = np.clip(np.sqrt(max(3 / 4 * (np.mean(a) - np.mean(b)), 0)), usual, 2 * usual)
    correlated = np.sqrt(1 / 4 + 1 / 3) * 2 * usual
    se = np.sqrt((nested**2 + correlated**2) / 2)
    assert 0 < nested < 2 * usual
    found = interval("brier", made, outcome, "classifier")
    assert np.sqrt(found.inflation) * found.usual_se == pytest.approx(se)
    width = logit(found.high) - logit(found.low)
    level = found.estimate * (1 - found.estimate)
    assert width == pytest.approx(2 * 1.959964 * se / level, rel=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize(
    ("hits", "n", "low", "high"), [(8, 10, 0.4902, 0.9433), (0, 15, 0.0, 0.2039), (29, 29, 0.8830, 1.0)]
)
def test_limits_of_a_share_are_wilsons(hits, n, low, high):
    """Newcombe 1998, 10.1002/(SICI)1097-0258(19980430)17:8<857::AID-SIM777>3.0.CO;2-E, defines them."""
    from statsmodels.stats.proportion import proportion_confint

    found = limits(hits / n, lambda true: true * (1 - true) / n, stats.norm.isf(0.025))
    assert found == pytest.approx(proportion_confint(hits, n, method="wilson"), abs=1e-8)
    assert found == pytest.approx((low, high), abs=1e-4)


@pytest.mark.oracle
def test_the_variance_of_an_auc_is_that_of_exponential_scores():
    """For these Hanley and McNeil's formula is exact."""
    rng = np.random.default_rng(5)
    m, n, rate = 4, 6, 3.0
    y = np.repeat([1.0, 0.0], [m, n])
    drawn = rng.exponential(size=(20_000, m + n)) * np.where(y == 1, rate, 1.0)
    areas = np.array([scores.auc(values, y) for values in drawn])
    assert areas.mean() == pytest.approx(rate / (1 + rate), abs=0.005)
    assert auc_variance(rate / (1 + rate), m, n) == pytest.approx(areas.var(), rel=0.03)


@pytest.mark.calibration
def test_kept_measurements_say_that_the_interval_of_the_auc_covers_at_least_92_percent():
    """Of scripts/prediction_calibration.py, which the page of the documentation shows."""
    kept = json.loads((Path(__file__).parents[1] / "docs/explanation/prediction_rates.json").read_text())
    cells = {name: cell for name, cell in kept.items() if "auc" in cell["sums"]}
    assert len(cells) >= 9
    for name, cell in cells.items():
        assert cell["sets"] >= 300, name
        assert cell["sums"]["auc"]["covered"] >= 0.92 * cell["sets"], name


@pytest.mark.calibration
def test_an_interval_of_a_perfect_score_of_few_people_has_a_width_and_covers():
    """In many of these every fold is told apart without a mistake; variances estimated there are 0."""
    perfect, covered = 0, 0
    for seed in range(40):
        who, outcome = cohort(seed, n=18, n_features=10, effect=1.6)
        made = crossfit(who, outcome, QUICK, folds_of(outcome, QUICK, 4, 2, seed), seed, inner=True)
        found = interval("auc", made, outcome, "classifier")
        new, truth = cohort(10_000 + seed, n=2000, n_features=10, effect=1.6)
        true = scores.auc(fit(who, outcome, QUICK, (seed,)).predict(new), truth)
        perfect += found.estimate == 1
        covered += found.low <= true <= found.high
        assert found.high - found.low > 0.1
    assert perfect >= 10
    assert covered >= 36


def test_models_without_two_folds_saw_neither():
    who, outcome = cohort(5)
    fold = folds_of(outcome, QUICK, 4, 1, 0)
    made = crossfit(who, outcome, QUICK, fold, 0, inner=True)
    training = np.flatnonzero((fold[0] != 1) & (fold[0] != 3))
    fitted = fit(who.take(training), outcome[training], QUICK, (0, 0, 1, 3))
    rows = np.flatnonzero(fold[0] == 1)
    np.testing.assert_array_equal(made.inner[0, 3, rows], fitted.predict(who.take(rows)))
    assert np.isnan(made.inner[0, 3, fold[0] == 3]).all()


@pytest.mark.calibration
@pytest.mark.parametrize("effect", [0.0, 0.8])
def test_the_interval_covers_the_true_auc_of_the_model(effect):
    """40 sets here; scripts/prediction_calibration.py has more. The usual interval covers about 85 %."""
    recipe = Recipe("classifier", penalties=(1.0, 10.0), inner_folds=3)
    covered = 0
    for seed in range(40):
        who, outcome = cohort(seed, n=40, n_features=20, effect=effect)
        made = crossfit(who, outcome, recipe, folds_of(outcome, recipe, 5, 2, seed), seed, inner=True)
        found = interval("auc", made, outcome, "classifier")
        new, truth = cohort(10_000 + seed, n=2000, n_features=20, effect=effect)
        true = scores.auc(fit(who, outcome, recipe, (seed,)).predict(new), truth)
        covered += found.low <= true <= found.high
    assert covered >= stats.binom.ppf(0.0005, 40, 0.92)


# Tests against chance -----------------------------------------------------------------------------


@pytest.mark.calibration
def test_on_noise_p_is_uniform_and_the_honest_auc_is_half_while_the_apparent_one_is_high():
    recipe = Recipe("classifier", penalties=(0.1, 10.0), inner_folds=2)
    p, honest, apparent = [], [], []
    for seed in range(40):
        who, outcome = cohort(seed, n=20, n_features=30)
        fold = folds_of(outcome, recipe, 4, 1, seed)
        found = chance(who, outcome, recipe, fold, n_permutations=19, seed=seed, imaging_only=False)
        p.append(found.p)
        honest.append(found.observed)
        apparent.append(scores.auc(fit(who, outcome, recipe, (seed,)).predict(who), outcome))
    for alpha in (0.05, 0.1, 0.5):
        assert (np.array(p) <= alpha + 1e-9).sum() <= stats.binom.ppf(0.9995, 40, alpha)
    assert (np.array(p) <= 0.5).sum() >= stats.binom.ppf(0.0005, 40, 0.5)
    assert abs(np.mean(honest) - 0.5) < 3.3 * np.std(honest, ddof=1) / np.sqrt(40)
    assert np.mean(apparent) > 0.95


def repeating(seed, n=40, share=0.9):
    """A score that follows a clinical value, and scans that repeat this value and know nothing beside it."""
    rng = np.random.default_rng([77, seed])
    baseline = rng.normal(size=n)
    outcome = baseline + rng.normal(size=n)
    imaging = share * baseline[:, None] + np.sqrt(1 - share**2) * rng.normal(size=(n, 20))
    return people(range(n), imaging, baseline[:, None]), outcome


@pytest.mark.calibration
def test_scans_that_repeat_a_clinical_value_add_nothing_to_it():
    """Few permutations and many sets, for the large p; those that decide are in the test of measured rates.

    With whole scans exchanged, p ≤ 0.5 in 62 of 100 of these sets, and the test fails.
    """
    recipe = Recipe("regression", penalties=(1.0,))
    sets = 300
    p = np.empty(sets)
    for seed in range(sets):
        who, outcome = repeating(seed)
        fold = folds_of(outcome, recipe, 4, 1, seed)
        p[seed] = chance(who, outcome, recipe, fold, n_permutations=3, seed=seed, imaging_only=True).p
    for alpha in (0.25, 0.5):
        low, high = stats.binom.ppf([0.0005, 0.9995], sets, alpha)
        assert low <= (p <= alpha + 1e-9).sum() <= high


@pytest.mark.calibration
def test_measured_rates_of_all_tests_keep_to_alpha():
    cells = {key: cell for key, cell in RATES.items() if key.endswith(("-total", "-increment"))}
    assert sum("shared" in key for key in cells) == 2
    assert len(cells) == 8
    for key, cell in cells.items():
        assert cell["sets"] >= (200 if key.endswith("increment") else 100)
        for alpha in (0.01, 0.05, 0.1, 0.5):
            found = cell["sums"]["test"][f"p {alpha:g}"]
            assert found <= stats.binom.ppf(0.9995, cell["sets"], alpha), (key, alpha)


def test_permuting_people_against_fixed_folds_is_permuting_outcomes_with_folds_that_follow():
    who, outcome = cohort(2, n_clinical=1)
    fold = folds_of(outcome, QUICK, 3, 1, 0)
    order = np.random.default_rng(0).permutation(who.n)
    moved = crossfit(who.exchanged(order), outcome, QUICK, fold, 0)
    permuted = np.empty(who.n)
    permuted[order] = outcome
    assert permuted.sum() == outcome.sum()
    # Person order[i] has the values that meet outcome i: the same pairs, in another order of rows.
    np.testing.assert_array_equal(who.imaging[order], who.exchanged(order).imaging)
    np.testing.assert_array_equal(permuted[order], outcome)
    assert np.isfinite(moved.predicted).all()


def within_sites(who, seed=0):
    """An order that leaves everybody at their site."""
    order = np.arange(who.n)
    for site in np.unique(who.site):
        rows = np.flatnonzero(who.site == site)
        order[rows] = np.random.default_rng(seed).permutation(rows)
    return order


@pytest.mark.oracle
def test_the_increment_moves_residuals_with_their_gaps_and_site_and_leaves_clinical_values():
    who, _ = full()
    order = within_sites(who)
    moved = exchange.scans(who, who.site).moved(order)
    np.testing.assert_array_equal(moved.clinical, who.clinical)
    np.testing.assert_array_equal(np.isnan(moved.imaging), np.isnan(who.imaging[order]))
    assert (moved.site == who.site[order]).all()
    assert exchange.scans(who, who.site).moved(np.arange(who.n)) is who
    clinical = np.where(np.isnan(who.clinical), np.nanmean(who.clinical, axis=0), who.clinical)
    x = sm.add_constant(np.column_stack([who.site == "b", who.site == "c", clinical]).astype(float))
    for before, after in ((who.imaging, moved.imaging), (who.covariates, moved.covariates)):
        for column in range(before.shape[1]):
            y = np.where(np.isnan(before[:, column]), np.nanmean(before[:, column]), before[:, column])
            fitted = sm.OLS(y, x).fit().fittedvalues
            expected = fitted + (before[:, column] - fitted)[order]
            np.testing.assert_allclose(after[:, column], expected, atol=1e-12)


def test_what_scans_share_with_clinical_values_and_covariates_stays_when_residuals_move():
    who, _ = repeating(3)
    rng = np.random.default_rng(4)
    motion = 0.6 * who.clinical + 0.8 * rng.normal(size=(who.n, 1))
    with_motion = people(who.names, who.imaging + motion, who.clinical, motion)
    scans = exchange.scans(with_motion)
    for seed in range(3):
        moved = scans.moved(np.random.default_rng(seed).permutation(who.n))
        x = sm.add_constant(np.column_stack([who.clinical, moved.covariates]))
        slopes = np.array([sm.OLS(y, x).fit().params[1:] for y in moved.imaging.T])
        assert slopes.mean(axis=0) == pytest.approx([0.9, 1.0], abs=0.1)


@pytest.mark.truth
def test_scans_that_know_more_than_the_clinical_value_they_repeat_are_found():
    recipe = Recipe("regression", penalties=(1.0, 30.0), inner_folds=2)
    found = 0
    for seed in range(12):
        who, outcome = repeating(seed)
        own = (who.imaging - 0.9 * who.clinical)[:, :3].sum(axis=1) / np.sqrt(1 - 0.9**2)
        better = outcome + 1.2 * own
        fold = folds_of(better, recipe, 4, 1, seed)
        p = chance(who, better, recipe, fold, n_permutations=19, seed=seed, imaging_only=True).p
        found += p <= 0.05
    assert found >= 9


def test_p_does_not_depend_on_the_number_of_processes():
    who, outcome = cohort(3, n=18, n_features=10)
    fold = folds_of(outcome, QUICK, 3, 1, 0)
    one, two = (
        chance(who, outcome, QUICK, fold, n_permutations=9, seed=1, imaging_only=False, workers=workers)
        for workers in (1, 2)
    )
    np.testing.assert_array_equal(one.permuted, two.permuted)
    assert one.p == (1 + (one.permuted >= one.observed - 1e-12).sum()) / 10


# Everything together ------------------------------------------------------------------------------


@pytest.mark.truth
def test_a_planted_baseline_difference_is_found_and_adds_to_clinical_values():
    who, outcome = cohort(0, n=50, effect=1.2, n_clinical=2)
    found = predict(who, outcome, QUICK, Plan(repeats=3, permutations=99, tested_repeats=1))
    auc = found.scores["auc"]
    assert auc.estimate > 0.75
    assert auc.low > 0.5
    assert found.total.p <= 0.02
    assert found.increment.p <= 0.02
    assert found.clinical_scores["auc"].estimate < 0.65
    assert found.apparent["auc"] >= auc.estimate
    assert found.learning[-1].score > found.learning[0].score
    assert [point.n for point in found.learning] == sorted(point.n for point in found.learning)
    line = roc(found.found, outcome)
    assert np.trapezoid(line.mean, line.false_positive) == pytest.approx(auc.estimate, abs=0.04)
    assert (line.low <= line.mean + 1e-9).all()


@pytest.mark.truth
def test_a_score_is_predicted_from_baseline_and_imaging():
    rng = np.random.default_rng(5)
    baseline, imaging = rng.normal(25, 5, 60), rng.normal(size=(60, 10))
    outcome = 0.6 * baseline + 3 * imaging[:, 0] - 3 * imaging[:, 1] + rng.normal(0, 3, 60)
    recipe = Recipe("regression", penalties=FEW, inner_folds=3)
    found = predict(
        people(range(60), imaging, baseline[:, None]), outcome, recipe, Plan(repeats=3, permutations=49)
    )
    assert found.scores["r2"].estimate > 0.4
    assert 0 < found.clinical_scores["r2"].estimate < found.scores["r2"].estimate
    assert found.increment.p == 0.02
    assert 2 < found.scores["mae"].estimate < 4
    assert found.scores["calibration_slope"].estimate == pytest.approx(1, abs=0.3)


@pytest.mark.truth
def test_a_model_of_one_trial_is_tested_in_another():
    who, outcome = cohort(0, n=50, effect=1.2)
    new, truth = cohort(1, n=40, effect=1.2)
    found = predict(who, outcome, QUICK, Plan(repeats=1, permutations=0), others=(new, truth))
    values = found.fitted.predict(new)
    np.testing.assert_array_equal(found.outside.predicted, values)
    expected = delong(values, truth)
    assert found.outside.scores["auc"] == type(found.outside.scores["auc"])(
        expected.auc, expected.low, expected.high
    )
    brier = found.outside.scores["brier"]
    assert brier.low < brier.estimate < brier.high
    assert found.total is None


def test_every_site_is_predicted_by_the_others():
    who, outcome = full(n=48)
    recipe = replace(QUICK, penalties=(1.0,))
    found = predict(who, outcome, recipe, Plan(repeats=1, permutations=0, learning=()), groups=who.site)
    assert found.sites.names == ("a", "b", "c")
    assert found.sites.n == (16, 16, 16)
    training = np.flatnonzero(who.site != "b")
    fitted = fit(who.take(training), outcome[training], recipe, (0, 0, 1))
    rows = np.flatnonzero(who.site == "b")
    np.testing.assert_array_equal(found.sites.predicted[rows], fitted.predict(who.take(rows)))
    assert found.sites.mean == pytest.approx(np.mean(found.sites.scores))


def test_a_site_without_which_nobody_is_left_to_train_on_is_named():
    who, outcome = full(n=36)
    with pytest.raises(DesignError, match=r"without one, .*same outcome"):
        groups = np.where(outcome == 1, "one", "two")
        predict(who, outcome, QUICK, Plan(repeats=1, permutations=0), groups=groups)


@pytest.mark.parametrize("reduce", ["none", "best", "pca"])
def test_a_saved_model_predicts_new_people_with_the_same_numbers(reduce):
    who, outcome = full()
    who = replace(who, imaging=np.column_stack([who.imaging, np.full(who.n, 0.3)]))
    recipe = replace(QUICK, reduce=reduce, n_reduced=3)
    fitted = fit(who, outcome, recipe, (0,))
    names = [f"e{i}" for i in range(who.imaging.shape[1])]
    model = model_file.Model(fitted, tuple(names), ("age", "MADRS"), ("fd", "sex"), "response", True)
    again = model_file.read(json.loads(json.dumps(model_file.record(model, {"conn": "1"}), allow_nan=False)))
    new, _ = full(seed=9)
    columns = dict(
        zip(
            [*names[:-1], "age", "MADRS", "fd", "sex"],
            np.column_stack([new.imaging, new.clinical, new.covariates]).T,
            strict=True,
        )
    )
    columns[names[-1]] = np.zeros(new.n)
    expected = fitted.predict(replace(new, imaging=np.column_stack([new.imaging, np.zeros(new.n)])))
    np.testing.assert_array_equal(again.predict(new.names, columns, list(new.site)), expected)


def test_a_file_that_is_no_model_or_lacks_columns_is_refused():
    with pytest.raises(InputError, match="no prediction model"):
        model_file.read({"format": "pickle"})
    who, outcome = cohort(0, n_features=3)
    model = model_file.Model(fit(who, outcome, QUICK, (0,)), ("a", "b", "c"), (), (), "response", False)
    with pytest.raises(InputError, match="needs 1 more columns, such as 'c'"):
        model.predict(["x"], {"a": [1], "b": [2]})
    damaged = model_file.record(model, {})
    del damaged["steps"]["fill"]
    with pytest.raises(InputError, match="damaged"):
        model_file.read(damaged)


def test_the_learning_curve_ends_at_the_cross_validated_score():
    who, outcome = cohort(0, n=40, effect=1.0)
    fold = folds_of(outcome, QUICK, 4, 1, 0)
    points = learning_curve(who, outcome, QUICK, fold, (0.1, 0.5, 1.0), 0)
    assert [point.share for point in points] == [0.5, 1.0]
    made = crossfit(who, outcome, QUICK, fold, 0)
    assert points[-1].score == scores.cross_validated("auc", made, outcome, "classifier")


def test_scores_without_both_classes_are_missing():
    found = Crossfit(np.zeros((1, 4), dtype=int), np.full((1, 4), 0.5), np.full((1, 4), 0.5))
    assert np.isnan(scores.cross_validated("auc", found, np.ones(4), "classifier"))
    alone = external(fit(*cohort(0), QUICK, (0,)), cohort(1, n=5)[0], np.ones(5), 0)
    assert np.isnan([alone.scores["auc"].estimate, alone.scores["auc"].low]).all()


def test_a_perfect_score_in_new_people_has_an_interval_with_a_width():
    made = fit(*cohort(0, n=40, n_features=5, effect=4.0), QUICK, (0,))
    new, truth = cohort(1, n=12, n_features=5, effect=4.0)
    found = external(made, new, truth, 0).scores["auc"]
    assert (found.estimate, found.high) == (1, 1)
    m, n = truth.sum(), (1 - truth).sum()
    assert 0.5 < found.low < 1 - 1 / max(m, n), "one pair in the wrong order is well within what is possible"
