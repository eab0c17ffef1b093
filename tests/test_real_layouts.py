"""Dress rehearsals: simulated images in the layout and clinical tables of real data sets."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from conn.check import check
from conn.errors import TooLittleDataError
from conn.runner import run
from conn.simulate.rehearsal import rehearse
from conn.study import open_study
from conn.tables import read_tsv
from line import walk

pytestmark = pytest.mark.workflow

DS003007 = """
out: results
datasets:
  ds003007:
    bids_dir: data
    res: "2"
    time_points: {{labels: {{pre: [pre], post: [post]}}}}
clinical:
  baseline: pre
  endpoint: post
  scales:
    MADRS: {{columns: {{pre: MADRS_ses-pre, post: MADRS_ses-post}}}}
    BDI: {{columns: {{pre: BDI_ses-pre, post: BDI_ses-post}}}}
  response: {{scale: MADRS}}
  variables:
    arm: {{column: group, kind: category}}
    sex: {{column: gender, kind: category, levels: {{m: male, f: female}}}}
rois: {{use: [sgACC, pgACC, amygdalaLB, PAG, insula]}}
# 100 volumes at TR 2.5 s: with a low-pass filter no published strategy keeps 25 degrees of freedom.
denoise: {{strategy: {strategy}, low_pass: {low_pass}}}
connectivity: {{seeds: [PAG]}}
models:
  everybody: {{design: paired, before: pre, after: post, covariates: [mean_fd]}}
  cbt:
    design: group_by_time
    before: pre
    after: post
    group: arm
    levels: [depr_cbt, depr_no_treatment]
    seeds: none
  mood:
    {{design: regression, before: pre, after: post, predictor: BDI.change, covariates: [sex], seeds: none}}
  relief: {{design: regression, before: pre, after: post, predictor: MADRS.change, seeds: none}}
inference: {{permutations: 199}}
"""

DS005917 = """
out: results
datasets:
  ds005917:
    bids_dir: data
    time_points: {labels: {b0: [b0], d2: [d2], d10: [d10], p2: [p2], p10: [p10]}}
clinical:
  tables: [{path: participants.tsv}, {path: phenotype/phenotype.tsv}]
  baseline: b0
  endpoint: d2
  scales: {MADRS: {column: MADRS_Total, minimum: 0, maximum: 60}}
  response: {scale: MADRS}
  variables:
    group: {column: group, kind: category}
    age: {column: age}
rois: {use: [sgACC, pgACC, amygdalaLB, PAG, insula]}
connectivity: {seeds: [PAG]}
models:
  ketamine: {design: paired, before: p2, after: d2}
  severity: {design: regression, at: b0, predictor: MADRS.b0, covariates: [age]}
inference: {permutations: 199}
"""


def listing(skeleton: Path) -> list[str]:
    """Names of all resting-state runs of a real data set, without ending."""
    lines = gzip.decompress((skeleton / "FILES.txt.gz").read_bytes()).decode().splitlines()
    found = [re.search(r"([^/]*task-rest[^/]*)_bold\.nii\.gz$", line) for line in lines]
    return [match[1] for match in found if match]


@pytest.fixture(scope="module")
def pre_post(shared_data, tmp_path_factory):
    """All 58 runs of ds003007 in the names of its public derivatives."""
    folder = tmp_path_factory.mktemp("ds003007")
    derivatives = shared_data / "fmriprep" / "ds003007-fmriprep"
    rehearse(folder / "data", shared_data / "openneuro" / "ds003007", derivatives, voxel_mm=6, workers=1)
    return folder


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.xdist_group("ds003007")
def test_three_arms_before_and_after_run_to_a_report(pre_post):
    study = walk(write(pre_post, "conn.yaml", DS003007.format(strategy="scrubbing.5", low_pass="null")))
    runs = read_tsv(study.out / "runs.tsv")
    assert len(runs) == 58
    assert (runs["included"] == "true").all()
    assert runs["df"].astype(int).min() >= 25
    n = {m: _edges(study.out, m)["n"].astype(int).max() for m in study.config.models}
    assert n == {"everybody": 29, "cbt": 23, "mood": 25, "relief": 9}
    page = (study.out / "report.html").read_text()
    assert "depr_cbt" in page and "<img" in page
    assert "SIMULATED DATA" in page
    cohort = read_tsv(study.out / "cohort.tsv")
    assert (cohort["response"] != "n/a").sum() == 2 * 9
    assert set(cohort["sex"]) == {"male", "female"}


@pytest.mark.xdist_group("ds003007")
def test_the_check_says_why_a_low_pass_filter_would_exclude_everybody(pre_post):
    study = open_study(write(pre_post, "band.yaml", DS003007.format(strategy="simple", low_pass="0.1")))
    with pytest.raises(TooLittleDataError) as stop:
        check(study)
    text = str(stop.value)
    assert "too_few_df: 21 (denoise.min_df 25)" in text
    assert "simple+bp0.008-0.1 keeps 0% of subjects; scrubbing.5+hp0.008 keeps 100%" in text
    assert "denoise.low_pass: null" in text
    assert "none of 58 runs is included (too_few_df 58)" in text


@pytest.mark.slow
@pytest.mark.xdist_group("ds003007")
def test_three_arms_run_through_the_workflow_too(pre_post):
    text = DS003007.format(strategy="scrubbing.5", low_pass="null").replace("results", "workflow")
    study = open_study(write(pre_post, "workflow.yaml", text))
    assert run(study, cores=2) == 0
    assert (study.out / "report.html").exists()


def _edges(out: Path, model: str):
    return read_tsv(out / "group" / model / f"model-{model}_edges.tsv")


@pytest.mark.slow
@pytest.mark.xdist_group("ds005917")
def test_forty_runs_of_the_ketamine_crossover_run_to_a_report(shared_data, tmp_path):
    skeleton = shared_data / "openneuro" / "ds005917"
    names = [name for name in listing(skeleton) if re.search("ses-(b0|d2|p2)_", name)][:40]
    rehearse(tmp_path / "data", skeleton, voxel_mm=6, runs=names, workers=1)
    config = DS005917.replace(", d10: [d10]", "").replace(", p10: [p10]", "")
    study = walk(write(tmp_path, "conn.yaml", config))
    runs = read_tsv(study.out / "runs.tsv")
    assert (runs["included"] == "true").sum() == 40
    subjects = {time: {_subject(n) for n in names if f"ses-{time}_" in n} for time in ("b0", "d2", "p2")}
    both = subjects["d2"] & subjects["p2"]
    assert _edges(study.out, "ketamine")["n"].astype(int).max() == len(both)
    left_out = read_tsv(study.out / "exclusions.tsv")
    ketamine = left_out[left_out["value"].str.startswith("ketamine")]
    missing = {row.subject for row in ketamine.itertuples() if "no included run" in row.value}
    assert (subjects["b0"] | subjects["d2"] | subjects["p2"]) - both <= missing
    severity = _edges(study.out, "severity")["n"].astype(int).max()
    assert 3 <= severity <= len(subjects["b0"])
    assert (study.out / "report.html").exists()


def _subject(name: str) -> str:
    return name.partition("_")[0].removeprefix("sub-")


@pytest.mark.slow
@pytest.mark.xdist_group("ds005917")
def test_all_runs_of_the_crossover_are_checked_and_the_check_tells_who_drops_out(shared_data, tmp_path):
    skeleton = shared_data / "openneuro" / "ds005917"
    names = listing(skeleton)
    noisy = next(name for name in names if "_ses-d2_" in name)
    bare = next(name for name in names if "_ses-p2_" in name and _subject(name) != _subject(noisy))
    rehearse(tmp_path / "data", skeleton, voxel_mm=8, without_confounds=[bare], workers=1)
    text = check(open_study(write(tmp_path, "conn.yaml", DS005917)))
    assert "ds005917: 250 runs of 58 subjects" in text
    sessions = {time: {_subject(n) for n in names if f"_ses-{time}_" in n} for time in ("d2", "p2")}
    pairs = (sessions["d2"] & sessions["p2"]) - {_subject(bare)}
    assert f"\n{len(pairs)} subjects, {58 - len(pairs)} left out" in text
    assert re.search(f"sub-{_subject(bare)} ses-p2 .*no_confounds", text)
    assert "12 of 235 subjects and time points have several runs" in text
    assert "no_session: sub-MOA323 phenotype/phenotype.tsv row 227" in text
    assert "Left out, age is missing: 2 (sub-MOA117, sub-MOA323)" in text
