"""The report recovers, or unmasks, what the simulator planted in people."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from conn import paths
from conn.config.load import load
from conn.config.model import Config
from conn.files import read_json, write_json
from conn.report import truth_section
from conn.report.context import Context
from conn.report.contract import read_outputs
from conn.report.people import Names
from conn.report.regions import edge
from conn.report.true_effects import true_effects
from conn.report.truth_rows import Quantity, answers
from conn.report.values import Connectivity
from conn.simulate import scenario
from conn.tables import read_tsv
from planted_study import ARMS, CLINICAL, configuration, only, run
from simulated import World
from test_report import Page, as_number, read, without_images

SPAN = {"before": "pre", "after": "post"}
BY_RESPONSE = {"group": "response", "levels": ["responder", "nonresponder"]}
SEEDS = {"mediation": 11, "responder": 12, "moderator": 13, "motion": 14}
"""Chosen before anything was drawn, and kept."""

CARRIER, MARKER = edge("PAG", "thalamusMDL"), edge("amygdalaLBL", "precuneusL")
MODERATOR, MOVED = edge("pgACCR", "insulaR"), edge("dACCR", "supramarginalR")
UNMOVED = edge("sgACCL", "amygdalaCML")


def study(folder: Path, name: str, n: int, regions: tuple[str, ...], **asked: Any) -> Path:
    """A scenario with one more region, from its people to its report."""
    spec = only(scenario(name, n, SEEDS[name]), more=("vmPFC",))
    return run(folder, spec, configuration((*regions, "vmPFC"), **asked))


def every(out: Path, kind: str) -> list[list[str]]:
    """Rows of all tables about a kind of truth."""
    html, _ = read(out)
    block = re.split("<h3|</section>", html[html.index(f'<h3 id="truth-{kind}">') + 4 :])[0]
    head = ("Quantity", "Analysis", "Planted", "Measurable")
    tables = re.findall(r"<table>.*?</table>", block, re.DOTALL)
    return [row for table in tables for row in Page(table).table(*head)[0]]


def shown(out: Path, kind: str) -> dict[str, list[str]]:
    """The same by quantity, with the analysis where one is asked twice."""
    rows = every(out, kind)
    return {(f"{r[0]} @{r[1]}" if sum(q[0] == r[0] for q in rows) > 1 else r[0]): r for r in rows}


def told(out: Path) -> str:
    """Words of the section of truths."""
    html = without_images(read(out)[0])
    part = html[html.index('<section id="truth">') : html.index('<section id="settings">')]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", part)))


def numbers(row: list[str]) -> tuple[float, float, float, float, float]:
    """Planted, measurable, estimate and interval of a row."""
    low, high = (as_number(part) for part in row[5].split(" to "))
    planted, measurable, estimate = (as_number(cell) for cell in row[2:5])
    return planted, measurable, estimate, low, high


def near(row: list[str], errors: float = 3.3) -> bool:
    """Whether an estimate is within so many standard errors (3.3: 99.9 %) of what can be measured."""
    _, measurable, estimate, low, high = numbers(row)
    return abs(estimate - measurable) < errors * (high - low) / (2 * 1.96)


# ------------------------------------------------------------------------------------- the four truths


@pytest.fixture(scope="module")
def mediated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    carried = {**ARMS, **SPAN, "randomised": True, "outcome": "MADRS", "bootstrap": 1000}
    together = {**ARMS, **SPAN, "scales": ["MADRS.change", "SHAPS.change"], "resamples": 500}
    return study(
        tmp_path_factory.mktemp("mediation"),
        "mediation",
        160,
        ("PAG", "thalamusMD"),
        mediation={"carried": carried},
        associations={"together": together},
    )


@pytest.mark.xdist_group("truths-mediation")
@pytest.mark.truth
def test_mediation_of_a_known_share_is_recovered(mediated: Path) -> None:
    rows = shown(mediated, "mediation")
    through = rows["ab: through connectivity, points"]
    assert through[6] == rows["ab / c: share of the total"][6] == "yes"
    assert through[5] and numbers(through)[4] < 0
    for name in (
        "a: drug minus placebo, Fisher z",
        "b: points per z",
        "c: total, drug minus placebo, points",
    ):
        assert near(rows[name]), name
    planted, measurable, share, low, high = numbers(rows["ab / c: share of the total"])
    assert planted == pytest.approx(0.615, abs=1e-3)
    assert measurable == pytest.approx(0.34, abs=0.01)
    assert 0 < low < measurable < high < 1
    assert "The effect through it is recovered: ab = " in told(mediated)
    assert "62 % was planted to go this way; of what scans can show, 34 % does" in told(mediated)
    table = read_tsv(mediated / paths.analysis("mediation", "carried", ".tsv"))
    (row,) = table[(table["roi_a"] == "thalamusMDL") & (table["roi_b"] == "PAG")].to_dict("records")
    assert share == pytest.approx(float(row["proportion"]), abs=5e-4)
    assert float(row["p_fwe"]) <= 0.05


@pytest.mark.xdist_group("truths-mediation")
@pytest.mark.truth
def test_correlations_of_changes_are_weakened_by_noise_as_far_as_was_stated(mediated: Path) -> None:
    rows = shown(mediated, "association")
    assert list(rows) == [
        "r of changes in drug", "r of changes in placebo", "r of changes within arms",
    ]  # fmt: skip
    assert CARRIER in told(mediated)
    for row in rows.values():
        planted, measurable, *_ = numbers(row)
        assert near(row) and 0.25 < measurable < 0.4 < planted
    assert rows["r of changes within arms"][6] == "yes"
    assert "within drug and placebo, changes of" in told(mediated)


@pytest.fixture(scope="module")
def responding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = {
        "before": {"design": "two_sample", "at": "pre", **BY_RESPONSE},
        "after": {"design": "two_sample", "at": "post", **BY_RESPONSE},
        "foretold": {"design": "regression", "at": "pre", "predictor": "MADRS.change"},
    }
    pair = ["amygdalaLBL", "precuneusL"]
    shared = {"edges": [pair, ["amygdalaLBL", "vmPFC"]], "sensitivity": "none"}
    models = {name: {**model, **shared} for name, model in models.items()}
    one = {"at": "pre", "outcome": "response", "edges": [pair], "clinical": [], "repeats": 2}
    return study(
        tmp_path_factory.mktemp("responder"),
        "responder",
        120,
        ("amygdalaLB", "precuneus"),
        models=models,
        prediction={"one": {**one, "inner_folds": 2, "learning_curve": [], "permutations": 200}},
    )


@pytest.mark.xdist_group("truths-responder")
@pytest.mark.truth
def test_responders_differ_at_baseline_and_no_longer_after_treatment(responding: Path) -> None:
    rows = shown(responding, "prediction")
    before = rows["responders minus others before treatment, Fisher z"]
    after = rows["responders minus others after treatment, Fisher z"]
    planted, measurable, _, low, _ = numbers(before)
    assert before[6] == "yes" and low > 0
    assert planted == pytest.approx(measurable, abs=0.01)
    _, gone, _, low, high = numbers(after)
    assert abs(gone) < 0.01 and after[6] == "yes"
    assert low < 0 < high
    words = told(responding)
    assert f"{MARKER} under drug: before treatment responders and others differ: " in words
    assert "after treatment responders and others no longer differ, as planted: " in words
    foretold = rows["r with the change of the score"]
    assert near(foretold) and numbers(foretold)[4] < 0
    area = rows["area under the curve before treatment"]
    assert near(area) and numbers(area)[3] > 0.5
    edges = read_tsv(responding / paths.edges("before"))
    (p,) = edges.loc[(edges["roi_b"] == "precuneusL") & (edges["contrast"] == "difference"), "p_fwe"]
    assert float(p) <= 0.05


@pytest.mark.truth
def test_a_moderator_is_found(tmp_path: Path) -> None:
    whom = {"design": "moderator", "at": "pre", **ARMS, "outcome": "MADRS.post", "sensitivity": "none"}
    out = study(tmp_path, "moderator", 200, ("pgACC", "insula"), models={"whom": whom})
    (row,) = shown(out, "moderation").values()
    planted, measurable, _, _, high = numbers(row)
    assert row[0] == "slope on connectivity, drug minus placebo, points per z"
    assert planted == -20 and measurable == pytest.approx(-12, abs=0.5)
    assert row[6] == "yes" and high < 0
    assert f"{MODERATOR} before treatment was made to say for whom drug does more than placebo" in told(out)
    assert "This is recovered: the slopes differ by " in told(out)
    edges = read_tsv(out / paths.edges("whom"))
    table = edges[(edges["roi_a"] == "pgACCR") & (edges["roi_b"] == "insulaR")]
    assert float(table["p_fwe"].iloc[0]) <= 0.05


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Path:
    planted = [["dACCR", "supramarginalR"], ["sgACCL", "amygdalaCML"], ["dACCR", "vmPFC"]]
    shared = {**SPAN, "edges": planted, "sensitivity": "none"}
    models = {
        "arms": {"design": "parallel_arms", **ARMS, "randomised": True, **shared},
        "byTime": {"design": "group_by_time", "group": "arm", "levels": ["placebo", "drug"], **shared},
        "change": {"design": "paired", **shared},
    }
    names = ("dACC", "supramarginal", "sgACC", "amygdalaCM")
    return study(tmp_path_factory.mktemp("motion"), "motion", 120, names, models=models)


@pytest.mark.xdist_group("truths-motion")
@pytest.mark.truth
def test_motion_that_follows_the_arm_is_flagged_and_its_artefact_unmasked(moving: Path) -> None:
    html = unescape(without_images(read(moving)[0]))
    other = html[html.index('<section id="other">') : html.index('<section id="results">')]
    assert re.search(r"Adjusted: .*mean framewise displacement differs by 0\.1\d", other)
    rows = shown(moving, "artefact")
    for model, turned, words in (
        ("arms: adjusted", 1, "drug minus placebo"),
        ("byTime", -1, "placebo minus drug"),
    ):
        motion = rows[f"mean FD, {words}, mm"]
        plain = rows[f"as it stands, {words}, Fisher z"]
        held = rows[f"with motion held constant, Fisher z @{model}"]
        assert motion[1] == plain[1] == model
        _, size, _, low, high = numbers(motion)
        assert near(motion) and size * turned == pytest.approx(0.17, abs=0.01) and low * high > 0
        planted, _, estimate, low, high = numbers(plain)
        assert near(plain) and planted * turned == pytest.approx(0.25, abs=0.01) and low * high > 0
        _, truth, left, low, high = numbers(held)
        assert held[6] == "yes" and truth == 0 and low < 0 < high
        assert abs(left) < abs(estimate) / 2
    assert told(moving).count("the artefact is unmasked") == 2


@pytest.mark.xdist_group("truths-motion")
@pytest.mark.truth
def test_an_effect_that_is_none_of_motion_stands_in_every_model_that_asks_for_it(moving: Path) -> None:
    rows, _ = read(moving)[1].table("Model: contrast", "Edge", "Planted")
    found = {(row[0], row[1]): row for row in rows}
    for model, value in (
        ("arms: adjusted", -0.5),
        ("arms: change", -0.5),
        ("byTime", 0.5),
        ("change", -0.25),
    ):
        row = found[model, UNMOVED]
        assert as_number(row[2]) == value
        assert abs(as_number(row[3]) - value) < 0.2 and row[7] == "yes"
    artefact = found["arms: adjusted", f"{MOVED} *"]
    assert as_number(artefact[2]) == 0 and artefact[5] == "no" and artefact[7] == "yes"
    assert "* Follows motion, which differs between arms" in read(moving)[0]


# ----------------------------------------------------------------------------- where nothing is to be said


def context(out: Path, config: Config | None = None, truth: Any = None) -> Context:
    """What a report of these outputs would know."""
    outputs = read_outputs(out, config or load(out / paths.CONFIG))
    if truth is not None:
        outputs = replace(outputs, truth=truth)
    return Context(out / "figures", outputs, Names({}), Connectivity(outputs))


def compared(out: Path, config: Config | None = None, truth: Any = None) -> list[Quantity]:
    return [one for answer in answers(context(out, config, truth)) for one in answer.quantities]


def changed(out: Path, kind: str, name: str, **options: Any) -> Config:
    """The configuration with other options of an analysis, whose results stay as they are."""
    config = load(out / paths.CONFIG)
    analyses = dict(getattr(config, kind))
    analyses[name] = analyses[name].model_copy(update=options)
    return config.model_copy(update={kind: analyses})


@pytest.mark.xdist_group("truths-mediation")
@pytest.mark.parametrize(
    ("kind", "name", "options"),
    [
        ("mediation", "carried", {"outcome": "SHAPS"}),
        ("mediation", "carried", {"covariates": ("SHAPS.pre",)}),
        ("mediation", "carried", {"before": "post", "after": "pre"}),
        ("mediation", "carried", {"subset": {"site": ("A",)}}),
        ("mediation", "carried", {"levels": ("drug", "sham")}),
        ("mediation", "carried", {"edge_measure": "partial"}),
        ("associations", "together", {"adjusted": True}),
        ("associations", "together", {"covariates": ("SHAPS.change",)}),
        ("associations", "together", {"subset": {"arm": ("drug",)}}),
        ("associations", "together", {"after": "pre"}),
    ],
)
def test_an_analysis_that_asks_something_else_is_not_compared(
    mediated: Path, kind: str, name: str, options: dict[str, Any]
) -> None:
    assert {one.asked_by for one in compared(mediated)} == {"carried", "together"}
    left = compared(mediated, changed(mediated, kind, name, **options))
    assert name not in {one.asked_by for one in left}


@pytest.mark.xdist_group("truths-responder")
@pytest.mark.parametrize(
    "options",
    [
        {"at": "post", "group": "site"},
        {"covariates": ("MADRS.pre",)},
        {"subset": {"site": ("A",)}},
        {"edge_measure": "partial"},
    ],
)
def test_groups_that_are_no_responders_of_all_people_are_not_compared(
    responding: Path, options: dict[str, Any]
) -> None:
    assert {one.asked_by for one in compared(responding)} == {"before", "after", "foretold", "one"}
    left = compared(responding, changed(responding, "models", "before", **options))
    assert {one.asked_by for one in left} == {"after", "foretold", "one"}


@pytest.mark.xdist_group("truths-responder")
def test_another_rule_of_response_is_another_question(responding: Path) -> None:
    config = load(responding / paths.CONFIG)
    rule = config.clinical.response
    assert rule is not None
    for change in ({"percent": 30.0}, {"missing": "nonresponder"}, {"scale": "SHAPS"}):
        clinical = config.clinical.model_copy(update={"response": rule.model_copy(update=change)})
        left = compared(responding, config.model_copy(update={"clinical": clinical}))
        assert {one.asked_by for one in left} == {"foretold"}


@pytest.mark.xdist_group("truths-responder")
@pytest.mark.parametrize(
    "options",
    [{"clinical": ("MADRS.pre",)}, {"harmonise": "site"}, {"outcome": "remission"}, {"edges": "all"}],
)
def test_an_area_under_the_curve_of_more_than_the_edge_is_not_compared(
    responding: Path, options: dict[str, Any]
) -> None:
    left = compared(responding, changed(responding, "prediction", "one", **options))
    assert "one" not in {one.asked_by for one in left}


@pytest.mark.xdist_group("truths-responder")
def test_an_analysis_that_was_not_done_is_not_compared(responding: Path, tmp_path: Path) -> None:
    shutil.copytree(responding, tmp_path / "results")
    write_json(tmp_path / "results/prediction/one.json", {"name": "one", "not_done": "too few people"})
    truth = read_json(responding.parent / "data" / "truth.json")
    left = compared(tmp_path / "results", load(responding / paths.CONFIG), truth)
    assert {one.asked_by for one in left} == {"before", "after", "foretold"}


@pytest.mark.xdist_group("truths-mediation")
def test_harmless_covariates_and_renamed_levels_leave_the_truth_as_it_is(mediated: Path) -> None:
    config = changed(mediated, "mediation", "carried", covariates=("age", "mean_fd"), strata=("site",))
    assert len(compared(mediated, config)) == len(compared(mediated))
    arm = CLINICAL["variables"]["arm"] | {"levels": {"drug": "active", "placebo": "sham"}}
    config = changed(mediated, "mediation", "carried", levels=("sham", "active"))
    variables = {**config.clinical.variables, "arm": type(config.clinical.variables["arm"])(**arm)}
    clinical = config.clinical.model_copy(update={"variables": variables})
    turned = compared(mediated, config.model_copy(update={"clinical": clinical}))
    plain = {one.name.split(":")[0]: one for one in compared(mediated)}
    for one in (one for one in turned if one.asked_by == "carried"):
        sign = -1 if one.name.split(":")[0] in ("a", "ab", "c′", "c") else 1
        assert one.planted == sign * plain[one.name.split(":")[0]].planted
    assert {one.asked_by for one in turned} == {"carried", "together"}


@pytest.mark.xdist_group("truths-motion")
def test_a_model_of_groups_is_no_model_of_arms(moving: Path) -> None:
    known = {c.title: true_effects(context(moving), c) for c in context(moving).outputs.contrasts()}
    assert all(len(values) == 2 for values in known.values())
    for options in ({"group": "response", "levels": ("responder", "nonresponder")}, {"before": "post"}):
        other = context(moving, changed(moving, "models", "byTime", **options))
        contrast = next(c for c in other.outputs.contrasts() if c.model == "byTime")
        assert true_effects(other, contrast) == {}
    other = context(moving, changed(moving, "models", "change", subset={"arm": ("drug",)}))
    contrast = next(c for c in other.outputs.contrasts() if c.model == "change")
    assert true_effects(other, contrast) == {}


@pytest.mark.xdist_group("truths-motion")
def test_a_truth_file_without_clinical_truths_has_no_section(moving: Path) -> None:
    assert truth_section.blocks(context(moving, truth={"edges": []})) == []
    assert truth_section.edge_table(context(moving, truth={"edges": []})) is None
    assert truth_section.unasked(context(moving)) == ""


@pytest.mark.xdist_group("truths-responder")
def test_what_nobody_asks_for_is_named(responding: Path) -> None:
    assert truth_section.unasked(context(responding)) == (
        f"Planted as well, and not asked by any analysis here: association of {MARKER}."
    )


@pytest.mark.xdist_group("truths-mediation")
def test_what_is_not_found_is_not_called_recovered(mediated: Path) -> None:
    truth = read_json(mediated.parent / "data" / "truth.json")
    for entry in truth["clinical"]:
        entry["measured"] = dict.fromkeys(entry["measured"], 100.0)
    said = " ".join(s for b in truth_section.blocks(context(mediated, truth=truth)) for s in b.sentences)
    assert "The effect through it is found, but its interval misses what can be measured: ab" in said
    assert "None of the six intervals holds the measurable value." in said


# ------------------------------------------------------------------------------------------- rehearsals


@pytest.mark.xdist_group("truths-motion")
@pytest.mark.oracle
def test_the_truth_of_a_rehearsal_is_the_contrast_of_the_z_of_its_scans(moving: Path) -> None:
    """Were the stated z those that were measured, truth and estimate would be the same number."""
    scans: dict[str, dict[str, float]] = {}
    for row in read_tsv(moving / paths.RUNS).to_dict("records"):
        entities = {"sub": row["subject"], "ses": row["session"], "task": "rest", "space": row["space"]}
        r = read_tsv(moving / paths.relmat(entities)).set_index("roi")["dACCR"]["supramarginalR"]
        scans.setdefault(row["subject"], {})[row["session"]] = float(np.arctanh(float(r)))
    stated = {"roi_a": "supramarginalR", "roi_b": "dACCR", "baseline_z": 0.0, "delta_z": {}, "scans": scans}
    told = context(moving, truth={"edges": [], "planted": {"edges": [stated], "columns": []}})
    known = {c.title: true_effects(told, c) for c in told.outputs.contrasts()}
    assert known.pop("arms: adjusted") == {}
    assert set(known) == {"arms: change", "byTime", "change"}
    for contrast in told.outputs.contrasts():
        for pair, value in known.get(contrast.title, {}).items():
            (row,) = (r for r in contrast.edges.to_dict("records") if {r["roi_a"], r["roi_b"]} == pair)
            assert value == pytest.approx(row["estimate"], abs=1e-6), contrast.title
    table = truth_section.edge_table(told)
    assert table is not None and "the mean that was planted in each scan" in table.note
    assert all(row.cells[2] == row.cells[3] and row.cells[5] == "yes" for row in table.rows)
    assert len(table.rows) == 3


@pytest.mark.xdist_group("truths-motion")
@pytest.mark.truth
def test_a_rehearsal_states_zero_where_a_contrast_should_see_nothing(moving: Path) -> None:
    people = pd.DataFrame(read_tsv(moving / paths.COHORT)).drop_duplicates("subject")
    drug = set(people.loc[people["arm"] == "drug", "subject"])
    scans = {s: {"pre": 0.3, "post": 0.3 - 0.6 * (s in drug)} for s in people["subject"]}
    stated = {"roi_a": "dACCR", "roi_b": "vmPFC", "scans": scans}
    rising = {
        "roi_a": "dACCR",
        "roi_b": "supramarginalR",
        "scans": {s: {"pre": 0.1, "post": 0.5} for s in scans},
    }
    told = context(moving, truth={"edges": [], "planted": {"edges": [stated, rising], "columns": []}})
    known = {c.title: true_effects(told, c) for c in told.outputs.contrasts()}
    first, second = frozenset(("dACCR", "vmPFC")), frozenset(("dACCR", "supramarginalR"))
    assert known["arms: adjusted"] == known["arms: change"] == {first: -0.6, second: 0.0}
    assert known["byTime"] == {first: 0.6, second: 0.0}
    assert known["change"] == pytest.approx({first: -0.3, second: 0.4})
    del scans["001"]["post"]
    assert true_effects(told, told.outputs.contrasts()[0]) == {second: 0.0}


# ------------------------------------------------------------------------------------ the whole, by images


PAIRS = [
    ["PAG", "thalamusMDL"], ["amygdalaLBL", "precuneusL"], ["pgACCR", "insulaR"],
    ["dACCR", "supramarginalR"], ["sgACCL", "amygdalaCML"],
]  # fmt: skip
REGIONS = [
    "PAG", "thalamusMD", "amygdalaLB", "precuneus", "pgACC", "insula", "dACC", "supramarginal", "sgACC",
    "amygdalaCM",
]  # fmt: skip


def clinic() -> dict[str, Any]:
    """Analyses that ask for everything that the scenario `clinic` plants, of the planted edges."""
    responders = {"design": "two_sample", **BY_RESPONSE, "subset": {"arm": ["drug"]}}
    models = {
        "arms": {"design": "parallel_arms", **SPAN, **ARMS, "randomised": True},
        "before": {**responders, "at": "pre"},
        "after": {**responders, "at": "post"},
        "whom": {"design": "moderator", "at": "pre", **ARMS, "outcome": "MADRS.post"},
    }
    shared = {"edges": PAIRS, "sensitivity": "none", "seeds": "none"}
    carried = {**ARMS, **SPAN, "randomised": True, "outcome": "MADRS", "bootstrap": 1000, "edges": PAIRS}
    together = {**ARMS, **SPAN, "scales": ["MADRS.change"], "resamples": 500, "edges": PAIRS}
    return {
        "datasets": {
            "trial": {"bids_dir": "../trial", "time_points": {"labels": {"pre": ["pre"], "post": ["post"]}}}
        },
        "clinical": CLINICAL,
        "rois": {"use": REGIONS},
        "denoise": {"strategy": "simple", "low_pass": 0.1},
        "connectivity": {"seeds": []},
        "models": {name: {**model, **shared} for name, model in models.items()},
        "mediation": {"carried": carried},
        "associations": {"together": together},
        "report": {"truth": "../trial/truth.json"},
    }


ROWS = 23
FAMILY = float(stats.t.isf(0.001 / (2 * ROWS), 48))
HELD = int(stats.binom.ppf(0.001, ROWS, 0.95))


@pytest.mark.slow
@pytest.mark.truth
def test_the_whole_from_images_to_report_finds_what_was_planted(pristine: World, tmp_path: Path) -> None:
    """`conn simulate --scenario clinic`, then `conn run`.

    Each of 23 estimates is within what a family of so many allows in 99.9 % of trials (4.5 standard errors
    with the 48 degrees of freedom of an arm of 50), and at least 18 intervals hold what can be measured, as
    95 % intervals do in 99.9 % of trials. Seed and limits were chosen before the test ran.
    """
    world = pristine.copy(tmp_path / "world")
    size = ("--subjects", "100", "--voxel-mm", "4", "--seed", "2026")
    made = world.conn("simulate", world.folder / "trial", "--scenario", "clinic", *size)
    assert made.returncode == 0, made.stderr
    ran = world.conn("run", world.configure(**clinic()), "--cores", "2")
    assert ran.returncode == 0, ran.stderr
    expected = {"mediation": 6, "association": 9, "prediction": 4, "moderation": 1, "artefact": 3}
    for kind, n in expected.items():
        rows = every(world.out, kind)
        assert len(rows) == n, kind
        assert all(near(row, FAMILY) for row in rows), [kind, *rows]
    held = [row[6] == "yes" for kind in expected for row in every(world.out, kind)]
    assert len(held) == ROWS and sum(held) >= HELD
    html = unescape(without_images(read(world.out)[0]))
    other = html[html.index('<section id="other">') : html.index('<section id="results">')]
    assert re.search(r"Adjusted: .*mean framewise displacement differs by 0\.1\d", other)
