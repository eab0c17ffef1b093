"""Tissue maps: which file of a person is taken, and what it is on the grid of a run."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from conn.errors import InputError
from conn.images import Grid
from conn.index import Run
from conn.tissues import find_tissues, on_grid

SPACE = "MNI152NLin2009cAsym"


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.nii.gz").write_bytes(b"")


def run(session: str | None = "pre", **entities: str) -> Run:
    about = {"sub": "01", **({"ses": session} if session else {}), "task": "rest", "space": SPACE, **entities}
    return Run("one", "d", "01", session, about, session, None, None, None, None)


def chosen(tmp_path: Path, one: Run) -> dict[str, str]:
    return {
        k: v.relative_to(tmp_path).as_posix().removesuffix("_probseg.nii.gz")
        for k, v in find_tissues(one, tmp_path).items()
    }


def test_maps_of_the_session_come_before_those_of_the_person(tmp_path):
    touch(tmp_path / "sub-01/anat", f"sub-01_space-{SPACE}_label-GM_probseg")
    person = chosen(tmp_path, run())
    assert person == {"GM": f"sub-01/anat/sub-01_space-{SPACE}_label-GM"}
    assert chosen(tmp_path, run(session=None)) == person
    touch(tmp_path / "sub-01/ses-pre/anat", f"sub-01_ses-pre_space-{SPACE}_label-GM_probseg")
    assert chosen(tmp_path, run())["GM"].startswith("sub-01/ses-pre/anat/")
    assert chosen(tmp_path, run(session="post")) == person


def test_of_several_resolutions_that_of_the_run_is_taken_then_one_without(tmp_path):
    stem = f"sub-01_space-{SPACE}"
    touch(tmp_path / "sub-01/anat", *(f"{stem}_{res}label-CSF_probseg" for res in ("res-1_", "res-2_", "")))
    folder = "sub-01/anat"
    assert chosen(tmp_path, run(res="2")) == {"CSF": f"{folder}/{stem}_res-2_label-CSF"}
    assert chosen(tmp_path, run(res="3")) == {"CSF": f"{folder}/{stem}_label-CSF"}
    assert chosen(tmp_path, run()) == {"CSF": f"{folder}/{stem}_label-CSF"}


def test_a_map_in_another_template_or_cohort_or_of_another_kind_is_none(tmp_path):
    touch(
        tmp_path / "sub-01/anat",
        "sub-01_label-GM_probseg",
        "sub-01_space-MNI152NLin6Asym_label-GM_probseg",
        "sub-01_space-MNIPediatricAsym_cohort-2_label-GM_probseg",
        f"sub-01_space-{SPACE}_label-GM_dseg",
    )
    assert chosen(tmp_path, run()) == {}
    assert chosen(tmp_path, run(space="MNIPediatricAsym", cohort="1")) == {}
    assert set(chosen(tmp_path, run(space="MNIPediatricAsym", cohort="2"))) == {"GM"}
    assert find_tissues(run(), tmp_path / "nowhere") == {}


def save(path: Path, values: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(values.astype(np.float32), affine), path)
    return path


@pytest.mark.oracle
@pytest.mark.parametrize(
    "turn", [np.eye(3), Rotation.from_euler("xyz", [8, -5, 12], degrees=True).as_matrix()]
)
def test_on_a_coarser_grid_a_voxel_has_the_mean_of_the_points_in_it(tmp_path, turn):
    own = np.diag([1.0, 1.5, 2.0, 1.0])
    own[:3, 3] = (-7, -9, -8)
    values = np.random.default_rng(0).uniform(size=(15, 12, 9))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [3.0, 3.0, 4.0], (-12, -8, -9)
    made = on_grid(save(tmp_path / "gm.nii.gz", values, own), Grid((5, 6, 4), affine))
    line = (np.arange(4) + 0.5) / 4 - 0.5
    values = values.astype(np.float32)
    for voxel in np.ndindex(5, 6, 4):
        total = 0.0
        for offset in product(line, line, line):
            point = affine[:3, :3] @ (np.array(voxel) + offset) + affine[:3, 3]
            i, j, k = np.floor(np.linalg.solve(own[:3, :3], point - own[:3, 3]) + 0.5).astype(int)
            if (0 <= i < 15) and (0 <= j < 12) and (0 <= k < 9):
                total += values[i, j, k]
        assert made[voxel] == pytest.approx(total / 64, abs=2e-5)
    assert (made == 0).any() and (made > 0.3).any(), "the grid reaches beyond the map"


def test_on_its_own_grid_a_map_is_itself(tmp_path):
    values = np.random.default_rng(1).uniform(size=(7, 8, 9)).astype(np.float32)
    affine = np.diag([2.0, 2, 2, 1])
    assert np.array_equal(
        on_grid(save(tmp_path / "a.nii.gz", values, affine), Grid((7, 8, 9), affine)), values
    )


@pytest.mark.parametrize(
    ("value", "words"), [(2.5, "from 0 to 2.5"), (-0.4, "from -0.4"), (np.nan, "probabilities")]
)
def test_what_is_no_probability_is_refused(tmp_path, value, words):
    values = np.full((7, 8, 9), 0.0)
    values[3, 3, 3] = value
    path = save(tmp_path / "csf.nii.gz", values, np.eye(4))
    with pytest.raises(InputError, match=words):
        on_grid(path, Grid((7, 8, 9), np.eye(4)))
