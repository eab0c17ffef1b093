"""From single scans to what else differed: motion that follows the arm is unmasked."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from conn import paths
from conn.config.model import (
    GroupByTime,
    Inference,
    Model,
    Moderator,
    OneSample,
    Paired,
    ParallelArms,
    TwoSample,
    Within,
)
from conn.files import write_json
from conn.report import confounding_section, responders_section
from conn.stages.confounding import confounding
from conn.stages.correct import correct
from conn.stages.coupling import couple
from conn.stages.design import design
from conn.stages.test import test_edges as edges_stage
from conn.tables import read_tsv, write_tsv
from trials import CLINICAL, members, trial

REGIONS = ("aL", "bL", "cL", "dL")
EDGES = [("aL", "bL"), ("aL", "cL"), ("bL", "dL")]
SETTINGS = Inference(permutations=199)


def study(
    out: Path, model: Model, n: int = 24, points: tuple[str, ...] = ("pre", "post"), **motion: float
) -> None:
    """Two arms; the drug makes people move, the edge aL-bL is motion, aL-cL a real effect, bL-dL nothing."""
    rng = np.random.default_rng(4)
    people = members(drug=n // 2, placebo=n // 2)
    for number, person in enumerate(people.values()):
        person["response"] = ("responder", "nonresponder")[number % 2]
    cohort, runs = trial(people, points)
    collected = {}
    records = []
    for subject, person in people.items():
        own = rng.normal(0.3, 0.1, 3)
        for point in points:
            treated = person["arm"] == "drug" and point == points[-1]
            fd = 0.15 + motion.get("drug", 0.1) * treated + rng.normal(0, 0.03)
            z = own + rng.normal(0, 0.05, 3) + np.array([2.0 * fd, 0.3 * treated, 0])
            entities = {"sub": subject, "ses": point, "task": "rest", "space": "MNI152NLin2009cAsym"}
            matrix = np.full((4, 4), 0.1)
            for (a, b), value in zip(EDGES, np.tanh(z), strict=True):
                i, j = REGIONS.index(a), REGIONS.index(b)
                matrix[i, j] = matrix[j, i] = value
            table = pd.DataFrame(matrix, columns=list(REGIONS))
            table.insert(0, "roi", REGIONS)
            write_tsv(out / paths.relmat(entities), table, digits=15)
            coverage = {"roi": REGIONS, "coverage": [0.9 - fd, 1.0, 1.0, 1.0], "tsnr": rng.normal(50, 3, 4)}
            write_tsv(out / paths.coverage(entities), pd.DataFrame(coverage))
            files = (paths.relmat(entities), paths.coverage(entities))
            collected[f"r{subject}{point}"] = {path.as_posix(): "0" * 64 for path in files}
            records.append(
                {"run": f"r{subject}{point}", "mean_fd": fd, "dvars": 1 + fd, "frames_kept": 150,
                 "global_sd": rng.normal(0.5, 0.1), "tsnr": rng.normal(55, 4)}
            )  # fmt: skip
    cohort["mean_fd"] = cohort["runs"].map({record["run"]: record["mean_fd"] for record in records})
    write_tsv(out / paths.COHORT, cohort)
    write_tsv(out / paths.RUNS, runs.merge(pd.DataFrame(records), on="run"))
    write_json(out / paths.COLLECTED, collected)
    design(out, "m", model, CLINICAL, SETTINGS)


def by_time(**options) -> GroupByTime:
    levels = ("drug", "placebo")
    return GroupByTime(
        design="group_by_time", before="pre", after="post", group="arm", levels=levels, **options
    )


def tables(out: Path, edges=EDGES, networks=None) -> tuple[pd.DataFrame, pd.DataFrame]:
    confounding(out, "m", edges, networks or {}, permutations=199, seed=1)
    text = {
        "contrast",
        "measure",
        "roi",
        "unit",
        "g_type",
        "varies",
        "kind",
        "name",
        "roi_b",
        "adjustment",
        "measures",
        "lacking",
    }
    made = []
    for path in (paths.confounding("m"), paths.adjustment("m")):
        table = read_tsv(out / path).replace("n/a", "nan")
        made.append(table.astype({c: float for c in table if c not in text | {"left_out"}}))
    return made[0], made[1]


def of(table: pd.DataFrame, **cells: str) -> pd.Series:
    for name, value in cells.items():
        table = table[table[name] == value]
    assert len(table) == 1, cells
    return table.iloc[0]


@pytest.mark.truth
def test_motion_that_follows_the_arm_is_unmasked_and_a_real_effect_stays(tmp_path):
    study(tmp_path, by_time())
    measures, effects = tables(tmp_path, networks={"pair": EDGES[:2]})
    fd = of(measures, measure="mean_fd")
    assert fd["p"] <= 0.01
    assert fd["ci_low"] <= 0.1 <= fd["ci_high"]
    assert (fd["unit"], fd["g_type"]) == ("mm", "g_pooled")
    assert of(measures, measure="tsnr", roi="nan")["p"] > 0.05
    assert of(measures, measure="coverage", roi="aL")["p"] <= 0.01
    artefact = {
        adjustment: of(effects, name="aL", roi_b="bL", adjustment=adjustment)
        for adjustment in ("none", "mean_fd")
    }
    assert artefact["none"]["p"] < 1e-4
    assert artefact["none"]["estimate"] == pytest.approx(0.2, abs=0.1)
    assert artefact["mean_fd"]["p"] > 0.05
    assert abs(artefact["mean_fd"]["share_left"]) < 0.5
    real = {
        adjustment: of(effects, name="aL", roi_b="cL", adjustment=adjustment)
        for adjustment in ("none", "mean_fd")
    }
    assert real["none"]["p"] < 1e-4
    assert real["mean_fd"]["p"] < 0.01
    assert real["mean_fd"]["estimate"] == pytest.approx(0.3, abs=0.12)
    assert of(effects, name="pair", adjustment="none")["p"] < 1e-4
    everything = of(effects, name="bL", roi_b="dL", adjustment="all")
    assert everything["measures"] == "mean_fd;global_sd;tsnr"
    assert everything["left_out"] == "dvars;frames_kept;df;coverage"


def test_a_measure_that_is_the_same_in_everybody_has_no_test(tmp_path):
    study(tmp_path, by_time())
    measures, _ = tables(tmp_path)
    frames = of(measures, measure="frames_kept")
    assert np.isnan(frames["p"])
    assert frames["varies"] == "false"


def test_motion_is_tested_without_motion_as_a_covariate(tmp_path):
    study(tmp_path, by_time(covariates=("mean_fd", "age"), sensitivity="none"))
    measures, _ = tables(tmp_path)
    plain = of(measures, measure="mean_fd")
    assert plain["p"] <= 0.01
    assert plain["df"] == 24 - 3


def test_effects_are_those_of_the_model_with_the_motion_that_it_holds_constant(tmp_path):
    study(tmp_path, by_time(covariates=("mean_fd", "age"), sensitivity="none"))
    _, effects = tables(tmp_path)
    edges_stage(tmp_path, "m", EDGES, permutations=199, seed=1)
    correct(tmp_path, "m", ["edges"], SETTINGS)
    tested = read_tsv(tmp_path / paths.edges("m")).set_index(["contrast", "roi_a", "roi_b"])
    plain = effects[effects["adjustment"] == "none"]
    for row in plain.to_dict("records"):
        result = tested.loc[(row["contrast"], row["name"], row["roi_b"])]
        assert row["estimate"] == pytest.approx(float(result["estimate"]), rel=1e-4)
        assert row["df"] == pytest.approx(float(result["df"]))
    assert set(plain["share_left"]) == {1.0}
    artefact = of(effects, name="aL", roi_b="bL", adjustment="none")
    assert artefact["p"] > 0.05
    by_motion = of(effects, name="aL", roi_b="bL", adjustment="mean_fd")
    assert (by_motion["estimate"], by_motion["left_out"]) == (artefact["estimate"], "mean_fd")
    everything = of(effects, name="aL", roi_b="bL", adjustment="all")
    assert "mean_fd" in everything["left_out"].split(";")
    assert everything["measures"] == "global_sd;tsnr"


def without_tsnr(out: Path) -> None:
    """One run lacks a measure."""
    runs = read_tsv(out / paths.RUNS)
    runs.loc[3, "tsnr"] = "n/a"
    write_tsv(out / paths.RUNS, runs)


def test_a_measure_that_somebody_lacks_is_named_and_nobody_is_lost(tmp_path):
    study(tmp_path, by_time())
    without_tsnr(tmp_path)
    measures, effects = tables(tmp_path)
    everything = of(effects, name="bL", roi_b="dL", adjustment="all")
    assert everything["measures"] == "mean_fd;global_sd"
    assert everything["lacking"] == "tsnr"
    assert set(everything["left_out"].split(";")) == {"dvars", "frames_kept", "df", "coverage", "tsnr"}
    assert everything["df"] == 24 - 2 - 2
    lacking = of(measures, measure="tsnr", roi="nan")
    assert np.isnan(lacking["p"])
    assert lacking["varies"] == "true"


@pytest.mark.parametrize(
    ("model", "contrasts"),
    [
        (Paired(design="paired", before="pre", after="post"), ["change"]),
        (
            ParallelArms(
                design="parallel_arms",
                before="pre",
                after="post",
                arm="arm",
                levels=("drug", "placebo"),
                randomised=True,
            ),
            ["adjusted", "change"],
        ),
        (
            TwoSample(design="two_sample", at="post", group="response", levels=("responder", "nonresponder")),
            ["difference", "differenceScore"],
        ),
        (
            Moderator(
                design="moderator", at="pre", arm="arm", levels=("drug", "placebo"), outcome="MADRS.post"
            ),
            ["moderation"],
        ),
        (OneSample(design="one_sample", at="post"), []),
    ],
)
def test_every_design_asks_of_the_measures_what_it_asks_of_connectivity(tmp_path, model, contrasts):
    study(tmp_path, model)
    measures, effects = tables(tmp_path)
    assert list(dict.fromkeys(measures["contrast"])) == contrasts
    shown = list(dict.fromkeys(effects["contrast"]))
    assert shown == ([] if isinstance(model, Moderator) else contrasts)
    assert list(measures) == list(read_tsv(tmp_path / paths.confounding("m")))


def test_several_time_points_have_measures_by_f_and_no_adjusted_effects(tmp_path):
    study(tmp_path, Within(design="within", points=("pre", "mid", "post")), points=("pre", "mid", "post"))
    measures, effects = tables(tmp_path)
    fd = of(measures, measure="mean_fd")
    assert fd["p"] <= 0.05
    assert np.isnan(fd["estimate"])
    assert effects.empty


def test_a_model_of_maps_alone_has_measures_of_all_regions_and_no_effects(tmp_path):
    study(tmp_path, by_time(edges="none"))
    measures, effects = tables(tmp_path, edges="none")
    assert set(measures["roi"]) == {"nan", *REGIONS}
    assert effects.empty


# Change against baseline ----------------------------------------------------------------------------


def coupled(out: Path, edges=EDGES) -> pd.DataFrame:
    couple(out, "m", CLINICAL, edges)
    table = read_tsv(out / paths.coupling("m")).replace("n/a", "nan")
    return table.astype({c: float for c in table if c not in {"kind", "name", "roi_b"}})


def test_change_and_baseline_of_scores_and_edges(tmp_path):
    study(tmp_path, by_time())
    found = coupled(tmp_path)
    assert found["kind"].tolist() == ["scale", "edge", "edge", "edge"]
    cohort = read_tsv(tmp_path / paths.COHORT)
    pre, post = (cohort[cohort["time_point"] == p]["MADRS"].astype(float).to_numpy() for p in ("pre", "post"))
    assert found["baseline_change"][0] == pytest.approx(np.corrcoef(pre, post - pre)[0, 1])
    assert found["n"].tolist() == [24] * 4


def test_the_baseline_of_an_adjusted_contrast_is_its_covariate(tmp_path):
    arms = {
        "design": "parallel_arms",
        "before": "pre",
        "after": "post",
        "arm": "arm",
        "levels": ("drug", "placebo"),
    }
    study(tmp_path, ParallelArms(**arms, randomised=True))
    adjusted = coupled(tmp_path)
    study(tmp_path, by_time())
    np.testing.assert_allclose(adjusted["oldham"], coupled(tmp_path)["oldham"])


@pytest.mark.parametrize(
    "model",
    [
        TwoSample(design="two_sample", at="post", group="response", levels=("responder", "nonresponder")),
        Moderator(design="moderator", at="pre", arm="arm", levels=("drug", "placebo"), outcome="MADRS.post"),
    ],
)
def test_one_time_point_has_scores_alone(tmp_path, model):
    study(tmp_path, model)
    assert coupled(tmp_path)["kind"].tolist() == ["scale"]


# In the report --------------------------------------------------------------------------------------


@pytest.fixture
def shown(tmp_path):
    """Blocks of the report on a study, by the names of its sections."""

    def make(model: Model, n: int = 24, change=lambda out: None):
        study(tmp_path, model, n)
        change(tmp_path)
        edges_stage(tmp_path, "m", EDGES, permutations=199, seed=1)
        correct(tmp_path, "m", ["edges"], SETTINGS)
        tables(tmp_path)
        coupled(tmp_path)
        edges = read_tsv(tmp_path / paths.edges("m")).replace("n/a", "nan")
        edges = edges.assign(p_fwe=edges["p_fwe"].astype(float))
        names = dict.fromkeys(edges["contrast"])
        contrasts = [
            SimpleNamespace(
                name=name, edges=edges[edges["contrast"] == name], networks=edges[:0].assign(network="")
            )
            for name in names
        ]
        outputs = SimpleNamespace(out=tmp_path, models=[SimpleNamespace(name="m", contrasts=contrasts)])
        context = SimpleNamespace(outputs=outputs, alpha=0.05, level="95 %")
        return list(confounding_section.blocks(context)), list(responders_section.blocks(context))

    return make


@pytest.mark.truth
def test_the_report_says_that_motion_differs_and_what_is_left(shown):
    ((other,), _) = shown(by_time())
    said = " ".join(other.sentences)
    assert "Interaction: mean framewise displacement differs by 0.1" in said
    assert (
        "of 2 edges and networks with p_fwe ≤ 0.05, 1 has an uncorrected p above it once all measures" in said
    )
    measures, effects = other.tables
    strong = {row.cells[1] for row in measures.rows if row.strong}
    assert {"mean framewise displacement", "mean DVARS", "coverage of regions"} <= strong
    assert "frames kept and degrees of freedom (k)" in measures.note
    assert [column.title for column in effects.columns[:4]] == [
        "Edge or network",
        "As it stands",
        "+ All",
        "+ FD",
    ]
    assert {row.cells[0] for row in effects.rows if row.strong} == {"aL – bL", "aL – cL"}
    assert "Neither column is the truth by itself" in other.caution


def test_the_report_says_which_measure_was_not_held_constant(shown):
    ((other,), _) = shown(by_time(), change=without_tsnr)
    assert "once all measures but tSNR (missing in somebody) are held constant" in " ".join(other.sentences)
    measures, effects = other.tables
    assert "tSNR" not in measures.note
    assert [row.cells[-2:] for row in measures.rows if row.cells[1] == "tSNR"] == [("n/a", "n/a")]
    assert "Not held constant, because somebody lacks it: tSNR." in effects.note
    assert "+ tSNR" not in [column.title for column in effects.columns]


def test_without_degrees_of_freedom_the_report_does_not_say_that_an_effect_is_gone(shown):
    arms = {"arm": "arm", "levels": ("drug", "placebo"), "randomised": True}
    ((other,), _) = shown(ParallelArms(design="parallel_arms", before="pre", after="post", **arms), n=8)
    said = next(sentence for sentence in other.sentences if "p_fwe" in sentence)
    assert "can be judged with all measures held constant, for too few degrees of freedom are left" in said
    assert "uncorrected p above" not in said
    assert "n/a: too few degrees of freedom are left." in other.tables[1].note


def test_effects_with_and_without_an_answer_are_counted_apart():
    values = ((0.2, 0.4), (0.01, 0.8), (np.nan, np.nan))
    rows = [{"p": p, "share_left": share, "lacking": "n/a"} for p, share in values]
    assert confounding_section.what_is_left(0.05, rows) == (
        "of 3 edges and networks with p_fwe ≤ 0.05, 1 has an uncorrected p above it once all measures are "
        "held constant, and 1 cannot be judged, for too few degrees of freedom are left; the median "
        "share of the estimate that is left is 60 %"
    )


def test_the_report_gives_change_against_baseline_with_its_caution_once(shown):
    (_, (coupling,)) = shown(by_time())
    assert coupling.sentences[0].startswith("MADRS: change goes with baseline, r = −0.")
    assert "in 24 people" in coupling.sentences[0]
    assert "Oldham's correlation has p ≤ 0.05 in" in coupling.sentences[1]
    assert "regression to the mean" in coupling.caution
    assert coupling.folded[0][1].n == 3


def test_a_mean_level_has_no_block(shown):
    (other, _) = shown(OneSample(design="one_sample", at="post"))
    assert other == []
