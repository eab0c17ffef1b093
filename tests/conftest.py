"""What tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conn.errors import ConnError
from conn.report import regions_section
from conn.report.contract import Outputs
from conn.report.style import Picture
from conn.rois import on_grid, registry

pytest_plugins = ("simulated",)
"""Fixtures of simulated studies."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; tests that need it skip when it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data is not beside this checkout (../shared/data)")
    return folder


@pytest.fixture(scope="session", autouse=True)
def regions_are_drawn_once() -> Iterator[None]:
    """Pictures of regions follow from regions and template alone: a worker draws each set once.

    Two thirds of the time of a report are these pictures, and most tests of reports are not about them.
    """
    drawn: dict[str, list[tuple[Picture, dict[str, bytes]]]] = {}
    draw = regions_section._views

    def views(folder: Path, outputs: Outputs) -> Iterator[Picture]:
        rois = outputs.config.rois
        key = f"{rois.model_dump_json()} {usable(outputs)}"
        if key not in drawn:
            made = list(draw(folder, outputs))
            drawn[key] = [
                (one, {path.name: path.read_bytes() for path in folder.glob(f"{one.name}.*")}) for one in made
            ]
        for picture, files in drawn[key]:
            for name, content in files.items():
                (folder / name).write_bytes(content)
            yield picture

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(regions_section, "_views", views)
        yield


def usable(outputs: Outputs) -> list[str]:
    """What each region is made of, as far as its image is there."""
    found = []
    for roi in registry.regions(outputs.config.rois):
        try:
            field = on_grid.field_of(roi, outputs.out)
        except ConnError:
            continue
        found.append(f"{roi.label} {roi.status} {field.middle()}")
    return found


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share what their module makes once go to one worker, so that it is made once."""
    for item in items:
        info = getattr(item, "_fixtureinfo", None)
        if info is None or item.get_closest_marker("xdist_group"):
            continue
        scopes = {one.scope for several in info.name2fixturedefs.values() for one in several}
        if "module" in scopes:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
