"""Clinical truths that the simulator plants: mediation, prediction, moderation, artefacts, scores."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy import stats

from conn.errors import ConfigError
from conn.simulate import (
    SCENARIOS,
    ClinicalTruth,
    CohortSpec,
    Motion,
    PlantedEdge,
    Prepared,
    Restless,
    Results,
    Score,
    ScoreLink,
    demo_spec,
    derive_truth,
    prepare,
    scenario,
    simulate_cohort,
    simulate_results,
    simulate_z,
)
from conn.simulate.anatomy import load_anatomy
from conn.simulate.clinical_truth import derive_clinical
from conn.simulate.cohort import mean_displacement
from conn.simulate.people import draw_people, write_participants
from conn.simulate.planted import binormal_area
from conn.simulate.population import draw_population
from conn.simulate.regions import build_scene
from conn.simulate.scenarios import (
    CARRIER,
    FORETOLD,
    MARKER,
    MODERATED,
    MODERATOR,
    MOVED,
    ROIS,
    THROUGH_CARRIER,
)
from conn.simulate.truth import write_truth
from conn.tables import read_tsv

Array = NDArray[np.float64]

WIDE = Score(
    baseline_mean=34_000,
    baseline_sd=4_000,
    minimum=-(10**6),
    maximum=10**6,
    change={"drug": (-11_000, 5_000), "placebo": (-8_000, 5_000)},
)
"""A scale so fine that rounding and the ends of its range do not matter."""


def only(spec: CohortSpec, **changes: object) -> CohortSpec:
    """A trial with no other regions than those of its edges: the same edges, made faster."""
    used = {label for edge in spec.edges for label in (edge.roi_a, edge.roi_b)}
    return replace(spec, rois=tuple(roi for roi in spec.rois if roi[0] in used), **changes)


anatomy = lru_cache(load_anatomy)


def ready(spec: CohortSpec) -> Prepared:
    """`prepare`, with tissue that is looked up once for all tests."""
    return prepare(spec, build_scene(anatomy(spec.voxel_mm), spec.rois, spec.margin_mm))


def thousand(link: ScoreLink) -> ScoreLink:
    """The link on the fine scale."""
    return replace(link, per_z={arm: 1000 * weight for arm, weight in link.per_z.items()})


def fine() -> CohortSpec:
    """All three links on the fine scale."""
    links = tuple(thousand(link) for link in (THROUGH_CARRIER, FORETOLD, MODERATED))
    edges = (CARRIER, MARKER, replace(MODERATOR, persistence=0.6))
    return only(CohortSpec(rois=ROIS, edges=edges, score=replace(WIDE, links=links)))


def slopes(outcome: Array, *predictors: Array) -> Array:
    found: Array = sm.OLS(outcome, sm.add_constant(np.column_stack(predictors))).fit().params[1:]
    return found


def regressions(arm: Array, m0: Array, m1: Array, y0: Array, y1: Array) -> dict[str, float]:
    """Mediation by three regressions of a textbook."""
    a = slopes(m1, arm, m0)[0]
    c_prime, b = slopes(y1, arm, m1, m0, y0)[:2]
    c = slopes(y1, arm, m0, y0)[0]
    return {"a": a, "b": b, "c_prime": c_prime, "c": c, "ab": a * b, "proportion": a * b / c}


def curve(z: Array, response: Array) -> float:
    positive, negative = z[response == 1], z[response == 0]
    return float(stats.mannwhitneyu(positive, negative).statistic / (positive.size * negative.size))


# ------------------------------------------------------------------------------------------ the formulas


@pytest.fixture(scope="module")
def population() -> tuple[CohortSpec, dict[str, ClinicalTruth], dict[str, dict[str, Array]]]:
    """Planted values of the fine scale, and 200,000 people of each arm without noise of scans."""
    spec = fine()
    truths = {
        f"{t.kind} {t.roi_a} {t.arms[0] if t.kind != 'association' else '+'.join(t.arms)}": t
        for t in derive_clinical(spec, ready(spec).latent)
    }
    people = {}
    for arm in spec.arms:
        drawn = draw_population(spec, arm)
        y0, y1 = drawn.scores["MADRS"].T
        people[arm] = {"z": drawn.z, "y0": y0, "y1": y1, "arm": np.full(len(y0), float(arm == "drug"))}
    return spec, truths, people


@pytest.mark.truth
def test_the_formula_of_mediation_is_what_regressions_of_the_population_find(population) -> None:
    _, truths, people = population
    z, y0, y1, arm = (np.concatenate([people[a][key] for a in people]) for key in ("z", "y0", "y1", "arm"))
    found = regressions(arm, z[:, 0, 0], z[:, 1, 0], y0, y1)
    planted = truths["mediation PAG drug"].planted
    assert planted == pytest.approx(
        {"a": -0.4, "b": 12_000, "ab": -4_800, "c_prime": -3_000, "c": -7_800, "proportion": 4.8 / 7.8}
    )
    for name, value in planted.items():
        assert found[name] == pytest.approx(value, rel=0.02), name


@pytest.mark.truth
def test_the_formulas_of_prediction_are_what_the_population_shows_before_and_after(population) -> None:
    _, truths, people = population
    for key, edge in (("amygdalaLBL drug", 1), ("amygdalaLBL placebo", 1), ("pgACCR drug", 2)):
        planted = truths[f"prediction {key}"].planted
        one = people[key.split()[1]]
        gain = one["y0"] - one["y1"]
        response = (gain >= one["y0"] / 2).astype(float)
        assert response.mean() == pytest.approx(planted["response"], abs=0.004)
        for session, end in ((0, ""), (1, "_after")):
            z = one["z"][:, session, edge]
            assert np.corrcoef(z, gain)[0, 1] == pytest.approx(planted[f"r{end}"], abs=0.008)
            assert curve(z, response) == pytest.approx(planted[f"auc{end}"], abs=0.006)
            difference = z[response == 1].mean() - z[response == 0].mean()
            assert difference == pytest.approx(planted[f"difference{end}"], abs=0.006)
    marker, lasting = (truths[f"prediction {key} drug"].planted for key in ("amygdalaLBL", "pgACCR"))
    assert (marker["r_after"], marker["auc_after"], marker["difference_after"]) == pytest.approx((0, 0.5, 0))
    assert 0.5 < lasting["auc_after"] < lasting["auc"]


@pytest.mark.truth
def test_the_formula_of_an_association_is_the_correlation_of_changes_in_the_population(population) -> None:
    _, truths, people = population
    change = {arm: one["z"][:, 1] - one["z"][:, 0] for arm, one in people.items()}
    gain = {arm: one["y1"] - one["y0"] for arm, one in people.items()}
    arms = np.concatenate([one["arm"] for one in people.values()])
    for edge, name in enumerate(("PAG", "amygdalaLBL", "pgACCR")):
        for arm in people:
            found = np.corrcoef(change[arm][:, edge], gain[arm])[0, 1]
            assert truths[f"association {name} {arm}"].planted["r"] == pytest.approx(found, abs=0.008)
        z, y = (np.concatenate([one[arm] for arm in people]) for one in (change, gain))
        residuals = [sm.OLS(v, sm.add_constant(arms)).fit().resid for v in (z[:, edge], y)]
        both = truths[f"association {name} drug+placebo"].planted["r"]
        assert both == pytest.approx(np.corrcoef(*residuals)[0, 1], abs=0.008)
    assert truths["association PAG drug"].planted["r"] > 0.3
    assert truths["association amygdalaLBL drug"].planted["r"] > 0.2


@pytest.mark.truth
def test_the_formula_of_moderation_is_the_interaction_in_the_population(population) -> None:
    _, truths, people = population
    z, y0, y1, arm = (np.concatenate([people[a][key] for a in people]) for key in ("z", "y0", "y1", "arm"))
    found = slopes(y1, arm * z[:, 0, 2], arm, z[:, 0, 2], y0)[0]
    assert truths["moderation pgACCR drug"].planted["interaction"] == pytest.approx(-20_000)
    assert found == pytest.approx(-20_000, rel=0.02)


@pytest.mark.oracle
@pytest.mark.parametrize(("r", "limit"), [(0.6, 0.0), (0.3, 1.2), (-0.5, -0.7), (0.0, 0.4)])
def test_the_area_under_the_curve_is_an_orthant_of_a_normal_distribution(r: float, limit: float) -> None:
    step = r / np.sqrt(2)
    # z of one above z of the other, the one above the limit, the other below it
    orthant = stats.multivariate_normal(np.zeros(3), [[1, step, step], [step, 1, 0], [step, 0, 1]])
    joint = orthant.cdf([0.0, -limit, limit])
    expected = joint / (stats.norm.sf(limit) * stats.norm.cdf(limit))
    assert binormal_area(r, limit) == pytest.approx(expected, abs=1e-4)


@pytest.mark.truth
def test_measured_values_are_weakened_as_formulas_of_attenuation_say(population) -> None:
    spec, truths, _ = population
    one = truths["mediation PAG drug"]
    e, s, n = CARRIER.change_sd, CARRIER.person_sd, one.noise_sd
    left = (s**2 * n**2) / (s**2 + n**2)
    weakened = 12_000 * e**2 / (e**2 + n**2 + left)
    assert one.measured["b"] == pytest.approx(weakened, rel=0.05)
    assert one.measured["c"] == pytest.approx(one.planted["c"], rel=0.02)
    assert one.measured["proportion"] == pytest.approx(-0.4 * weakened / -7_800, rel=0.05)
    for key in ("amygdalaLBL drug", "pgACCR drug"):
        one = truths[f"prediction {key}"]
        assert one.measured["r"] == pytest.approx(one.planted["r"] * np.sqrt(one.reliability), rel=0.03)
    one = truths["moderation pgACCR drug"]
    assert one.measured["interaction"] == pytest.approx(-20_000 * one.reliability, rel=0.05)
    assert 0.4 < one.reliability < 0.8
    assert spec.score.noise_sd == 0.0


# ------------------------------------------------------------------------------------------- the cohorts


def estimates(spec: CohortSpec, results: Results) -> dict[str, dict[str, float]]:
    """What plain regressions make of one cohort of the scenario `clinic`."""
    arm = (results.arm == "drug").astype(float)
    drug = arm == 1
    y0, y1 = results.scores["MADRS"].T
    carrier, marker, moderator, moved, unmoved = (results.edge(edge.roi_a, edge.roi_b) for edge in spec.edges)
    found = {"mediation PAG": regressions(arm, *carrier.T, y0, y1)}
    for name, z in (("amygdalaLBL", marker), ("pgACCR", moderator)):
        gain = (y0 - y1)[drug]
        found[f"prediction {name}"] = {
            "r": np.corrcoef(z[drug, 0], gain)[0, 1],
            "r_after": np.corrcoef(z[drug, 1], gain)[0, 1],
            "auc": curve(z[drug, 0], results.response[drug]),
            "auc_after": curve(z[drug, 1], results.response[drug]),
        }
    interaction = slopes(y1, arm * moderator[:, 0], arm, moderator[:, 0], y0)[0]
    found["moderation pgACCR"] = {"interaction": interaction}
    for name, z in (("PAG", carrier), ("amygdalaLBL", marker), ("pgACCR", moderator)):
        found[f"association {name}"] = {"r": np.corrcoef((z[:, 1] - z[:, 0])[drug], (y1 - y0)[drug])[0, 1]}
    fd = results.mean_fd[:, 1] - results.mean_fd[:, 0]
    for name, z in (("moved", moved), ("unmoved", unmoved)):
        change = z[:, 1] - z[:, 0]
        found[name] = {"unadjusted": slopes(change, arm)[0], "adjusted": slopes(change, arm, fd)[0]}
    return found


def many(
    seeds: range, n_subjects: int
) -> tuple[CohortSpec, tuple[ClinicalTruth, ...], dict[str, dict[str, Array]]]:
    spec = only(scenario("clinic", n_subjects))
    prepared = ready(spec)
    truths = derive_clinical(spec, prepared.latent)
    columns: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for seed in seeds:
        one = replace(spec, seed=seed)
        for key, values in estimates(one, simulate_results(one, prepare(one, prepared.scene))).items():
            for name, value in values.items():
                columns[key][name].append(value)
    arrays = {key: {name: np.array(v) for name, v in values.items()} for key, values in columns.items()}
    return spec, truths, arrays


def close(truths: tuple[ClinicalTruth, ...], found: dict[str, dict[str, Array]], slack: float) -> None:
    """Means over cohorts equal the stated truth within 3.3 standard errors and a share of the value."""
    checked = 0
    for truth in truths:
        key = "moved" if truth.kind == "artefact" else f"{truth.kind} {truth.roi_a}"
        if truth.kind in ("prediction", "association") and truth.arms != ("drug",):
            continue
        for name, values in found[key].items():
            if name == "proportion":
                continue
            error = values.std(ddof=1) / np.sqrt(values.size)
            gap = abs(values.mean() - truth.measured[name])
            assert gap < 3.3 * error + slack * abs(truth.measured[name]), (key, name, values.mean())
            checked += 1
        if truth.kind == "mediation":
            ab, c = found[key]["ab"], found[key]["c"]
            error = (ab - truth.measured["proportion"] * c).std(ddof=1) / np.sqrt(ab.size) / abs(c.mean())
            assert abs(ab.mean() / c.mean() - truth.measured["proportion"]) < 3.3 * error + slack
    assert checked == 5 + 4 + 4 + 1 + 3 + 2


@pytest.fixture(scope="module")
def cohorts():
    return many(range(8), 80)


@pytest.mark.truth
def test_the_mean_of_cohorts_is_the_truth_that_is_stated(cohorts) -> None:
    _, truths, found = cohorts
    close(truths, found, slack=0.02)


@pytest.mark.truth
def test_an_edge_foretells_response_and_no_longer_differs_after_treatment(cohorts) -> None:
    found = cohorts[2]["prediction amygdalaLBL"]
    before, after = (stats.ttest_1samp(found[name], 0.5) for name in ("auc", "auc_after"))
    assert found["auc"].mean() > 0.6
    assert before.pvalue < 0.01
    assert after.pvalue > 0.01


@pytest.mark.truth
def test_an_artefact_passes_for_an_effect_until_motion_is_adjusted_for_and_a_real_effect_stays(
    cohorts,
) -> None:
    moved, unmoved = cohorts[2]["moved"], cohorts[2]["unmoved"]
    assert moved["unadjusted"].mean() > 0.2
    assert stats.ttest_1samp(moved["unadjusted"], 0.0).pvalue < 1e-4
    assert stats.ttest_1samp(moved["adjusted"], 0.0).pvalue > 0.001
    for name in ("unadjusted", "adjusted"):
        error = unmoved[name].std(ddof=1) / np.sqrt(8)
        assert unmoved[name].mean() == pytest.approx(-0.5, abs=3.3 * error + 0.01)


@pytest.mark.slow
@pytest.mark.truth
def test_the_mean_of_two_hundred_cohorts_is_the_truth_that_is_stated() -> None:
    _, truths, found = many(range(200), 60)
    close(truths, found, slack=0.02)


def test_edges_entries_hold_the_effect_without_the_artefact_and_scans_hold_both() -> None:
    spec = only(scenario("motion", 12))
    prepared = ready(spec)
    truth = derive_truth(spec, prepared)
    of_edge = {(e.roi_a, e.contrast): e.delta_z for e in truth.effects}
    assert of_edge["dACCR", "interaction"] == 0.0
    assert of_edge["sgACCL", "interaction"] == pytest.approx(-0.5)
    assert prepared.motion is not None
    fd = mean_displacement(prepared.motion)
    artefact = prepared.targets[:, :, 0] - prepared.neural[:, :, 0]
    assert np.ptp(artefact - 1.5 * fd) < 1e-12
    np.testing.assert_array_equal(prepared.targets[:, :, 1], prepared.neural[:, :, 1])
    drug = np.array([person.arm == "drug" for person in prepared.people])
    assert fd[drug, 1].mean() > 2 * fd[~drug, 1].mean()
    np.testing.assert_allclose(simulate_results(spec, prepared).mean_fd, fd)


# --------------------------------------------------------------------------------------------- the scores


def shaps(spec: CohortSpec) -> Array:
    rows = [person.on_scale("SHAPS") for person in draw_people(spec)]
    return np.array([[np.nan if value is None else value for value in row] for row in rows])


def test_scores_are_whole_numbers_within_range_and_some_are_missing_though_there_is_a_scan() -> None:
    spec = only(scenario("clinic", 400))
    few = replace(spec, n_subjects=20)
    results = simulate_results(few, ready(few))
    people = draw_people(spec)
    known = shaps(spec)
    assert np.nanmin(known) >= 14 and np.nanmax(known) <= 56
    assert not np.isnan(known[:, 0]).any()
    assert stats.binomtest(int(np.isnan(known[:, 1]).sum()), 400, 0.1).pvalue > 0.001
    assert all(all(person.scanned) for person in people)
    assert all(isinstance(v, int) and 0 <= v <= 60 for person in people for v in person.scores)
    np.testing.assert_array_equal(results.scores["SHAPS"], shaps(few))
    y0, y1 = results.scores["MADRS"].T
    np.testing.assert_array_equal(results.response, (y0 - y1 >= y0 / 2).astype(float))


@pytest.mark.truth
def test_a_repeated_assessment_of_unchanged_people_differs_by_the_noise_of_the_scale() -> None:
    score = Score(baseline_mean=30, baseline_sd=6, change={"drug": (0.0, 0.0)}, noise_sd=3)
    spec = CohortSpec(rois=ROIS, arms=("drug",), score=score)
    first, second = draw_population(spec, "drug", 100_000).scores["MADRS"].T
    assert np.corrcoef(first, second)[0, 1] == pytest.approx(36 / 45, abs=0.01)
    assert (second - first).std() == pytest.approx(3 * np.sqrt(2), rel=0.02)
    assert first.mean() == pytest.approx(30, abs=0.1)


@pytest.mark.truth
def test_scales_of_the_same_people_go_together_as_far_as_they_are_tied() -> None:
    plain = Score(baseline_sd=5, change={"drug": (-10.0, 6.0)}, maximum=100)
    other = replace(plain, name="SHAPS", tied=0.6)
    spec = CohortSpec(rois=ROIS, arms=("drug",), score=plain, further_scores=(other,))
    scores = draw_population(spec, "drug", 100_000).scores
    change = [scores[name][:, 1] - scores[name][:, 0] for name in ("MADRS", "SHAPS")]
    assert np.corrcoef(*change)[0, 1] == pytest.approx(0.6, abs=0.015)
    assert np.corrcoef(scores["MADRS"][:, 0], scores["SHAPS"][:, 0])[0, 1] == pytest.approx(0.6, abs=0.015)


def test_another_scale_changes_nothing_about_the_first_and_a_lost_score_nothing_about_the_scan() -> None:
    spec = only(scenario("mediation", 20))
    alone = replace(spec, further_scores=(), score=replace(spec.score, missing=0.4))
    both, one = ready(spec), ready(alone)
    np.testing.assert_array_equal(both.targets, one.targets)
    assert [p.real for p in both.people] == [p.real for p in one.people]
    lost = [p.scores[1] is None for p in one.people]
    assert 0 < sum(lost) < 20
    assert np.isfinite(simulate_results(alone, one).z[:, :, 0, 1]).all()
    assert np.isnan(simulate_results(alone, one).response).sum() == sum(lost)


def test_a_scan_that_is_missing_takes_all_scores_of_its_session_with_it() -> None:
    spec = only(scenario("clinic", 6), missing_last=2)
    results = simulate_results(spec, ready(spec))
    for values in (
        *results.scores.values(),
        results.mean_fd,
        results.global_sd,
        results.edge("PAG", "thalamusMDL"),
    ):
        assert np.isnan(values[-2:, 1]).all()
        assert np.isfinite(values[:, 0]).all()


# ------------------------------------------------------------------------------- files and what is refused


DEMO_TABLES = {
    "participants.json": "c90ab2bd91c6e1913c98b05268bfb7d3962d23848d1fb6dd843906a1d4e7c12c",
    "participants.tsv": "07b4fc1e46c281c59531f32fbb86a15bf3934cdae5ae418fc11c9359e30ba33d",
    "truth.json": "6235a94e24397c8d12d34dc20481faa4f23fa256b97a45b5720f9b5b25b354c2",
    "truth_scans.tsv": "a0ec27642f53301dd0ecf8bc084b03869b295b4447202f925077a9b7e14e090d",
}
"""SHA-256 of the tables of the demo, as version 0 wrote them before there were clinical truths."""


@pytest.mark.oracle
def test_the_demo_is_what_it_always_was(tmp_path: Path) -> None:
    spec = demo_spec()
    prepared = ready(spec)
    write_participants(tmp_path, spec, prepared.people)
    write_truth(tmp_path, spec, derive_truth(spec, prepared))
    digests = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in tmp_path.iterdir()}
    assert digests == DEMO_TABLES
    assert simulate_z(spec, prepared)[0, 0, 0, 1] == pytest.approx(0.39476265232277863, abs=1e-9)


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> tuple[CohortSpec, Path]:
    out = tmp_path_factory.mktemp("clinic")
    spec = only(scenario("clinic", 2), volumes=90, voxel_mm=6.0)
    simulate_cohort(out, spec, workers=2)
    return spec, out


def test_heads_in_images_move_as_those_of_results_do(moving: tuple[CohortSpec, Path]) -> None:
    spec, out = moving
    prepared = ready(spec)
    assert prepared.motion is not None
    expected = mean_displacement(prepared.motion)
    for person in prepared.people:
        for session, name in enumerate(spec.sessions):
            folder = out / "derivatives" / "fmriprep" / f"sub-{person.label}" / f"ses-{name}" / "func"
            (path,) = folder.glob("*confounds_timeseries.tsv")
            table = pd.read_csv(path, sep="\t", na_values="n/a")
            fd = table["framewise_displacement"][1:].mean()
            assert fd == pytest.approx(expected[person.number, session], rel=1e-6)


def test_global_signal_follows_the_arm_in_images(tmp_path: Path) -> None:
    plain = only(
        CohortSpec(rois=ROIS, edges=(replace(MOVED, fd_slope=0.0),), arms=("drug",)),
        n_subjects=1,
        volumes=60,
        voxel_mm=6.0,
    )
    series = {}
    for name, gain in (("plain", 1.0), ("drugged", 4.0)):
        simulate_cohort(tmp_path / name, replace(plain, global_gain={"drug": gain}), workers=1)
        for path in (tmp_path / name).rglob("*confounds_timeseries.tsv"):
            table = pd.read_csv(path, sep="\t", na_values="n/a")
            series[name, path.parts[-3]] = table["white_matter"].to_numpy()
    np.testing.assert_array_equal(series["plain", "ses-pre"], series["drugged", "ses-pre"])
    more = series["drugged", "ses-post"] - series["plain", "ses-post"]
    assert more.std() == pytest.approx(3 * plain.signal.global_signal, rel=0.5)


def test_files_name_both_scales_and_the_truth_of_each_question(moving: tuple[CohortSpec, Path]) -> None:
    _, out = moving
    people = read_tsv(out / "participants.tsv")
    assert list(people)[5:] == ["MADRS_ses-pre", "MADRS_ses-post", "SHAPS_ses-pre", "SHAPS_ses-post"]
    assert set(json.loads((out / "participants.json").read_text())) == set(people) - {"participant_id"}
    record = json.loads((out / "truth.json").read_text())
    assert record["further_scores"] == ["SHAPS"]
    kinds = [(entry["kind"], entry["roi_a"], *entry["arms"]) for entry in record["clinical"]]
    assert kinds == [
        ("mediation", "PAG", "drug", "placebo"),
        ("prediction", "amygdalaLBL", "drug"),
        ("prediction", "amygdalaLBL", "placebo"),
        ("prediction", "pgACCR", "drug"),
        ("moderation", "pgACCR", "drug", "placebo"),
        *(
            ("association", roi, *arms)
            for roi in ("PAG", "amygdalaLBL", "pgACCR")
            for arms in (("drug",), ("placebo",), ("drug", "placebo"))
        ),
        ("artefact", "dACCR", "drug", "placebo"),
    ]
    columns = record["tables"]["scores"]["SHAPS"]["columns"]
    assert set(columns.values()) <= set(people)
    assert {record["tables"]["arm"], *record["tables"]["unrelated"]} <= set(people)
    mediation = record["clinical"][0]
    assert mediation["planted"]["proportion"] == pytest.approx(4.8 / 7.8, abs=1e-4)
    assert abs(mediation["measured"]["proportion"]) < mediation["planted"]["proportion"]
    assert "artefact" in record["description"]


def test_every_scenario_can_be_prepared_at_the_size_of_its_images() -> None:
    scene = ready(scenario("clinic", 2)).scene
    for name in SCENARIOS:
        spec = scenario(name, 4, seed=5)
        prepared = ready(spec) if name == "demo" else prepare(spec, scene)
        assert (len(prepared.people), spec.seed) == (4, 5)
    assert len(SCENARIOS) == 6


def test_in_an_open_trial_about_half_respond_and_there_is_no_question_about_arms() -> None:
    spec = only(scenario("responder"))
    truth, changes = derive_clinical(spec, ready(spec).latent)
    assert (truth.kind, truth.arms) == ("prediction", ("drug",))
    assert (changes.kind, changes.arms) == ("association", ("drug",))
    assert 0.45 < truth.measured["response"] < 0.55
    assert truth.planted["auc"] > truth.measured["auc"] > 0.65
    assert truth.measured["auc_after"] == pytest.approx(0.5, abs=0.01)


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(ConfigError, match="'mediations' is none of demo, mediation, responder"):
        scenario("mediations")


BASE = scenario("mediation", 8)
LINK = BASE.score.links[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"score": replace(BASE.score, links=(replace(LINK, roi_a="insulaL"),))},
            "is no planted edge; planted: PAG",
        ),
        (
            {"score": replace(BASE.score, links=(replace(LINK, per_z={"sham": 1.0}),))},
            "arm 'sham' is none of",
        ),
        ({"score": replace(BASE.score, links=(replace(LINK, per_z={"drug": 1.0}),))}, "differs between arms"),
        ({"edges": (replace(CARRIER, slope=0.1),)}, "the score cannot follow the edge"),
        ({"edges": (replace(CARRIER, fd_slope=1.0),)}, "fd_slope needs an arm that is restless"),
        ({"further_scores": (BASE.score,)}, "two have one name"),
        ({"score": replace(BASE.score, missing=1.5)}, "missing 1.5 must be"),
        ({"restless": Restless("sham")}, "restless: arm 'sham' is none of"),
        ({"global_gain": {"sham": 2.0}}, "global_gain: arm 'sham' is none of"),
    ],
)
def test_clinical_truths_that_have_no_meaning_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(BASE, **change)


def test_questions_about_two_arms_are_refused_where_there_is_one() -> None:
    single = replace(
        BASE,
        arms=("drug",),
        edges=(CARRIER,),
        score=replace(BASE.score, links=(replace(LINK, per_z={"drug": 12.0}),)),
    )
    spec = only(single)
    with pytest.raises(ConfigError, match="needs two arms; there are 1"):
        derive_clinical(spec, ready(spec).latent)


def test_an_artefact_that_cannot_be_reached_is_refused() -> None:
    edge = PlantedEdge("PAG", "thalamusMDL", 0.5, fd_slope=8.0)
    spec = replace(BASE, edges=(edge,), score=Score(), restless=Restless("drug", Motion(0.05, 10, 0.6)))
    with pytest.raises(ConfigError, match="fd_slope nearer to 0"):
        ready(only(spec))
