"""`conn rois draw`: regions on the template, on an image, or on the mean of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from conn import images, paths, receipts
from conn.config.model import Rois
from conn.errors import ConfigError
from conn.files import atomic
from conn.report import brain, roi_figures, style
from conn.report.brain import Volume
from conn.report.regions_section import panels_of
from conn.rois import atlases, registry
from conn.study import Study

FORMATS = (".png", ".svg", ".pdf")


def draw(
    names: Sequence[str],
    out: Path,
    *,
    config: Study | None = None,
    run: str | None = None,
    image: Path | None = None,
) -> list[Path]:
    """Draw regions in three views; several pages when there are many.

    Parameters
    ----------
    names
        Of the registry, or of the regions of `config`.
    out
        Picture to write: `.png`, `.svg` or `.pdf`.
    config
        Study whose own regions may be named.
    run
        Key or file name of a run of `config`: draw on its mean image.
    image
        Draw on this image, or on its mean over volumes.

    Returns
    -------
    list of Path
        The pictures written.

    Raises
    ------
    ConfigError
        Unknown region or run, or another kind of picture.
    InputError
        An image is missing or damaged.
    """
    if out.suffix not in FORMATS:
        raise ConfigError(f"--output {out.name}: pictures are {', '.join(FORMATS)}")
    rois, folder = (Rois(use=()), Path()) if config is None else (config.config.rois, config.root)
    own = registry.own_labels(rois)
    chosen = [registry.find(label, rois) for label in registry.expand(names, own, "regions")]
    ground, what = _ground(config, run, image)
    panels = panels_of(chosen, folder)
    pages = [panels[i : i + roi_figures.PER_LINE] for i in range(0, len(panels), roi_figures.PER_LINE)]
    written = []
    for number, page in enumerate(pages, start=1):
        path = out if len(pages) == 1 else out.with_name(f"{out.stem}_{number}{out.suffix}")
        with style.look(), atomic(path) as stream:
            figure = roi_figures.three_views(page, ground, what)
            figure.savefig(stream, format=out.suffix[1:], dpi=200)
        written.append(path)
    return written


def _ground(config: Study | None, run: str | None, image: Path | None) -> tuple[Volume, str]:
    if image is not None:
        return mean_image(image), f"on {image.name}"
    if run is None:
        return brain.template(), f"on the template {brain.TEMPLATE} (a drawing ground only)"
    if config is None:
        raise ConfigError("--run needs --config, the study that the run is from")
    keys = {key: key for key in config.runs} | {one.name: key for key, one in config.runs.items()}
    files = {Path(one.bold).name: key for key, one in config.runs.items() if one.bold is not None}
    if run not in keys | files:
        raise ConfigError(f"--run {run}: no such run; {registry.nearest_names(run, sorted(keys))}")
    keys |= files
    return _kept_mean(config, keys[run]) or _own_mean(config, keys[run]), f"on the mean of {run}"


def mean_image(path: Path) -> Volume:
    """Mean of an image over its volumes, one in memory at a time."""
    header = images.read_header(path)
    total = np.zeros(header.grid.shape)
    for values in atlases.volumes_of(header):
        total += values
    return Volume((total / header.volumes).astype(np.float32), header.grid.affine)


def _kept_mean(study: Study, key: str) -> Volume | None:
    """Mean that stage project kept; None when it did not."""
    folder = study.out / paths.project_folder(key)
    receipt = study.out / paths.project_receipt(key)
    if not ((folder / "mean.npy").is_file() and (folder / "voxels.npy").is_file() and receipt.is_file()):
        return None
    numbers = receipts.read(receipt).numbers
    flat = np.full(int(np.prod(numbers["shape"])), np.nan, dtype=np.float32)
    flat[np.load(folder / "voxels.npy")] = np.load(folder / "mean.npy")
    return Volume(flat.reshape(numbers["shape"], order="F"), np.asarray(numbers["affine"], dtype=float))


def _own_mean(study: Study, key: str) -> Volume:
    bold = study.runs[key].bold
    assert bold is not None
    return mean_image(study.absolute(bold))
