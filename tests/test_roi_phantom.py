"""A phantom in which region i carries wave i, one region of every kind: every output names the right one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conn import images, paths
from conn.config.load import load
from conn.config.model import Config, Connectivity, Denoise
from conn.index import Run
from conn.rois import binding, registry
from conn.stages.measure import measure
from conn.stages.project import RunSettings, project
from conn.tables import read_tsv

SPACE, OTHER = "MNI152NLin2009cAsym", "MNI152NLin6Asym"
SHIFT = np.array([1.5, -2.5, 2.0])
"""A point of the images' template lies this far from where it is in the other one, in mm."""

CONFIG = """\
datasets: {{d: {{bids_dir: .}}}}
rois:
  use: [sgACCL, sgACCR, PAG]
  weighting: {weighting}
  custom:
    ball: {{center: [24, 10, -20], radius_mm: 6, space: MNI152NLin2009cAsym}}
    brick: {{center: [-24, 12, -18], size_mm: [9, 12, 8], space: MNI152NLin2009cAsym}}
    pair:
      union: [{{center: [-26, -10, 4], radius_mm: 5}}, {{center: [-20, -10, 4], size_mm: [8, 6, 6]}}]
      space: MNI152NLin2009cAsym
    painted: {{mask: mask.nii.gz, space: MNI152NLin2009cAsym}}
    numbered: {{mask: labels.nii.gz, value: 300, space: MNI152NLin2009cAsym}}
    likely: {{probability: cloud.nii.gz, weights: true, space: MNI152NLin2009cAsym}}
    summit:
      peak: map.nii.gz
      radius_mm: 5
      within: {{center: [0, 0, 14], radius_mm: 20}}
      space: MNI152NLin2009cAsym
    moved: {{center: [{moved}], radius_mm: 6, space: MNI152NLin6Asym}}
  atlases:
    parcels:
      image: labels.nii.gz
      table: labels.tsv
      regions: {{second: "Area 2, left", first: 7}}
      space: MNI152NLin2009cAsym
    clouds:
      image: clouds.nii.gz
      table: clouds.tsv
      regions: [cloud east, cloud west]
      threshold: 0.5
      space: MNI152NLin2009cAsym
  transforms:
    - {{regions: MNI152NLin6Asym, images: MNI152NLin2009cAsym, file: shift.txt}}
"""

Inside = Callable[[np.ndarray], np.ndarray]
"""Points of shape (n, 3) in mm → share of the region at each."""


def ball(center: tuple[float, ...], radius: float) -> Inside:
    return lambda p: (((p - np.array(center)) ** 2).sum(axis=1) <= radius**2).astype(float)


def brick(center: tuple[float, ...], size: tuple[float, ...]) -> Inside:
    return lambda p: (np.abs(p - np.array(center)) <= np.array(size) / 2).all(axis=1).astype(float)


def either(*parts: Inside) -> Inside:
    return lambda p: np.max([part(p) for part in parts], axis=0)


def axis_of(radius: float) -> Inside:
    centers = ((-29.2, -6.7), (-30.0, -7.7), (-31.3, -9.2), (-32.3, -10.6), (-33.3, -11.9))
    return either(*(ball((0.4, y, z), radius) for y, z in centers))


TRUTH: dict[str, Inside] = {
    "sgACCL": ball((-5, 25, -10), 4),
    "sgACCR": ball((5, 25, -10), 4),
    "PAG": axis_of(4),
    "ball": ball((24, 10, -20), 6),
    "brick": brick((-24, 12, -18), (9, 12, 8)),
    "pair": either(ball((-26, -10, 4), 5), brick((-20, -10, 4), (8, 6, 6))),
    "painted": brick((22, -12, 2), (9, 9, 9)),
    "numbered": brick((20, 18, 8), (8, 8, 8)),
    "likely": ball((-18, 18, 12), 6),
    "summit": ball((2, -2, 15), 5),
    "moved": ball((22, -26, -16), 6),
    "second": brick((-22, -26, -14), (8, 8, 8)),
    "first": brick((24, -30, 8), (8, 8, 8)),
    "cloudEast": ball((6, 10, 24), 6),
    "cloudWest": ball((-6, 10, 24), 6),
}
"""Where each region is, written out a second time."""


def on(inside: Inside, shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    return inside(voxels @ affine[:3, :3].T + affine[:3, 3]).reshape(shape)


def write_regions(folder: Path) -> None:
    """Images of 1 mm, stored right to left, and a transform by ITK."""
    shape, affine = (81, 91, 77), np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = (40, -48, -36)

    def save(name: str, data: np.ndarray) -> None:
        nib.save(nib.Nifti1Image(data, affine), folder / name)

    save("mask.nii.gz", on(TRUTH["painted"], shape, affine).astype(np.uint8))
    labels = np.zeros(shape, np.int16)
    for value, name in ((300, "numbered"), (12, "second"), (7, "first")):
        labels[on(TRUTH[name], shape, affine) > 0] = value
    save("labels.nii.gz", labels)
    (folder / "labels.tsv").write_text(
        "index\tname\n12\tArea 2, left\n7\tArea 1\n300\tthe one with a number\n"
    )
    save("cloud.nii.gz", (on(TRUTH["likely"], shape, affine) * 0.8).astype(np.float32))
    clouds = [on(TRUTH[name], shape, affine) * 100 for name in ("cloudEast", "cloudWest")]
    nothing = np.zeros(shape)
    nothing[3, 3, 3] = 40
    save("clouds.nii.gz", np.stack([nothing, *clouds], axis=-1).astype(np.uint8))
    (folder / "clouds.tsv").write_text("index\tname\n0\tcloud nowhere\n1\tcloud east\n2\tcloud west\n")
    peak = on(lambda p: np.exp(-(((p - [2, -2, 15]) / 6) ** 2).sum(axis=1)), shape, affine)
    peak += 3 * on(ball((-30, -40, 30), 3), shape, affine)
    save("map.nii.gz", peak.astype(np.float32))
    # ITK counts x and y towards right and front: their signs change.
    lps = SHIFT * [-1, -1, 1]
    lines = [
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: AffineTransform_double_3_3",
        f"Parameters: 1 0 0 0 1 0 0 0 1 {lps[0]} {lps[1]} {lps[2]}",
        "FixedParameters: 0 0 0",
    ]
    (folder / "shift.txt").write_text("\n".join(lines) + "\n")


def storage(voxel: float, kind: str) -> tuple[tuple[int, int, int], np.ndarray]:
    """A field of view of about 84 × 100 × 80 mm around (0, -4, -1)."""
    shape = tuple(int(np.ceil(n / voxel)) for n in (84, 100, 80))
    turn = np.eye(3)
    if kind == "oblique":
        a, b = np.deg2rad(9), np.deg2rad(-6)
        about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
        about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
        turn = about_x @ about_z
    if kind == "flipped":
        turn = np.diag([-1.0, 1.0, 1.0])
    affine = np.eye(4)
    affine[:3, :3] = turn * voxel
    affine[:3, 3] = np.array([0.3, -4.2, -1.1]) - affine[:3, :3] @ (np.array(shape) - 1) / 2
    return (shape[0], shape[1], shape[2]), affine


def shares(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Share of each voxel in each region, of shape (n_regions, n_voxels), by 3³ points in each."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    voxels = voxels.transpose(2, 1, 0, 3).reshape(-1, 3)
    line = (np.arange(3) - 1) / 3
    found = np.zeros((len(TRUTH), len(voxels)))
    for offset in np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3):
        points = (voxels + offset) @ affine[:3, :3].T + affine[:3, 3]
        found += [inside(points) for inside in TRUTH.values()]
    return found / 27


def waves(n: int) -> np.ndarray:
    return np.cos(np.pi * np.outer(8 + 2 * np.arange(len(TRUTH)), np.arange(n) + 0.5) / n)


def scanned(folder: Path, shape: tuple[int, int, int], affine: np.ndarray) -> Run:
    """A run of 100 volumes: a mixture of the waves of the regions in each voxel, and noise."""
    n, rng = 100, np.random.default_rng(0)
    data = rng.normal(0, 2, size=(int(np.prod(shape)), n)).astype(np.float32)
    data += (30 * shares(shape, affine).T @ waves(n)).astype(np.float32)
    name = f"sub-01_task-rest_space-{SPACE}"
    image = nib.Nifti1Image((1000 + data).reshape(*shape, n, order="F").astype(np.float32), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.0
    bold, mask, confounds = (folder / f"{name}_{kind}" for kind in ("bold.nii", "mask.nii", "confounds.tsv"))
    nib.save(image, bold)
    nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), affine), mask)
    ends = ("", "_derivative1", "_power2", "_derivative1_power2")
    motion = [f"{p}_{a}{e}" for p in ("trans", "rot") for a in "xyz" for e in ends]
    rows = ["\t".join([*["0"] * len(motion), "n/a" if i == 0 else "0.05"]) for i in range(n)]
    confounds.write_text("\n".join(["\t".join([*motion, "framewise_displacement"]), *rows]) + "\n")
    entities = {"sub": "01", "task": "rest", "space": SPACE}
    return Run("one", "d", "01", None, entities, "all", bold, mask, confounds, None)


def configured(folder: Path, weighting: str) -> Config:
    write_regions(folder)
    path = folder / "conn.yaml"
    moved = ", ".join(f"{v:g}" for v in np.array([22, -26, -16]) + SHIFT)
    path.write_text(CONFIG.format(weighting=weighting, moved=moved))
    return binding.bind(load(path), folder, path)


@pytest.mark.truth
@pytest.mark.parametrize("kind", ["plain", "oblique", "flipped"])
@pytest.mark.parametrize(
    ("voxel", "weighting"),
    [
        pytest.param(2.0, "coverage", marks=pytest.mark.slow),
        (3.0, "coverage"),
        (3.5, "coverage"),
        (3.0, "centre"),
    ],
)
def test_a_region_of_every_kind_carries_its_own_wave(tmp_path, voxel, weighting, kind):
    config = configured(tmp_path, weighting)
    labels = [roi.label for roi in registry.regions(config.rois)]
    assert sorted(labels) == sorted(TRUTH)
    run = scanned(tmp_path, *storage(voxel, kind))
    cleaning = Denoise(min_df=3, min_seconds=0, high_pass=0.005, low_pass=0.24, strategy="24P")
    out = tmp_path / "out"
    assert project(out, run, cleaning, RunSettings(repetition_time=2.0), 0.0).included
    maps = Connectivity(seeds=tuple(labels), fwhm_mm=0.0)
    receipt = measure(out, run, config.rois, maps, tmp_path, "bids:d:x")
    assert receipt.included
    assert receipt.exclusions == ()

    own = [list(TRUTH).index(label) for label in labels]
    series = read_tsv(out / paths.timeseries(run.entities))
    assert list(series.columns) == labels
    carried = np.abs(np.corrcoef(series.to_numpy(float).T, waves(100))[: len(labels), len(labels) :])
    assert carried.argmax(axis=1).tolist() == own
    assert carried[np.arange(len(own)), own].min() > 0.97

    relmat = read_tsv(out / paths.relmat(run.entities))
    assert relmat.iloc[:, 0].tolist() == list(relmat.columns[1:]) == labels
    coverage = read_tsv(out / paths.coverage(run.entities)).set_index("roi")
    assert list(coverage.index) == labels
    assert (coverage["coverage"].astype(float) > 0.999).all()

    truth = shares(*storage(voxel, kind))
    whole = truth > 0.99
    for label, place in zip(labels, own, strict=True):
        r = np.tanh(images.read_volume(out / paths.seed_map(run.entities, label))[1].ravel(order="F"))
        assert truth[place, np.nanargmax(r)] > 0.3, label
        assert (r[whole[place]] > 0.9).all(), label
        assert np.abs(r[np.delete(whole, place, axis=0).any(axis=0)]).max() < 0.5, label
