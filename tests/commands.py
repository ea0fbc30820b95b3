"""Commands of seconds, in this process, and what they leave."""

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


def scores(out):
    """Scores of all rows, without what time has to do with."""
    return [
        {k: v for k, v in row.items() if k != "seconds"} for row in read_rows(out / "rows.jsonl")
    ]
