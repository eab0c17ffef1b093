"""The grammar of formulas: names, +, : and *, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conn.config.formula import names, parse


@pytest.mark.parametrize(
    ("formula", "terms"),
    [
        ("age", ["age"]),
        ("age + sex", ["age", "sex"]),
        ("  age+sex ", ["age", "sex"]),
        ("age*sex", ["age", "sex", "age:sex"]),
        ("age:sex + sex + age", ["sex", "age", "age:sex"]),
        ("arm * age * sex", ["arm", "age", "sex", "arm:age", "arm:sex", "age:sex", "arm:age:sex"]),
        ("arm * sex + arm * age", ["arm", "sex", "age", "arm:sex", "arm:age"]),
        ("age + age + sex * age", ["age", "sex", "sex:age"]),
        ("MADRS.pre * arm", ["MADRS.pre", "arm", "MADRS.pre:arm"]),
        ("MADRS.change.d2 + mean_fd", ["MADRS.change.d2", "mean_fd"]),
    ],
)
def test_a_formula_is_main_effects_then_products(formula: str, terms: list[str]) -> None:
    assert [":".join(term) for term in parse(formula)] == terms


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("", "a name must begin and end it"),
        ("age +", "a name must begin and end it"),
        ("+ age", "a name must begin and end it"),
        ("age sex", "two names in a row, 'age' and 'sex'"),
        ("age + + sex", r"two signs in a row, '\+' and '\+'"),
        ("age - 1", "'- 1' is not understood"),
        ("age + 1", "'1' is not understood; the intercept is always there"),
        ("0 + age", "the intercept is always there"),
        ("log(age)", r"'\(age\)' is not understood"),
        ("age ** 2", "'2' is not understood"),
        ("age | subject", r"'\| subject' is not understood"),
        ("C(arm)", "is not understood"),
        ("__import__('os')", "is not understood"),
        ("arm.", "'.' is not understood"),
        ("age * age", "'age' is multiplied by itself"),
        ("arm + arm:age", r"arm:age stands without age; write arm \* age"),
        ("arm:age", "stands without"),
    ],
)
def test_what_the_grammar_does_not_know_is_refused_by_name(formula: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(formula)


@given(st.lists(st.sampled_from(["a", "b", "c.d", "e_1"]), min_size=1, max_size=4, unique=True))
def test_a_product_of_all_has_every_subset_once(variables: list[str]) -> None:
    terms = parse(" * ".join(variables))
    assert len({frozenset(term) for term in terms}) == len(terms) == 2 ** len(variables) - 1
    assert names(" * ".join(variables)) == tuple(variables)


@given(st.text(max_size=30))
@settings(max_examples=200)
def test_any_text_is_terms_or_a_message_that_says_what_is_allowed(text: str) -> None:
    try:
        assert all(parse(text))
    except ValueError as error:
        assert str(error).startswith(f"formula {text!r}: ")
