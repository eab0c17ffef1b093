"""A small grammar for linear models. Names, +, : and *; nothing is ever evaluated."""

from __future__ import annotations

import re
from itertools import combinations, pairwise

Term = tuple[str, ...]
"""Names whose product is a term; one name is a main effect."""

_NAME = r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*"
_TOKEN = re.compile(rf"\s*({_NAME}|[+:*])")
ALLOWED = "names as in covariates, joined by + (and), : (product) or * (both and their product)"


def parse(formula: str) -> tuple[Term, ...]:
    """The terms of a formula.

    Parameters
    ----------
    formula
        Such as ``age + arm * sex``; ``a * b`` stands for ``a + b + a:b``.

    Returns
    -------
    tuple of terms
        Main effects first, then products by their number of factors, each in the order of the formula.

    Raises
    ------
    ValueError
        A character or an order of tokens that the grammar does not know; a product without its parts; a name
        multiplied by itself.

    References
    ----------
    Wilkinson and Rogers 1973, 10.2307/2346786 (the notation).
    """
    tokens = _tokens(formula)
    _check_order(formula, tokens)
    found: dict[Term, None] = {}
    for part in " ".join(tokens).split(" + "):
        factors = [tuple(factor.split(" : ")) for factor in part.split(" * ")]
        for size in range(1, len(factors) + 1):
            for chosen in combinations(factors, size):
                found.setdefault(_product(formula, chosen))
    return _checked(formula, _ordered(found))


def names(formula: str) -> tuple[str, ...]:
    """Every name of a formula once, in order."""
    return tuple(dict.fromkeys(name for term in parse(formula) for name in term))


def _tokens(formula: str) -> list[str]:
    found, place = [], 0
    text = formula.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None:
            rest = text[place:].lstrip()
            extra = "; the intercept is always there" if rest[0] in "01" else ""
            raise ValueError(
                f"formula {formula!r}: {rest[:12]!r} is not understood{extra}. Allowed: {ALLOWED}"
            )
        found.append(match[1])
        place = match.end()
    return found


def _check_order(formula: str, tokens: list[str]) -> None:
    """Names and signs take turns, and a name begins and ends."""
    signs = [token in "+:*" for token in tokens]
    if not tokens or signs[0] or signs[-1]:
        raise ValueError(f"formula {formula!r}: a name must begin and end it. Allowed: {ALLOWED}")
    for i, (one, other) in enumerate(pairwise(signs)):
        if one == other:
            what = "two signs" if one else "two names"
            raise ValueError(
                f"formula {formula!r}: {what} in a row, {tokens[i]!r} and {tokens[i + 1]!r}. Allowed: "
                f"{ALLOWED}"
            )


def _product(formula: str, factors: tuple[Term, ...]) -> Term:
    term = tuple(name for factor in factors for name in factor)
    if len(set(term)) < len(term):
        twice = next(name for name in term if term.count(name) > 1)
        raise ValueError(f"formula {formula!r}: {twice!r} is multiplied by itself; only products of others")
    return term


def _ordered(found: dict[Term, None]) -> tuple[Term, ...]:
    unique: dict[frozenset[str], Term] = {}
    for term in found:
        unique.setdefault(frozenset(term), term)
    return tuple(sorted(unique.values(), key=len))


def _checked(formula: str, terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """A product needs its parts: without them its coefficient depends on where numbers have their 0."""
    known = {frozenset(term) for term in terms}
    for term in terms:
        for part in combinations(term, len(term) - 1):
            if part and frozenset(part) not in known:
                raise ValueError(
                    f"formula {formula!r}: {':'.join(term)} stands without {':'.join(part)}; write "
                    f"{' * '.join(term)}"
                )
    return terms
