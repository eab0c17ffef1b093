"""Regions: the registry says where they come from, placement which voxels they are, and names stay theirs."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conn import images, paths
from conn.config.model import Connectivity, CustomRoi, Denoise, Rois
from conn.errors import ConfigError, InputError
from conn.index import Run
from conn.rois import networks, on_grid, registry
from conn.rois.placement import Shapes, place
from conn.rois.shapes import Shape
from conn.stages.measure import measure
from conn.stages.project import RunSettings, project
from conn.tables import read_tsv

TABLE = registry.table()
MNI_EDGE = np.array([[-100, 100], [-135, 100], [-85, 115]])
"""Bounds of the head in mm, generous."""


def grid(voxel: float, origin: tuple[float, float, float] = (-90, -126, -72)) -> np.ndarray:
    affine = np.diag([voxel, voxel, voxel, 1.0])
    affine[:3, 3] = origin
    return affine


def centres(inside: np.ndarray, shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Voxel centres in mm of flat indices, sorted."""
    voxels = np.stack(np.unravel_index(inside, shape, order="F"), axis=1)
    mm = voxels @ affine[:3, :3].T + affine[:3, 3]
    return mm[np.lexsort(mm.T)]


def sphere_by_hand(center, radius, shape, affine) -> np.ndarray:
    """The obvious loop over all voxels."""
    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).reshape(-1, 3)
    mm = voxels @ affine[:3, :3].T + affine[:3, 3]
    mm = mm[((mm - center) ** 2).sum(axis=1) <= radius**2 + 1e-9]
    return mm[np.lexsort(mm.T)]


def placed(label: str, rois: Rois, where: images.Grid, folder: Path, space: str = "MNI152NLin6Asym"):
    return on_grid.place(registry.find(label, rois), where, space, rois, folder)


def test_label_images_are_bound_by_their_integer(tmp_path):
    data = np.zeros((9, 9, 9), np.int16)
    data[2:4], data[5:8] = 7, 12
    nib.save(nib.Nifti1Image(data, grid(3.0)), tmp_path / "atlas.nii.gz")
    where = images.Grid((9, 9, 9), grid(3.0))

    def voxels(value: int | None) -> int:
        custom = {"mine": CustomRoi(mask="atlas.nii.gz", value=value, space="MNI152NLin6Asym")}
        return placed("mine", Rois(custom=custom), where, tmp_path).inside.size

    assert (voxels(7), voxels(12), voxels(None)) == (2 * 81, 3 * 81, 5 * 81)
    with pytest.raises(InputError, match=r"rois\.custom\.mine: atlas\.nii\.gz.* 8"):
        voxels(8)


# ---------------------------------------------------------------------------------------------- registry


def test_every_label_is_letters_and_digits_and_belongs_to_one_name():
    for label, rows in TABLE.groupby("label"):
        assert re.fullmatch(r"[A-Za-z][A-Za-z0-9]*", label)
        for column in ("name", "side", "kind", "space", "source", "status"):
            assert rows[column].nunique() == 1, (label, column)
        assert len(rows) == 1 or set(rows["kind"]) == {"union"}


def test_every_row_says_where_it_comes_from_and_how_sure_that_is():
    assert set(TABLE["status"]) <= {"read", "computed", "recalled", "approximation"}
    assert (TABLE["source"].str.len() > 5).all()
    dois = TABLE["source"][TABLE["source"].str.startswith("10.")]
    assert dois.str.fullmatch(r"10\.\d{4,9}/\S+").all()
    assert (TABLE["space"] == registry.FAMILY).all()


def test_every_side_lies_on_its_side_and_every_region_in_the_head():
    xyz = TABLE[["x", "y", "z"]].to_numpy(float)
    assert ((xyz > MNI_EDGE[:, 0]) & (xyz < MNI_EDGE[:, 1])).all()
    side = TABLE["side"].to_numpy()
    assert (xyz[side == "L", 0] < 0).all()
    assert (xyz[side == "R", 0] > 0).all()
    assert (np.abs(xyz[side == "M", 0]) <= 1).all()
    assert (TABLE["label"].str[-1] == TABLE["side"])[np.isin(side, ["L", "R"])].all()


def test_sides_come_in_pairs_of_one_size():
    for name, rows in TABLE[TABLE["side"] != "M"].groupby("name"):
        assert sorted(rows["side"]) == ["L", "R"], name
        assert rows["radius_mm"].nunique() == 1, name


def test_small_spheres_do_not_cross_the_midline():
    sides = TABLE[TABLE["side"].isin(["L", "R"]) & (TABLE["kind"] == "sphere")]
    crossing = sides["remark"].str.contains("crosses the midline")
    assert set(sides.loc[crossing, "name"]) == {"sgACCtms", "sgACCs32", "sgACC25", "pgACCp24"}
    sides = sides[~crossing]
    assert (sides["x"].astype(float).abs() > sides["radius_mm"].astype(float)).all()


def test_the_pag_is_a_union_of_five_spheres_and_the_rvm_a_box():
    pag, rvm = registry.find("PAG", Rois()), registry.find("RVM", Rois())
    assert len(pag.shapes) == 5
    assert {s.radius for s in pag.shapes} == {4.0}
    assert pag.shapes[2].center == (0.4, -31.3, -9.2)
    assert rvm.shapes == (Shape((0.0, -34.0, -40.0), size=(6.0, 6.0, 12.0)),)


def test_the_regions_of_the_issue_are_there():
    """The list is written out here, so that a default that loses one is noticed."""
    names = """sgACC pgACC dACC amygdalaLB amygdalaCM amygdalaSF thalamusMD thalamusVPL pulvinar PAG
        insula precuneus vmPFC NAc supramarginal middleTemporal hippocampusAnt hippocampusPost RVM LC"""
    assert set(names.split()) == set(Rois().use)
    assert len(registry.expand(Rois().use)) == 37


def test_a_name_without_side_stands_for_both_sides_and_repeats_go():
    assert registry.expand(("NAc", "PAG", "NAcL", "mine"), ("mine",)) == ("NAcL", "NAcR", "PAG", "mine")


@pytest.mark.parametrize(
    ("name", "near"), [("sgAC", "sgACC"), ("Pag", "PAG"), ("amygdalaLBI", "amygdalaLBL")]
)
def test_a_name_that_nobody_knows_is_met_with_the_nearest(name, near):
    with pytest.raises(ConfigError, match=rf"rois\.use: unknown region '{name}'; did you mean .*{near}"):
        registry.expand((name,))


def test_a_region_fits_the_family_of_its_template_only():
    family, exact = registry.find("PAG", Rois()), registry.Roi("a", "MNI152NLin6Asym")
    assert [
        family.fits(s) for s in ("MNI152NLin6Asym", "MNI152NLin2009cAsym", "MNIPediatricAsym", "n/a")
    ] == [
        True,
        True,
        False,
        False,
    ]
    assert [exact.fits(s) for s in ("MNI152NLin6Asym", "MNI152NLin2009cAsym")] == [True, False]


def test_an_own_region_may_not_take_a_registered_name():
    sphere = CustomRoi(center=(0, 0, 0), radius_mm=3.0, space="MNI152")
    for label in ("PAG", "NAc", "NAcL"):
        with pytest.raises(
            ConfigError, match=rf"rois\.custom\.{label}: the registry has a region of that name"
        ):
            registry.regions(Rois(use=(), custom={label: sphere}))


def test_no_atlas_or_image_is_shipped():
    names = [
        str(p) for p in Path(str(files("conn"))).rglob("*") if p.is_file() and "__pycache__" not in p.parts
    ]
    pictures = (
        ".nii",
        ".gz",
        ".mgz",
        ".gii",
        ".mgh",
        ".img",
        ".hdr",
        ".label",
        ".annot",
        ".mat",
        ".npz",
        ".npy",
    )
    assert [n for n in names if n.endswith(pictures)] == []
    tables = {str(files("conn.rois") / name) for name in ("registry.tsv", "networks.tsv")}
    assert {n for n in names if n.endswith(".tsv")} == tables


# ---------------------------------------------------------------------------------------------- phantom

PHANTOM = ("sgACC", "pgACC", "PAG", "insula", "precuneus", "vmPFC", "NAc", "RVM")
BAND = Denoise(min_df=3, min_seconds=0, high_pass=0.005, low_pass=0.2, strategy="24P")


def phantom(folder: Path, voxel: float) -> tuple[Run, list[str]]:
    """A run in which region i carries a cosine of its own frequency, everything else noise."""
    bounds = np.array([[-66, 66], [-96, 72], [-57, 69]])
    shape = tuple(int(np.ceil(n)) for n in (bounds[:, 1] - bounds[:, 0]) / voxel)
    affine = grid(voxel, tuple(bounds[:, 0]))
    affine[0, 0], affine[0, 3] = -voxel, -bounds[0, 0]
    regions = registry.regions(Rois(use=PHANTOM))
    n, rng = 100, np.random.default_rng(0)
    data = rng.normal(0, 3, size=(int(np.prod(shape)), n)).astype(np.float32)
    for i, roi in enumerate(regions):
        inside = place(Shapes(roi.shapes), shape, affine).inside
        data[inside] += 30 * np.cos(np.pi * (8 + 2 * i) * (np.arange(n) + 0.5) / n)
    name = "sub-01_task-rest_space-MNI152NLin2009cAsym"
    image = nib.Nifti1Image((1000 + data).reshape(*shape, n, order="F").astype(np.float32), affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.0
    bold, mask, confounds = (folder / f"{name}_{kind}" for kind in ("bold.nii", "mask.nii", "confounds.tsv"))
    nib.save(image, bold)
    nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), affine), mask)
    write_motion(confounds, n)
    entities = {"sub": "01", "task": "rest", "space": "MNI152NLin2009cAsym"}
    run = Run("one", "d", "01", None, entities, "all", bold, mask, confounds, None)
    return run, [roi.label for roi in regions]


def write_motion(path: Path, n: int) -> None:
    """A confounds table in which nobody moved, but for a little."""
    names = [
        f"{p}{e}"
        for p in ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
        for e in ("", "_derivative1", "_power2", "_derivative1_power2")
    ]
    zeros = "\t".join(["0"] * len(names))
    lines = ["\t".join([*names, "framewise_displacement"]), f"{zeros}\tn/a", *[f"{zeros}\t0.05"] * (n - 1)]
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.truth
@pytest.mark.parametrize("voxel", [2.0, 3.0, 3.5])
def test_every_output_carries_the_region_of_its_name(tmp_path, voxel):
    run, labels = phantom(tmp_path, voxel)
    out = tmp_path / "out"
    assert project(out, run, BAND, RunSettings(repetition_time=2.0), 0.0).included
    rois, maps = Rois(use=PHANTOM), Connectivity(seeds=PHANTOM, fwhm_mm=0.0)
    assert measure(out, run, rois, maps, tmp_path, "bids:d:x").included
    n = 100
    waves = np.cos(np.pi * np.outer(np.arange(n) + 0.5, 8 + 2 * np.arange(len(labels))) / n)

    series = read_tsv(out / paths.timeseries(run.entities))
    assert list(series.columns) == labels
    carried = np.corrcoef(series.to_numpy(float).T, waves.T)[: len(labels), len(labels) :]
    assert (np.abs(carried).argmax(axis=1) == np.arange(len(labels))).all()
    assert np.diag(carried).min() > 0.95

    relmat = read_tsv(out / paths.relmat(run.entities))
    assert relmat.iloc[:, 0].tolist() == list(relmat.columns[1:]) == labels
    expected = np.corrcoef(series.to_numpy(float).T)
    assert np.abs(relmat.iloc[:, 1:].to_numpy(float) - expected).max() < 1e-6
    assert np.abs(expected - np.eye(len(labels))).max() < 0.3

    coverage = read_tsv(out / paths.coverage(run.entities))
    assert coverage["roi"].tolist() == labels
    assert set(coverage["coverage"]) == {"1"}

    for label in labels:
        where, z = images.read_volume(out / paths.seed_map(run.entities, label))
        peak = np.unravel_index(np.nanargmax(z), z.shape)
        own = place(Shapes(registry.find(label, Rois()).shapes), where.shape, where.affine)
        assert np.ravel_multi_index(peak, where.shape, order="F") in own.inside, label
        inside = z.ravel(order="F")[own.inside]
        assert np.tanh(np.nanmean(inside)) > 0.9


# Networks of one's own ---------------------------------------------------------------------------------


def test_names_of_own_networks_stand_for_both_sides_and_labels_join_as_they_are():
    own = {"threat": [["amygdalaCM", "PAG"], ["vmPFC", "amygdalaCM", -1], ["insulaL", "precuneusR", 1]]}
    assert networks.declared("threat", own) == (
        ("amygdalaCML", "PAG", 1),
        ("amygdalaCMR", "PAG", 1),
        ("vmPFC", "amygdalaCML", -1),
        ("vmPFC", "amygdalaCMR", -1),
        ("insulaL", "precuneusR", 1),
    )
    sides = networks.declared("sides", {"sides": [["amygdalaCM", "insulaL"], ["mine", "insula", -1]]})
    assert sides == (("amygdalaCML", "insulaL", 1), ("mine", "insulaL", -1), ("mine", "insulaR", -1))


def test_networks_of_the_registry_have_the_sign_of_all_their_edges():
    for name in networks.names():
        assert networks.declared(name, {}) == tuple((a, b, 1) for a, b in networks.edges(name))
