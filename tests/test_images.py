"""The edge to image files: damage is named, geometry is checked, values are those of nibabel."""

from __future__ import annotations

import gzip
import threading
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from conn import images
from conn.errors import InputError

AFFINE = np.array([[-2.9, 0.3, 0, 90], [0.3, 2.9, 0.1, -120], [0, -0.1, 3.3, -70], [0, 0, 0, 1.0]])


def write(path: Path, data: np.ndarray, **header: float) -> Path:
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 2.0
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


@pytest.mark.oracle
@pytest.mark.parametrize("dtype", ["int16", "uint8", "uint16", "float32", "float64", ">i2", ">f4"])
@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
def test_volumes_are_those_of_nibabel(tmp_path, dtype, name):
    data = np.random.default_rng(0).integers(0, 200, size=(7, 8, 9, 5)).astype(dtype)
    image = nib.Nifti1Image(data, AFFINE, dtype=np.dtype(dtype))
    if dtype.startswith(">"):
        image = nib.Nifti1Image(data, AFFINE, header=image.header.as_byteswapped(">"))
    image.header.set_slope_inter(0.5, 3.0)
    nib.save(image, tmp_path / name)
    expected = nib.load(tmp_path / name).get_fdata()
    header = images.read_header(tmp_path / name)
    voxels = np.array([0, 5, 100, 503])
    stored = np.concatenate([panel.copy() for panel in images.panels(header, voxels, 2)])
    read = stored.astype(float) * header.slope + header.intercept
    assert header.grid.matches(images.Grid((7, 8, 9), AFFINE))
    assert np.allclose(read, expected.reshape(-1, 5, order="F")[voxels].T, atol=1e-5)


@pytest.fixture
def bold(tmp_path):
    data = np.random.default_rng(0).integers(0, 3000, size=(7, 8, 9, 40)).astype(np.int16)
    return write(tmp_path / "sub-01_bold.nii.gz", data)


@pytest.mark.parametrize("size", [1, 7, 32, 40, 64])
@pytest.mark.parametrize("read_ahead", [1, 2, 5])
def test_panels_hold_the_same_numbers_however_far_the_reader_is_ahead(bold, size, read_ahead):
    header = images.read_header(bold)
    voxels = np.arange(3, 500, 4)
    read = [panel.copy() for panel in images.panels(header, voxels, size, read_ahead)]
    assert {len(panel) for panel in read[:-1]} <= {size}
    expected = nib.load(bold).get_fdata().reshape(-1, 40, order="F")[voxels].T
    assert np.array_equal(np.concatenate(read), expected)


def test_a_reader_that_is_no_longer_needed_ends(bold):
    before = threading.active_count()
    panels = images.panels(images.read_header(bold), np.arange(10), 4)
    next(panels)
    panels.close()
    assert threading.active_count() == before


def test_damage_is_raised_where_the_panels_are_used_and_the_reader_ends(bold):
    before = threading.active_count()
    bold.write_bytes(bold.read_bytes()[:-4])
    with pytest.raises(InputError, match="truncated"):
        read_all(bold)
    assert threading.active_count() == before


def test_several_gzip_streams_in_one_file_and_zeros_after_them_are_read(bold):
    whole = gzip.decompress(bold.read_bytes())
    expected = nib.load(bold).get_fdata().reshape(-1, 40, order="F")[:10].T
    bold.write_bytes(gzip.compress(whole[:9999]) + gzip.compress(whole[9999:]) + bytes(512))
    read = np.concatenate([p.copy() for p in images.panels(images.read_header(bold), np.arange(10), 40)])
    assert np.array_equal(read, expected)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (70, np.int16(12345), "not a NIfTI-1 image that can be read"),
        (42, np.int16(-1), "has shape"),
        (108, np.float32(np.nan), "not a NIfTI-1 image that can be read"),
        (108, np.float32(np.inf), "not a NIfTI-1 image that can be read"),
        (108, np.float32(1e15), "more than a file of"),
        (42, np.int16(32000), "more than a file of"),
        (80, np.float32(-2), "not a NIfTI-1 image that can be read|affine"),
        (280, np.float32(np.nan), "affine"),
        (0, np.int32(540), "convert it to NIfTI-1"),
    ],
)
@pytest.mark.parametrize("name", ["x.nii", "x.nii.gz"])
def test_a_header_that_cannot_be_is_an_error_that_names_the_file(tmp_path, name, at, value, words):
    data = np.random.default_rng(0).integers(0, 99, size=(7, 8, 9, 4)).astype(np.int16)
    raw = bytearray(write(tmp_path / "good.nii", data).read_bytes())
    if at == 80:
        raw[252:256] = bytes([1, 0, 0, 0])  # the orientation is that of the qform
    raw[at : at + value.nbytes] = value.tobytes()
    path = tmp_path / name
    path.write_bytes(gzip.compress(bytes(raw)) if name.endswith("gz") else bytes(raw))
    with pytest.raises(InputError, match=rf"x\.nii.*({words})"):
        list(images.panels(images.read_header(path), np.arange(10), 4))


def test_an_orientation_factor_of_zero_is_read_as_the_standard_says(tmp_path):
    data = np.zeros((7, 8, 9), np.uint8)
    path = write(tmp_path / "mask.nii", data)
    expected = images.read_header(path).grid
    raw = bytearray(path.read_bytes())
    raw[76:80] = bytes(4)
    path.write_bytes(bytes(raw))
    assert images.read_header(path).grid.matches(expected)


def test_a_folder_in_the_place_of_an_image_is_named(tmp_path):
    (tmp_path / "x.nii").mkdir()
    with pytest.raises(InputError, match=r"x\.nii: cannot be read"):
        images.read_header(tmp_path / "x.nii")


def read_all(path: Path) -> None:
    list(images.panels(images.read_header(path), np.arange(10), 32))


def test_a_truncated_file_is_named(bold):
    whole = bold.read_bytes()
    bold.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"sub-01_bold.nii.gz.*truncated"):
        read_all(bold)


def test_a_file_without_its_last_bytes_is_truncated(bold):
    bold.write_bytes(bold.read_bytes()[:-4])
    with pytest.raises(InputError, match="truncated"):
        read_all(bold)


def test_a_flipped_bit_is_noticed(bold):
    raw = bytearray(bold.read_bytes())
    raw[len(raw) // 2] ^= 4
    bold.write_bytes(bytes(raw))
    with pytest.raises(InputError, match=r"sub-01_bold.nii.gz.*(damaged|truncated)"):
        read_all(bold)


def test_a_wrong_checksum_is_noticed(bold):
    raw = bytearray(bold.read_bytes())
    raw[-8] ^= 1
    bold.write_bytes(bytes(raw))
    with pytest.raises(InputError, match="damaged"):
        read_all(bold)


def test_a_gz_that_is_not_gzip_is_named(tmp_path):
    (tmp_path / "x.nii.gz").write_bytes(b"version https://git-lfs")
    with pytest.raises(InputError, match="not gzip"):
        images.read_header(tmp_path / "x.nii.gz")


def test_a_file_that_holds_too_much_or_too_little_is_refused(tmp_path, bold):
    whole = gzip.decompress(bold.read_bytes())
    for wrong, words in ((whole[:-100], "too early"), (whole + b"1234", "more data")):
        path = tmp_path / "wrong.nii.gz"
        path.write_bytes(gzip.compress(wrong))
        with pytest.raises(InputError, match=words):
            read_all(path)


def test_sform_and_qform_must_agree_about_left_and_right(tmp_path):
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), AFFINE)
    image.set_qform(np.diag([-1, 1, 1, 1]) @ AFFINE, code=1)
    image.set_sform(AFFINE, code=1)
    nib.save(image, tmp_path / "flip.nii")
    with pytest.raises(InputError, match="left and right"):
        images.read_header(tmp_path / "flip.nii")


def test_an_image_without_orientation_is_refused(tmp_path):
    image = nib.Nifti1Image(np.zeros((3, 4, 5), np.float32), None)
    image.set_qform(None, code=0)
    image.set_sform(None, code=0)
    nib.save(image, tmp_path / "lost.nii")
    with pytest.raises(InputError, match="unknown"):
        images.read_header(tmp_path / "lost.nii")


def test_milliseconds_in_the_header_become_seconds(tmp_path):
    data = np.zeros((3, 4, 5, 6), np.int16)
    image = nib.Nifti1Image(data, AFFINE)
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4] = 2500
    nib.save(image, tmp_path / "ms.nii")
    assert images.read_header(tmp_path / "ms.nii").tr == 2.5
    assert images.read_header(write(tmp_path / "none.nii", data, pixdim=[1, 3, 3, 3, 0, 1, 1, 1])).tr is None


def test_a_map_is_written_with_the_same_bytes_and_read_back(tmp_path):
    grid = images.Grid((7, 8, 9), AFFINE)
    values = np.random.default_rng(0).normal(size=(7, 8, 9)).astype(np.float32)
    values[0] = np.nan
    images.write_map(tmp_path / "a.nii.gz", grid, values)
    images.write_map(tmp_path / "b.nii.gz", grid, values)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
    again, read = images.read_volume(tmp_path / "a.nii.gz")
    assert again.matches(grid)
    assert np.array_equal(read, values, equal_nan=True)


def test_grids_are_compared_at_their_corners_not_as_floats():
    grid = images.Grid((90, 100, 80), AFFINE)
    nearly, off = AFFINE.copy(), AFFINE.copy()
    nearly[0, 3] += 5e-4
    off[0, 0] += 1e-4
    assert grid.matches(images.Grid((90, 100, 80), nearly))
    assert not grid.matches(images.Grid((90, 100, 80), off))
