"""Nothing that a licence forbids is in the repository: coordinates and code that draws them, no maps."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

MAPS = (
    ".nii", ".nii.gz", ".mgz", ".mgh", ".gii", ".cii", ".img", ".hdr", ".label", ".annot", ".h5",
    ".hdf5", ".mat", ".npz", ".npy", ".pkl", ".pickle", ".trk", ".tck", ".zip", ".tar", ".gz",
    ".xz", ".bz2", ".mnc",
)  # fmt: skip
"""Files in which an atlas, an image or an archive of them could hide."""

TEXT = (
    ".py", ".pyi", ".md", ".rst", ".toml", ".yaml", ".yml", ".json", ".tsv", ".smk", ".j2", ".css", ".cfg",
    ".txt", ".lock", ".cff", ".R", ".m", ".sh", ".html",
)  # fmt: skip

FORBIDDEN = (
    "Brainstem Navigator", "JuBrain", "Julich", "AAL3", "FSL atlases", "Harvard-Oxford", "THOMAS", "CIT168",
)  # fmt: skip
"""May be named, and their centroids quoted; no copy of them, nor a file derived from one, may be here."""


def tracked() -> list[str]:
    made = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip("not a git checkout: what is part of the repository cannot be listed")
    return [name for name in made.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_of_the_repository_is_of_a_kind_that_holds_maps():
    assert [name for name in tracked() if name.endswith(MAPS)] == []


def test_every_other_file_is_text_or_a_picture_of_the_documentation():
    others = [name for name in tracked() if not name.endswith(TEXT)]
    pictures = [name for name in others if name.endswith((".png", ".svg"))]
    assert [name for name in pictures if not name.startswith("docs/")] == []
    plain = set(others) - set(pictures)
    known = {"LICENSE", "Makefile", "Snakefile", "run", ".gitignore", ".importlinter", "py.typed"}
    assert {Path(name).name for name in plain} <= known


def test_no_text_file_is_a_table_of_voxels():
    """A map written as text would be long rows or thousands of rows of numbers; the tables here are short."""
    for name in tracked():
        if name.endswith(".tsv"):
            lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
            assert len(lines) < 500 and max(map(len, lines)) < 2000, name


def test_where_a_forbidden_atlas_is_named_it_is_named_only():
    """The registry holds one shape for each of their regions; many would trace the map."""
    rows = (ROOT / "src/conn/rois/registry.tsv").read_text(encoding="utf-8").splitlines()[1:]
    for atlas in FORBIDDEN:
        naming = [row.split("\t") for row in rows if atlas.lower() in row.lower()]
        assert all(len(re.findall(r"-?\d+(?:\.\d+)?", " ".join(row[4:7]))) == 3 for row in naming), atlas
        assert max(Counter(row[1] for row in naming).values(), default=0) <= 1, atlas
    assert any("Brainstem Navigator" in row for row in rows), "the list is of names that occur"
