"""How often intervals of a correlation hold the true one: BCa and Fisher's z, by number of people and shape.

PYTHONPATH=src python scripts/association_coverage.py SETS RESAMPLES > table

One arm, one scale; every set of people has 20 features at once. The true value is that of
100,000 people of the same kind, for each kind of correlation its own.
"""

from __future__ import annotations

import sys

import numpy as np

from conn.clinic.correlations import KINDS, correlate
from conn.clinic.estimates import estimate
from conn.clinic.people import People

FEATURES = 20


def draw(rng: np.random.Generator, n: int, rho: float, shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Connectivity of many features, all with the same correlation with a score."""
    score = rng.standard_normal(n)
    noise = rng.standard_normal((n, FEATURES))
    values = rho * score[:, None] + np.sqrt(1 - rho**2) * noise
    if shape == "skewed":
        return np.exp(0.7 * values), np.exp(0.7 * score)
    if shape == "heavy":
        pull = np.sqrt(4 / rng.chisquare(4, n))
        return values * pull[:, None], score * pull
    return values, score


def main() -> None:
    sets, resamples = int(sys.argv[1]), int(sys.argv[2])
    print("n rho shape", *(f"{kind}_bca" for kind in KINDS), "pearson_z")
    for n in (20, 40, 80):
        for rho in (0.0, 0.5):
            for shape in ("normal", "skewed", "heavy"):
                rng = np.random.default_rng(n)
                big = draw(rng, 100_000, rho, shape)
                true = {kind: correlate(*big, np.ones((100_000, 1)), kind=kind).mean() for kind in KINDS}
                held = dict.fromkeys((*KINDS, "z"), 0)
                for one in range(sets):
                    values, score = draw(rng, n, rho, shape)
                    empty, alone = np.empty((n, 0)), np.array([""] * n)
                    own = People(values, score[:, None], alone, ("",), empty, alone)
                    for kind in KINDS:
                        found = estimate(own, kind, resamples, one)
                        held[kind] += ((found.low <= true[kind]) & (true[kind] <= found.high)).sum()
                        if kind == "pearson":
                            z, half = np.arctanh(found.r), 1.959964 / np.sqrt(n - 3)
                            held["z"] += (np.abs(z - np.arctanh(true[kind])) <= half).sum()
                shares = [held[kind] / sets / FEATURES for kind in (*KINDS, "z")]
                print(n, rho, shape, *(f"{100 * share:.1f}" for share in shares), flush=True)


if __name__ == "__main__":
    main()
