"""The workflow from end to end, on a small simulated trial."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from conn import images
from conn.cli import main
from conn.locks import hold
from conn.runner import TRIGGERS
from simulated import (
    PLANTED,
    REGIONS,
    ROOT,
    SUBJECTS,
    World,
    planned,
    snapshot,
)

pytestmark = pytest.mark.workflow

RUNS = "run dataset subject session time_point task acq run_entity echo space res path volumes tr frames_kept"
RUNS += " seconds_kept df mean_fd included reason dvars tsnr global_sd"
EXCLUSIONS = "dataset subject session run roi stage reason value limit"
COHORT = "dataset subject time_point runs n_runs df mean_fd arm MADRS MADRS_change MADRS_percent_change"
COHORT += " response remission"
EDGES = (
    "roi_a roi_b contrast family n estimate se df stat p p_fwe p_fdr ci_low ci_high ci_sim_low ci_sim_high"
)
EDGES += " g g_type g_ci_low g_ci_high p_holm status df_num p_tail g_av g_av_ci_low g_av_ci_high"
EDGES += " slope_difference p_slope_difference p_equivalence p_closed score p_score"
CLUSTERS = "seed contrast family cluster peak_x peak_y peak_z voxels volume_mm3 peak_stat p_fwe label p_holm"
CLUSTERS += " status"
COVERAGE = (
    "roi voxels covered coverage volume_mm3 tsnr flag half_filled filled_mm3 grey_matter edge_mm csf_mm"
)
COVERAGE += " r_ring r_csf own_variance"


def table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def numbers(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", na_values="n/a")


# What a run leaves ------------------------------------------------------------------------------------


def test_a_run_from_scratch_leaves_every_file_of_the_contract(finished: World):
    func = finished.out / "sub-01" / "ses-pre" / "func"
    source = "sub-01_ses-pre_task-rest_space-MNI152NLin2009cAsym"
    assert {path.name for path in func.iterdir()} == {
        f"{source}_seed-vmPFC_stat-fisherz_statmap.nii.gz",
        f"{source}_stat-fisherz_statmap.json",
        f"{source}_seg-rois_stat-mean_timeseries.tsv",
        f"{source}_seg-rois_stat-mean_timeseries.json",
        f"{source}_seg-rois_stat-pearsoncorrelation_relmat.tsv",
        f"{source}_seg-rois_stat-pearsoncorrelation_relmat.json",
        f"{source}_seg-rois_stat-coverage.tsv",
    }
    maps = {
        f"seed-vmPFC_contrast-change_stat-{stat}_statmap.nii.gz" for stat in ("effect", "t", "pfwe", "p", "g")
    }
    tables = {"edges.tsv", "clusters.tsv", "design.tsv", "design.json"}
    group = {path.name for path in (finished.out / "group" / "prepost").iterdir()}
    assert {f"model-prepost_{name}" for name in maps | tables} <= group
    edges_only = {path.name for path in (finished.out / "group" / "armbytime").iterdir()}
    assert "model-armbytime_edges.tsv" in edges_only
    assert not any("seed-" in name or "clusters" in name for name in edges_only)
    for name in ("runs.tsv", "exclusions.tsv", "cohort.tsv", "methods.md", "report.html", "config.yaml"):
        assert (finished.out / name).stat().st_size > 0, name
    figures = {path.suffix for path in (finished.out / "figures").iterdir()}
    assert figures == {".svg", ".png"}


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("runs.tsv", RUNS),
        ("exclusions.tsv", EXCLUSIONS),
        ("cohort.tsv", COHORT),
        ("group/prepost/model-prepost_edges.tsv", EDGES),
        ("group/armbytime/model-armbytime_edges.tsv", EDGES),
        ("group/prepost/model-prepost_clusters.tsv", CLUSTERS),
    ],
)
def test_tables_have_the_columns_of_the_contract(finished: World, name: str, columns: str):
    assert list(table(finished.out / name).columns) == columns.split()


def test_every_run_has_a_row_and_every_person_one_per_time_point(finished: World):
    runs, cohort = table(finished.out / "runs.tsv"), table(finished.out / "cohort.tsv")
    everyone = {(subject, point) for subject in SUBJECTS for point in ("pre", "post")}
    assert set(zip(runs["subject"], runs["time_point"], strict=True)) == everyone
    assert len(runs) == len(cohort) == len(everyone)
    assert set(zip(cohort["subject"], cohort["time_point"], strict=True)) == everyone
    assert set(runs["included"]) == {"true"}
    assert set(cohort["runs"]) == set(runs["run"])
    assert table(finished.out / "exclusions.tsv").empty


def test_first_level_tables_fit_together(finished: World):
    func = finished.out / "sub-03" / "ses-post" / "func"
    (series_file,) = func.glob("*_timeseries.tsv")
    (matrix_file,) = func.glob("*_relmat.tsv")
    (coverage_file,) = func.glob("*_stat-coverage.tsv")
    series, matrix, coverage = numbers(series_file), numbers(matrix_file), table(coverage_file)
    assert sorted(series.columns) == sorted(REGIONS)
    assert list(matrix.columns) == ["roi", *series.columns]
    assert list(matrix["roi"]) == list(series.columns)
    assert list(coverage.columns) == COVERAGE.split()
    assert list(coverage["roi"]) == list(series.columns)
    assert len(series) == 110
    np.testing.assert_allclose(matrix[list(series.columns)], series.corr(), atol=1e-6)


def test_the_seed_map_is_the_fisher_z_of_a_brain_and_nothing_outside(finished: World):
    (path,) = finished.out.glob("sub-02/ses-pre/func/*seed-vmPFC*.nii.gz")
    grid, z = images.read_volume(path)
    own, mask = images.read_volume(finished.func("02", "pre", "desc-brain_mask.nii.gz"))
    assert grid.matches(own)
    assert np.isnan(z[mask == 0]).all()
    assert np.isfinite(z[mask > 0]).mean() > 0.99
    assert 0.5 < np.nanmax(z) < 5


@pytest.mark.truth
@pytest.mark.parametrize("model", ["prepost", "armbytime"])
def test_p_is_family_wise_significant_exactly_when_the_simultaneous_interval_excludes_zero(
    finished: World, model: str
):
    edges = numbers(finished.out / "group" / model / f"model-{model}_edges.tsv")
    excludes = (edges["ci_sim_low"] > 0) | (edges["ci_sim_high"] < 0)
    assert (excludes == (edges["p_fwe"] <= 0.05)).all()
    assert edges["contrast"].nunique() == 2, "the contrast, and its repetition with motion"
    edges = edges[~edges["contrast"].str.endswith("FD")]
    assert len(edges) == len(REGIONS) * (len(REGIONS) - 1) // 2
    planted = edges[(edges["roi_a"] == PLANTED.roi_a) & (edges["roi_b"] == PLANTED.roi_b)]
    if model == "prepost":
        assert planted["p_fwe"].item() == pytest.approx(2 / 64)
        assert planted["estimate"].item() == pytest.approx(-0.9, abs=0.35)
    else:
        assert (edges["p_fwe"] >= 2 / 20 - 1e-12).all()


def test_no_result_names_a_place_of_this_machine_or_a_time(finished: World):
    here = str(finished.folder).encode()
    for name, content in snapshot(finished.out, (".snakemake", "logs", "cache")).items():
        assert here not in content, name
    assert b"file://" not in (finished.out / "report.html").read_bytes()


def test_hostile_paths_start_no_command(finished: World):
    assert not [p for p in finished.folder.rglob("PWNED*") if p != finished.study]
    assert not (Path.cwd() / "PWNED").exists()


def test_status_of_a_finished_study_is_good(finished: World, capsys: pytest.CaptureFixture[str]):
    assert main(["status", str(finished.study / "study.yaml")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "project  12 of 12" in lines
    assert "report   1 of 1" in lines
    assert "left out so far: 0 (conn why SUBJECT says why)" in lines


# Starting it ------------------------------------------------------------------------------------------


@pytest.mark.xdist_group("finished")
def test_a_second_call_runs_nothing(finished: World):
    before = {path: path.stat().st_mtime_ns for path in finished.out.rglob("*.tsv")}
    again = finished.conn("run", finished.study / "study.yaml", "--cores", "2")
    assert again.returncode == 0, again.stderr
    assert "Nothing to be done" in (finished.out / "logs" / "snakemake.log").read_text()
    assert "jobs" not in again.stderr
    assert {path: path.stat().st_mtime_ns for path in finished.out.rglob("*.tsv")} == before


@pytest.mark.xdist_group("finished")
@pytest.mark.parametrize("how", ["root", "workflow", "elsewhere"])
def test_snakemake_and_conn_share_one_state(finished: World, how: str):
    snakefile = {
        "root": [],
        "workflow": ["-s", "workflow/Snakefile"],
        "elsewhere": ["-s", finished.clone / "workflow" / "Snakefile"],
    }[how]
    cwd = finished.study if how == "elsewhere" else finished.clone
    path = "study.yaml" if how == "elsewhere" else finished.study / "study.yaml"
    seen = finished.call(["snakemake", *snakefile, "--configfile", path, "--cores", "2", "-n"], cwd)
    assert seen.returncode == 0, seen.stdout + seen.stderr
    assert planned(seen.stdout + seen.stderr) == {}


def test_all_ways_to_start_have_the_same_targets(world: World):
    config = world.configure()
    ways = [
        ["snakemake", "--configfile", config, "--cores", "2", "-n", "--quiet", "rules"],
        ["snakemake", "-s", "workflow/Snakefile", "--configfile", config, "-c2", "-n", "--quiet", "rules"],
        ["conn.cli", "run", config, "--cores", "2", "-n"],
    ]
    seen = [world.call(way, world.clone) for way in ways]
    jobs = [planned(one.stdout + one.stderr) for one in seen]
    jobs[0]["all"] = jobs[0].pop("default")
    assert jobs[0] == jobs[1] == jobs[2]
    assert jobs[0]["project"] == jobs[0]["measure"] == 2 * len(SUBJECTS)
    assert jobs[0]["all"] == jobs[0]["report"] == jobs[0]["exclusions"] == 1
    assert jobs[0]["design"] == jobs[0]["correct"] == jobs[0]["test_edges"] == 2
    assert jobs[0]["test_seed"] == 1
    assert not list(world.out.glob("*.tsv"))


def test_a_stage_can_be_the_last(world: World):
    config = world.configure(models={})
    seen = world.conn("run", config, "--until", "measure", "-n")
    assert set(planned(seen.stdout)) == {"project", "measure", "measure_all"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "add --configfile my.yaml"),
        (["--configfile", "study.yaml", "other.yaml"], "A study is one file"),
        (["--configfile", "study.yaml", "--config", "seed=3"], "--config seed=… is not read"),
    ],
)
def test_snakemake_without_one_configuration_says_what_is_missing(
    world: World, arguments: list[str], message: str
):
    world.configure("other.yaml")
    world.configure()
    start = ["snakemake", "-s", world.clone / "workflow" / "Snakefile", "--cores", "1", "-n"]
    seen = world.call([*start, *arguments], world.study)
    assert seen.returncode != 0
    assert message in seen.stderr + seen.stdout
    assert not world.out.exists()


# Interruptions ----------------------------------------------------------------------------------------


def test_after_a_kill_the_same_command_finishes_with_the_same_bytes_on_one_processor(
    finished: World, world: World
):
    config = world.configure()
    run = world.start(["conn.cli", "run", config, "--cores", "1"], start_new_session=True)
    while not (said := re.match(r"(\d+) of", run.stderr.readline())) or int(said[1]) < 8:
        assert run.poll() is None
    second = world.conn("run", config, "--cores", "1")
    assert second.returncode == 5
    assert "results: another run is at work in this folder; wait until it ends" in second.stderr
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    receipts = set(world.out.glob("cache/*/*/receipt.json"))
    assert 0 < len(receipts) < 2 * len(SUBJECTS) + 1
    for receipt in receipts:
        files = json.loads(receipt.read_text())["files"]
        assert files and all((world.out / name).exists() for name in files)
    whole = (finished.folder / "said").read_text()
    (world.out / "cache" / ".left.tsv.abcd1234.part").write_text("half")
    resumed = world.conn("run", config, "--cores", "1")
    assert resumed.returncode == 0, resumed.stderr
    jobs = [int(re.findall(r" of (\d+) jobs", text)[-1]) for text in (resumed.stderr, whole)]
    assert jobs[0] < jobs[1]
    assert not list(world.out.rglob("*.part"))
    expected, found = snapshot(finished.out), snapshot(world.out)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def test_a_job_that_is_killed_is_named_with_the_most_likely_cause(world: World):
    config = world.configure()
    world.out.mkdir()
    script = world.folder / "killed.py"
    script.write_text(
        "import os, signal\nfrom pathlib import Path\nfrom conn.jobs import job\n"
        "with job(Path('logs/project/run1.log')):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert world.call([script], world.out).returncode == -9
    said = world.conn("status", config)
    assert said.returncode == 1
    assert "failed: project/run1: ended without a word" in said.stdout


def test_a_lock_lives_as_long_as_any_process_that_holds_it(tmp_path: Path):
    lock = hold(tmp_path)
    assert lock is not None and lock.sure
    assert hold(tmp_path) is None
    child = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.handle], text=True
    )
    lock.release()
    assert hold(tmp_path) is None
    child.communicate("\n")
    again = hold(tmp_path)
    assert again is not None
    again.release()


# How it is written ------------------------------------------------------------------------------------


def test_the_linter_asks_for_environments_only_and_the_readme_says_why_there_are_none(world: World):
    config = world.configure()
    seen = world.call(["snakemake", "--configfile", config, "--lint", "text"], world.clone)
    titles = set(re.findall(r"^    \* (.+):$", seen.stdout + seen.stderr, re.MULTILINE))
    assert titles == {"Specify a conda environment or container for each rule."}
    assert "asks for a conda environment" in (ROOT / "workflow" / "README.md").read_text()


def test_the_rules_are_formatted():
    formatter = Path(sys.executable).with_name("snakefmt")
    call = [str(formatter), "--check", str(ROOT / "workflow"), str(ROOT / "Snakefile")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_rule_hands_words_of_the_user_to_a_shell():
    for path in (ROOT / "workflow").rglob("*.smk"):
        assert not re.search(r"^\s*(shell|run):", path.read_text(), re.MULTILINE), path


def test_profiles_leave_the_age_of_scripts_out():
    for path in (ROOT / "profiles").glob("*/config.yaml"):
        assert f"rerun-triggers: [{', '.join(TRIGGERS)}]" in path.read_text(), path
