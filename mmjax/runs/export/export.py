"""Writes the folder of an export."""

from pathlib import Path

from mmjax.runs.columns import read_table
from mmjax.runs.export.card import make_card
from mmjax.runs.export.stablehlo import PROGRAM, export_program
from mmjax.runs.export.weights import WEIGHTS, dump_weights
from mmjax.runs.folder import check_new_folder
from mmjax.runs.run_file import read_run_file
from mmjax.runs.trained import load_run
from mmjax.storage.files import whole_file, write_text
from mmjax.storage.manifest import write_manifest


def export_run(folder: Path, out: Path, data: str | None = None) -> list[Path]:
    """Writes ``model.safetensors``, ``model.stablehlo`` and ``README.md``, and returns their paths.

    A manifest with their checksums, for `mmjax verify`, is written last.

    Args:
        folder: a run folder of ``mmjax train``.
        out: a new or empty folder.
        data: where the task's files are now, if they have moved.

    Raises:
        DataError: a file of the run is missing or malformed.
        UsageError: ``out`` has files, or the extra ``export`` is not installed.

    Example:
        >>> from pathlib import Path
        >>> from rich.console import Console
        >>> from mmjax.runs.export import export_run, load_export
        >>> from mmjax.runs.settings import Settings
        >>> from mmjax.runs.train import train_in
        >>> settings = Settings("synthetic", options=("size=60",), steps=2, seeds=1)
        >>> rows = train_in(Path("run"), settings, "sum", Console(quiet=True))
        >>> [path.name for path in export_run(Path("run"), Path("export"))]
        ['model.safetensors', 'model.stablehlo', 'README.md']
        >>> load_export("export")
        TrainedRun('sum' on ..., seeds 0)
    """
    check_new_folder(out)
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
