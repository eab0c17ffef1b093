"""What ANTs makes of transforms: numbers for tests/test_transforms.py.

    pip install antspyx h5py && python tests/golden/make_transforms.py

The files are written by tests/itk.py; ANTs (antspyx) leads points through them. Printed to
tests/golden/transforms.json.
"""

import json
import sys
import tempfile
from pathlib import Path

import ants
import pandas as pd

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import itk  # noqa: E402 - the helper beside the tests


def main() -> None:
    found = {"antspyx": ants.__version__, "points": itk.POINTS.tolist()}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in itk.write_all(Path(folder)).items():
            lps = itk.POINTS * [-1, -1, 1]
            table = pd.DataFrame(lps, columns=["x", "y", "z"])
            moved = ants.apply_transforms_to_points(3, table, [str(path)], whichtoinvert=[False])
            found[name] = (moved[["x", "y", "z"]].to_numpy() * [-1, -1, 1]).tolist()
    (HERE / "transforms.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
