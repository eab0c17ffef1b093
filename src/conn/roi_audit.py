"""`conn rois audit`: look at a region before using it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from conn import bids, images, tissues
from conn.config.model import PACKAGE, CustomRoi, ReferenceAtlas, Rois
from conn.errors import ConfigError
from conn.images import Grid
from conn.rois import atlases, audit, on_grid, placement, registry
from conn.rois.placement import Placed
from conn.rois.registry import FAMILY, Roi
from conn.stages.audit import compare
from conn.study import Study
from conn.tables import MISSING, format_tsv

USUAL_MM = (2.0, 3.0, 3.5)
"""Voxel sizes when no image is named: the grids of fMRIPrep in MNI152NLin2009cAsym."""

NEAR_MM = 15.0
MOST_NEAR = 4
"""Registered regions nearby that are named: how far and how many."""

COLUMNS = ("roi", "what", "value")


@dataclass(frozen=True)
class Asked:
    """What the command line asks for; see `conn rois audit --help`."""

    regions: Sequence[str] = ()
    center: Sequence[float] | None = None
    radius: float = 5.0
    mask: Path | None = None
    value: int | None = None
    space: str = FAMILY
    image: Path | None = None
    brain_mask: Path | None = None
    grey_matter: Path | None = None
    csf: Path | None = None
    reference: Sequence[str] = ()
    table: Sequence[Path] = ()
    tsv: bool = False


@dataclass(frozen=True, eq=False)
class _Scan:
    """A run: mean and SD of each voxel, its brain mask, and tissue."""

    grid: Grid
    space: str
    mask: NDArray[np.bool_]
    tsnr: NDArray[np.float64]
    around: audit.Surroundings


def audit_regions(asked: Asked, study: Study | None) -> pd.DataFrame:
    """What there is to know of regions, as a table of three columns.

    Parameters
    ----------
    asked
        Regions, and what to compare them with.
    study
        Whose own regions may be named; None for the registry alone.

    Returns
    -------
    DataFrame
        See `COLUMNS`.

    Raises
    ------
    ConfigError
        Nothing was asked for, an unknown name, or tables without atlases.
    InputError
        A file is missing or damaged.
    """
    rois, folder = (Rois(use=()), Path()) if study is None else (study.config.rois, study.root)
    chosen = [(roi, folder) for roi in _named(asked.regions, rois)] + _given(asked)
    if not chosen:
        raise ConfigError("name a region, or give --center X Y Z or --mask FILE")
    scan = None if asked.image is None else _scan(asked)
    rows = [(roi.label, *row) for roi, base in chosen for row in _one(roi, base, rois, scan)]
    rows += _compared(asked, chosen, rois)
    return pd.DataFrame(rows, columns=pd.Index(COLUMNS))


def audit_text(asked: Asked, study: Study | None) -> str:
    """The table of `audit_regions` for a terminal, or as tab-separated text."""
    table = audit_regions(asked, study)
    if asked.tsv:
        return format_tsv(table)
    lines: list[str] = []
    width = max(len(what) for what in table["what"])
    for label in dict.fromkeys(table["roi"]):
        lines += [str(label)]
        part = table[table["roi"] == label]
        lines += [
            f"  {what:<{width}}  {value}" for what, value in zip(part["what"], part["value"], strict=True)
        ]
        lines += [""]
    return "\n".join(lines)


def _named(names: Sequence[str], rois: Rois) -> list[Roi]:
    own = registry.own_labels(rois)
    return [registry.find(label, rois) for label in registry.expand(names, own, "regions")]


def _given(asked: Asked) -> list[tuple[Roi, Path]]:
    """The sphere or the mask of the command line."""
    made: list[tuple[Roi, Path]] = []
    if asked.center is not None:
        x, y, z = asked.center
        one = CustomRoi(center=(x, y, z), radius_mm=asked.radius, space=asked.space)
        made.append((registry.find("sphere", Rois(use=(), custom={"sphere": one})), Path()))
    if asked.mask is not None:
        one = CustomRoi(mask=asked.mask.as_posix(), value=asked.value, space=asked.space)
        made.append((registry.find("mask", Rois(use=(), custom={"mask": one})), Path()))
    return made


def _one(roi: Roi, folder: Path, rois: Rois, scan: _Scan | None) -> Iterator[tuple[str, str]]:
    yield "definition", roi.definition
    yield "space", roi.space
    yield "source", f"{roi.source} ({roi.status})"
    if roi.remark != MISSING:
        yield "remark", roi.remark
    grids = [_usual(mm) for mm in USUAL_MM] if scan is None else [scan.grid]
    space = scan.space if scan is not None else roi.space
    for grid in grids:
        placed = on_grid.place(roi, grid, space, rois, folder)
        yield f"voxels of {_size(grid)} mm", _voxels(placed, grid)
    finest = on_grid.place(roi, grids[0], space, rois, folder)
    yield from _nearby(roi, finest, grids[0])
    if scan is not None:
        yield from _in_scan(roi, finest, scan, rois)


def _usual(voxel_mm: float) -> Grid:
    origin = (-96.5, -132.5, -78.5) if voxel_mm == 2 else (-96.0, -132.0, -78.0)
    nx, ny, nz = (int(np.ceil(n / voxel_mm)) for n in (193, 229, 193))
    affine = np.diag([voxel_mm] * 3 + [1.0])
    affine[:3, 3] = origin
    return Grid((nx, ny, nz), affine)


def _size(grid: Grid) -> str:
    sizes = [f"{mm:.3g}" for mm in grid.voxel_mm]
    return sizes[0] if len(set(sizes)) == 1 else " x ".join(sizes)


def _voxels(placed: Placed, grid: Grid) -> str:
    small = "; SUB-VOXEL: what stands for it is mostly its surroundings" if placed.sub_voxel else ""
    return (
        f"{placed.voxels} centres, {placed.half} at least half filled, "
        f"{placed.total * grid.voxel_volume:.0f} mm3{small}"
    )


def _nearby(roi: Roi, placed: Placed, grid: Grid) -> Iterator[tuple[str, str]]:
    """Registered regions that it overlaps or is near to."""
    others = [one for one in registry.regions(Rois()) if one.label != roi.label]
    found = [placed, *(placement.place(placement.Shapes(o.shapes), grid.shape, grid.affine) for o in others)]
    pairs = [pair for pair in audit.pairs(found, grid.shape, grid.affine) if pair.a == 0]
    for pair in sorted(pairs, key=lambda pair: (-pair.share, pair.gap_mm))[:MOST_NEAR]:
        name = others[pair.b - 1].label
        shared = f"shares {pair.shared * grid.voxel_volume:.0f} mm3 ({pair.share:.0%} of the smaller)"
        near = "touches it" if pair.touching else f"{pair.gap_mm:.0f} mm apart"
        yield f"near {name}", shared if pair.shared > 0 else near


def _in_scan(roi: Roi, placed: Placed, scan: _Scan, rois: Rois) -> Iterator[tuple[str, str]]:
    if not on_grid.reachable(roi, scan.space, rois):
        yield "space mismatch", f"the image is in {scan.space}: a study would leave the region out"
    column = np.full(int(np.prod(scan.grid.shape)), -1, dtype=np.int64)
    inside = np.flatnonzero(scan.mask.ravel(order="F"))
    column[inside] = np.arange(inside.size)
    cover = placement.cover(placed, column, np.ones(inside.size, dtype=bool), 0.0)
    yield "covered", f"{cover.covered} of {cover.voxels} centres, {cover.coverage:.0%} of its volume"
    yield "distance to the edge of the mask", _mm(audit.edge_distance(placed, scan.around))
    if cover.members.size:
        tsnr = float(np.average(scan.tsnr[inside[cover.members]], weights=cover.weights))
        whole = float(np.median(scan.tsnr[inside]))
        yield "tSNR", f"{tsnr:.1f} (median of the brain {whole:.1f})"
    if scan.around.grey is not None:
        yield "grey matter", f"{audit.grey_share(placed, scan.around):.0%}"
    if scan.around.to_csf is not None:
        yield "distance to fluid", _mm(audit.csf_distance(placed, scan.around))


def _mm(distance: float) -> str:
    return f"{distance:.1f} mm" if np.isfinite(distance) else "not in the field of view"


def _scan(asked: Asked) -> _Scan:
    assert asked.image is not None
    header = images.read_header(asked.image)
    total, square = np.zeros(header.grid.shape), np.zeros(header.grid.shape)
    for values in atlases.volumes_of(header):
        number = values.astype(np.float64)
        total += number
        square += number**2
    mean = total / header.volumes
    sd = np.sqrt(np.maximum(square / header.volumes - mean**2, 0.0))
    usable = np.isfinite(mean) & (sd > 0)
    if asked.brain_mask is not None:
        grid, mask = images.read_volume(asked.brain_mask)
        if not grid.matches(header.grid):
            raise ConfigError(
                f"{asked.brain_mask.name}: not on the grid of {asked.image.name}; take its own mask"
            )
        usable &= mask > 0
    tsnr = np.divide(mean, sd, out=np.zeros_like(mean), where=usable)
    grey, csf = (
        None if p is None else tissues.on_grid(p, header.grid) for p in (asked.grey_matter, asked.csf)
    )
    name = bids.parse(asked.image.name)
    space = name.entities.get("space", asked.space) if name is not None else asked.space
    around = audit.surroundings(usable, header.grid.affine, grey, csf)
    return _Scan(header.grid, space, usable, tsnr.ravel(order="F"), around)


def _compared(asked: Asked, chosen: Sequence[tuple[Roi, Path]], rois: Rois) -> list[tuple[str, str, str]]:
    """Shares of the regions in the labels of the reference atlases."""
    own = [name for name in asked.reference if not name.startswith(PACKAGE)]
    if len(asked.table) > len(own):
        raise ConfigError(
            f"--table: {len(asked.table)} tables for {len(own)} --reference images; one for each"
        )
    tables = dict(zip(own, asked.table, strict=False))
    rows = []
    for name in asked.reference:
        table = tables.get(name)
        space = None if name.startswith(PACKAGE) else _space_of(Path(name), asked.space)
        atlas = ReferenceAtlas(image=name, table=None if table is None else table.as_posix(), space=space)
        for roi, folder in chosen:
            moved = rois if folder == Path() else rois.model_copy(update={"transforms": ()})
            for _, label, share in compare([roi], atlas, moved, Path())[roi.label]:
                value = f"{share:.0%}" if np.isfinite(share) else MISSING
                rows.append((roi.label, f"in {label}", value))
    return rows


def _space_of(path: Path, fallback: str) -> str:
    """Template of an atlas file by its name (`tpl-` or `space-`)."""
    name = bids.parse(path.name)
    entities = {} if name is None else name.entities
    return entities.get("space", entities.get("tpl", fallback))
