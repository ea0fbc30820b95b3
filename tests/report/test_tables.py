"""Rows, tables and words: known inputs, known outputs."""

import io
import json
import re
from types import SimpleNamespace

import numpy as np
import pytest
from folders import make_folder
from representatives import slow
from rich.console import Console
from scipy import stats
from simulated_ablations import make_ablation
from small import make_task

from mmjax.analysis.summary import summarise
from mmjax.comparison.scores import standard_error
from mmjax.data.task import Task
from mmjax.errors import DataError
from mmjax.report.figures.samples import misclassified_figure, samples_figure
from mmjax.report.figures.scores_figure import save, score_figure
from mmjax.report.figures.style import PALETTE, QUIET
from mmjax.report.figures.verdict_figures import curves_figure
from mmjax.report.score_table import score_table, table_for
from mmjax.report.tables import rich_table, summary_markdown
from mmjax.report.task_tables import task_facts, task_tables
from mmjax.runs.compare import write_summary
from mmjax.runs.studies import read_assessments
from mmjax.storage.jsonl import append_rows, read_rows, write_rows


def make_rows(scores, modalities="a+b", split="test", hidden=""):
    """One row per strategy and seed from {strategy: accuracies}."""
    return [
        {
            "strategy": strategy,
            "modalities": "a" if strategy.endswith("_only") else modalities,
            "seed": seed,
            "split": split,
            "hidden": hidden,
            "accuracy": accuracy,
            "macro_f1": accuracy / 2,
            "params": 1234,
            "seconds": 5.0,
        }
        for strategy, accuracies in scores.items()
        for seed, accuracy in enumerate(accuracies)
    ]


SCORES = {"a_only": [0.8, 0.82], "b_only": [0.7, 0.72], "sum": [0.9, 0.94], "max": [0.91, 0.91]}
VALID = {"a_only": [0.8, 0.8], "b_only": [0.7, 0.7], "sum": [0.95, 0.95], "max": [0.9, 0.9]}
ROWS = make_rows(SCORES) + make_rows(VALID, split="valid")


def test_rows_come_back_and_are_appended(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_rows(path, [{"a": 1, "b": "x\ny"}])
    append_rows(path, [{"a": float("nan"), "b": float("inf")}])
    assert read_rows(path) == [{"a": 1, "b": "x\ny"}, {"a": None, "b": None}]
    assert all(json.loads(line) for line in path.read_text().splitlines())


@pytest.mark.parametrize("content", ['{"a": 1', "[1]", "3"])
def test_a_malformed_line_is_named(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n' + content + "\n")
    with pytest.raises(DataError, match=r"rows.jsonl, line 2: expected"):
        read_rows(path)


def test_a_last_line_that_was_cut_short_is_left_out_and_cut_away(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2')
    with pytest.warns(UserWarning, match=r"rows.jsonl: line 2 is truncated"):
        assert read_rows(path) == [{"a": 1}]
    with pytest.warns(UserWarning, match=r"rows.jsonl: line 2 is truncated"):
        append_rows(path, [{"a": 3}])
    assert path.read_text() == '{"a": 1}\n{"a": 3}\n'


def test_a_last_line_that_lacks_only_its_end_counts(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": 2}')
    assert read_rows(path) == [{"a": 1}, {"a": 2}]
    append_rows(path, [{"a": 3}])
    assert path.read_text() == '{"a": 1}\n{"a": 2}\n{"a": 3}\n'


def test_rows_are_written_over(tmp_path):
    path = tmp_path / "rows.jsonl"
    append_rows(path, [{"a": 1}])
    write_rows(path, [{"a": 2}])
    assert read_rows(path) == [{"a": 2}]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match="expected a file of rows"):
        read_rows(tmp_path / "rows.jsonl")


def test_summaries_are_sorted_by_test_accuracy():
    assert [s.strategy for s in summarise(ROWS)] == ["sum", "max", "a_only", "b_only"]


def test_rows_with_hidden_modalities_do_not_count():
    more = make_rows({"sum": [0.0, 0.0]}, hidden="a")
    assert summarise(ROWS + more)[0].score.tolist() == [0.9, 0.94]


def test_without_test_labels_validation_is_scored():
    summaries = summarise(make_rows(VALID, split="valid"))
    assert summaries[0].score.tolist() == [0.95, 0.95]


def test_the_standard_error_is_scipys():
    values = np.array([1.0, 2.0, 4.0])
    assert standard_error(values) == pytest.approx(stats.sem(values))
    assert np.isnan(standard_error(values[:1]))


def test_the_table_has_means_and_standard_errors():
    table = summary_markdown(score_table(summarise(ROWS)))
    assert "| sum | 92.00 +- 2.00 | 0.4600 +- 0.0100 | 1,234 | 5.0 |" in table
    assert "| *a_only* | 81.00 +- 1.00 |" in table
    single = summary_markdown(score_table(summarise(make_rows({"sum": [0.5]}))))
    assert "| sum | 50.00 | 0.2500 | 1,234 | 5.0 |" in single


def test_the_summary_calls_the_score_by_its_name(tmp_path):
    skills = {"a_only": 1.0, "b_only": 1.6, "gmu": 2.7}
    folder = make_folder(tmp_path / "run", skills, without=("predictions", "labels"))
    for name in ("rows.jsonl", "history.jsonl"):
        text = (folder / name).read_text().replace("accuracy", "r2").replace("macro_f1", "rmse")
        (folder / name).write_text(text)
    write_summary(folder, *read_assessments([folder]))
    text = (folder / "summary.md").read_text()
    assert "![R2 of each strategy](accuracy.png)" in text
    assert "![Validation R2 over training](curves.png)" in text


def test_figures_show_every_strategy(tmp_path):
    figure = score_figure(summarise(ROWS), "title")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["b_only", "a_only", "max", "sum"]  # the best on top
    history = [{"strategy": "sum", "step": s, "valid_accuracy": s / 10} for s in (1, 2, 2)]
    history += [{"strategy": "sum", "step": s, "recent_loss": 3.0 - s} for s in (0, 1, 2)]
    curves = curves_figure(history, {"sum": PALETTE[0]})
    score, loss = (axes.get_lines()[0].get_xydata().tolist() for axes in curves.axes)
    assert score == [[1, 10], [2, 20]]
    assert loss == [[0, 3], [1, 2], [2, 1]]
    (axes,) = curves_figure(history[:3], {}).axes  # of a run that noted no loss
    assert axes.get_lines()[0].get_color() == QUIET
    save(figure, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_the_task_tables_count_groups_labels_and_duplicates():
    task = make_task()
    task.valid.inputs["vector"][0] = task.test.inputs["vector"][0]
    splits, inputs, shared = task_tables(task)
    cells = lambda table: [list(column.cells) for column in table.columns]
    names, sizes, groups, labels = cells(splits)
    assert names == ["train", "valid", "test"]
    assert sizes == ["96", "30", "300"]
    assert groups == ["48", "15", "150"]
    assert labels[0] == "32 32 32"
    name, encoder, split, _, _, present, *_ = cells(inputs)
    rows = dict(zip(zip(name, split, strict=True), zip(encoder, present, strict=True), strict=True))
    assert rows["vector", "train"] == ("mlp", "75%")
    assert cells(shared)[3] == ["0", "0", "1"]


def test_what_absent_rows_hold_is_no_content():
    task = make_task()
    task.valid.present["vector"] = np.arange(30) > 2
    task.valid.inputs["vector"][:3] = 0
    task.train.inputs["vector"][::4] = 0  # the rows that lack it
    _, inputs, shared = task_tables(task)
    cells = {column.header: list(column.cells) for column in inputs.columns}
    vector = cells["modality"].index("vector")
    assert cells["distinct"][vector : vector + 3] == ["72", "27", "300"]
    assert [column._cells[-1] for column in shared.columns] == ["vector", "0", "0", "0"]
    seen = task.train.inputs["vector"][task.train.present["vector"]]
    assert cells["mean"][vector] == f"{seen.mean():.2f}"
    assert cells["std"][vector] == f"{seen.std():.2f}"


def test_inputs_that_promise_no_more_than_a_split_asks_for_are_described():
    values = SimpleNamespace(shape=(1000, 250), dtype=np.dtype(np.float32))
    splits = {"train": SimpleNamespace(inputs={"vector": values})}
    about = {"name": "a", "out_dim": 3, "kind": "classes", "digest": lambda: "0"}
    assert task_facts(SimpleNamespace(splits=splits, **about)) == "a: 3 classes, 1.0 MB, digest 0"


def test_the_samples_figure_has_a_picture_per_modality_and_class():
    figure = samples_figure(make_task())
    assert len(figure.axes) == 3 * 3


def test_figures_of_samples_name_classes_and_say_what_is_absent():
    rng, here = np.random.default_rng(0), np.arange(60) != 0
    names = np.where(np.arange(60) % 2, "ill", "well")
    inputs = {"a": rng.normal(size=(60, 3)), "b": rng.normal(size=(60, 3))}
    split = np.repeat(["train", "valid", "test"], 20)
    task = Task.from_arrays(inputs, names, present={"b": here}, split=split, kind="classes")
    figure = samples_figure(task)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["ill", "well"]
    absent = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert absent == [[], [], [], ["absent"]]  # the first well row has no b
    wrong = 9 * np.eye(2)[None, 1 - task.test.target]
    titles = [
        axes.get_title() for axes in misclassified_figure(task.test, wrong, {}, task.names).axes
    ]
    assert {title.partition("\n")[0] for title in titles[:10]} == {"ill → well", "well → ill"}


@pytest.mark.parametrize("channels", [1, *map(slow, (2, 3, 4)), 5, slow(13)])
@pytest.mark.parametrize("kind", ["uint8", "negative", slow("constant")])
def test_images_of_any_channels_are_drawn(channels, kind):
    rng = np.random.default_rng(0)
    image = {
        "uint8": rng.integers(0, 256, (40, 6, 7, channels)).astype(np.uint8),
        "negative": rng.normal(-5, 3, (40, 6, 7, channels)).astype(np.float32),
        "constant": np.full((40, 6, 7, channels), -3, np.float32),
    }[kind]
    task = Task.from_arrays({"image": image, "vector": rng.normal(size=(40, 3))}, np.arange(40) % 2)
    wrong = misclassified_figure(task.test, np.eye(2)[None, 1 - task.test.target])
    for figure, split in ((samples_figure(task), task.train), (wrong, task.test)):
        figure.canvas.draw()
        shown = figure.axes[0].images[0].get_array()
        index = int(np.argmax(task.train.target == 0)) if split is task.train else 0
        sample = split.inputs["image"][index]
        if channels < 3:
            np.testing.assert_array_equal(shown, sample[..., 0])
        elif kind == "uint8":
            np.testing.assert_array_equal(shown, sample[..., :3])
        else:
            three = sample[..., :3].astype(np.float64)
            want = (three - three.min()) / (np.ptp(three) or 1)
            np.testing.assert_allclose(shown, want, atol=1e-12)


def test_text_and_tables_are_written():
    told = np.array(["a $5 film", "日本 é\x1b film"])[np.arange(12) % 2]
    cells = [("age", float), ("city", object)]
    who = np.array([(1.25, None), (np.nan, "Oslo")] * 6, cells)
    kinds = {"note": "bytes", "who": "table", "words": "words", "ids": "tokens"}
    inputs = {"note": told, "who": who, "words": told, "ids": [[3, 1], [2]] * 6}
    task = Task.from_arrays(inputs, np.arange(12) % 2, kinds=kinds)
    figure = samples_figure(task)
    figure.canvas.draw()
    written = [axis.texts[0].get_text() for axis in figure.axes]
    assert written == [
        *("3 1", "2"),
        *("a $5 film", "?? é\\x1b film"),
        *("age 1.25", "city Oslo"),
        *("a $ 5 film", "?? é \\x1b film"),
    ]


def test_of_a_video_the_middle_frame_is_drawn():
    frames = np.arange(5, dtype=np.float32)[:, None, None, None] * np.ones((5, 6, 6, 3), np.float32)
    clips = [frames[: 3 + row % 3] + np.eye(6)[..., None] for row in range(12)]
    figure = samples_figure(Task.from_arrays({"x": clips}, np.arange(12) % 2, kind="classes"))
    shown = [axis.images[0].get_array() for axis in figure.axes]
    want = np.broadcast_to(np.eye(6)[..., None], (6, 6, 3))  # from black to white
    assert all(np.allclose(picture, want) for picture in shown)


def test_large_inputs_are_thinned_before_they_are_drawn():
    rng = np.random.default_rng(0)
    inputs = {"image": rng.normal(size=(12, 900, 5, 3)), "vector": rng.normal(size=(12, 50_000))}
    figure = samples_figure(Task.from_arrays(inputs, np.arange(12) % 2))
    assert figure.axes[0].images[0].get_array().shape == (300, 5, 3)
    assert len(figure.axes[2].patches[0].get_data().values) == 400


def test_an_ablation_has_the_base_first_and_then_the_best():
    assessment = make_ablation(design="one-at-a-time")
    judged = {one.strategy: one for one in assessment.verdict.against_baseline}
    (base, *others) = [cells for _, cells in table_for(assessment).lines]
    assert base[0] == "gmu"
    assert base[2:] == ("-", "base")
    scores = [float(cells[1].split()[0]) for cells in others]
    assert scores == sorted(scores, reverse=True)
    assert [cells[0] for cells in others][:1] == ["width=128"]
    for name, _, gain, verdict in others:
        mean, _, low, high = (100 * value for value in judged[name].pair.difference)
        assert gain == f"{mean:+.1f} [{low:+.1f}, {high:+.1f}]"
        assert verdict == (judged[name].verdict if judged[name].told else "-")
    text = summary_markdown(table_for(assessment))
    assert text.startswith("| variant | accuracy % | gain | verdict |")
    assert "95 % interval" in text.splitlines()[-1]


def test_an_ablation_is_legible_on_eighty_columns():
    factors = {"learning_rate": ("0.003", "0.0003"), "method": ("joint", "gradient_blending")}
    assessment = make_ablation(factors, "one-at-a-time", lambda point: -0.2 * point[0])
    shown = io.StringIO()
    Console(file=shown, width=80).print(rich_table(table_for(assessment), "toy"))
    lines = shown.getvalue().splitlines()
    (line,) = [line for line in lines if "learning_rate=0.0003" in line]
    assert line.rstrip().endswith("worse")
    (line,) = [line for line in lines if "method=gradient_blending" in line]
    assert re.search(r"\[-\d\.\d, \+\d\.\d\]   -$", line.rstrip())
    assert max(map(len, lines)) <= 80


def test_an_ablation_without_predictions_has_scores_alone():
    lines = table_for(make_ablation(without=("predictions",))).lines
    assert lines[0][1][0] == "gmu"
    assert {cells[2:] for _, cells in lines[1:]} == {("-", "-")}
