"""`conn rois`: draw regions and audit them, from the command line."""

from __future__ import annotations

from pathlib import Path

import matplotlib.image as mpimg
import nibabel as nib
import numpy as np
import pytest

from conn.cli import main
from conn.report import style

SPACE = "MNI152NLin6Asym"
SHAPE = (31, 37, 29)
AFFINE = np.array([[-3.0, 0, 0, 45], [0, 3, 0, -72], [0, 0, 3, -54], [0, 0, 0, 1]])
"""Stored from right to left."""

AXIS = ((-29.2, -6.7), (-33.3, -11.9))
"""y and z of both ends of the axis that ROI `PAG` is drawn along."""


def audited(capsys, *arguments: str) -> dict[tuple[str, str], str]:
    """What `conn rois audit --tsv` prints, by region and heading."""
    assert main(["rois", "audit", "--tsv", *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "roi\twhat\tvalue"
    return {(roi, what): value for roi, what, value in (line.split("\t") for line in lines[1:])}


def saved(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> str:
    nib.save(nib.Nifti1Image(values, affine), path)
    return str(path)


def points() -> np.ndarray:
    return np.stack(np.indices(SHAPE), axis=-1) @ AFFINE[:3, :3].T + AFFINE[:3, 3]


@pytest.fixture
def image(tmp_path: Path) -> str:
    """A run whose tSNR is 50 on the left and 20 on the right, without signal below z = -40."""
    mm = points()
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(*SHAPE, 40))
    noise = (noise - noise.mean(axis=-1, keepdims=True)) / noise.std(axis=-1, keepdims=True)
    mean = np.where(mm[..., 0] < 0, 500.0, 200.0)[..., None]
    data = np.where(mm[..., 2][..., None] < -40, 0.0, mean + 10 * noise)
    name = f"sub-01_task-rest_space-{SPACE}_desc-preproc_bold.nii.gz"
    return saved(tmp_path / name, data.astype(np.float32))


@pytest.mark.truth
def test_an_audit_says_how_much_of_a_region_has_signal_and_how_good_it_is(capsys, image):
    sides = audited(capsys, "insulaL", "insulaR", "--image", image)
    assert sides["insulaL", "tSNR"].startswith("50.0 ") and sides["insulaR", "tSNR"].startswith("20.0 ")
    assert sides["insulaL", "covered"].endswith("100% of its volume")
    low = audited(capsys, "--center", "0", "-34", "-40", "--radius", "6", "--image", image, "--space", SPACE)
    share = float(low["sphere", "covered"].split("%")[0].split()[-1])
    assert share == pytest.approx(50, abs=8), "the lower half of the sphere has no signal"
    assert low["sphere", "distance to the edge of the mask"] == "0.0 mm"


def test_an_audit_of_a_region_in_another_template_says_that_a_study_would_leave_it_out(capsys, image):
    found = audited(capsys, "--center", "0", "0", "0", "--space", "MNI152NLin2009cAsym", "--image", image)
    assert f"the image is in {SPACE}" in found["sphere", "space mismatch"]
    assert ("insulaL", "space mismatch") not in audited(capsys, "insulaL", "--image", image)


def test_an_audit_of_a_mask_counts_its_voxels_and_says_what_is_near(capsys, tmp_path):
    mask = np.linalg.norm(points() - [-36, 18, 0], axis=-1) <= 5
    found = audited(capsys, "--mask", saved(tmp_path / "mask.nii.gz", mask.astype(np.uint8)))
    assert found["mask", "voxels of 3 mm"].endswith(f"{27 * mask.sum()} mm3")
    assert found["mask", "near insulaL"].startswith("shares ")
    labels = saved(tmp_path / "labels.nii.gz", (7 * mask).astype(np.int16))
    same = audited(capsys, "--mask", labels, "--value", "7")
    assert same["mask", "voxels of 3 mm"] == found["mask", "voxels of 3 mm"]


def test_tissue_and_brain_mask_are_taken_into_account(capsys, tmp_path, image):
    mm = points()
    brain = saved(tmp_path / "brain.nii.gz", (mm[..., 0] < -35).astype(np.uint8))
    grey = saved(tmp_path / "grey.nii.gz", np.full(SHAPE, 0.25, np.float32))
    fluid = saved(tmp_path / "csf.nii.gz", (mm[..., 2] > 20).astype(np.float32))
    options = ("--brain-mask", brain, "--grey-matter", grey, "--csf", fluid)
    found = audited(capsys, "insulaL", "--image", image, *options)
    share = float(found["insulaL", "covered"].split("%")[0].split()[-1])
    assert 40 < share < 90
    assert found["insulaL", "grey matter"] == "25%"
    assert float(found["insulaL", "distance to fluid"].split()[0]) == pytest.approx(15, abs=1.5)


@pytest.mark.truth
def test_the_most_cited_coordinate_of_the_pag_is_hardly_in_it_and_a_point_of_its_axis_is(capsys, tmp_path):
    """The reference is a model, since maps of the PAG may not be shipped.

    It is a tube of 3.4 mm along the axis of the aqueduct. It reaches 4.5 mm beyond the ends of ROI `PAG`,
    lies 1.5 mm further back (most grey matter is behind and beside the aqueduct), and lacks the lumen. So it
    has the volume of 66 voxels of 2 mm that such maps have. With them, the shares are 10 % and 78 %.
    """
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = (-8, -48, -30)
    mm = np.stack(np.indices((34, 72, 76)), axis=-1) @ affine[:3, :3].T + affine[:3, 3]
    start, end = np.array([0.4, *AXIS[0]]), np.array([0.4, *AXIS[-1]])
    length = np.linalg.norm(end - start)
    along = (end - start) / length
    back = np.array([0, along[2], -along[1]])
    lumen, far = _beside(mm - start, along)
    grey, _ = _beside(mm - start - 1.5 * back, along)
    tube = (far >= -4.5) & (far <= length + 4.5) & (grey <= 3.4) & (lumen > 0.9)
    assert back[1] < 0 < back[2]
    assert tube.sum() * 0.125 == pytest.approx(66 * 8, rel=0.05)
    reference = saved(tmp_path / f"tpl-{SPACE}_desc-model_dseg.nii.gz", tube.astype(np.int16), affine)
    (tmp_path / "names.tsv").write_text("index\tname\n1\tPAG\n")

    def share(*center: str) -> float:
        found = audited(
            capsys, "--center", *center, "--radius", "3", "--reference", reference,
            "--table", str(tmp_path / "names.tsv"),
        )  # fmt: skip
        return float(found["sphere", "in PAG"].rstrip("%"))

    assert share("1", "-29", "-12") <= 15
    assert share("0.4", "-31.3", "-9.2") >= 70


def _beside(points: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of points from a line through the origin, and how far along it they are."""
    far = points @ along
    return np.linalg.norm(points - far[..., None] * along, axis=-1), far


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["audit"], "name a region"),
        (["audit", "insulaX"], "did you mean"),
        (["audit", "insulaL", "--table", "names.tsv"], "1 tables for 0 --reference images"),
        (["audit", "--mask", "nowhere.nii.gz"], "nowhere.nii.gz"),
        (["draw", "insulaL", "-o", "picture.bmp"], "pictures are .png, .svg, .pdf"),
        (["draw", "insulaL", "--run", "sub-01"], "--run needs --config"),
        (["draw", "insullaL"], "did you mean insulaL"),
    ],
)
def test_mistakes_are_said_in_words(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert main(["rois", *arguments]) in {2, 3}
    assert words in capsys.readouterr().err


def test_a_brain_mask_on_another_grid_is_refused(capsys, tmp_path, image):
    other = saved(tmp_path / "other.nii.gz", np.ones((5, 6, 7), np.uint8))
    assert main(["rois", "audit", "insulaL", "--image", image, "--brain-mask", other]) == 2
    assert "not on the grid" in capsys.readouterr().err


@pytest.mark.truth
@pytest.mark.parametrize(("side", "x"), [("L", -20.0), ("R", 20.0)])
def test_left_is_drawn_left_also_when_storage_runs_from_right_to_left(tmp_path, side, x):
    mm = points()
    ground = np.where(mm[..., 0] < 0, 100.0, 400.0).astype(np.float32)
    name = {"L": "VSsL", "R": "VSsR"}[side]
    out = tmp_path / "picture.png"
    image = saved(tmp_path / "ground.nii.gz", ground)
    assert main(["rois", "draw", name, "-o", str(out), "--image", image]) == 0
    picture = (mpimg.imread(out)[..., :3] * 255).astype(int)
    colour = np.array([int(style.PALETTE[0][i : i + 2], 16) for i in (1, 3, 5)])
    outline = (np.abs(picture - colour).sum(axis=-1) < 30).nonzero()
    width = picture.shape[1]
    drawn = outline[1] > 0.2 * width, outline[1] > 0.47 * width
    assert drawn[0].sum() > 100
    # Behind the coronal and axial outline is the darker (left) or the brighter (right) half of the ground.
    rows, columns = outline[0][drawn[1]], outline[1][drawn[1]]
    middle = picture[int(np.median(rows)), int(np.median(columns[columns < 0.73 * width]))].mean()
    assert (middle < 128) == (x < 0)


def test_pictures_are_written_in_every_format_and_over_several_pages(tmp_path):
    for suffix, magic in ((".png", b"\x89PNG"), (".svg", b"<?xml"), (".pdf", b"%PDF")):
        out = tmp_path / f"one{suffix}"
        assert main(["rois", "draw", "PAG", "-o", str(out)]) == 0
        assert out.read_bytes().startswith(magic)
    assert (
        main(
            ["rois", "draw", "insula", "precuneus", "sgACC", "PAG", "vmPFC", "-o", str(tmp_path / "all.png")]
        )
        == 0
    )
    assert {p.name for p in tmp_path.glob("all*")} == {"all_1.png", "all_2.png"}
