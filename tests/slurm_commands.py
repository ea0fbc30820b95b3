"""Stand-ins for SLURM's commands: a job is a session of this machine, its id that of its leader."""

import os

_COMMANDS = {
    "sbatch": """
        if grep -q -- --partition=none "$1"; then
            echo "sbatch: error: invalid partition specified: none" >&2
            exit 1
        fi
        setsid bash -c 'export SLURM_JOB_ID=$$; source "$0"' "$1" </dev/null >/dev/null 2>&1 &
        echo "Submitted batch job $!"
    """,
    "srun": """
        shift 5  # --unbuffered --output FILE --error FILE
        export SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_LOCALID=0
        "$@"
    """,
    "sacct": """
        echo "JobID|State|NodeList"
        for word; do
            [[ $word =~ ^[0-9]+$ ]] || continue
            kill -0 "$word" 2>/dev/null && echo "$word|RUNNING|here" || echo "$word|FAILED|here"
        done
    """,
    "scancel": """
        kill -TERM -- "-$1"
    """,
}


def write_commands(folder):
    """Writes the commands, and gives the PATH on which they are."""
    folder.mkdir()
    for name, script in _COMMANDS.items():
        (folder / name).write_text(f"#!/bin/bash\n{script}")
        (folder / name).chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
