"""The designs of published studies, each compiled from a few lines of configuration.

People are made up; only the kinds of comparison are those of the studies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from conn.config import Config, load
from conn.config.checks import check
from conn.design import Design, compile_model, describe
from conn.errors import ConfigError, DesignError
from trials import trial

CLINICAL = """
clinical:
  baseline: pre
  endpoint: post
  scales: {MADRS: {columns: {pre: a, post: b}}}
  response: {scale: MADRS}
  variables:
    arm: {column: arm, kind: category}
    order: {column: order, kind: category}
    diagnosis: {column: diagnosis, kind: category}
    sex: {column: sex, kind: category}
    site: {column: site, kind: category}
    age: {column: age}
"""
REGIONS = """
rois:
  use: [sgACC, pgACC, dACC, amygdalaLB, amygdalaCM, amygdalaSF, thalamusMD, thalamusVPL, pulvinar, PAG,
    descendingModulation, plasticity]
"""
POINTS = ("pre", "mid", "post", "ketamine", "placebo")


def configured(folder: Path, models: str, datasets: tuple[str, ...] = ("trial",)) -> Config:
    """A configuration of made-up data sets with some models, as a user would write it."""
    labels = ", ".join(f"{point}: [{point}]" for point in POINTS)
    named = "\n".join(
        f"  {name}: {{bids_dir: {name}, time_points: {{labels: {{{labels}}}}}}}" for name in datasets
    )
    path = folder / "study.yaml"
    path.write_text(f"datasets:\n{named}\n{CLINICAL}{REGIONS}\nmodels:\n{models}", encoding="utf-8")
    config = load(path)
    check(config, path)
    return config


def people(n: int, **variables: list[str]) -> dict[str, dict[str, Any]]:
    """People whose variables go through the given values, each at its own pace."""
    return {
        f"{i:02d}": {name: own[i // (k + 1) % len(own)] for k, (name, own) in enumerate(variables.items())}
        for i in range(1, n + 1)
    }


def compiled(config: Config, tables: tuple[pd.DataFrame, pd.DataFrame]) -> dict[str, Design]:
    return {
        name: compile_model(name, model, config.clinical, *tables, config.inference)
        for name, model in config.models.items()
    }


def summary(design: Design) -> list[tuple[str, str, str, int]]:
    return [(c.name, c.statistic, c.exchange, c.n) for c in design.contrasts if not c.sensitivity]


def two_trials() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two trials of a drug against placebo, of 24 and 20 people."""
    parts = []
    for name, n, seed in (("first", 24, 1), ("second", 20, 2)):
        everybody = people(n, arm=["drug", "placebo"], sex=["m", "f"], site=["A", "B"])
        cohort, runs = trial({f"{name}{s}": p for s, p in everybody.items()}, POINTS, seed)
        parts.append((cohort.assign(dataset=name), runs))
    cohorts, runs = zip(*parts, strict=True)
    return pd.concat(cohorts, ignore_index=True), pd.concat(runs, ignore_index=True)


# The four studies -----------------------------------------------------------------------------------


def test_two_trials_of_an_antidepressant_by_one_configuration(tmp_path: Path) -> None:
    shared = (
        "design: parallel_arms, before: pre, after: post, arm: arm, levels: [drug, placebo], randomised: true"
    )
    config = configured(
        tmp_path,
        f"""
  first: {{{shared}, covariates: [age, sex], subset: {{dataset: [first]}}, edges: descendingModulation}}
  second: {{{shared}, covariates: [age, sex], subset: {{dataset: [second]}}, edges: descendingModulation}}
  both: {{{shared}, covariates: [age, sex], strata: [dataset], edges: descendingModulation}}
  symptoms:
    design: regression
    before: pre
    after: post
    predictor: MADRS.change
    subset: {{arm: [drug], dataset: [first]}}
""",
        ("first", "second"),
    )
    made = compiled(config, two_trials())
    for name, n in (("first", 24), ("second", 20), ("both", 44)):
        assert summary(made[name]) == [("adjusted", "t", "labels", n), ("change", "t", "labels", n)]
    adjusted = made["both"].contrasts[0]
    assert adjusted.strata_names == ("dataset=first", "dataset=second")
    assert adjusted.words == (
        "difference, drug minus placebo: connectivity at post, adjusted for connectivity at pre of the same "
        "voxel or edge; adjusted for age and sex; exchanged within strata of dataset"
    )
    assert made["symptoms"].contrasts[0].words.startswith("slope per unit of MADRS.change: change of")


def ketamine_patients() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Anxious and other patients, responders and not."""
    everybody = people(
        28, diagnosis=["anxious", "anxious", "calm"], response=["responder", "nonresponder"], sex=["m", "f"]
    )
    return trial(everybody, POINTS)


def test_responders_and_subgroups_of_an_open_trial(tmp_path: Path) -> None:
    seeds = "seeds: [amygdalaLB, amygdalaCM, amygdalaSF]"
    config = configured(
        tmp_path,
        f"""
  responders:
    design: two_sample
    at: pre
    group: response
    levels: [responder, nonresponder]
    subset: {{diagnosis: [anxious]}}
    covariates: [age, sex]
    {seeds}
  responseByTime:
    design: parallel_arms
    before: pre
    after: post
    arm: response
    levels: [responder, nonresponder]
    randomised: false
    subset: {{diagnosis: [anxious]}}
    {seeds}
  anxious: {{design: two_sample, at: pre, group: diagnosis, levels: [anxious, calm], {seeds}}}
  both:
    design: treatment_by_outcome
    at: pre
    arm: diagnosis
    arm_levels: [anxious, calm]
    outcome: response
    outcome_levels: [responder, nonresponder]
""",
    )
    made = compiled(config, ketamine_patients())
    assert made["responders"].contrasts[0].words == (
        "difference, responder minus nonresponder: connectivity at pre; adjusted for age and sex; only "
        "diagnosis anxious"
    )
    assert [c[:3] for c in summary(made["responseByTime"])] == [
        ("change", "t", "labels"),
        ("adjusted", "t", "labels"),
        ("adjustedScore", "t", "labels"),
        ("changeScore", "t", "labels"),
    ]
    assert made["anxious"].contrasts[0].n == 28
    assert len(made["both"].contrasts[0].levels) == 4


def crossed() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Patients and volunteers in either order; some lack one of the two scans."""
    everybody = people(22, order=["ketamineFirst", "placeboFirst"], diagnosis=["patient", "volunteer"])
    everybody["03"]["without"] = ("ketamine",)
    everybody["08"]["without"] = ("placebo",)
    return trial(everybody, POINTS)


def test_a_crossover_with_two_diagnoses(tmp_path: Path) -> None:
    cross = "design: crossover, treatment: ketamine, control: placebo, sequence: order"
    config = configured(
        tmp_path,
        f"""
  drug:
    {{{cross}, levels: [ketamineFirst, placeboFirst], strata: [diagnosis], seeds: [sgACC, pgACC, dACC]}}
  drugInPatients: {{{cross}, levels: [ketamineFirst, placeboFirst], subset: {{diagnosis: [patient]}}}}
  diagnosisByDrug:
    design: formula
    before: placebo
    after: ketamine
    formula: order + diagnosis
    tests: {{interaction: {{diagnosis=volunteer: -1}}}}
  anhedonia:
    design: regression
    before: placebo
    after: ketamine
    predictor: MADRS.change
    covariates: [order]
""",
    )
    made = compiled(config, crossed())
    assert summary(made["drug"]) == [
        ("treatment", "t", "labels", 20),
        ("treatmentFlips", "t", "flips", 20),
        ("carryover", "t", "labels", 20),
    ]
    assert made["drug"].contrasts[0].words.startswith("ketamine minus placebo, free of period: ")
    assert [reason for *_, reason in made["drug"].contrasts[0].dropped] == [
        "no included run at ketamine",
        "no included run at placebo",
    ]
    assert "only diagnosis patient" in made["drugInPatients"].contrasts[0].words
    assert (
        made["diagnosisByDrug"]
        .contrasts[0]
        .words.startswith(
            "-1 times diagnosis=volunteer in the model order + diagnosis: change of connectivity, ketamine"
        )
    )
    assert made["anhedonia"].contrasts[0].columns == ("intercept", "MADRS.change", "order=placeboFirst")


# Neighbouring designs -------------------------------------------------------------------------------


def test_treatment_by_outcome_before_two_treatments(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        """
  who:
    design: treatment_by_outcome
    at: pre
    arm: arm
    arm_levels: [cbt, drug]
    outcome: response
    outcome_levels: [responder, nonresponder]
    contrasts: {interaction: {confirmatory: true}, arm: {}, outcome: {}}
""",
    )
    everybody = people(26, arm=["cbt", "drug"], response=["responder", "nonresponder"])
    (made,) = compiled(config, trial(everybody, POINTS)).values()
    assert [c[0] for c in summary(made)] == [
        "interaction",
        "arm",
        "outcome",
        "interactionScore",
        "outcomeScore",
    ]
    assert [c.confirmatory for c in made.contrasts] == [True, *[False] * 5]


def test_severity_as_a_moderator_of_arm_by_time(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        """
  moderator:
    design: formula
    before: pre
    after: post
    formula: MADRS.pre * arm + age
    tests: {moderation: {'MADRS.pre:arm=placebo': 1}, anything: [arm=placebo, 'MADRS.pre:arm=placebo']}
    strata: [site]
""",
    )
    everybody = people(24, arm=["drug", "placebo"], site=["A", "B"])
    (made,) = compiled(config, trial(everybody, POINTS)).values()
    assert summary(made) == [("moderation", "t", "labels", 24), ("anything", "F", "labels", 24)]
    assert made.contrasts[0].columns[-2:] == ("MADRS.pre:arm=placebo", "site=B")


def test_three_unbalanced_time_points_take_those_who_have_all(tmp_path: Path) -> None:
    config = configured(tmp_path, "  course: {design: within, points: [pre, mid, post]}\n")
    everybody = people(15, arm=["drug"])
    everybody["02"]["without"], everybody["09"]["without"] = ("mid",), ("mid", "post")
    (made,) = compiled(config, trial(everybody, POINTS)).values()
    assert summary(made) == [("within", "F", "flips", 13)]
    assert [reason for *_, reason in made.contrasts[0].dropped] == [
        "no included run at mid",
        "no included run at mid and post",
    ]


def test_three_treatments_in_the_same_people(tmp_path: Path) -> None:
    text = "  any: {design: within, points: [pre, ketamine, placebo], covariates: [age]}\n"
    (made,) = compiled(configured(tmp_path, text), trial(people(15, arm=["x"]), POINTS)).values()
    assert made.contrasts[0].n_variates == 2
    assert made.contrasts[0].words == (
        "any change of connectivity over pre, ketamine and placebo; adjusted for age"
    )


def test_three_arms_and_a_declared_network(tmp_path: Path) -> None:
    config = configured(
        tmp_path,
        """
  arms:
    design: group_by_time
    before: pre
    after: post
    group: arm
    levels: [neurofeedback, cbt, none]
    edges: plasticity
    contrasts: {interaction: {}, interactionNeurofeedbackVsNone: {}}
""",
    )
    everybody = people(29, arm=["neurofeedback", "cbt", "none", "none"])
    (made,) = compiled(config, trial(everybody, POINTS)).values()
    assert [c[:3] for c in summary(made)] == [
        ("interaction", "F", "labels"),
        ("interactionNeurofeedbackVsNone", "t", "labels"),
    ]
    sizes = np.bincount(made.contrasts[0].variance_groups).tolist()
    assert sizes == [made.contrasts[0].row_levels.count(level) for level in ("neurofeedback", "cbt", "none")]


def test_every_study_is_described_in_whole_sentences(tmp_path: Path) -> None:
    cross = "design: crossover, treatment: ketamine, control: placebo, sequence: order"
    config = configured(tmp_path, f"  drug: {{{cross}, levels: [ketamineFirst, placeboFirst]}}\n")
    (made,) = compiled(config, crossed()).values()
    assert all(line[-1] == "." for line in describe(made))
    assert "drug, treatment (exploratory): ketamine minus placebo, free of period: " in describe(made)[0]


# Wrong designs --------------------------------------------------------------------------------------

GROUPS = "group: arm, levels: [drug, placebo]"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("design: two_sample, at: pre, group: arm, levels: [drug, drug]", "m.levels: 'drug' is listed twice"),
        (f"design: two_sample, at: prre, {GROUPS}", "m.at = 'prre': no such time point; did you mean 'pre'"),
        (
            f"design: within, points: [pre, mid, pots], {GROUPS}",
            r"m.points\[2\] = 'pots': no such time point",
        ),
        ("design: within, points: [pre, post]", "m.points: more values are needed"),
        ("design: within, points: [pre, mid, pre]", "m: points: a time point is listed twice"),
        ("design: within, points: [pre, mid, post], group: arm", "give both group and at least two levels"),
        (
            "design: crossover, treatment: ketamine, control: ketamine, sequence: order, levels: [a, b]",
            "m: treatment and control are both 'ketamine'",
        ),
        (
            "design: crossover, treatment: ketamine, control: placebo, sequence: ordr, levels: [a, b]",
            "m.sequence: no variable 'ordr' in clinical.variables; did you mean 'order'",
        ),
        (
            "design: crossover, treatment: ketamine, control: placebo, levels: [a, b]",
            "m.sequence: this key is needed",
        ),
        (
            "design: parallel_arms, before: pre, after: post, arm: arm, levels: [drug, placebo]",
            "m.randomised: this key is needed",
        ),
        (
            "design: treatment_by_outcome, at: pre, arm: arm, arm_levels: [a, b], outcome: arm, "
            "outcome_levels: [a, b]",
            "m: arm and outcome are both 'arm'",
        ),
        (
            "design: treatment_by_outcome, arm: arm, arm_levels: [a, b], outcome: sex, "
            "outcome_levels: [a, b]",
            "m: give either at, or before and after",
        ),
        ("design: formula, at: pre, formula: age - 1, tests: {a: [age]}", "formula 'age - 1': '- 1' is not"),
        ("design: formula, at: pre, formula: age, tests: {}", "m.tests: more values are needed"),
        (
            "design: formula, at: pre, formula: age, tests: {a: []}",
            "tests.a: nothing is tested; name columns",
        ),
        ("design: formula, at: pre, formula: age, tests: {a: {age: 0}}", "tests.a: nothing is tested"),
        (
            "design: formula, at: pre, formula: age, tests: {a: [age, age]}",
            "tests.a: a column is listed twice",
        ),
        (
            "design: formula, at: pre, formula: age, tests: {a: {age: 1}, aFD: {age: 2}}",
            "m.tests: aFD is the name of a with motion as a covariate",
        ),
        (
            f"design: two_sample, at: pre, {GROUPS}, contrasts: {{differenceDrugVsPlacebo: {{}}}}",
            "'differenceDrugVsPlacebo' is no contrast of two_sample; known: difference",
        ),
        (
            "design: crossover, treatment: drug, control: placebo, sequence: order, levels: [a, b], "
            "contrasts: {carryover: {confirmatory: true}}",
            "m.contrasts.carryover: confirmatory is true, but carry-over is reported and never decides",
        ),
        (
            "design: within, points: [pre, mid, post], contrasts: {groupByWithin: {}}",
            "'groupByWithin' is no contrast of within; known: within",
        ),
    ],
)
def test_a_configuration_that_cannot_be_right_is_refused(tmp_path: Path, model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configured(tmp_path, f"  m: {{{model}}}\n")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            "design: parallel_arms, before: pre, after: post, arm: arm, levels: [drug, placebo], "
            "randomised: true, covariates: [site]",
            "'site' says nothing but the arm 'arm'",
        ),
        (
            "design: crossover, treatment: ketamine, control: placebo, sequence: order, levels: [a, b]",
            "no subject has order = 'b'; the levels are a",
        ),
        (
            "design: formula, at: pre, formula: arm + site, tests: {x: {site=B: 1}}",
            "rank deficient: 'site=B' follows from 'arm=placebo'",
        ),
        (
            "design: formula, at: pre, formula: diagnosis, tests: {x: [diagnosis=b]}",
            "models.m.formula: 'diagnosis' is 'n/a' in all|diagnosis is missing",
        ),
        (
            f"design: within, points: [pre, mid, post], {GROUPS}, strata: [site]",
            "no stratum holds both levels",
        ),
    ],
)
def test_a_design_that_the_people_do_not_support_is_refused(tmp_path: Path, model: str, message: str) -> None:
    config = configured(tmp_path, f"  m: {{{model}}}\n")
    everybody = people(12, arm=["drug", "placebo"])
    for person in everybody.values():
        person["site"], person["order"] = {"drug": "A", "placebo": "B"}[person["arm"]], "a"
    with pytest.raises(DesignError, match=message):
        compiled(config, trial(everybody, POINTS))
