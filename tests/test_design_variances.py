"""Which rows share an error variance: combinations of a formula's categories, people of a slope."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import null_trials as nt
from conn.config.model import Formula, Inference, TwoSample
from conn.design import load_design, save_design, variance_words
from conn.errors import DesignError
from test_design import assert_same
from trials import compiled, contrast, members, trial


def written(formula: str, tests: dict[str, Any], **options: Any) -> Formula:
    return Formula(
        design="formula", formula=formula, tests=tests, **{"at": "pre", "sensitivity": "none"} | options
    )


def arms_by_sex(**sizes: int) -> tuple[Any, Any]:
    """People by arm whose sex goes round within it."""
    return trial(nt.people(**sizes))


def test_combinations_of_a_formulas_categories_have_a_variance_each() -> None:
    tables = arms_by_sex(drug=14, placebo=10, cbt=12)
    model = written("age + arm + sex", {"arms": ("arm=drug", "arm=placebo")})
    one = contrast(compiled(model, tables), "arms")
    assert one.variance_names == ("cbt/f", "cbt/m", "drug/f", "drug/m", "placebo/f", "placebo/m")
    np.testing.assert_array_equal(np.bincount(one.variance_groups), [6, 6, 7, 7, 5, 5])
    np.testing.assert_array_equal(one.counted_cells, one.variance_groups)
    assert variance_words(one).startswith("an error variance per group, because the sizes differ (cbt/f 6, ")


def test_categories_that_are_not_tested_are_merged_where_combinations_are_small() -> None:
    tables = arms_by_sex(drug=14, placebo=9, cbt=6)
    tests = {"arms": ("arm=drug", "arm=placebo"), "sexes": {"sex=m": 1.0}}
    design = compiled(written("age + arm + sex", tests), tables)
    assert contrast(design, "arms").variance_names == ("cbt", "drug", "placebo")
    assert contrast(design, "sexes").variance_names == ("f", "m")
    both = compiled(written("arm * sex", {"product": {"arm=drug:sex=m": 1.0}}), tables)
    assert len(contrast(both, "product").variance_names) == 6, "all are tested"


def test_combinations_of_equal_size_share_a_variance() -> None:
    model = written("age + arm", {"arms": ("arm=drug", "arm=placebo")})
    one = contrast(compiled(model, arms_by_sex(drug=6, placebo=6, cbt=6)), "arms")
    assert not one.variance_groups.any()
    assert variance_words(one) == "one error variance"


def test_a_tested_combination_of_one_person_is_refused() -> None:
    model = written("arm * sex", {"product": {"arm=placebo:sex=m": 1.0}})
    people = nt.people(drug=8, placebo=7)
    for name, person in people.items():
        person["sex"] = "m" if name in ("001", "002", "003", "009") else "f"
    with pytest.raises(DesignError, match="placebo/m has one subject, which has no variance"):
        compiled(model, trial(people))


def test_slopes_have_a_variance_of_each_person_unless_asked_otherwise() -> None:
    tables = arms_by_sex(drug=14)
    model = written("age + sex", {"slope": {"age": 1.0}, "sexes": {"sex=m": 1.0}})
    design = compiled(model, tables)
    assert [one.own_variances for one in design.contrasts[:2]] == [True, False]
    words = "an error variance of each person (HC3), because those with extreme values may vary more"
    assert variance_words(contrast(design, "slope")) == words
    plain = compiled(model, tables, Inference(robust_slopes=False))
    assert not any(one.own_variances for one in plain.contrasts)
    flips = written("age + sex", {"slope": {"age": 1.0}}, exchange="flips")
    assert not contrast(compiled(flips, tables), "slope").own_variances
    notes = [[n for n in d.notes if "extreme values" in n] for d in (design, plain)]
    assert "reach 12 %" in notes[0][0]
    assert "one error variance" in notes[1][0]
    assert "reach 29 %" in notes[1][0]


@pytest.mark.parametrize(
    ("n", "said"), [(29, "reach 12 % instead of 5 %, 16 %"), (30, "reach 7 % instead of 5 %, 13 %")]
)
def test_two_large_groups_are_told_of_skew_too(n: int, said: str) -> None:
    model = TwoSample(design="two_sample", at="pre", group="arm", levels=("drug", "placebo"))
    tables = trial(members(drug=n, placebo=30))
    notes = [note for note in compiled(model, tables).notes if note.startswith("difference: groups of")]
    assert [f"groups of 30 and {n}; should one group" in note and said in note for note in notes] == [True]


def test_variances_survive_being_saved(tmp_path) -> None:
    tests = {"slope": {"age": 1.0}, "arms": ("arm=drug", "arm=placebo")}
    design = compiled(written("age + arm", tests), arms_by_sex(drug=8, placebo=6, cbt=5))
    save_design(tmp_path, design)
    assert_same(load_design(tmp_path, "m"), design)
