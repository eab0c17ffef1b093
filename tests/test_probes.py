"""What conn check --null and --power say about a study, write, and refuse."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from cohorts import DEMO, tables
from conn import null_report, paths, power_report
from conn.cli import main
from conn.config import load
from conn.config.model import Contrast, Formula, Moderator, ParallelArms, TreatmentByOutcome
from conn.design import compile_model
from conn.null_report import ProbedNulls, null_table, probed, verdict
from conn.nulls import NullCheck
from conn.probes import Probe, expected_runs, foreseen_probes, has_first_level, probes, row_design
from conn.rois import networks
from conn.row_design import RowDesign
from conn.simulate import demo_spec, prepare, simulate_z
from conn.stages import rows as stage
from conn.stages.rows import rows_of
from conn.study import open_study
from conn.tables import read_tsv
from simulated import World


@pytest.fixture(name="demo", scope="module")
def fixture_demo() -> dict[str, Probe]:
    """Contrasts of the demo's models with edges at result level."""
    config, spec = load(DEMO), demo_spec(seed=0)
    prepared = prepare(spec)
    z = simulate_z(spec, prepared)
    cohort, runs, places = tables(spec, prepared)
    pairs = list(combinations(range(prepared.latent.n_rois), 2))
    labels = prepared.latent.labels
    edges = tuple((labels[a], labels[b]) for a, b in pairs)
    first, second = np.array(pairs).T
    made = {}
    for name, model in config.models.items():
        design = compile_model(name, model, config.clinical, cohort, runs, config.inference)
        contrast = design.contrasts[0]
        made[name] = probe_of(name, contrast, model, edges, lambda run: z[places[run]][first, second])
    return made


def probe_of(name, contrast, model, edges, load) -> Probe:
    """A contrast with edges at result level, and the networks within them."""
    rows = rows_of(contrast, load, len(edges))
    place = {frozenset(pair): i for i, pair in enumerate(edges)}
    means = {}
    for network in networks.names():
        pairs = [frozenset(pair) for pair in networks.edges(network)]
        if all(pair in place for pair in pairs):
            inside = np.array([place[pair] for pair in pairs])
            means[network] = rows_of(contrast, lambda run, own=inside: load(run)[own].mean(keepdims=True), 1)
    return Probe(
        name, contrast, model, row_design(contrast), edges, rows.values, 0.001, rows.covariate, means
    )


@pytest.fixture(name="more", scope="module")
def fixture_more() -> dict[str, Probe]:
    """Contrasts of further designs with a few edges of the demo's people: F, several values, adjusted."""
    config, spec = load(DEMO), demo_spec(seed=0)
    prepared = prepare(spec)
    z = simulate_z(spec, prepared)
    cohort, runs, places = tables(spec, prepared)
    cohort["sex"] = np.where(cohort["subject"].astype(int) % 3 == 0, "F", "M")
    cohort["response"] = np.where(cohort["subject"].astype(int) % 4 < 2, "responder", "nonresponder")
    labels = prepared.latent.labels
    edges = tuple((labels[0], label) for label in labels[1:13])
    both = {"before": "pre", "after": "post"}
    models = {
        "adjusted": ParallelArms(
            design="parallel_arms", **both, arm="arm", levels=("drug", "placebo"), randomised=True
        ),
        "joint": Formula(
            design="formula", **both, formula="arm * MADRS.change",
            tests={
                "any": ("arm=placebo", "arm=placebo:MADRS.change"),
                "two": {"arm=placebo": 1.0, "MADRS.change": 2.0},
                "number": {"MADRS.change": 1.0},
                "category": {"arm=placebo": 1.0},
            },
        ),
        "score": TreatmentByOutcome(
            design="treatment_by_outcome", **both, arm="arm", arm_levels=("drug", "placebo"),
            outcome="response", outcome_levels=("responder", "nonresponder"),
        ),
        "who": Moderator(
            design="moderator", at="pre", arm="arm", levels=("drug", "placebo"), outcome="MADRS.post",
            contrasts={"moderation": Contrast(), "prognosis": Contrast()},
        ),
        "cells": TreatmentByOutcome(
            design="treatment_by_outcome", **both, arm="arm", arm_levels=("drug", "placebo"),
            outcome="sex", outcome_levels=("F", "M"),
        ),
    }  # fmt: skip
    made = {}
    for name, model in models.items():
        design = compile_model(name, model, config.clinical, cohort, runs, config.inference)
        for contrast in design.contrasts:
            if not contrast.sensitivity:
                made[f"{name}.{contrast.name}"] = probe_of(
                    name, contrast, model, edges, lambda run: z[places[run]][0, 1:13]
                )
    return made


def a_check(**changes) -> NullCheck:
    values = {"method": "resampled", "assumption": "symmetry", "sets": 200, "false": 10, "rate": 0.05}
    values |= {"low": 0.02, "high": 0.09, "uncorrected": 0.05, "features": 7, "alpha": 0.05}
    return NullCheck(**(values | changes))


# Words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "kind", "words"),
    [
        (a_check(), "fine", "No sign against it (warned above 7 %)"),
        (
            a_check(rate=0.18, low=0.13, references=(0.05, 0.1)),
            "liberal",
            "WARNING: 18 % is above 7 % and above all rearrangements of the same rows",
        ),
        (a_check(rate=0.18, low=0.13), "liberal", "WARNING: 18 % is above 7 %: what this assumption"),
        (
            a_check(rate=0.18, low=0.13, references=(0.05, 0.2)),
            "unclear",
            "NOTE: 18 % is above 7 %, but so are the same rows when the assumption is made to hold",
        ),
        (
            a_check(rate=0.075, low=0.04, references=(0.05, 0.06)),
            "unclear",
            "but the interval still holds 5 %; --sets 1000 would tell",
        ),
        (a_check(sets=0, impossible="one arm is small"), "impossible", "not possible, one arm is small."),
    ],
)
def test_a_rate_becomes_a_verdict(check, kind, words):
    assert verdict(check) == kind
    assert words in "\n".join(null_report._check_words(check))


def test_another_alpha_moves_the_limit():
    assert a_check(alpha=0.01, rate=0.02, low=0.012).liberal
    assert not a_check(alpha=0.1, rate=0.13, low=0.105).liberal


def test_every_design_of_the_demo_is_probed_with_the_methods_that_fit_it(demo):
    settings = {"sets": 6, "permutations": 39, "alpha": 0.05, "seed": 0}
    found = {name: probed(probe, **settings) for name, probe in demo.items()}
    methods = {name: [check.method for check in one.checks] for name, one in found.items()}
    assert methods == {
        "prepost": ["resampled"],
        "drugprepost": ["resampled"],
        "armbytime": ["resampled", "split"],
        "slope": ["resampled", "independent"],
    }
    table = null_table(list(found.values()), 39, 0)
    assert len(table) == 6 and set(table["edges"]) == {500}
    assert "500 of 561 edges, drawn with the seed" in "\n".join(null_report._words(found["prepost"]))


def test_edges_that_somebody_lacks_leave_the_null_data_and_are_counted(demo):
    probe = demo["prepost"]
    data = probe.data[:, :9].copy()
    data[3, 2] = np.nan
    small = Probe("m", probe.contrast, probe.settings, probe.rows, probe.edges[:9], data, 0.001)
    found = probed(small, 5, 39, 0.05, 0)
    assert (found.left_out, found.drawn, found.checks[0].features) == (1, 8, 8)
    assert "8 edges; 1 that somebody lacks are left out" in "\n".join(null_report._words(found))
    nobody = Probe(
        "m", probe.contrast, probe.settings, probe.rows, probe.edges[:9], np.full_like(data, np.nan), 0.001
    )
    empty: ProbedNulls = probed(nobody, 5, 39, 0.05, 0)
    assert not empty.checks and "every edge is missing in somebody" in "\n".join(null_report._words(empty))


# Power -------------------------------------------------------------------------------------------------


def test_smallest_effects_are_told_for_edges_and_for_networks_within_them(demo):
    families = power_report.needed(demo["armbytime"], 199, 0.05, 0)
    assert [family.kind for family in families] == ["edge", "network"]
    assert families[0].size == 561
    assert set(families[1].names) == {"thalamoCorticoPAG", "cingulateTargets", "amygdalaTargets"}
    table = power_report.power_table([(demo["armbytime"], families)])
    edges = table[table["kind"] == "edge"]
    assert (edges["mdc_fwe"] > edges["mdc"]).all()
    assert edges["mdc_r"].to_numpy() == pytest.approx(np.tanh(edges["mdc"].to_numpy()))
    # A mean over edges is less noisy than one of them.
    assert table.loc[table["kind"] == "network", "sd"].max() < edges["sd"].median()


def test_a_slope_has_no_r(demo):
    families = power_report.needed(demo["slope"], 99, 0.05, 0)
    text = "\n".join(power_report._words(demo["slope"], families))
    assert "z per unit of MADRS.change" in text and ", r " not in text
    assert power_report.power_table([(demo["slope"], families)])["mdc_r"].isna().all()


def test_further_designs_are_probed_with_the_methods_that_fit_them(more):
    settings = {"sets": 5, "permutations": 39, "alpha": 0.05, "seed": 0}
    found = {name: probed(probe, **settings) for name, probe in more.items()}
    methods = {name: [check.method for check in one.checks] for name, one in found.items()}
    assert methods == {
        "adjusted.adjusted": ["resampled", "split"],
        "adjusted.change": ["resampled", "split"],
        "joint.any": ["resampled", "independent"],
        "joint.two": ["resampled", "independent"],
        "joint.number": ["resampled", "independent"],
        "joint.category": ["resampled", "independent"],
        "score.interaction": ["resampled", "split"],
        "score.interactionScore": ["resampled", "independent"],
        "who.moderation": ["resampled", "independent"],
        "who.prognosis": ["resampled", "independent"],
        "cells.interaction": ["resampled", "split"],
    }
    assert all(check.sets == 5 or check.impossible for one in found.values() for check in one.checks)


def test_a_design_without_null_data_is_a_row_that_says_why_and_stops_nothing(more):
    settings = {"sets": 3, "permutations": 39, "alpha": 0.05, "seed": 0}
    good, probe = more["adjusted.change"], more["who.prognosis"]
    alone = replace(probe.rows, matrix=probe.rows.matrix[:3], **three_people(probe.rows))
    broken = Probe("m", probe.contrast, probe.settings, alone, probe.edges, probe.data[:3], 0.001)
    found = [probed(one, **settings) for one in (broken, good)]
    table = null_table(found, 39, 0)
    assert table["verdict"].tolist()[:2] == ["impossible", "impossible"]
    assert table["impossible"].str.startswith("50 draws in a row cannot be tested").tolist()[:2] == [True] * 2
    assert table["impossible"].isna().tolist()[2:] == [True, True]
    assert "resampled: not possible, 50 draws in a row" in "\n".join(null_report._words(found[0]))


def three_people(rows: RowDesign) -> dict[str, np.ndarray]:
    """So few that no draw of them can be tested with four columns."""
    return {name: getattr(rows, name)[:3] for name in ("strata", "variance_groups", "groups")}


@pytest.mark.parametrize(
    ("name", "heading", "unit"),
    [
        ("joint.number", "; z per unit of MADRS.change", "z per unit of MADRS.change"),
        ("joint.category", "subjects", "z"),
        (
            "joint.two",
            "; z of arm=placebo plus 2 times MADRS.change",
            "z of arm=placebo plus 2 times MADRS.change",
        ),
        (
            "score.interactionScore",
            "; z per unit of (drug - placebo) x MADRS.post",
            "z per unit of (drug - placebo) x MADRS.post",
        ),
        (
            "who.moderation",
            "; MADRS.post per unit of z, difference between the arms",
            "MADRS.post per unit of z",
        ),
        ("who.prognosis", "; MADRS.post per unit of z", "MADRS.post per unit of z"),
        ("adjusted.adjusted", "; difference adjusted for the baseline of the edge", "z"),
    ],
)
def test_the_unit_of_a_smallest_effect_is_that_of_the_estimate(more, name, heading, unit):
    probe = more[name]
    families = power_report.needed(probe, 39, 0.05, 0)
    lines = list(power_report._words(probe, families))
    assert lines[0].endswith(heading) or (heading == "subjects" and ";" not in lines[0])
    table = power_report.power_table([(probe, families)])
    assert set(table["unit"]) == {unit}
    assert table["mdc_r"].isna().all() == (unit != "z")
    assert (", r " in lines[1]) == ("z " in lines[1]) == (unit == "z")


@pytest.mark.oracle
def test_the_smallest_moderation_is_per_z_in_points_of_the_scale(more):
    """Its standard error is that of the interval which the results print for an edge without moderation."""
    probe = more["who.moderation"]
    found = power_report.needed(probe, 39, 0.05, 0)[0].found
    found_too = stage.tested(
        probe.contrast, stage.Rows(probe.data, probe.covariate), np.arange(12), 39, 0, alpha=0.05
    )
    assert found.se == pytest.approx(found_too.result.se)
    assert np.median(found.single) > 5


def test_moderators_are_named_before_there_are_data(more):
    why = {name: power_report.unforeseen(probe.settings, probe.contrast) for name, probe in more.items()}
    assert why["who.moderation"].startswith("the smallest slope of MADRS.post depends on how much edges vary")
    assert {name for name, reason in why.items() if reason} == {
        "joint.any",
        "who.moderation",
        "who.prognosis",
    }


def test_a_combination_of_columns_becomes_a_column_with_the_same_estimate(more):
    probe = more["joint.two"]
    beta = np.linalg.lstsq(probe.contrast.matrix, probe.data, rcond=None)[0]
    own = np.linalg.lstsq(probe.rows.matrix, probe.data, rcond=None)[0]
    (column,) = probe.rows.columns
    assert own[column] == pytest.approx(probe.contrast.contrast @ beta)


def test_a_baseline_held_constant_needs_a_smaller_effect_than_a_change(more):
    adjusted, change = (
        power_report.needed(more[f"adjusted.{one}"], 99, 0.05, 0)[0] for one in ("adjusted", "change")
    )
    assert adjusted.found.df[0] < change.found.df[0]
    assert np.median(adjusted.found.single) < np.median(change.found.single)
    text = "\n".join(power_report._words(more["adjusted.adjusted"], [adjusted]))
    assert "difference adjusted for the baseline of the edge" in text


def test_an_f_of_several_columns_of_a_formula_says_why_it_has_no_smallest_effect(more):
    why = {name: power_report.unmeasured(probe.settings, probe.contrast) for name, probe in more.items()}
    assert "is no single number; test columns one by one" in why.pop("joint.any")
    assert set(why.values()) == {""}


# A study -------------------------------------------------------------------------------------------------


@pytest.mark.workflow
def test_power_is_told_before_any_image_is_read(world: World, capsys: pytest.CaptureFixture[str]):
    config = world.configure()
    study = open_study(config)
    assert not has_first_level(study)
    assert main(["check", str(config), "--power"]) == 0
    text = capsys.readouterr().out
    assert "Variances are those of the simulator" in text and "MODEL prepost, change: 6 subjects" in text
    assert not world.out.exists()
    change = next(iter(foreseen_probes(study, expected_runs(study))))
    sd = power_report.simulated_sd(change)
    # A difference of two scans: the person cancels, the change stays, each scan adds its own noise.
    assert sd == pytest.approx(np.full(6, np.sqrt(0.15**2 + 2 / (change.df - 2))), rel=0.05)
    assert change.n_edges == 21


@pytest.mark.workflow
def test_null_data_need_a_first_level(world: World, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(world.configure()), "--null"]) == 3
    assert "Say first: conn run study.yaml --until collect" in capsys.readouterr().err


@pytest.mark.workflow
def test_too_few_rearrangements_are_refused(world: World, capsys: pytest.CaptureFixture[str]):
    assert main(["check", str(world.configure()), "--null", "--permutations", "10"]) == 2
    assert "Ask for at least 20" in capsys.readouterr().err


@pytest.mark.workflow
def test_a_finished_study_is_checked_from_its_own_edges(
    finished: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    own = World(tmp_path)
    own.data.symlink_to(finished.data)
    shutil.copytree(finished.study, own.study, ignore=shutil.ignore_patterns("*.npy"))
    config = own.study / "study.yaml"
    before = {probe.model: probe for probe in probes(open_study(config))}
    table = read_tsv(own.out / paths.edges("prepost"))
    table = table[table["contrast"] == "change"]
    # The rows are those of the test: their mean is its estimate.
    estimate = table["estimate"].astype(float).to_numpy()
    assert before["prepost"].data.mean(axis=0) == pytest.approx(estimate, abs=1e-8)
    assert main(["check", str(config), "--null", "--power", "--sets", "10"]) == 0
    text = capsys.readouterr().out
    assert "NULL DATA\n10 null data sets of each kind" in text and "POWER\n" in text
    # With three people an arm no exchange of labels reaches alpha.
    assert "Nothing can be significant here" in text
    assert "changeFD: not looked at, for it repeats another contrast with motion as a covariate." in text
    assert "MODEL prepost, change: 6 subjects; 500 voxels of one seed map, drawn with the seed" in text
    nulls, power = (read_tsv(own.out / path) for path in (paths.CHECK_NULL, paths.CHECK_POWER))
    assert list(nulls.columns) == list(null_report.COLUMNS)
    assert list(power.columns) == list(power_report.COLUMNS)
    assert list(nulls["method"]) == ["resampled", "resampled", "resampled", "split"]
    assert list(nulls["kind"]) == ["edge", "voxel", "edge", "edge"]
    assert set(power["model"]) == {"prepost", "armbytime"}


def test_every_column_of_the_tables_is_documented():
    page = (Path(__file__).parents[1] / "docs" / "reference" / "outputs.md").read_text(encoding="utf-8")
    for path, columns in (
        (paths.CHECK_NULL, null_report.COLUMNS),
        (paths.CHECK_POWER, power_report.COLUMNS),
    ):
        section = page.split(f"\n### `{path}`\n")[1].split("\n### ")[0]
        assert all(f"`{column}`" in section for column in columns)
