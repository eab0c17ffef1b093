"""Results of the tests of a model, as stage test leaves them for stage correct."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conn import effects
from conn.files import atomic
from conn.inference import TestResult
from conn.slopes import SlopeDifference

PARTS: dict[str, type[Any]] = {
    "size": effects.EffectSize,
    "average": effects.EffectSize,
    "slopes": SlopeDifference,
}
OWN = ("features", "n", "complete", "skewness")
"""Fields of `Tested` that are not results of another module."""


@dataclass(frozen=True, eq=False)
class Tested:
    """One contrast over the features of a seed's map or over edges.

    Attributes
    ----------
    result
        Statistics and maxima.
    size
        Effect sizes with their type.
    average
        Mean changes over the average SD of the two time points; NaN in designs that have none, and in maps.
    slopes
        With a baseline of each edge: whether its slope differs between groups; NaN otherwise, and in maps.
    features
        Edges: names of shape (n_features, 2). Maps: flat voxel indices of shape (n_features,).
    n
        Number of rows with a value, of shape (n_features,).
    complete
        All distinct rearrangements were used.
    skewness
        Median over features of the absolute skewness of residuals; sign flips assume it to be 0.
    """

    result: TestResult
    size: effects.EffectSize
    average: effects.EffectSize
    slopes: SlopeDifference
    features: NDArray[Any]
    n: NDArray[np.int64]
    complete: bool
    skewness: float


def save(path: Path, tested: Mapping[str, Tested], extra: Mapping[str, NDArray[Any]]) -> None:
    """Write the tests of a model's contrasts as one archive, atomically."""
    arrays: dict[str, Any] = {"contrasts": np.array(list(tested)), **extra}
    for name, one in tested.items():
        arrays |= {f"{name}.{f.name}": np.asarray(getattr(one.result, f.name)) for f in fields(one.result)}
        for key in PARTS:
            part = getattr(one, key)
            arrays |= {f"{name}.{key}.{f.name}": np.asarray(getattr(part, f.name)) for f in fields(part)}
        arrays |= {f"{name}.{key}": np.asarray(getattr(one, key)) for key in OWN}
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    with atomic(path) as stream:
        stream.write(buffer.getvalue())


def load(path: Path) -> tuple[dict[str, Tested], dict[str, NDArray[Any]]]:
    """Read what `save` wrote: tests by contrast, and the extra arrays."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    tested = {}
    for name in arrays.pop("contrasts").tolist():
        result = {f.name: _plain(arrays.pop(f"{name}.{f.name}")) for f in fields(TestResult)}
        parts = {key: _part(arrays, f"{name}.{key}", kind) for key, kind in PARTS.items()}
        own = {key: _plain(arrays.pop(f"{name}.{key}")) for key in OWN}
        tested[name] = Tested(TestResult(**result), **parts, **own)
    return tested, arrays


def _part(arrays: dict[str, NDArray[Any]], name: str, kind: type[Any]) -> Any:
    return kind(**{f.name: _plain(arrays.pop(f"{name}.{f.name}")) for f in fields(kind)})


def _plain(value: NDArray[Any]) -> Any:
    return value.item() if value.ndim == 0 else value
