"""The edge to image files: headers, grids, a streaming reader, and maps written atomically."""

from __future__ import annotations

import gzip
import io
import queue
import threading
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from numpy.typing import NDArray

from conn.errors import InputError, ResourceError
from conn.files import atomic

CORNER_TOLERANCE_MM = 1e-3
READ_AHEAD = 2
"""Panels in memory: one is worked on while the other is filled."""

MAP_COMPRESSION = 2
"""Level of isal: as small as zlib's 4 for maps, in a tenth of its time."""

GZIP_MAGIC = b"\x1f\x8b"
SECONDS = {"sec": 1.0, "msec": 1e-3, "usec": 1e-6}
DAMAGE: tuple[type[Exception], ...] = (gzip.BadGzipFile, zlib.error, cast("type[Exception]", isal_zlib.error))
READABLE = {"uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64"}
UNUSABLE = (HeaderDataError, ImageFileError, KeyError, ValueError, OverflowError)
AGAIN = "Fetch or make the file again."

SMALLEST_OFFSET = 352
"""Where numbers begin in a NIfTI-1 file at the earliest."""

MOST_COMPRESSED = 1040
"""No gzip stream holds more bytes for each of its own."""

SLACK = 1 << 20
"""Bytes by which a short file is left to be found by reading it."""


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
        return self.shape == other.shape and self.distance(other) <= CORNER_TOLERANCE_MM

    def distance(self, other: Grid) -> float:
        """Largest distance of a corner from the same corner of another grid, along an axis, in mm."""
        return float(np.abs(self.corners() - other.corners()).max())


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
        Not there, not gzip, not NIfTI, no orientation, qform against sform, unreadable data type, or a
        header that claims more than the file can hold.
    ResourceError
        The disk failed.
    """
    head = bytearray(348)
    with _open(path) as stream:
        _fill(stream, memoryview(head), path)
    try:
        image = nib.Nifti1Image.header_class.from_fileobj(io.BytesIO(head), check=False)
        header = _header(image, path)
    except UNUSABLE as error:
        raise InputError(f"{path.name}: not a NIfTI-1 image that can be read ({error}). {AGAIN}") from None
    _refuse_impossible(header)
    return header


def _header(image: Any, path: Path) -> Header:
    """Fields of a header; what it holds may be anything."""
    if int(image["sizeof_hdr"]) != 348:
        size = int(image["sizeof_hdr"])
        raise InputError(f"{path.name}: not NIfTI-1 (a header of {size} bytes); convert it to NIfTI-1")
    shape = image.get_data_shape()
    if len(shape) not in {3, 4} or min(shape) < 1:
        raise InputError(f"{path.name}: has shape {shape}; 3 or 4 dimensions are needed")
    dtype = image.get_data_dtype()
    if dtype.newbyteorder("=").name not in READABLE:
        raise InputError(f"{path.name}: holds {dtype}, not plain numbers ({', '.join(sorted(READABLE))})")
    if abs(float(image["pixdim"][0])) != 1:
        image["pixdim"][0] = 1  # as the standard reads any other number
    slope, intercept = image.get_slope_inter()
    return Header(
        path=path,
        grid=Grid((int(shape[0]), int(shape[1]), int(shape[2])), _affine(image, path)),
        volumes=int(shape[3]) if len(shape) == 4 else 1,
        tr=_repetition_time(image),
        dtype=dtype,
        offset=max(int(image["vox_offset"]), SMALLEST_OFFSET),
        slope=1.0 if slope is None else float(slope),
        intercept=0.0 if intercept is None else float(intercept),
    )


def _refuse_impossible(header: Header) -> None:
    """A header that claims more than its file can hold, so that nobody allocates memory for it."""
    held = header.path.stat().st_size
    if header.path.suffix == ".gz":
        held = MOST_COMPRESSED * held
    size = int(np.prod(header.grid.shape)) * header.dtype.itemsize
    if header.offset + size * header.volumes > held + SLACK:
        shape = (*header.grid.shape, header.volumes)
        raise InputError(
            f"{header.path.name}: the header says {shape} of {header.dtype} after {header.offset} bytes, "
            f"more than a file of {header.path.stat().st_size} bytes holds; it ends too early. {AGAIN}"
        )


def _affine(image: Any, path: Path) -> NDArray[np.float64]:
    sform, s_code = image.get_sform(coded=True)
    qform, q_code = image.get_qform(coded=True)
    if not s_code and not q_code:
        raise InputError(
            f"{path.name}: neither sform nor qform is set, so left and right are unknown; set them from the "
            "image that this one was made from"
        )
    if s_code and q_code:
        signs = np.sign(np.linalg.det(sform[:3, :3])), np.sign(np.linalg.det(qform[:3, :3]))
        if signs[0] != signs[1]:
            raise InputError(f"{path.name}: sform and qform disagree about left and right; repair the header")
    affine: NDArray[np.float64] = np.asarray(sform if s_code else qform, dtype=np.float64)
    if not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
        raise InputError(f"{path.name}: its affine has no volume or is not finite; repair the header")
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
    return seconds if 0 < seconds < np.inf else None


@contextmanager
def _open(path: Path) -> Iterator[io.BufferedIOBase]:
    """A decompressing stream; what goes wrong becomes an error that names the file."""
    try:
        if path.suffix == ".gz":
            _refuse_other(path)
            with igzip.open(path, "rb") as stream:
                yield cast("io.BufferedIOBase", stream)
        else:
            with path.open("rb") as plain:
                yield plain
    except EOFError:
        raise InputError(f"{path.name}: the gzip stream is truncated. {AGAIN}") from None
    except DAMAGE as error:
        raise InputError(f"{path.name}: the gzip stream is damaged ({error}). {AGAIN}") from None
    except FileNotFoundError:
        raise InputError(f"{path.name}: the file is not there") from None
    except (PermissionError, IsADirectoryError) as error:
        raise InputError(f"{path.name}: cannot be read ({error.strerror}); correct its permissions") from None
    except OSError as error:
        raise ResourceError(f"{path.name}: reading failed ({error.strerror or error}); try again") from None


def _refuse_other(path: Path) -> None:
    with path.open("rb") as raw:
        if raw.read(2) != GZIP_MAGIC:
            raise InputError(f"{path.name}: ends in .gz but is not gzip data; was it fetched completely?")


def _fill(stream: io.BufferedIOBase, target: memoryview, path: Path) -> None:
    """Read as many bytes as `target` has room for."""
    while len(target):
        got = stream.readinto(target)
        if not got:
            raise InputError(f"{path.name}: the file ends {len(target)} bytes too early. {AGAIN}")
        target = target[got:]


def _values(header: Header, stream: io.BufferedIOBase) -> Iterator[NDArray[Any]]:
    """Volumes as they are stored, of shape (nx * ny * nz,); each overwrites the one before.

    The stream is read to its end, so that the checksum is verified.
    """
    _fill(stream, memoryview(bytearray(header.offset)), header.path)
    volume = np.empty(int(np.prod(header.grid.shape)), dtype=header.dtype)
    for _ in range(header.volumes):
        _fill(stream, volume.view(np.uint8).data, header.path)
        yield volume
    if stream.read(1):
        raise InputError(f"{header.path.name}: holds more data than its header says")


def panels(
    header: Header, voxels: NDArray[np.int64], size: int, read_ahead: int = READ_AHEAD
) -> Generator[NDArray[Any], None, None]:
    """Volumes of an image in panels, decompressed by a thread of its own while the caller works.

    The file is read once and to its end, so that the checksum of the whole stream is verified: only then does
    the last panel mean anything. What is held are `read_ahead` panels of the voxels asked for and one whole
    volume, in the data type of the file.

    Parameters
    ----------
    header
        From `read_header`.
    voxels
        ndarray of shape (n,), flat indices in storage order (the first axis runs fastest).
    size
        Volumes per panel.
    read_ahead
        Panels that are in memory at once, at least 1. It changes how long one waits, never what one gets.

    Yields
    ------
    ndarray of shape (size, n), the last one shorter
        Numbers as they are stored: `header.slope` and `header.intercept` are not applied. Overwritten once
        the next panel is asked for.

    Raises
    ------
    InputError
        Truncated, damaged, or longer than the header says.
    """
    reader = _Reader(header, voxels, size, read_ahead)
    reader.start()
    try:
        yield from reader.panels()
    finally:
        reader.stop()


class _Reader(threading.Thread):
    """Fills panels; `None` among the filled ones is the end, an exception is what went wrong."""

    def __init__(self, header: Header, voxels: NDArray[np.int64], size: int, read_ahead: int) -> None:
        super().__init__(daemon=True)
        self.header, self.voxels, self.size = header, voxels, min(size, header.volumes)
        self.free: queue.SimpleQueue[NDArray[Any]] = queue.SimpleQueue()
        self.filled: queue.SimpleQueue[NDArray[Any] | BaseException | None] = queue.SimpleQueue()
        self.stopped = threading.Event()
        for _ in range(max(read_ahead, 1)):
            self.free.put(np.empty((self.size, voxels.size), dtype=header.dtype))

    def run(self) -> None:
        try:
            self._read()
        except BaseException as error:
            self.filled.put(error)
        else:
            self.filled.put(None)

    def _read(self) -> None:
        with _open(self.header.path) as stream:
            panel, row = self.free.get(), 0
            for volume in _values(self.header, stream):
                if row == self.size:
                    self.filled.put(panel)
                    panel, row = self.free.get(), 0
                if self.stopped.is_set():
                    return
                np.take(volume, self.voxels, out=panel[row], mode="clip")
                row += 1
            self.filled.put(panel[:row])

    def panels(self) -> Iterator[NDArray[Any]]:
        while True:
            found = self.filled.get()
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found
            self.free.put(found)

    def stop(self) -> None:
        """End the thread when the caller wants no more."""
        self.stopped.set()
        self.free.put(np.empty((self.size, 0), dtype=self.header.dtype))
        self.join()


def read_volume(path: Path) -> tuple[Grid, NDArray[np.float32]]:
    """A 3-D image as an array of shape (nx, ny, nz), read to the end of its gzip stream.

    Slope and intercept are applied where they are not trivial.
    """
    header = read_header(path)
    if header.volumes != 1:
        raise InputError(f"{path.name}: has {header.volumes} volumes; one is needed")
    with _open(path) as stream:
        (stored,) = list(_values(header, stream))
    values = stored
    if (header.slope, header.intercept) != (1.0, 0.0):
        values = stored * header.slope + header.intercept
    return header.grid, values.astype(np.float32).reshape(header.grid.shape, order="F")


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
        target.write(igzip.compress(image.to_bytes(), MAP_COMPRESSION, mtime=0))
