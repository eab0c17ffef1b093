"""Names of atlas regions become ids, once, before anything else looks at the configuration.

From then on a label stands for an id, never for a place in a list; the resolved configuration shows both.
"""

from __future__ import annotations

from pathlib import Path

from conn import images
from conn.config.model import PACKAGE, Atlas, Config
from conn.errors import ConfigError, ConnError
from conn.rois import labels, sources


def bind(config: Config, folder: Path, path: Path) -> Config:
    """Put ids in the place of names in `rois.atlases`.

    Parameters
    ----------
    config
        A configuration that is valid by itself.
    folder
        Folder that its paths are relative to.
    path
        Its file, for messages.

    Returns
    -------
    Config
        `regions` of every atlas is a mapping of labels to ids; `space` and `source` are filled in.

    Raises
    ------
    ConfigError
        A file is missing, a name is unknown, or a table is no bijection of ids and names.
    """
    bound, problems = {}, []
    for name, atlas in config.rois.atlases.items():
        try:
            bound[name] = _bind(atlas, folder)
        except ConnError as error:
            problems.append(f"{path}: rois.atlases.{name}: {error}")
    if problems:
        raise ConfigError("\n".join(problems))
    if not bound:
        return config
    rois = config.rois.model_copy(update={"atlases": bound})
    return config.model_copy(update={"rois": rois})


def _bind(atlas: Atlas, folder: Path) -> Atlas:
    image = sources.locate(atlas.image, folder)
    if not image.is_file():
        raise ConfigError(
            f"image: there is no file {atlas.image!r}. Paths are relative to the configuration file."
        )
    volumes = images.read_header(image).volumes
    graded = atlas.threshold is not None or atlas.weights
    if volumes > 1 and not graded:
        raise ConfigError(
            f"{atlas.image} has {volumes} volumes of probabilities; say threshold (a region is where p is at "
            "least that) or weights: true"
        )
    if volumes == 1 and graded:
        raise ConfigError(
            f"{atlas.image} is a single volume, so threshold and weights do not apply to its labels; a "
            "single probability map belongs in rois.custom.LABEL.probability"
        )
    return atlas.model_copy(
        update={
            "regions": _ids(atlas, folder),
            "space": atlas.space or sources.space_of(atlas.image),
            "source": atlas.source
            or (sources.citation_of(atlas.image) if atlas.image.startswith(PACKAGE) else None),
        }
    )


def _ids(atlas: Atlas, folder: Path) -> dict[str, int]:
    known = table_of(atlas.image, atlas.table, folder)
    wanted = atlas.regions
    if isinstance(wanted, dict):
        return {label: _id(value, known) for label, value in wanted.items()}
    if known is None:
        raise ConfigError("table: names or `all` need the atlas's table of ids and names, or say `label: id`")
    return labels.bind(known, wanted)


def _id(value: str | int, known: dict[int, str] | None) -> int:
    if known is None:
        if isinstance(value, int):
            return value
        raise ConfigError(f"table: the name {value!r} needs the atlas's table of ids and names")
    return next(iter(labels.bind(known, (value,)).values()))


def table_of(image: str, table: str | None, folder: Path) -> dict[int, str] | None:
    """Id → name of an atlas; None when it has no table.

    Parameters
    ----------
    image, table
        As in the configuration.
    folder
        Folder that they are relative to.

    Raises
    ------
    InputError
        The table is missing, or no bijection of ids and names.
    """
    if table is not None:
        return labels.read_labels(sources.locate(table, folder))
    return labels.read_labels(sources.table_of(image)) if image.startswith(PACKAGE) else None
