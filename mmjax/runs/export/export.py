"""The folder of an export."""

from pathlib import Path

from mmjax.errors import UsageError
from mmjax.runs.columns import read_table
from mmjax.runs.export.card import make_card
from mmjax.runs.export.stablehlo import PROGRAM, export_program
from mmjax.runs.export.weights import WEIGHTS, dump_weights
from mmjax.runs.run_file import read_run_file
from mmjax.runs.trained import load_run
from mmjax.storage.files import has_files, whole_file, write_text
from mmjax.storage.manifest import write_manifest


def export_run(folder: Path, out: Path, data: str | None = None) -> list[Path]:
    """Writes ``model.safetensors``, ``model.stablehlo`` and ``README.md``, and returns their paths.

    A manifest with their sums, for `mmjax verify`, comes last.

    Args:
        folder: of ``mmjax train``.
        out: a new or empty folder.
        data: where the task's files are now; None for where they were.

    Raises:
        DataError: a file of the run is missing or does not fit.
        UsageError: ``out`` has files; the extra ``export`` is not installed; or MMJAX_KERNELS is 1.
    """
    if out.is_dir() and has_files(out):
        raise UsageError("out", expected="a new or empty folder", got=f"{out}, which has files")
    run, rows = load_run(folder, data), read_table(folder, "rows")
    contents = {
        WEIGHTS: dump_weights(run, read_run_file(folder)),
        PROGRAM: export_program(run),
    }
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        with whole_file(out / name) as file:
            file.write(content)
    write_text(out / "README.md", make_card(run, rows))
    paths = [out / name for name in (*contents, "README.md")]
    write_manifest(out, paths)
    return paths
