"""What ``compare`` returns, and reads back from a folder."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mmjax.analysis.assessment import Assessment
from mmjax.analysis.study import Study
from mmjax.analysis.summary import Summary, majority_warnings
from mmjax.analysis.verdicts import Verdict
from mmjax.comparison.outcomes import Embedded
from mmjax.comparison.scores import Row
from mmjax.data.task import Task
from mmjax.errors import UsageError, import_extra
from mmjax.report.console import PlainConsole
from mmjax.report.frames import save_rows, tidy_rows
from mmjax.report.score_table import table_for
from mmjax.report.tables import plain_table
from mmjax.runs.compare import conclude
from mmjax.runs.damage import end_changes
from mmjax.runs.folder import check_new_folder, put_study
from mmjax.runs.run_file import RunFile, read_run_file, write_run_file
from mmjax.runs.studies import read_studies
from mmjax.runs.trained import TrainedRun
from mmjax.storage.locks import locked

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False)
class Result:
    """The result of a comparison: its rows, its verdict, its trained models.

    Prints as a table with a verdict, and displays as HTML in a notebook.

    Attributes:
        run: the settings of the comparison.
        study: all rows, predictions and learning curves.
        trained: {strategy: TrainedRun} of the strategies trained by this process; a TrainedRun
            predicts and embeds new rows.
        task: the data; None for a result that was loaded.
        embedded: {strategy: embeddings of some rows}, if they were examined.
    """

    run: RunFile
    study: Study
    trained: Mapping[str, TrainedRun] = field(default_factory=dict)
    task: Task | None = None
    embedded: Mapping[str, Embedded] = field(default_factory=dict)

    @property
    def failed(self) -> Mapping[str, str]:
        """{strategy: error} of the strategies that could not be trained."""
        return self.study.failed

    @property
    def rows(self) -> list[Row]:
        """Flat rows of scores: one per strategy, seed, split and set of hidden modalities."""
        return self.study.rows

    @property
    def summaries(self) -> list[Summary]:
        """One summary per strategy, best score on the reported split first."""
        return self._assessment.summaries

    @property
    def verdict(self) -> Verdict:
        """Whether fusion pays; ``str(result.verdict)`` puts it in words."""
        return self._assessment.verdict

    @cached_property
    def _assessment(self) -> Assessment:
        return Assessment(self.study)

    @property
    def best(self) -> TrainedRun:
        """The trained strategy with the best score on validation, which ``pickle`` can keep.

        Raises:
            UsageError: it was read from a folder or trained by another process, and its parameters
                were not kept.
        """
        name = max(self.study.strategies, key=self.study.on_validation)
        if name not in self.trained:
            raise UsageError(
                "best",
                f"{name} was not trained here or only in folds, and comparisons save no parameters",
                fix="Compare without folds, or train it with `mmjax train` and load that folder "
                "with load_run.",
            )
        return self.trained[name]

    def __str__(self) -> str:
        failures = [f"{name} failed: {why}" for name, why in self.failed.items()]
        told = [*majority_warnings(self.summaries), str(self.verdict), *failures]
        return "\n".join([plain_table(table_for(self._assessment)), "", *told])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from mmjax.report.notebook import result_html

        return result_html(self._assessment)

    def to_pandas(self) -> "pd.DataFrame":
        """``rows`` as a pandas DataFrame, with a column for each factor of an ablation.

        Raises:
            UsageError: pandas is not installed.
        """
        return import_extra("to_pandas", "pandas", "frames").DataFrame(tidy_rows([self.study]))

    def save_rows(self, path: str | Path) -> None:
        """Writes the columns of ``to_pandas`` to a file .csv or .parquet.

        Raises:
            UsageError: the file has another suffix, or pyarrow, which writes Parquet, is missing.
            OSError: the file cannot be written.
        """
        save_rows([self.study], Path(path))

    def to_xarray(self) -> "xr.Dataset":
        """The numeric columns of ``rows``, by strategy, seed and split, with no modality hidden.

        Results of folds are also by repeat and fold.

        Raises:
            UsageError: xarray is not installed.
        """
        import_extra("to_xarray", "xarray", "frames")
        frame = self.to_pandas()
        axes = ["strategy", "seed", "split", *(n for n in ("repeat", "fold") if n in frame)]
        shown = frame[frame["hidden"] == ""]
        return shown.set_index(axes).select_dtypes("number").to_xarray()

    def to_latex(self) -> str:
        r"""A table for a paper, verdict in its caption; needs ``\usepackage{booktabs}``."""
        from mmjax.report.paper import table_of

        return table_of(self._assessment, "comparison")

    def save_paper(self, folder: str | Path, venue: str | None = None) -> None:
        """Writes ``to_latex`` and every figure as PDF to a folder.

        Args:
            folder: created if necessary; files of the same names are replaced.
            venue: "neurips", "icml", "acl", "ieee" or "cvpr", whose sizes and font figures get.

        Raises:
            UnknownNameError: there is no such venue.
            OSError: a file cannot be written.
        """
        from mmjax.report.paper import write_paper

        write_paper([self._assessment], Path(folder), venue)

    def plot(self) -> "Figure":
        """The gain of each strategy over the baseline of the verdict, as a Matplotlib figure.

        Without a verdict, the scores. ``result.plot().savefig("gains.png")`` saves it.
        """
        from mmjax.report.drawings import main_drawing

        return main_drawing(self._assessment).figure

    def save_report(self, path: str | Path) -> None:
        """Writes the report as one self-contained HTML file."""
        from mmjax.report.page import write_page

        self._draw_pictures()
        write_page([self._assessment], Path(path))

    def save(self, folder: str | Path) -> None:
        """Writes a folder like that of `mmjax compare`: rows, predictions, figures, report.

        ``load_result``, `mmjax report` and `mmjax verify` read it. Parameters are not saved.

        Args:
            folder: a new or empty folder.

        Raises:
            UsageError: the folder contains files.
            OSError: the folder cannot be written.
        """
        out = Path(folder)
        with locked(out):
            check_new_folder(out)
            write_run_file(out, self.run)
            self._draw_pictures()
            put_study(out, self.study)
            conclude(out)
            end_changes(out, {}, PlainConsole(quiet=True))

    def _draw_pictures(self) -> None:
        """Draws those that need the data, once; a study from a folder has them already."""
        from mmjax.report.figures.pictures import draw_pictures

        if self.task and not self.study.pictures:
            drawn = draw_pictures(self.task, self._assessment, self.embedded)
            self.study.pictures.update(drawn)


def load_result(folder: str | Path) -> Result:
    """Reads a comparison written by ``Result.save``, ``compare(out=...)`` or `mmjax compare`.

    Args:
        folder: folder of the comparison.

    Returns:
        the result, without trained models, which a comparison does not keep.

    Raises:
        DataError: a file is missing, corrupted or malformed.

    Example:
        >>> import mmjax
        >>> task = mmjax.load_task("synthetic", options={"size": "60"})
        >>> options = {"examine": "scores", "quiet": True}
        >>> result = mmjax.compare(task, ["sum"], seeds=2, steps=4, **options)
        >>> result.save("comparison")
        >>> mmjax.load_result("comparison").rows == result.rows
        True
    """
    run = read_run_file(Path(folder))
    (study,) = read_studies([Path(folder)])
    return Result(run, study)
