"""What a study hands to the workflow, and what it keeps off."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from conn import paths, receipts
from conn.check import check
from conn.config.load import to_yaml
from conn.errors import ConfigError, InputError
from conn.files import write_json
from conn.simulate import DEMO_ROIS, CohortSpec, simulate_cohort
from conn.stages.collect import collect
from conn.stages.measure import measure
from conn.study import open_study
from conn.tables import read_tsv
from line import first_level, inside, walk

SETTINGS = {
    "datasets": {"trial": {"bids_dir": "data"}},
    "clinical": {
        "baseline": "pre",
        "endpoint": "post",
        "scales": {"MADRS": {"columns": {"pre": "MADRS_ses-pre", "post": "MADRS_ses-post"}}},
    },
    "rois": {"use": ["insula", "vmPFC"]},
    "denoise": {"low_pass": None},
    "connectivity": {"seeds": ["vmPFC"], "fwhm_mm": 0},
    "models": {"prepost": {"design": "paired", "before": "pre", "after": "post"}},
    "inference": {"permutations": 99},
}

pytestmark = pytest.mark.xdist_group("study")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("study")
    rois = tuple(roi for roi in DEMO_ROIS if roi[0] in {"insulaL", "insulaR", "vmPFC"})
    spec = CohortSpec(rois=rois, n_subjects=5, volumes=110, voxel_mm=6.0)
    simulate_cohort(made / "data", spec, workers=1)
    return made


def study(folder, **changes):
    (folder / "conn.yaml").write_text(to_yaml({**SETTINGS, **changes}))
    return open_study(folder / "conn.yaml")


def test_an_input_that_became_older_counts_as_changed(folder):
    one = study(folder)
    key = next(iter(one.runs))
    before = one.seen(one.inputs(key))
    bold = one.absolute(one.inputs(key)[0])
    stamp = bold.stat().st_mtime
    os.utime(bold, (stamp - 1e6, stamp - 1e6))
    assert one.seen(one.inputs(key)) != before
    os.utime(bold, (stamp, stamp))


def test_without_labels_sessions_are_time_points_baseline_first(folder):
    assert study(folder).time_points == {"trial": {"pre": ["pre"], "post": ["post"]}}


def test_results_of_another_program_are_not_touched(folder):
    foreign = folder / "xcpd"
    (foreign / "sub-01").mkdir(parents=True)
    one = study(folder, out="xcpd")
    with pytest.raises(ConfigError, match="another program"):
        one.prepare()
    write_json(foreign / "dataset_description.json", {"GeneratedBy": [{"Name": "xcp_d"}]})
    with pytest.raises(ConfigError, match=r"another program \(xcp_d\)"):
        one.prepare()
    assert json.loads((foreign / "dataset_description.json").read_text())["GeneratedBy"][0]["Name"] == "xcp_d"


def test_dataset_can_be_a_stratum(folder):
    model = {"design": "paired", "before": "pre", "after": "post", "strata": ["dataset"]}
    assert "MODEL prepost" in check(study(folder, models={"prepost": model}))


@pytest.fixture(scope="module")
def finished(folder):
    return walk_with(folder, "results")


def walk_with(folder, out, **changes):
    study(folder, out=out, **changes)
    return walk(folder / "conn.yaml")


def test_runs_and_models_that_are_no_longer_asked_for_leave_nothing_behind(folder):
    everything = walk_with(folder, "shrinking")
    assert (everything.out / "sub-05").is_dir()
    foreign = (
        everything.out / "sub-01" / "ses-pre" / "func" / "sub-01_ses-pre_seg-Glasser_stat-mean_timeseries.tsv"
    )
    foreign.write_text("not ours\n")
    fewer = {"trial": {"bids_dir": "data", "subjects": ["01", "02", "03", "04"]}}
    other = {"change": {**SETTINGS["models"]["prepost"], "seeds": "none"}}
    smaller = walk_with(folder, "shrinking", datasets=fewer, models=other)
    assert not (smaller.out / "sub-05").exists()
    assert [path.name for path in (smaller.out / "group").iterdir()] == ["change"]
    assert (smaller.out / "sub-04").is_dir()
    assert {path.stem for path in (smaller.out / "cache" / "measure").iterdir()} == set(smaller.runs)
    assert foreign.exists()


def test_a_run_that_is_left_out_later_keeps_no_files(folder):
    one = walk_with(folder, "floors")
    files = list(one.out.glob("sub-*/ses-*/func/*"))
    assert any(path.name.endswith("coverage.tsv") for path in files)
    stricter = study(folder, out="floors", denoise={"low_pass": None, "min_df": 1000})
    with inside(stricter.out):
        first_level(stricter)
    assert not list(one.out.glob("sub-*/ses-*/func/*"))


def test_exclusions_of_the_projection_stand_in_the_receipt_of_measure(folder):
    stricter = study(folder, out="receipts", denoise={"low_pass": None, "min_df": 1000})
    with inside(stricter.out):
        first_level(stricter)
        found = receipts.read(paths.measure_receipt(next(iter(stricter.runs))))
    assert [e.reason for e in found.exclusions] == ["too_few_df"]


def test_a_projection_that_is_gone_costs_no_result_and_is_made_anew(finished):
    key = next(iter(finished.runs))
    kept = {p: p.read_bytes() for p in finished.out.glob("sub-*/ses-*/func/*")}
    with inside(finished.out):
        (paths.project_folder(key) / "Y.npy").unlink()
        config = finished.config
        with pytest.raises(InputError, match="run again"):
            measure(Path(), finished.runs[key], config.rois, config.connectivity, Path(".."), "bids:x")
        assert not paths.project_receipt(key).exists()
        first_level(finished)
        collect(Path(), finished.index, finished.links)
    assert {p: p.read_bytes() for p in finished.out.glob("sub-*/ses-*/func/*")} == kept


def test_intervals_of_effect_sizes_go_by_the_configured_alpha(folder, finished):
    name = "group/prepost/model-prepost_edges.tsv"
    strict = read_tsv(finished.out / name)
    loose = read_tsv(walk_with(folder, "loose", inference={"permutations": 99, "alpha": 0.2}).out / name)
    width = [(t["g_ci_high"].astype(float) - t["g_ci_low"].astype(float)).to_numpy() for t in (strict, loose)]
    assert (width[1] < 0.8 * width[0]).all()
    assert np.isfinite(width).all()


def test_two_data_sets_with_the_same_labels_are_refused(folder):
    both = {"a": {"bids_dir": "data"}, "b": {"bids_dir": "data"}}
    one = study(folder, datasets=both, models={})
    with pytest.raises(ConfigError, match="both have"):
        _ = one.index
