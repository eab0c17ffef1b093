"""The benchmarks run at a tiny size, and say honestly whether a goal was met."""

from __future__ import annotations

import importlib
import importlib.util
import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).parents[1] / "bench"
KEYS = ["name", "ours", "peer", "unit", "ratio", "goal", "met", "repeats", "peak_mb"]


@pytest.fixture
def bench(monkeypatch):
    """Modules of the benchmark by name; they are scripts beside each other, not a package."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module


def tiny(part: str, tmp_path: Path) -> tuple[dict[str, dict], str]:
    """Records by name and the printed table of one part at its smallest size."""
    output = tmp_path / "latest.json"
    call = [sys.executable, str(BENCH / "run.py"), "--tiny", "--only", part, "--output", str(output)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records = json.loads(output.read_text(encoding="utf-8"))
    assert [list(record) for record in records] == [KEYS] * len(records)
    return {record["name"]: record for record in records}, done.stdout


@pytest.mark.slow
def test_first_level_lines_run_beside_nilearn_and_agree_with_it(tmp_path):
    records, printed = tiny("first-level", tmp_path)
    assert list(records) == [
        "run to maps, int16",
        "run to maps, int16: against bare decompression",
        "run to maps, int16: memory",
        "new seeds on kept Y",
        "run to maps, 6 mm",
    ]
    for name in ("run to maps, int16", "new seeds on kept Y", "run to maps, 6 mm"):
        assert records[name]["ratio"] == pytest.approx(records[name]["peer"] / records[name]["ours"])
        assert records[name]["met"] == (records[name]["ratio"] >= float(records[name]["goal"].split()[-1]))
        assert name in printed
    bare = records["run to maps, int16: against bare decompression"]
    assert bare["ratio"] == pytest.approx(bare["ours"] / bare["peer"])


@pytest.mark.slow
def test_a_long_run_and_a_float32_image_have_their_lines(tmp_path):
    records, _ = tiny("first-level-more", tmp_path)
    assert list(records) == [
        "300 volumes: memory",
        "300 volumes: against bare decompression",
        "agreement with nilearn in float64, its operator, int16",
        "agreement with nilearn in float64, its operator, int16, 6 mm",
        "agreement with nilearn, its operator, float32",
    ]
    assert all(record["ours"] < 1e-6 for name, record in records.items() if name.endswith(("int16", "6 mm")))
    assert records["agreement with nilearn, its operator, float32"]["ours"] < 2e-5
    assert records["300 volumes: memory"]["ours"] < 1500


def test_the_permutation_line_runs_beside_nilearn(tmp_path):
    records, printed = tiny("permutation", tmp_path)
    record = records["max-t permutation, shared design"]
    assert record["unit"] == "ms"
    assert record["ours"] > 0 and record["peer"] > 0
    assert record["peak_mb"] > 10
    assert platform.node() not in printed.split()
    assert str(BENCH.parent) not in printed


@pytest.mark.slow
def test_a_covariate_of_each_voxel_and_unequal_variances_are_ratios_to_less(tmp_path):
    records, _ = tiny("statistics", tmp_path)
    assert list(records) == [
        "permutation of t, covariate of each voxel: against t",
        "permutation of v, covariate of each voxel: against v",
        "permutation of v: against t",
        "permutation of F: against t",
        "permutation of robust slope: against t",
        "permutation of G, three groups: against v",
        "permutation of v, four groups: against v",
        "permutation of t, gaps: against v",
        "permutation of v, gaps: against v",
    ]
    assert all(record["ours"] > 0 and record["peer"] > 0 for record in records.values())
    goals = [record["goal"] for record in records.values()]
    assert goals == [f"ours/peer <= {limit}" for limit in (4, 4, 4, 4, 4, 6, 8, 16, 24)]
    of_v, again = (
        records[f"permutation of v{more}"] for more in (": against t", ", covariate of each voxel: against v")
    )
    assert of_v["ours"] == again["peer"]


@pytest.mark.slow
def test_the_enhancement_lines_run_beside_nilearn_and_name_a_package_that_is_not_there(tmp_path):
    records, printed = tiny("enhancement", tmp_path)
    package = [f"TFCE of a map: {what} the C package" for what in ("against", "agreement with")]
    assert set(records) | set(package) == {"TFCE of a map", "permutation with TFCE", *package}
    for name in ("TFCE of a map", "permutation with TFCE"):
        assert records[name]["ratio"] == pytest.approx(records[name]["peer"] / records[name]["ours"])
        assert records[name]["goal"] == "peer/ours >= 80"
    if importlib.util.find_spec("tfce") is None:
        assert printed.count("the package tfce is not installed") == 2
    else:
        assert records[package[1]]["ours"] < 1e-4


def test_maxima_agree_with_nilearns_as_far_as_a_hundred_steps_go(bench, tmp_path):
    bench("data").volumes(str(tmp_path), [9, 11, 13], 400, 3)
    enhanced = bench("enhanced")
    assert enhanced.ours(str(tmp_path), 3)["milliseconds"] > 0
    volumes = enhanced._volumes(str(tmp_path), np.load(tmp_path / "maps.npy"))
    assert volumes.shape == (9, 11, 13, 3)
    steps = np.abs(volumes).max(axis=(0, 1, 2)) / 100
    theirs = [enhanced.nilearn_maximum(volumes[..., i : i + 1]) for i in range(3)]
    assert 0 < enhanced._difference(str(tmp_path), theirs * steps)["difference"] < 0.05
    assert enhanced._difference(str(tmp_path), 1.1 * (theirs * steps))["difference"] > 0.05


def test_a_peer_that_is_not_installed_leaves_its_lines_out_with_a_reason(bench, monkeypatch):
    run = bench("run")
    monkeypatch.setattr(run, "find_spec", lambda name: None)
    skipped = list(run._against_package({}))
    assert [one.name for one in skipped] == [
        "TFCE of a map: against the C package",
        "TFCE of a map: agreement with the C package",
    ]
    assert all("not installed" in one.reason for one in skipped)
    monkeypatch.setattr(run, "find_spec", lambda name: name)
    sample = bench("processes").Sample
    there = {"ours": [sample(1, 1, {"milliseconds": 2})]}
    there["package"] = [sample(1, 1, {"milliseconds": 3, "difference": 1e-7})]
    ratio, same = (line.record() for line in run._against_package(there))
    assert (ratio.ratio, ratio.met) == (1.5, True)
    assert (same.ours, same.met) == (1e-7, True)


@pytest.mark.slow
def test_the_dry_run_line_lists_all_jobs_of_a_study_of_empty_files(tmp_path):
    records, _ = tiny("dry-run", tmp_path)
    record = records["dry run, 6 subjects x 2 sessions"]
    assert record["goal"] == "ours <= 5"
    assert record["met"] == (record["ours"] <= 5)
    assert record["peer"] > 0


def test_a_ratio_is_the_median_over_samples_each_against_the_peer_measured_nearest_to_it(bench):
    records = bench("records")
    goal = records.Goal("peer/ours", ">=", 40)
    line = records.Line("x", "s", goal, (1.0, 2.0, 4.0, 1.0, 2.0), (100.0, 40.0))
    assert line.ratios() == [100, 50, 25, 40, 20]
    assert line.record().ratio == 40
    assert line.record().met is True
    slower = records.Line("x", "s", goal, (1.0, 2.0, 4.0, 1.1, 2.0), (100.0, 40.0))
    assert slower.record().met is False


def test_a_limit_from_above_is_compared_with_the_inverse_ratio_or_with_our_own_value(bench):
    records = bench("records")
    bare = records.Line("x", "s", records.Goal("ours/peer", "<=", 2.2), (2.0, 2.3), (1.0, 1.0))
    assert bare.record().ratio == pytest.approx(2.15)
    assert bare.record().met is True
    own = records.Line("x", "s", records.Goal("ours", "<=", 5), (6.0, 4.0, 5.5), (1.0,))
    assert own.record().ours == 5.5
    assert own.record().met is False


def test_a_goal_is_not_met_by_a_line_that_could_not_be_measured(bench):
    records = bench("records")
    alone = records.Line("x", "s", records.Goal("peer/ours", ">=", 1), (1.0,))
    nothing = records.Line("x", "s", records.Goal("ours", "<=", 1), ())
    assert (alone.record().ratio, alone.record().met) == (None, False)
    assert (nothing.record().ours, nothing.record().met) == (None, False)
    assert "n/a" in records.table([alone, nothing])


def test_measurements_take_turns(bench):
    order = bench("records").schedule({"ours": 5, "peer": 2})
    assert order == ["ours", "peer", "ours", "ours", "ours", "peer", "ours"]


def test_a_peer_that_fails_leaves_its_line_without_a_ratio_and_ours_that_fails_is_an_error(bench, capsys):
    run, processes = bench("run"), bench("processes")
    fine = run.Task("machine:describe", {}, 2)
    broken = run.Task("machine:nowhere", {}, 2)
    samples = run.interleaved(ours=fine, peer=broken)
    assert len(samples["ours"]) == 2
    assert samples["peer"] == []
    assert capsys.readouterr().err.count("peer: machine:nowhere ended with 1") == 1
    with pytest.raises(processes.TaskError, match="nowhere"):
        run.interleaved(ours=broken)
