from pathlib import Path

from conn import paths
from conn.digests import code
from conn.study import INDEX, open_study, plain
from conn.locks import hold

if not workflow.configfiles:
    raise WorkflowError(
        "no configuration: add --configfile my.yaml (a commented one: config/config.yaml)"
    )

STUDY = open_study(Path(workflow.configfiles[-1]))
CONFIG = STUDY.config
STUDY.out.mkdir(parents=True, exist_ok=True)
LOCK = hold(STUDY.out)
STUDY.write_index()


workdir: str(STUDY.out)


wildcard_constraints:
    run="[A-Za-z0-9]+",
    model="[A-Za-z0-9]+",
    seed="[A-Za-z0-9]+",
