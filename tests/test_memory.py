"""The memory model holds what a job takes, and not much more; `conn check` says what it means."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from conn import images, memory, resources, smoothing
from conn.check import check, foresee
from conn.study import Study, open_study
from simulated import (
    ROOT,
    SUBJECTS,
    World,
    environment,
)

SHAPE, VOLUMES, VOXEL_MM = (60, 72, 62), 120, 3.0
AFFINE = np.array(
    [[VOXEL_MM, 0, 0, -90], [0, VOXEL_MM, 0, -108], [0, 0, VOXEL_MM, -93], [0, 0, 0, 1]], dtype=float
)


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the size of a real one at 3 mm, of noise."""
    folder = tmp_path_factory.mktemp("scan")
    rng = np.random.default_rng(0)
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    nib.save(nib.Nifti1Image(((place**2).sum(axis=0) < 0.7).astype(np.uint8), AFFINE), folder / "mask.nii")
    data = rng.integers(500, 1500, size=(*SHAPE, VOLUMES), dtype=np.int16)
    nib.save(nib.Nifti1Image(data, AFFINE), folder / "sub-01_task-rest_bold.nii")
    names = [f"{kind}_{axis}" for kind in ("trans", "rot") for axis in "xyz"] + ["csf", "white_matter"]
    ends = ("", "_derivative1", "_power2", "_derivative1_power2")
    columns = [f"{name}{end}" for name in names for end in ends] + ["framewise_displacement"]
    table = pd.DataFrame(rng.normal(size=(VOLUMES, len(columns))), columns=columns)
    table.to_csv(folder / "confounds.tsv", sep="\t", index=False)
    return folder


def stage(name: str, folder: Path, fwhm_mm: float) -> dict[str, float]:
    call = [sys.executable, str(Path(__file__).with_name("peak.py")), name, str(folder), str(fwhm_mm)]
    done = subprocess.run(call, env=environment(ROOT / "src"), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.oracle
@pytest.mark.xdist_group("memory")
@pytest.mark.parametrize("fwhm_mm", [6.0, 0.0])
def test_the_model_holds_the_peak_of_both_stages_and_not_much_more(scan: Path, fwhm_mm: float):
    grid, mask = images.read_volume(scan / "mask.nii")
    voxels, n = np.flatnonzero(mask.ravel(order="F")), int(np.prod(SHAPE))
    held, box = voxels.size, 0
    if fwhm_mm:
        area = smoothing.support(voxels, SHAPE, fwhm_mm, grid.voxel_mm)
        held, box = area.voxels.size, int(np.prod(area.shape))
    found = stage("project", scan, fwhm_mm)
    k = int(found["df"])
    assert k > 60
    _close(found, memory.project_mb(k, held, voxels.size, n, VOLUMES, 2, box=box))
    _close(stage("measure", scan, fwhm_mm), memory.measure_mb(k, voxels.size, n, 12, smoothed=fwhm_mm > 0))


def _close(found: dict[str, float], model: float) -> None:
    assert found["peak"] <= model
    assert found["peak"] - found["before"] >= 0.6 * (model - memory.PYTHON_MB)


# What conn check announces ----------------------------------------------------------------------------


def planned(study: Study) -> list[resources.Planned]:
    found = [foresee(study, key, {}) for key in study.runs]
    return [resources.Planned(one.run, one.plan, one.voxels) for one in found if one.plan is not None]


@pytest.mark.workflow
@pytest.mark.xdist_group("finished")
def test_announced_sizes_are_those_of_the_files(finished: World):
    announced = resources.disk(study := open_study(finished.study / "study.yaml"), planned(study))

    def found(pattern: str) -> int:
        return sum(path.stat().st_size for path in study.out.glob(pattern))

    smoothed = found("cache/project/*/Ysmooth.npy")
    assert announced.smoothed == pytest.approx(smoothed, rel=0.01)
    assert announced.unsmoothed == pytest.approx(found("cache/project/*/*.npy") - smoothed, rel=0.01)
    assert announced.maps == pytest.approx(found("sub-*/ses-*/func/*.nii.gz"), rel=0.1)
    assert announced.tables == pytest.approx(found("sub-*/ses-*/func/*.tsv"), rel=0.25)


@pytest.mark.workflow
@pytest.mark.xdist_group("finished")
def test_what_is_there_already_needs_no_further_disk(finished: World, monkeypatch: pytest.MonkeyPatch):
    free_disk(monkeypatch, 10_000_000)
    assert "WILL NOT FIT" not in check(open_study(finished.study / "study.yaml"))


def free_disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = type("Usage", (), {"free": free})
    monkeypatch.setattr(resources.shutil, "disk_usage", lambda folder: usage)


def section(world: World, **changes: object) -> list[str]:
    study = open_study(world.configure("resources.yaml", out="nothing yet", **changes))
    text = check(study)
    return text[text.index("RESOURCES") :].splitlines()[1:]


@pytest.mark.workflow
def test_projections_are_split_and_unsmoothed_maps_need_half(pristine: World, tmp_path: Path):
    world = pristine.copy(tmp_path / "world")
    smoothed, plain = section(world), section(world, connectivity={"fwhm_mm": 0})
    assert "GB unsmoothed," in smoothed[0]
    assert "GB smoothed with 8 mm" in smoothed[0]
    assert "GB of seed maps" in smoothed[1]
    assert "smoothed with" not in plain[0]
    none = section(world, connectivity={"seeds": []}, models={})
    assert "smoothed with" not in none[0]
    assert "about 0.0000 GB of seed maps" in none[1]
    assert len(smoothed) == 3


@pytest.mark.workflow
def test_a_disk_that_is_too_small_is_named(pristine: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = pristine.copy(tmp_path / "world")
    free_disk(monkeypatch, 1_000_000_000)
    assert not any("WILL NOT FIT" in line for line in section(world))
    free_disk(monkeypatch, 20_000_000)
    (line,) = [line for line in section(world) if "WILL NOT FIT" in line]
    assert re.search(r"0\.0\d GB more are needed and 0\.02 GB are free at nothing yet", line)


@pytest.mark.workflow
def test_runs_above_the_first_attempt_are_counted(
    pristine: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    world = pristine.copy(tmp_path / "world")
    monkeypatch.setattr(memory, "FIRST_PROJECT_MB", 151)
    (line,) = [line for line in section(world) if "first attempt" in line]
    n = 2 * len(SUBJECTS)
    assert line.startswith(f"{n} of {n} jobs of stage project need more than the 151 MB")
    assert line.endswith("add --set-resources project:mem_mb=200.")


def test_the_workflow_asks_for_what_check_compares_with():
    rules = (ROOT / "workflow" / "rules" / "first_level.smk").read_text()
    assert "memory.FIRST_PROJECT_MB * attempt" in rules
    assert "memory.FIRST_MEASURE_MB * attempt" in rules
