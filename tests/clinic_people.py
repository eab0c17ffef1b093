"""People of associations, simulated."""

from __future__ import annotations

import numpy as np

from conn.clinic.people import People


def people(connectivity, scores, arms=None, covariates=None, strata=None, **more) -> People:
    """People with what is not given left out."""
    connectivity, scores = np.asarray(connectivity, dtype=float), np.asarray(scores, dtype=float)
    n = len(connectivity)
    arms = np.array(["all"] * n if arms is None else arms)
    return People(
        connectivity,
        scores if scores.ndim == 2 else scores[:, None],
        arms,
        tuple(sorted(set(arms.tolist()))),
        np.empty((n, 0)) if covariates is None else np.asarray(covariates, dtype=float).reshape(n, -1),
        np.array(["one"] * n if strata is None else strata),
        **more,
    )


def skewed(rng, shape):
    """Log-normal values, centred."""
    values = np.exp(rng.standard_normal(shape))
    return values - np.exp(0.5)


def correlated(rng, n, n_scales, share=0.7, draw=None):
    """Scales that share a part of their variance."""
    draw = rng.standard_normal if draw is None else (lambda shape: skewed(rng, shape))
    return np.sqrt(share) * draw((n, 1)) + np.sqrt(1 - share) * draw((n, n_scales))
