"""The edge to image files: headers, grids, a streaming reader, and maps written atomically."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import nibabel as nib
import numpy as np
from isal import igzip_threaded, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from conn.errors import InputError
from conn.files import atomic

CORNER_TOLERANCE_MM = 1e-3
GZIP_MAGIC = b"\x1f\x8b"
SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
DAMAGE: tuple[type[Exception], ...] = (gzip.BadGzipFile, zlib.error, cast("type[Exception]", isal_zlib.error))
READABLE = {"uint8", "int8", "int16", "uint16", "int32", "uint32", "float32", "float64"}


@dataclass(frozen=True)
class Grid:
    """Shape and affine (voxel to mm) of an image in space."""

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]

    @property
    def voxel_mm(self) -> NDArray[np.float64]:
        """Voxel sizes in mm, ndarray of shape (3,)."""
        size: NDArray[np.float64] = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return size

    @property
    def voxel_volume(self) -> float:
        """Volume of a voxel in mm³."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    def corners(self) -> NDArray[np.float64]:
        """Centres of the eight corner voxels in mm, ndarray of shape (8, 3)."""
        ends = np.stack(np.meshgrid(*[(0, n - 1) for n in self.shape], indexing="ij"), axis=-1)
        return ends.reshape(-1, 3) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def matches(self, other: Grid) -> bool:
        """Same shape, and corners within 1e-3 mm (affines are not compared as floats)."""
        if self.shape != other.shape:
            return False
        return bool(np.abs(self.corners() - other.corners()).max() <= CORNER_TOLERANCE_MM)


@dataclass(frozen=True)
class Header:
    """What is needed to stream an image."""

    path: Path
    grid: Grid
    volumes: int
    tr: float | None
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float


def read_header(path: Path) -> Header:
    """Read and check the header of a NIfTI image.

    Parameters
    ----------
    path
        `.nii` or `.nii.gz`.

    Returns
    -------
    Header
        `tr` in seconds, None when the header has none.

    Raises
    ------
    InputError
        Not there, not gzip, not NIfTI, no orientation, qform against sform, unreadable data type.
    """
    try:
        with _open(path) as stream:
            head = io.BytesIO(_exactly(stream, 348, path))
            image = nib.Nifti1Image.header_class.from_fileobj(head, check=False)
    except FileNotFoundError:
        raise InputError(f"{path.name}: the file is not there") from None
    except (HeaderDataError, ImageFileError, ValueError) as error:
        raise InputError(f"{path.name}: not a NIfTI image ({error})") from None
    if int(image["sizeof_hdr"]) != 348:
        raise InputError(f"{path.name}: not a NIfTI-1 image (header of {int(image['sizeof_hdr'])} bytes)")
    shape = image.get_data_shape()
    if len(shape) not in {3, 4} or min(shape) < 1:
        raise InputError(f"{path.name}: has shape {shape}; 3 or 4 dimensions are needed")
    dtype = image.get_data_dtype()
    if dtype.newbyteorder("=").name not in READABLE:
        raise InputError(f"{path.name}: holds {dtype}, not plain numbers ({', '.join(sorted(READABLE))})")
    slope, intercept = image.get_slope_inter()
    return Header(
        path=path,
        grid=Grid((int(shape[0]), int(shape[1]), int(shape[2])), _affine(image, path)),
        volumes=int(shape[3]) if len(shape) == 4 else 1,
        tr=_repetition_time(image),
        dtype=dtype,
        offset=max(int(image["vox_offset"]), 348),
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
    )


def _affine(image: Any, path: Path) -> NDArray[np.float64]:
    sform, s_code = image.get_sform(coded=True)
    qform, q_code = image.get_qform(coded=True)
    if not s_code and not q_code:
        raise InputError(f"{path.name}: neither sform nor qform is set, so left and right are unknown")
    if s_code and q_code:
        signs = np.sign(np.linalg.det(sform[:3, :3])), np.sign(np.linalg.det(qform[:3, :3]))
        if signs[0] != signs[1]:
            raise InputError(f"{path.name}: sform and qform disagree about left and right; repair the header")
    affine: NDArray[np.float64] = np.asarray(sform if s_code else qform, dtype=np.float64)
    return affine


def _repetition_time(image: Any) -> float | None:
    if len(image.get_data_shape()) < 4:
        return None
    try:
        unit = image.get_xyzt_units()[1]
    except KeyError:
        unit = "unknown"
    seconds = float(image["pixdim"][4]) * SECONDS.get(unit, 1.0)
    if unit not in SECONDS and seconds > 100:
        seconds /= 1000.0
    return seconds if seconds > 0 else None


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    """A decompressing stream; damage becomes an InputError that names the file."""
    if path.suffix != ".gz":
        with path.open("rb") as plain:
            yield plain
        return
    with path.open("rb") as raw:
        if raw.read(2) != GZIP_MAGIC:
            raise InputError(f"{path.name}: ends in .gz but is not gzip data; was it fetched completely?")
    try:
        with igzip_threaded.open(path, "rb", threads=1) as stream:
            yield stream
    except EOFError:
        raise InputError(f"{path.name}: the gzip stream is truncated; fetch the file again") from None
    except DAMAGE as error:
        raise InputError(f"{path.name}: the gzip stream is damaged ({error}); fetch the file again") from None


def _exactly(stream: IO[bytes], size: int, path: Path) -> bytes:
    parts = []
    while size > 0:
        part = stream.read(size)
        if not part:
            raise InputError(f"{path.name}: the file ends {size} bytes too early; fetch it again")
        parts.append(part)
        size -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def stream(header: Header, voxels: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """Volumes of an image one after the other, read to the end so that the checksum is verified.

    Parameters
    ----------
    header
        From `read_header`.
    voxels
        ndarray of shape (n,), flat indices in storage order (the first axis runs fastest).

    Yields
    ------
    ndarray of shape (n,), float32
        Values in units of the image (slope and intercept applied in float64 where they are not trivial).

    Raises
    ------
    InputError
        Truncated, damaged, or longer than the header says.
    """
    size = int(np.prod(header.grid.shape))
    scaled = (header.slope, header.intercept) != (1.0, 0.0)
    with _open(header.path) as source:
        _exactly(source, header.offset, header.path)
        for _ in range(header.volumes):
            raw = np.frombuffer(_exactly(source, size * header.dtype.itemsize, header.path), header.dtype)
            values = raw[voxels]
            if scaled:
                values = values * header.slope + header.intercept
            yield values.astype(np.float32)
        rest = len(source.read(1 << 20))
        if rest:
            raise InputError(f"{header.path.name}: holds more data than its header says")


def read_volume(path: Path) -> tuple[Grid, NDArray[np.float32]]:
    """A 3-D image as an array of shape (nx, ny, nz), read to the end of its gzip stream."""
    header = read_header(path)
    if header.volumes != 1:
        raise InputError(f"{path.name}: has {header.volumes} volumes; one is needed")
    flat = next(iter(_all(header)))
    return header.grid, flat.reshape(header.grid.shape, order="F")


def _all(header: Header) -> list[NDArray[np.float32]]:
    return list(stream(header, np.arange(int(np.prod(header.grid.shape)))))


def write_map(path: Path, grid: Grid, values: NDArray[np.floating]) -> None:
    """Write a float32 map atomically, byte for byte the same for the same values.

    Parameters
    ----------
    path
        `.nii.gz`.
    grid
        Its shape and affine.
    values
        ndarray of shape (nx, ny, nz).
    """
    image = nib.Nifti1Image(np.asarray(values, dtype=np.float32), grid.affine)
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(grid.affine, code=4)
    image.set_qform(grid.affine, code=4, strip_shears=True)
    with atomic(path) as target:
        target.write(gzip.compress(image.to_bytes(), compresslevel=4, mtime=0))
