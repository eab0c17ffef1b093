"""Oracle numbers for t_to_z, in 60 digits. Needs mpmath. Run: python make_t_to_z.py > t_to_z.json."""

import json

import mpmath as mp

mp.mp.dps = 60


def deviate(t: float, df: float) -> float:
    """The normal deviate whose upper tail is that of t."""
    t, df = mp.mpf(t), mp.mpf(df)
    tail = mp.betainc(df / 2, mp.mpf(1) / 2, 0, df / (df + t * t), regularized=True) / 2
    start = mp.sqrt(df * mp.log1p(t * t / df))

    def distance(z: mp.mpf) -> mp.mpf:
        return mp.log(mp.erfc(z / mp.sqrt(2)) / 2) - mp.log(tail)

    return float(mp.findroot(distance, (start * mp.mpf("0.9"), start)))


cases = [
    [t, df, deviate(t, df)]
    for df in (1, 2, 2.5, 4.7, 8, 13.3, 25, 58, 200, 1000, 5000)
    for t in (0.1, 0.7, 1.6, 2.5, 4, 6, 9, 15, 25, 40, 50)
]
print(json.dumps(cases, indent=0))
