"""What tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ("simulated",)
"""Fixtures of simulated studies."""


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; tests that need it skip when it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("real data is not beside this checkout (../shared/data)")
    return folder
