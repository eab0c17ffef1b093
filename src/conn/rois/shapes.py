"""Spheres and boxes in mm, the simplest regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Shape:
    """A sphere (`radius`) or a box (`size`, full edge lengths) around `center`; all in mm."""

    center: tuple[float, float, float]
    radius: float | None = None
    size: tuple[float, float, float] | None = None

    @property
    def half(self) -> NDArray[np.float64]:
        """Half of its extent along x, y and z, ndarray of shape (3,)."""
        if self.size is None:
            return np.full(3, float(self.radius or 0.0))
        return np.asarray(self.size, dtype=np.float64) / 2

    def distance(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of points, of shape (n, 3), to its surface; negative inside."""
        offset = points - np.asarray(self.center, dtype=np.float64)
        if self.size is None:
            square: NDArray[np.float64] = np.einsum("ij,ij->i", offset, offset)
            return np.asarray(np.sqrt(square) - float(self.radius or 0.0))
        beyond = np.abs(offset) - self.half
        outside = np.maximum(beyond, 0.0)
        far = np.sqrt(np.einsum("ij,ij->i", outside, outside))
        return np.asarray(far + np.minimum(beyond.max(axis=1), 0.0))

    def __str__(self) -> str:
        place = " ".join(f"{v:g}" for v in self.center)
        if self.size is None:
            return f"sphere {self.radius:g} mm at {place}"
        return f"box {' x '.join(f'{v:g}' for v in self.size)} mm at {place}"
