from pathlib import Path

from conn import memory, paths
from conn.digests import code
from conn.errors import ConnError
from conn.locks import hold
from conn.study import INDEX, open_workflow, plain

try:
    STUDY = open_workflow(workflow.configfiles, workflow.config_settings.config)
except ConnError as error:
    raise WorkflowError(str(error)) from None

CONFIG = STUDY.config
LOCK = hold(STUDY.out)


def calls(module, script):
    """Digest of what a rule calls; worked out only for jobs that are looked at."""
    file = (
        Path(workflow.current_basedir.get_path_or_uri(secret_free=True))
        / f"../scripts/{script}.py"
    )
    return lambda wildcards: code(module, file)


def upto(stage):
    """Files of a stage and of all before it.

    All of them are asked for, not only the last: Snakemake passes over a missing
    file whose successors are there, and that is what a failed job leaves behind.
    """
    stages = list(STUDY.products)
    wanted = stages[: stages.index(stage) + 1]
    return [file for name in wanted for file in STUDY.products[name]]


workdir: str(STUDY.out)


wildcard_constraints:
    run="[A-Za-z0-9]+",
    model="[A-Za-z0-9]+",
    seed="[A-Za-z0-9]+",
    analysis="[A-Za-z0-9]+",
