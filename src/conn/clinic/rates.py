"""How often an association claims what is not there, where people with extreme scores vary more."""

from __future__ import annotations

REACHED: dict[bool, tuple[int, int]] = {True: (13, 12), False: (36, 24)}
"""Highest measured rates of family-wise false positives, in percent, of normal and of strongly skewed errors.

With an error variance of each person (`inference.robust_slopes`), and with one; measured by
`scripts/calibrate_association.py`, see docs/explanation/associations.md.
"""


def rates_words(robust: bool) -> str:
    """What happens to the family-wise error, for `conn check` and the report.

    Parameters
    ----------
    robust
        Each person has an error variance of their own.
    """
    normal, skewed = REACHED[robust]
    return (
        "should people with extreme scores vary two or three times as much, family-wise false positives "
        f"reach {normal} % instead of 5 %, {skewed} % with strong skew (simulated)"
    )
