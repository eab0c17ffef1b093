"""Numbers and short phrases as they stand in the report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

MINUS = "\N{MINUS SIGN}"
SPACE = "\N{NO-BREAK SPACE}"
EN_DASH = "\N{EN DASH}"
MISSING = "n/a"

_SMALL = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def fixed(value: float, decimals: int) -> str:
    """A number with fixed decimals and a real minus sign; missing as ``n/a``; never "-0.00"."""
    if not math.isfinite(value):
        return MISSING
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = f"{0:.{decimals}f}"
    return text.replace("-", MINUS)


def decimals_for(values: Iterable[float], significant: int = 3, most: int = 6) -> int:
    """Decimals that give the largest of some values `significant` digits; shared by a table's column."""
    finite = [abs(v) for v in values if math.isfinite(v) and v != 0]
    if not finite:
        return 2
    return min(max(significant - 1 - math.floor(math.log10(max(finite))), 0), most)


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, without exponent where it can be avoided."""
    if not math.isfinite(value):
        return MISSING
    if value == 0:
        return "0"
    decimals = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return fixed(value, decimals) if decimals <= 6 else f"{value:.{digits - 1}e}".replace("-", MINUS)


def p_cell(p: float) -> str:
    """A p value for a table: three decimals, or ``<0.001``."""
    if not math.isfinite(p):
        return MISSING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def p_words(p: float, name: str = "p", smallest: float | None = None) -> str:
    """A p value for a sentence: ``p = 0.012`` or ``p < 0.001``.

    Parameters
    ----------
    p
        The p value.
    name
        What it is called, as in ``p_fwe``.
    smallest
        Smallest p value that the test could have given. When it is above 0.001 and `p` has reached it,
        the words say so.
    """
    if not math.isfinite(p):
        return f"{name} not available"
    text = f"{name}{SPACE}<{SPACE}0.001" if p < 0.001 else f"{name}{SPACE}={SPACE}{significant(p, 2)}"
    if smallest is not None and smallest >= 0.001 and p <= smallest * 1.000001:
        text += ", the smallest attainable"
    return text


def interval(low: float, high: float, decimals: int) -> str:
    """An interval in words: ``−0.30 to −0.12``."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return MISSING
    return f"{fixed(low, decimals)} to {fixed(high, decimals)}"


def count(n: int, noun: str, plural: str | None = None) -> str:
    """A number of things: ``1 person``, ``1,024 edges``."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def spelled(n: int) -> str:
    """A small number as a word, from thirteen on in digits."""
    return _SMALL[n] if 0 <= n < len(_SMALL) else f"{n:,}"


def listed(words: Sequence[str], most: int | None = None) -> str:
    """A list in words: ``a, b and c``; after `most` of them, how many more there are."""
    if most is not None and len(words) > most:
        return ", ".join(words[:most]) + f" and {len(words) - most} more"
    if len(words) < 2:
        return "".join(words)
    return ", ".join(words[:-1]) + " and " + words[-1]


def capital(text: str) -> str:
    """The text with its first letter in upper case."""
    return text[:1].upper() + text[1:]


def humanised(code: str) -> str:
    """A fixed word of a table as ordinary words: ``too_few_df`` becomes ``too few df``."""
    return code.replace("_", " ")
