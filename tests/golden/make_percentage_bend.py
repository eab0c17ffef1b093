"""Percentage bend correlations by pingouin; writes percentage_bend.json beside this file.

python make_percentage_bend.py    (pingouin 0.7.0)

pingouin, like Pernet et al. 2013, takes the floor of 0.8 n as the place of the bend, Wilcox 1994 that of
0.8 n + 0.5. The numbers of people are those where the two agree; R, by Wilcox's definition, has the others.
"""

import json
from pathlib import Path

import numpy as np
import pingouin

rng = np.random.default_rng(20240511)
cases = []
for n, df in ((15, 2), (23, 3), (40, 30), (65, 1)):
    x = rng.standard_t(df, size=n)
    y = 0.5 * x + rng.standard_t(df, size=n)
    cases.append({"x": x.tolist(), "y": y.tolist(), "r": float(pingouin.correlation.percbend(x, y)[0])})
path = Path(__file__).with_name("percentage_bend.json")
path.write_text(json.dumps(cases, indent=1) + "\n")
