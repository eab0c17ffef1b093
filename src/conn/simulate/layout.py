"""Files of simulated derivatives: the names of fMRIPrep, NIfTI images, sidecars."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import nibabel as nib
import numpy as np
import pandas as pd
from isal import igzip
from numpy.typing import NDArray

from conn import __version__
from conn.bids import build
from conn.confounds import metadata_file
from conn.files import atomic, write_json
from conn.simulate.anatomy import Anatomy, FloatMap
from conn.tables import write_tsv

GENERATOR = "conn simulate"
SLOPE = 0.5
"""Image units per integer step; small against noise, large enough for files to compress."""

_LEVEL = 1
_TEMPLATE = 4


@dataclass(frozen=True)
class RunFiles:
    """Where the files of one run go, relative to the derivatives folder."""

    bold: PurePosixPath
    mask: PurePosixPath
    confounds: PurePosixPath


def func_folder(entities: Mapping[str, str]) -> PurePosixPath:
    """``sub-XX/func`` or ``sub-XX/ses-YY/func``."""
    session = [f"ses-{entities['ses']}"] if "ses" in entities else []
    return PurePosixPath(f"sub-{entities['sub']}", *session, "func")


def run_files(entities: Mapping[str, str], space: str, res: str | None) -> RunFiles:
    """Names that fMRIPrep 23 and 24 give.

    Parameters
    ----------
    entities
        Of the raw image: sub, ses, task, run …
    space, res
        Template and, when it was asked for, resolution.
    """
    folder = func_folder(entities)
    placed = {**entities, "space": space, **({} if res is None else {"res": res})}
    return RunFiles(
        bold=folder / build({**placed, "desc": "preproc"}, "bold", ".nii.gz"),
        mask=folder / build({**placed, "desc": "brain"}, "mask", ".nii.gz"),
        confounds=folder / build({**entities, "desc": "confounds"}, "timeseries", ".tsv"),
    )


def write_bold(path: Path, anatomy: Anatomy, n_volumes: int, tr: float, chunks: Iterable[FloatMap]) -> None:
    """Write a 4D image while it is made; int16 with a slope.

    Parameters
    ----------
    path
        The `.nii.gz`; bytes hold neither its name nor the time.
    anatomy
        The grid.
    n_volumes, tr
        Length and repetition time in s.
    chunks
        ndarrays of shape (some volumes, n_active), float32.
    """
    header = _header(anatomy, np.int16, (*anatomy.shape, n_volumes), tr, SLOPE)
    size = int(np.prod(anatomy.shape))
    with atomic(path) as raw, _gzip(raw) as stream:
        stream.write(header)
        for chunk in chunks:
            volumes = np.zeros((len(chunk), size), dtype=np.int16)
            volumes[:, anatomy.active] = np.rint(chunk / np.float32(SLOPE))
            stream.write(volumes.tobytes())


def write_mask(path: Path, anatomy: Anatomy, mask: NDArray[np.bool_]) -> None:
    """Write a brain mask as uint8; `mask` has shape (n_active,)."""
    volume = np.zeros(int(np.prod(anatomy.shape)), dtype=np.uint8)
    volume[anatomy.active] = mask
    with atomic(path) as raw, _gzip(raw) as stream:
        stream.write(_header(anatomy, np.uint8, anatomy.shape, 1.0, 1.0))
        stream.write(volume.tobytes())


def write_tissues(folder: Path, anatomy: Anatomy, people: Iterable[str], space: str, res: str | None) -> None:
    """Write the tissue maps of everybody, the same for all, where fMRIPrep puts those of several sessions.

    Parameters
    ----------
    folder
        Derivatives.
    anatomy
        Tissue on its grid.
    people
        Subject labels.
    space, res
        As in `run_files`.
    """
    content = {
        tissue: _tissue(anatomy, values)
        for tissue, values in (("GM", anatomy.gm), ("WM", anatomy.wm), ("CSF", anatomy.csf))
    }
    for person in people:
        placed = {"sub": person, "space": space, **({} if res is None else {"res": res})}
        for tissue, image in content.items():
            name = build({**placed, "label": tissue}, "probseg", ".nii.gz")
            with atomic(folder / f"sub-{person}" / "anat" / name) as stream:
                stream.write(image)


def _tissue(anatomy: Anatomy, values: FloatMap) -> bytes:
    """A probability map as a compressed image of bytes with a slope."""
    volume = np.zeros(int(np.prod(anatomy.shape)), dtype=np.uint8)
    volume[anatomy.active] = np.rint(values * 255)
    header = _header(anatomy, np.uint8, anatomy.shape, 1.0, 1 / 255)
    return bytes(igzip.compress(header + volume.tobytes(), _LEVEL, mtime=0))


def write_confounds(path: Path, table: pd.DataFrame, components: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a confounds table and its sidecar, with the metadata of its components."""
    write_tsv(path, table)
    methods = {name: {"Method": "Mean"} for name in ("csf", "csf_wm", "global_signal", "white_matter")}
    write_json(metadata_file(path), {**methods, **components})


def write_sidecar(image: Path, content: Mapping[str, Any]) -> None:
    """Write the JSON beside a `.nii.gz`."""
    write_json(image.with_name(image.name.removesuffix(".nii.gz") + ".json"), dict(content))


def write_description(folder: Path, name: str, about: str, source: str | None = None) -> None:
    """`dataset_description.json` that says plainly what made the data.

    Parameters
    ----------
    folder
        Root of the data set.
    name
        Its name.
    about
        A sentence for GeneratedBy.
    source
        Raw data set, for derivatives.
    """
    content: dict[str, Any] = {
        "Name": name,
        "BIDSVersion": "1.9.0",
        "DatasetType": "raw" if source is None else "derivative",
        "License": "CC0",
        "GeneratedBy": [{"Name": GENERATOR, "Version": __version__, "Description": about}],
    }
    if source is not None:
        content["DatasetLinks"] = {"raw": source}
    write_json(folder / "dataset_description.json", content)


def truncate(path: Path, share: float = 0.6) -> None:
    """Cut a file short, as a full disk or a broken transfer does."""
    data = path.read_bytes()
    with atomic(path) as stream:
        stream.write(data[: int(len(data) * share)])


def _gzip(raw: IO[bytes]) -> IO[bytes]:
    stream: IO[bytes] = igzip.IGzipFile("", "wb", _LEVEL, fileobj=raw, mtime=0)
    return stream


def _header(anatomy: Anatomy, dtype: Any, shape: tuple[int, ...], tr: float, slope: float) -> bytes:
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(shape)
    header.set_sform(anatomy.affine, _TEMPLATE)
    header.set_qform(anatomy.affine, _TEMPLATE)
    header.set_xyzt_units("mm", "sec")
    header.set_slope_inter(slope, 0.0)
    if len(shape) == 4:
        header["pixdim"][4] = tr
    header["magic"] = b"n+1"
    header["vox_offset"] = 352
    return bytes(header.binaryblock) + bytes(4)
