"""ComBat by neuroCombat, an independent implementation (`pip install --target PEERS neuroCombat`).

Run: PYTHONPATH=PEERS python make_combat.py > combat.json
"""

import contextlib
import io
import json

import numpy as np
import pandas as pd
from neuroCombat import neuroCombat

rng = np.random.default_rng(5)
site = np.repeat(["a", "b", "c"], [8, 11, 6])
shift = {"a": 0.0, "b": 0.6, "c": -0.4}
spread = {"a": 1.0, "b": 1.7, "c": 0.6}
noise = rng.normal(size=(25, 7))
values = np.array([noise[i] * spread[s] + shift[s] for i, s in enumerate(site)]) * np.arange(1, 8) + 3
values = values.round(4)
with contextlib.redirect_stdout(io.StringIO()):
    made = neuroCombat(values.T, pd.DataFrame({"site": site}), "site")
print(json.dumps({"values": values.tolist(), "site": site.tolist(), "combat": made["data"].T.tolist()}))
