"""Write what is generated about options and commands; with --check, only compare.

.venv/bin/python scripts/make_config_docs.py
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from conn import cli
from conn.config import docs
from conn.files import write_text
from conn.rois import page

ROOT = Path(__file__).parents[1]


def generated() -> dict[str, str]:
    """Path in the repository → its text."""
    return {
        "config/config.yaml": docs.config_yaml(),
        "config/schema.json": docs.schema_json(),
        "docs/reference/configuration.md": docs.reference_md(),
        "docs/reference/commands.md": docs.commands_md(cli.parser()),
        "docs/reference/regions.md": page.regions_md(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when a file is not up to date"
    )
    check = parser.parse_args().check
    stale = []
    for name, text in generated().items():
        path = ROOT / name
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if not check:
            write_text(path, text)
    for name in stale:
        print(f"{name}: {'not up to date; run scripts/make_config_docs.py' if check else 'written'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
