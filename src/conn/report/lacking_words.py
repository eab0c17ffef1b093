"""Features that a clinical analysis leaves out, because somebody lacks them."""

from __future__ import annotations

from collections.abc import Sequence

from conn.report.words import count, listed

MOST = 6


def lacking_words(found: Sequence[tuple[str, int]], total: int, done: str) -> str:
    """How many features are left out, and how many people lack each; empty when none is.

    Parameters
    ----------
    found
        Name of each feature that is left out, and people who lack it.
    total
        Features that were asked for.
    done
        What is not done with them, such as ``correlated``.
    """
    if not found:
        return ""
    worst = sorted(found, key=lambda one: -one[1])
    named = listed([f"{name} ({count(n, 'person', 'people')})" for name, n in worst], MOST)
    verb = "is" if len(found) == 1 else "are"
    return (
        f"{len(found)} of {count(total, 'feature')} {verb} not {done}, because somebody lacks "
        f"{'it' if len(found) == 1 else 'them'}: {named}. inference.min_share counts for group models alone."
    )
