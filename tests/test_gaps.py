"""Effect sizes of features that some rows lack."""

from __future__ import annotations

import numpy as np
import pytest

from conn.effects import EffectSize, effect_size, g_av
from conn.errors import DesignError
from conn.gaps import design_of, filled


def nothing(n_features: int) -> EffectSize:
    gone = np.full(n_features, np.nan)
    return EffectSize(gone, "g_pooled", gone, gone)


def test_features_with_the_same_rows_are_asked_for_together_and_the_others_keep_their_size():
    there = np.ones((12, 6), dtype=bool)
    there[3, [1, 4]] = there[[5, 6], 2] = False
    asked = []

    def size_of(rows, features):
        asked.append((np.flatnonzero(~rows).tolist(), features.tolist()))
        made = features.astype(float)
        return EffectSize(made, "g_pooled", made - 1, made + 1)

    whole = EffectSize(np.full(6, 9.0), "g_pooled", np.full(6, 8.0), np.full(6, 10.0))
    chosen = np.array([True, True, True, True, True, False])
    found = filled(whole, there, chosen, size_of)
    assert sorted(asked) == [([3], [1, 4]), ([5, 6], [2])]
    assert found.g.tolist()[:5] == [9, 1, 2, 9, 4] and np.isnan(found.g[5])
    assert found.low.tolist()[:5] == [8, 0, 1, 8, 3]


def test_too_few_rows_leave_no_size():
    there = np.ones((4, 2), dtype=bool)
    there[:3, 1] = False

    def size_of(rows, features):
        raise DesignError("too few")

    found = filled(nothing(2), there, np.ones(2, dtype=bool), size_of)
    assert np.isnan(found.g).all()


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["paired", "two_sample", "slope"])
def test_the_size_of_some_rows_is_that_of_a_study_with_these_rows(kind):
    """A site that is lost with its only person no longer is a column."""
    rng = np.random.default_rng(3)
    codes = np.repeat([0, 1], 9)
    columns = [np.ones(18), rng.normal(size=18)]
    if kind == "two_sample":
        columns.insert(1, np.where(codes == 0, 0.5, -0.5))
    contrast = np.eye(len(columns))[0 if kind == "paired" else 1]
    matrix = np.column_stack(columns)
    rows = np.ones(18, dtype=bool)
    rows[4] = False
    y = rng.normal(size=(18, 3))
    own = effect_size(kind, y[rows], *design_of(matrix, contrast, rows))
    expected = effect_size(kind, y[rows], matrix[rows], contrast)
    for name in ("g", "low", "high"):
        np.testing.assert_allclose(getattr(own, name), getattr(expected, name), rtol=1e-7)
    site = np.zeros(18)
    site[4] = 1
    lost = design_of(np.column_stack([matrix, site]), np.append(contrast, 0.0), rows)
    np.testing.assert_allclose(effect_size(kind, y[rows], *lost).g, expected.g)


@pytest.mark.truth
def test_gaps_do_not_bias_the_size():
    rng = np.random.default_rng(4)
    y = rng.normal(0.8, 1, size=(20, 800))
    there = np.ones(y.shape, dtype=bool)
    there[rng.integers(0, 4, size=800), np.arange(800)] = False
    y[~there] = np.nan
    whole = effect_size("paired", y, np.ones((20, 1)), [1])
    assert np.isnan(whole.g).all()
    found = filled(
        whole,
        there,
        np.ones(800, dtype=bool),
        lambda rows, which: effect_size(
            "paired", y[np.ix_(rows, which)], *design_of(np.ones((20, 1)), [1], rows)
        ),
    )
    assert found.g.mean() == pytest.approx(0.8, abs=0.04)
    assert 0.92 <= ((found.low <= 0.8) & (found.high >= 0.8)).mean() <= 0.98


def test_the_average_size_of_changes_with_gaps_is_that_of_the_people_who_have_both():
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 9, 2))
    there = np.ones((9, 2), dtype=bool)
    there[2, 1] = False

    def size_of(rows, which):
        return g_av(a[np.ix_(rows, which)], b[np.ix_(rows, which)], n_boot=99)

    found = filled(nothing(2), there, np.ones(2, dtype=bool), size_of)
    assert np.isnan(found.g[0])
    assert found.g[1] == pytest.approx(
        g_av(np.delete(a[:, [1]], 2, 0), np.delete(b[:, [1]], 2, 0), n_boot=0).g[0]
    )
