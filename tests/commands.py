"""Commands of seconds, in this process or one of their own, and what they leave."""

import subprocess
import sys

from mmjax.cli import main
from mmjax.storage.jsonl import read_rows

TINY = ("--task", "synthetic", "--options", "size=200", "--batch-size", "20", "--steps", "20")
COMPARE = (*TINY, "--fusions", "concat", "--seeds", "2")


def run(*arguments):
    """The exit code of a command."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code
    return 0


def command(*arguments):
    """The words that start a command in a process of its own.

    Its programs are compiled as users' are; in this process, with less effort: their last digits
    differ.
    """
    return [sys.executable, "-m", "mmjax", *map(str, arguments)]


def run_apart(*arguments):
    """The exit code of a command in a process of its own."""
    return subprocess.run(command(*arguments), stdout=subprocess.DEVNULL).returncode


def scores(out):
    """Scores of all rows, without what time has to do with."""
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in read_rows(out / "rows.jsonl")
    ]
