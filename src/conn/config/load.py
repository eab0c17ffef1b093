"""Reading a configuration so that what reaches conn is what the user wrote."""

from __future__ import annotations

import difflib
import json
import os
import re
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.representer import SafeRepresenter

from conn.config.model import CONTRASTS, PACKAGE, Config
from conn.errors import ConfigError

Location = tuple[str | int, ...]

PLAIN = {
    "tuple_type": "a list is needed, as in [a, b]",
    "dict_type": "keys are needed, as in {key: value}",
    "model_type": "keys are needed, as in {key: value}",
    "model_attributes_type": "keys are needed, as in {key: value}",
    "string_type": "a text is needed",
    "int_type": "a whole number is needed",
    "float_type": "a number is needed",
    "bool_type": "true or false is needed",
    "too_short": "more values are needed",
    "too_long": "fewer values are needed",
}
"""What some messages of pydantic are in the words of a configuration file."""

UNQUOTED = re.compile(r"[A-Za-z0-9_./+-][A-Za-z0-9_./+ -]*[A-Za-z0-9_./+-]|[A-Za-z0-9_./+-]")
"""Texts that may stand without quotes, unless they would be read as something else, as `007` would."""

PATTERNS = {
    "^[A-Za-z][A-Za-z0-9]*$": "letters and digits only, a letter first",
    "^[A-Za-z][A-Za-z0-9_]*$": "letters, digits and _ only, a letter first",
    "^[a-z]+$": "small letters only",
}
"""What the patterns of names mean."""

BRANCH_ERRORS = frozenset({"string_type", "literal_error", "tuple_type"})
"""What a member of a union says when another member was meant."""


@dataclass(frozen=True)
class Written:
    """A scalar as it stands in the file."""

    text: str
    line: int


def load(path: Path) -> Config:
    """Read and validate a configuration file.

    Parameters
    ----------
    path
        A YAML 1.2 file.

    Returns
    -------
    Config

    Raises
    ------
    ConfigError
        File, line, key, value and what is allowed, for every mistake found.
    """
    data, written = _parse(path)
    try:
        return Config.model_validate_json(json.dumps(data))
    except ValidationError as error:
        found = [dict(e) for e in error.errors(include_url=False)]
        lines = [_explain(e, data, written) for e in _most_telling(found, data)]
        raise ConfigError("\n".join(f"{path}: {line}" for line in lines)) from None


def dump(config: Config, base: Path, target: Path) -> str:
    """The resolved configuration as YAML text, with paths relative to the folder `target`.

    Parameters
    ----------
    config
        A validated configuration.
    base
        Folder that its paths are relative to.
    target
        Folder that the new file will stand in.
    """
    data = config.model_dump(mode="json")

    def moved(path: str) -> str:
        if path.startswith(PACKAGE):
            return path
        return Path(os.path.relpath(base / path, target)).as_posix()

    data["out"] = moved(data["out"])
    for dataset in data["datasets"].values():
        dataset["bids_dir"] = moved(dataset["bids_dir"])
        if dataset["derivatives"] is not None:
            dataset["derivatives"] = moved(dataset["derivatives"])
    rois = data["rois"]
    for section in (*rois["custom"].values(), *rois["atlases"].values(), *rois["reference"].values()):
        for key in ("mask", "probability", "peak", "image", "table"):
            if section.get(key) is not None:
                section[key] = moved(section[key])
    for transform in rois["transforms"]:
        transform["file"] = moved(transform["file"])
    if data["report"]["truth"] is not None:
        data["report"]["truth"] = moved(data["report"]["truth"])
    return to_yaml(data)


class _Representer(SafeRepresenter):
    """Quotes texts with unusual characters: within brackets, some of them (`?0`) do not survive unquoted."""

    def represent_str(self, data: str) -> ScalarNode:
        style = None if UNQUOTED.fullmatch(data) else '"'
        node: ScalarNode = self.represent_scalar("tag:yaml.org,2002:str", data, style=style)
        return node


_Representer.add_representer(str, _Representer.represent_str)


def to_yaml(data: Any) -> str:
    """Plain data as YAML 1.2 in which every text that could be misread is quoted."""
    from io import StringIO

    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    stream = StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def _parse(path: Path) -> tuple[dict[str, Any], dict[Location, Written]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such configuration file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8 text") from None
    yaml = YAML(typ="safe", pure=True)
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}, line {line}: not YAML: {error.problem}") from None
    except YAMLError as error:
        raise ConfigError(f"{path}: not YAML: {error}") from None
    if not isinstance(root, MappingNode):
        raise ConfigError(f"{path}: expected keys such as `datasets:` at the top level")
    written: dict[Location, Written] = {}
    try:
        data = _construct(root, (), written, path)
    except RecursionError:
        raise ConfigError(f"{path}: an alias (*name) contains itself") from None
    if "__use_yte__" in data:
        raise ConfigError(f"{path}: __use_yte__ is refused: a configuration is data, not a program")
    return data, written


def _construct(node: Node, location: Location, written: dict[Location, Written], path: Path) -> Any:
    line = node.start_mark.line + 1
    written[location] = Written(str(node.value) if isinstance(node, ScalarNode) else "", line)
    if isinstance(node, MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                raise ConfigError(f"{path}, line {key_node.start_mark.line + 1}: a key must be a single word")
            key = str(key_node.value)
            if key in result:
                raise ConfigError(f"{path}, line {key_node.start_mark.line + 1}: key {key!r} is there twice")
            result[key] = _construct(value_node, (*location, key), written, path)
        return result
    if isinstance(node, SequenceNode):
        return [_construct(item, (*location, i), written, path) for i, item in enumerate(node.value)]
    return _scalar(node)


def _scalar(node: Node) -> Any:
    kind = str(node.tag).rsplit(":", 1)[-1]
    text = str(node.value)
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    try:
        if kind == "int":
            return int(text.replace("_", ""), 0) if not text.lstrip("+-").startswith("0") else int(text)
        if kind == "float":
            return float(text.replace("_", ""))
    except ValueError:
        return text
    return text


def _most_telling(errors: list[dict[str, Any]], data: Any) -> list[dict[str, Any]]:
    """One error per key: of what each member of a union says, the deepest, then the plainest."""
    places = [_in_file(e, data) for e in errors]
    chosen: dict[Location, dict[str, Any]] = {}
    for error, place in zip(errors, places, strict=True):
        deeper = any(other[: len(place)] == place and len(other) > len(place) for other in places)
        if deeper and error["type"] in BRANCH_ERRORS:
            continue
        rival = chosen.get(place)
        if rival is None or _plainness(error) < _plainness(rival):
            chosen[place] = error
    return list(chosen.values())


def _plainness(error: dict[str, Any]) -> int:
    order = ("string_type", "literal_error")
    return order.index(error["type"]) if error["type"] in order else len(order)


def _explain(error: dict[str, Any], data: Any, written: dict[Location, Written]) -> str:
    location = _in_file(error, data)
    key = _dotted(location)
    place = written.get(location)
    where = f"line {place.line}: " if place else ""
    kind, value = error["type"], error["input"]
    if kind == "extra_forbidden":
        known = _keys_beside(error["loc"])
        near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(known))}"
        return f"{where}{key}: unknown key; {hint}"
    if kind == "missing" and isinstance(location[-1], int):
        return f"{where}{_dotted(location[:-1])}: {location[-1] + 1} values are needed"
    if kind == "missing":
        return f"{key}: this key is needed"
    if kind == "union_tag_not_found":
        return f"{where}{key}.design: this key is needed; allowed are {', '.join(map(repr, CONTRASTS))}"
    if kind == "union_tag_invalid":
        return f"{where}{key}.design = {value['design']!r}: allowed are {error['ctx']['expected_tags']}"
    if kind == "string_type" and place and isinstance(value, (bool, int, float)):
        return f"{where}{key}: {place.text} was read as {_kind(value)}; write it in quotes: '{place.text}'"
    if kind == "literal_error":
        return f"{where}{key} = {value!r}: allowed are {error['ctx']['expected']}"
    pattern = PATTERNS.get(str(error.get("ctx", {}).get("pattern")))
    message = PLAIN.get(kind) or pattern or error["msg"].removeprefix("Value error, ")
    shown = f" = {value!r}" if isinstance(value, (str, int, float, bool)) else ""
    return f"{where}{key}{shown}: {message[0].lower()}{message[1:]}"


def _kind(value: object) -> str:
    return "true/false" if isinstance(value, bool) else "a number"


def _in_file(error: dict[str, Any], data: Any) -> Location:
    """Location in the file: without what pydantic adds (names of union members, discriminators)."""
    kept: list[str | int] = []
    passed: Any = None
    for position, part in enumerate(error["loc"]):
        if isinstance(data, dict) and data is not passed and part == data.get("design"):
            passed = data  # the discriminator, though a key may have its name
            continue
        absent = error["type"] == "missing" and position == len(error["loc"]) - 1
        if isinstance(data, dict) and isinstance(part, str) and (part in data or absent):
            kept.append(part)
            data = data.get(part)
        elif isinstance(data, list) and isinstance(part, int):
            kept.append(part)
            data = data[part] if part < len(data) else None
    return tuple(kept)


def _dotted(location: Location) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".") or "(top level)"


def _keys_beside(location: Location) -> set[str]:
    """Field names that would have been allowed where an unknown key stands."""
    found: list[type[BaseModel]] = [Config]
    for part in location[:-1]:
        following = [m for model in found for m in _step(model, part)]
        found = following or found
    return {name for model in found for name in model.model_fields}


def _step(model: type[BaseModel], part: str | int) -> list[type[BaseModel]]:
    field = model.model_fields.get(part) if isinstance(part, str) else None
    if field is not None:
        return list(_models_in(field.annotation))
    tags = [f.annotation for name, f in model.model_fields.items() if name == "design"]
    return [model] if any(part in typing.get_args(tag) for tag in tags) else []


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel):
            yield annotation
        return
    for inner in typing.get_args(annotation):
        yield from _models_in(inner)
