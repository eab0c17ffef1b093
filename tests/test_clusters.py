from __future__ import annotations

import numpy as np
import pytest

from conn.clusters import COLUMNS, find_clusters
from conn.errors import DesignError

AFFINE = np.array([[-2.0, 0, 0, 90], [0, 2, 0, -126], [0, 0, 3, -72], [0, 0, 0, 1]])
SHAPE = (7, 8, 9)


@pytest.fixture
def volume():
    stat, p = np.zeros(SHAPE), np.ones(SHAPE)
    stat[1:3, 1:3, 1:3], p[1:3, 1:3, 1:3] = 5.0, 0.02
    stat[2, 1, 2], p[2, 1, 2] = 6.5, 0.004
    stat[5, 6, 7], p[5, 6, 7] = -7.0, 0.001
    return stat, p


def test_a_row_holds_peak_size_and_p_of_a_cluster(volume):
    found = find_clusters(*volume, AFFINE, seed="sgACC", contrast="change", family="change.maps")
    assert tuple(found.columns) == COLUMNS
    first, second = found.to_dict("records")
    assert (first["cluster"], first["voxels"], first["peak_stat"], first["p_fwe"]) == (1, 1, -7.0, 0.001)
    assert (first["peak_x"], first["peak_y"], first["peak_z"]) == (80.0, -114.0, -51.0)
    assert (second["cluster"], second["voxels"], second["volume_mm3"]) == (2, 8, pytest.approx(96.0))
    assert (second["peak_stat"], second["p_fwe"]) == (6.5, 0.004)
    assert (second["peak_x"], second["peak_y"], second["peak_z"]) == (86.0, -124.0, -66.0)
    assert (second["seed"], second["family"], second["label"]) == ("sgACC", "change.maps", "n/a")


def test_touching_voxels_of_opposite_sign_are_two_clusters(volume):
    stat, p = volume
    stat[3, 1, 1], p[3, 1, 1] = -5.0, 0.03
    assert sorted(find_clusters(stat, p, AFFINE)["voxels"]) == [1, 1, 8]


@pytest.mark.parametrize(("connectivity", "expected"), [(6, 3), (18, 2), (26, 1)])
def test_connectivity_decides_what_touches(connectivity, expected):
    stat, p = np.zeros(SHAPE), np.ones(SHAPE)
    for at in ((1, 1, 1), (2, 2, 1), (3, 3, 2)):  # an edge, then a corner
        stat[at], p[at] = 4.0, 0.01
    assert len(find_clusters(stat, p, AFFINE, connectivity=connectivity)) == expected


def test_untested_voxels_belong_to_no_cluster(volume):
    stat, p = volume
    stat[1, 1, 1] = p[1, 1, 1] = np.nan
    assert sorted(find_clusters(stat, p, AFFINE)["voxels"]) == [1, 7]


def test_nothing_that_survives_gives_an_empty_table_with_its_columns(volume):
    found = find_clusters(volume[0], np.ones(SHAPE), AFFINE)
    assert found.empty
    assert tuple(found.columns) == COLUMNS


def test_a_voxel_exactly_at_alpha_survives(volume):
    assert len(find_clusters(*volume, AFFINE, alpha=0.001)) == 1


def test_labels_and_holm_are_those_of_the_peak(volume):
    stat, p = volume
    found = find_clusters(stat, p, AFFINE, label=lambda x, y, z: f"{x:.0f}", p_holm=np.minimum(2 * p, 1))
    assert found["label"].tolist() == ["80", "86"]
    assert found.columns[-1] == "p_holm"
    assert found["p_holm"].tolist() == [0.002, 0.008]


def test_volume_follows_an_oblique_affine(volume):
    turned = AFFINE.copy()
    turned[:3, :3] = AFFINE[:3, :3] @ np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]])
    assert find_clusters(*volume, turned)["volume_mm3"].tolist() == pytest.approx([12.0, 96.0])


def test_wrong_shapes_and_connectivity_are_named(volume):
    stat, p = volume
    with pytest.raises(DesignError, match="one shape"):
        find_clusters(stat, p[:5], AFFINE)
    with pytest.raises(DesignError, match="6, 18 or 26"):
        find_clusters(stat, p, AFFINE, connectivity=8)
