"""Designs of studies, ready to be filled in: models and analyses without a data set.

They are files of `config/presets`: YAML that begins with words on what it is and needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from textwrap import fill

from conn.cohort import did_you_mean
from conn.errors import ConfigError


@dataclass(frozen=True)
class Preset:
    """A design of a study.

    Attributes
    ----------
    name
        Of its file.
    text
        YAML with its comments; the keys of a configuration that are not about a data set.
    """

    name: str
    text: str

    @property
    def about(self) -> str:
        """What it is, from the comment at its head."""
        return self._head[0]

    @property
    def needs(self) -> str:
        """Names of time points, variables and scales that it uses."""
        return self._head[1].removeprefix("Needs: ")

    @property
    def _head(self) -> list[str]:
        lines = takewhile(lambda line: line.startswith("#"), self.text.splitlines())
        return " ".join(line.removeprefix("#").strip() or "\n" for line in lines).split(" \n ")


def names() -> tuple[str, ...]:
    """Names of all presets."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def preset(name: str) -> Preset:
    """A preset by name.

    Raises
    ------
    ConfigError
        There is none of this name.
    """
    if name not in names():
        raise ConfigError(
            f"--preset {name}: is unknown.{did_you_mean(name, names())} Known: {', '.join(names())}"
        )
    return Preset(name, (_folder() / f"{name}.yaml").read_text(encoding="utf-8"))


def listing() -> str:
    """All presets for people."""
    parts = []
    for name in names():
        one = preset(name)
        parts.append(f"{name}\n{_indented(one.about)}\n{_indented(f'Needs: {one.needs}')}")
    return "\n".join(parts)


def _indented(text: str) -> str:
    return fill(text, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)


def _folder() -> Path:
    """Inside the installed package, or in a clone."""
    spec = find_spec("conn")
    assert spec is not None and spec.origin is not None
    package = Path(spec.origin).parent
    for folder in (package / "_presets", package.parents[1] / "config" / "presets"):
        if folder.is_dir():
            return folder
    raise ConfigError("the presets are not installed beside the package; install conn again")
