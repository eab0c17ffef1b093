"""What the package tfce 0.1.0 (exact max-tree in C) makes of a small field: numbers for tests/test_tfce.py.

pip install tfce==0.1.0 && python tests/golden/make_tfce.py > tests/golden/tfce.json
"""

import json

import numpy as np
import tfce
from scipy import ndimage

SHAPE, CONNECTIVITY, E, H = (6, 7, 8), 18, 0.5, 2.0


def main() -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(11).normal(size=SHAPE), 0.8)
    field = np.round(2.0 * noise / noise.std(), 3)
    scores = tfce.tfce(field, connectivity=CONNECTIVITY, E=E, H=H)
    found = {
        "program": f"tfce {tfce.__version__}",
        "shape": SHAPE,
        "connectivity": CONNECTIVITY,
        "E": E,
        "H": H,
    }
    found["values"] = field.ravel(order="F").tolist()
    found["scores"] = [float(f"{v:.7g}") for v in scores.ravel(order="F")]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
