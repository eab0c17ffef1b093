"""`make demo`: simulate a small trial with known truth, analyse it, and say where the report is."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from conn.runner import run
from conn.simulate import demo_spec, simulate_cohort
from conn.study import open_study

ROOT = Path(__file__).parents[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=ROOT / "demo")
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    print(f"simulating 24 people, two scans each, into {folder.name}/data …", flush=True)
    shutil.rmtree(folder / "data", ignore_errors=True)
    simulate_cohort(folder / "data", demo_spec(), workers=options.cores)
    simulated = time.perf_counter()
    shutil.copyfile(ROOT / "config" / "demo.yaml", folder / "config.yaml")
    print(f"  {simulated - start:.0f} s; running the workflow …", flush=True)
    study = open_study(folder / "config.yaml")
    status = run(study, options.cores)
    end = time.perf_counter()
    print(f"  {end - simulated:.0f} s; {end - start:.0f} s in all")
    if status == 0:
        print(f"report: {folder.name}/results/report.html")
    return status


if __name__ == "__main__":
    sys.exit(main())
