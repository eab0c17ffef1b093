"""The table from t to z agrees with the exact transform, also far out and for few degrees of freedom."""

from __future__ import annotations

import numpy as np
import pytest

from conn.glm import t_to_z
from conn.zscale import squared_to_z


@pytest.mark.oracle
def test_the_table_is_the_exact_transform_over_all_that_occurs():
    rng = np.random.default_rng(0)
    df = np.exp(rng.uniform(np.log(1.0), np.log(400), 200_000))
    t = rng.standard_t(df) * rng.choice([1, 2, 4], df.size)
    exact = np.abs(t_to_z(t, df))
    kept = (exact > 0.1) & (exact < 30)
    found = squared_to_z(t**2, df)
    assert np.abs(found / exact - 1)[kept].max() < 2e-5
    assert np.abs(found - exact)[exact <= 0.1].max() < 1e-5


def test_it_grows_with_t_and_keeps_the_type_and_shape():
    t = np.linspace(0, 40, 2001)
    for df in (1.0, 3.7, 25.0, 1e6):
        z = squared_to_z(t**2, np.full_like(t, df))
        assert (np.diff(z) > 0).all() and z[0] == 0
    single = squared_to_z(np.ones((3, 4), np.float32), np.full((3, 4), 9, np.float32))
    assert single.dtype == np.float32 and single.shape == (3, 4)
