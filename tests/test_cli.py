"""Each command from end to end, on tiny settings, and each kind of bad argument."""

import csv
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from commands import COMPARE, TINY, run
from folders import make_folder
from representatives import slow
from scipy.special import softmax

import mmjax
from mmjax.cli import main
from mmjax.registry import CORE, FUSIONS
from mmjax.runs.from_settings import make_arms, make_task, parse_fusions
from mmjax.runs.settings import Settings
from mmjax.runs.trained import load_run
from mmjax.runs.zoo import TABLES
from mmjax.storage.jsonl import read_rows
from mmjax.training.sizes import sizes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "run"
    main(["train", "concat", *TINY, "--seeds", "2", "--out", str(out)])
    return out


def test_the_version_is_told(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"mmjax {mmjax.__version__}\n"
    assert re.fullmatch(r"\d+\.\d+\.\d+", mmjax.__version__)


def test_compare_writes_rows_history_summary_and_figures(compared):
    out, printed = compared
    rows = read_rows(out / "rows.jsonl")
    strategies = ["a_only", "b_only", "concat"]
    plain = [row for row in rows if not row["hidden"]]
    assert sorted((r["strategy"], r["seed"], r["split"]) for r in plain) == [
        (s, seed, split) for s in strategies for seed in (0, 1) for split in ("test", "valid")
    ]
    hidden = {(r["strategy"], r["hidden"]) for r in rows if r["hidden"]}
    assert hidden >= {("concat", "a"), ("concat", "b"), ("concat", "a+b"), ("a_only", "a")}
    wanted = {"task", "hidden", "accuracy", "macro_f1", "nll", "params", "flops", "seconds", "data"}
    for row in rows:
        assert wanted | {"recipe", "versions", "steps", "best_step"} <= set(row)
        assert (row["task"], row["steps"], row["trials"]) == ("synthetic/xor", 20, 0)
        assert not any(isinstance(value, list | dict) for value in row.values())

    summary = (out / "summary.md").read_text()
    for text in (summary, printed):
        assert "both strategies were selected on validation" in " ".join(text.split())
        assert all(strategy in text for strategy in strategies)
    assert "3 of 3, 0:00:00 left" in printed
    files = {path.name for path in out.iterdir()}
    assert {"accuracy.png", "curves.png", "embeddings.svg", "report.html", "run.json"} <= files
    assert {path.stem for path in (out / "predictions").iterdir()} == set(strategies)
    steps = {(r["strategy"], r["seed"], r["step"]) for r in read_rows(out / "history.jsonl")}
    assert ("concat", 1, 20) in steps


def test_a_paper_is_not_written_among_the_files_of_a_run(tmp_path, capsys):
    out = make_folder(tmp_path / "run", {"a_only": 1, "b_only": 2, "sum": 3})
    assert run("report", out, "--out", f"{out}.html", "--paper") == 2
    assert "Give the page another name than the run" in capsys.readouterr().err


def test_report_merges_folders_and_writes_a_paper(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mmjax.report.paper._save", lambda *_: None)  # figures
    skills = [{"a_only": 1, "b_only": 2, fusion: 3} for fusion in ("sum", "gmu")]
    folders = [make_folder(tmp_path / str(i), skill) for i, skill in enumerate(skills)]
    page = tmp_path / "both.html"
    main(["report", *map(str, folders), "--out", str(page), "--paper"])
    assert str(page) in capsys.readouterr().out
    assert {"sum", "gmu"} <= set(re.findall(r"\w+", page.read_text()))
    assert "gmu" in (tmp_path / "both" / "table.tex").read_text()


def test_arms_are_tuned_alike():
    settings = Settings(task="synthetic", options=("size=200",), tune=2)
    arms = make_arms(settings, make_task(settings), ["a_only", "concat"])
    assert [arm.trials for arm in arms] == [2, 2]


@pytest.mark.slow
def test_a_tuned_run_says_so(tmp_path):
    out = tmp_path / "run"
    main(["train", "a_only", *TINY, "--seeds", "1", "--tune", "2", "--out", str(out)])
    assert {row["trials"] for row in read_rows(out / "rows.jsonl")} == {2}


def test_width_layers_dropout_and_weight_decay_can_be_named():
    flags = {"width": 30, "num_layers": 1, "dropout": 0.2, "weight_decay": 0.01}
    settings = Settings(task="synthetic", options=("size=200",), **flags)
    concat, transformer = make_arms(settings, make_task(settings), ["concat", "transformer"])
    assert (concat.recipe.tx.weight_decay, concat.recipe.dropout) == (0.01, 0.2)
    assert concat.recipe.model.fusion.width == 30  # and no layers to change
    fusion = transformer.recipe.model.fusion
    assert (fusion.width, fusion.num_layers) == (32, 1)  # 30 is no multiple of 4 heads


@pytest.mark.slow
def test_training_rows_lose_a_modality_and_a_learned_token_stands_in(tmp_path):
    out = tmp_path / "run"
    lose = ["--missing", "a=0.5", "--absent", "learned"]
    main(["train", "concat", *TINY, "--seeds", "1", *lose, "--out", str(out)])
    run = load_run(out)
    assert 0.3 < run.arm.task.train.present["a"].mean() < 0.7
    assert "absent_a" in run.params
    assert "absent='learned'" in read_rows(out / "rows.jsonl")[0]["recipe"]


@pytest.mark.slow
def test_the_same_command_gives_the_same_numbers(compared, tmp_path):
    first, second = compared[0], tmp_path / "run"
    main(["compare", *COMPARE, "--out", str(second)])
    drop_time = lambda rows: [{k: v for k, v in r.items() if k != "seconds"} for r in rows]
    for name in ("rows.jsonl", "robustness.jsonl", "representation.jsonl"):
        a, b = (drop_time(read_rows(out / name)) for out in (first, second))
        assert a == b


def test_evaluate_repeats_the_scores_of_training_and_hides(trained, capsys):
    kept = {(r["seed"], r["split"]): r for r in read_rows(trained / "rows.jsonl")}
    capsys.readouterr()
    main(["evaluate", str(trained)])
    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(again) == 4
    for row in again:
        assert row["nll"] == pytest.approx(kept[row["seed"], row["split"]]["nll"])
    main(["evaluate", str(trained), "--hide", "a", "b"])
    blind = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["hidden"] for row in blind} == {"a+b"}
    assert all(row["accuracy"] == 0.5 for row in blind)  # both classes are as frequent


def test_predict_writes_the_mean_probabilities_of_the_seeds(trained, tmp_path):
    full, short = tmp_path / "full.csv", tmp_path / "short.csv"
    main(["predict", str(trained), "--out", str(full)])
    main(["predict", str(trained), "--out", str(short), "--layout", "competition"])
    run = load_run(trained)
    logits = run.evaluate.predict(run.params, run.arm.task.test.batch())
    want = softmax(logits, axis=-1).mean(axis=0)
    with full.open(newline="") as file:
        table = list(csv.DictReader(file))
    got = np.array([[float(row["p0"]), float(row["p1"])] for row in table])
    np.testing.assert_allclose(got, want, atol=1e-5)
    labels = [row["label"] for row in table]
    assert labels == [str(label) for label in want.argmax(axis=1)]
    lines = short.read_text().splitlines()
    assert lines[0] == "row_id,label"
    assert lines[1:] == [f"{row},{label}" for row, label in enumerate(labels)]


@pytest.mark.slow
def test_a_unimodal_baseline_trains_and_predicts(tmp_path):
    out = tmp_path / "run"
    main(["train", "a_only", *TINY, "--seeds", "1", "--out", str(out)])
    assert load_run(out).arm.task.modalities == ("a",)


def test_compare_can_match_the_numbers_of_parameters():
    settings = Settings(task="synthetic", options=("size=200",), match_params=20_000)
    task = make_task(settings)
    for arm in make_arms(settings, task, ["a_only", "concat", "early"]):
        assert 18_000 < sizes(arm.recipe.model, arm.task).params < 22_000


@pytest.mark.slow
def test_what_cannot_be_matched_is_a_strategy_that_failed(tmp_path, capsys):
    out = tmp_path / "too_small"
    flags = ["--seeds", "1", "--fusions", "concat", "--match-params", "3000"]
    main(["compare", *TINY, *flags, "--out", str(out)])
    assert "--match-params 3000" in (out / "summary.md").read_text()
    why = "concat is not within 10% of 3,000 parameters: its encoders alone have"
    assert why in capsys.readouterr().out.replace("\n", " ")
    assert why in (out / "summary.md").read_text()


def test_zoo_lists_all_tables(capsys):
    main(["zoo"])
    assert f"{len(FUSIONS)} fusions" in capsys.readouterr().out
    main(["zoo", "methods", "tasks", "--json"])
    assert [*json.loads(capsys.readouterr().out)] == ["methods", "tasks"]
    main(["zoo", "--json"])
    zoo = json.loads(capsys.readouterr().out)
    assert set(zoo) == set(TABLES)
    assert [entry["name"] for entry in zoo["fusions"]] == list(FUSIONS)
    assert [e["name"] for entries in zoo.values() for e in entries if not e["reference"]] == [
        "mean"
    ]


@pytest.mark.slow
def test_zoo_tells_what_every_fusion_costs_on_a_task(capsys):
    main(["zoo", "--cost", "--task", "synthetic", "--json"])
    zoo = json.loads(capsys.readouterr().out)
    assert [entry["name"] for entry in zoo["fusions"]] == list(FUSIONS)
    assert all(entry["flops"] > entry["params"] > 0 for entry in zoo["fusions"])


def test_zoo_tells_what_a_fusion_costs_on_a_task(capsys, monkeypatch):
    monkeypatch.setitem(TABLES, "fusions", {"gmu": FUSIONS["gmu"]})
    main(["zoo", "--cost", "--task", "synthetic"])
    shown = capsys.readouterr().out
    main(["zoo", "--cost", "--task", "synthetic", "--json"])
    (gmu,) = json.loads(capsys.readouterr().out)["fusions"]
    assert gmu["flops"] > gmu["params"] > 0
    assert f"{gmu['params']:,}" in shown


def test_data_tells_what_a_task_holds(tmp_path, capsys):
    picture = tmp_path / "samples.png"
    main(["data", "--task", "synthetic", "--options", "size=200", "--out", str(picture)])
    printed = capsys.readouterr().out
    assert "synthetic/xor: 2 classes" in printed
    assert "train" in printed
    assert "60 60" in printed  # rows of each class in training
    assert picture.read_bytes().startswith(b"\x89PNG")


def modules_after(*commands):
    """The modules that a process has imported after each of some commands, whatever they print."""
    code = (
        "import contextlib, io, sys\n"
        "from mmjax.cli import main\n"
        "for words in (line.split() for line in sys.argv[1:]):\n"
        "    with contextlib.suppress(SystemExit), contextlib.redirect_stderr(io.StringIO()):\n"
        "        with contextlib.redirect_stdout(io.StringIO()): main(words)\n"
        "    print(*sys.modules)"
    )
    command = [sys.executable, "-c", code, *commands]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [set(line.split()) for line in done.stdout.splitlines()]


AT_ONCE = (
    "--help",
    "compare --help",
    "compare --fusions sum,concta",
    "compare --examine csot",
    "compare --launcher locl",
    "compare --task digts",
    "train concta",
    "train sum --objective mze",
    "train sum --method jint",
    "train sum --encoders image=cn",
    "train sum --absent zeros",
    "train sum --augment image=crop+flap",
    "train sum --sampling balance",
    "train sum --dtype float23",
    "tune --methods joint jint",
    "tune --encoder-choices image=cnn,cn",
    "bench --strategies sum concta",
    "bench --dtypes float23",
    "data --task digts",
    "zoo --task digts",
    "zoo fusion",
    "zoo methods --cost",
    "compar",
    "predict run --out x.csv --layout wide",
)


def test_help_and_wrong_names_do_not_wait_for_jax():
    for command, modules in zip(AT_ONCE, modules_after(*AT_ONCE), strict=True):
        assert not {"jax", "flax", "scipy", "mmjax.runs.from_settings"} & modules, command


def test_options_and_axes_are_checked_before_data_are_loaded():
    commands = ("train sum --options sed=3", "train sum --mesh dat=2")
    for command, modules in zip(commands, modules_after(*commands), strict=True):
        assert not {"flax", "mmjax.runs.from_settings"} & modules, command


HEAVY = {"matplotlib", "pandas", "scipy.stats", "sklearn", "jinja2", "optuna", "tensorflow"}


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        ("zoo", {"mmjax.training", "mmjax.runs.from_settings", "orbax"}),
        slow("data --task synthetic --options size=60", {"orbax"}),
        slow("data --task digits", {"orbax"}),
        ("evaluate {run}", set()),
        slow("predict {run} --out {out}", set()),
    ],
)
def test_a_command_imports_only_what_it_uses(command, unused, trained, tmp_path):
    (modules,) = modules_after(command.format(run=trained, out=tmp_path / "out.csv"))
    assert not (HEAVY | unused) & modules


def test_comparing_from_python_imports_figures_and_scikit_learn_only_when_used():
    code = "import sys, mmjax; mmjax.compare; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & set(done.stdout.split())


def test_fusions_by_name():
    assert parse_fusions("core", "classes") == CORE
    assert parse_fusions("all", "classes") == tuple(FUSIONS)
    assert parse_fusions("gmu, concat", "classes") == ("gmu", "concat")
    assert set(CORE) <= set(FUSIONS)


BAD = {
    "an unknown task": (["--task", "digit"], "Did you mean 'digits'?"),
    "an unknown fusion": (["--fusions", "concta"], "Did you mean 'concat'?"),
    "a fusion twice": (["--fusions", "sum,sum"], "fusions: expected each name once"),
    "a fusion twice, in another order": (
        ["--fusions", "sum@a+b,sum@b+a"],
        "fusions: expected each name once",
    ),
    "no steps": (["--steps", "0"], "steps: expected at least 1, got 0"),
    "no seeds": (["--seeds", "0"], "seeds: expected at least 1, got 0"),
    "no batch": (["--batch-size", "0"], "batch_size: expected at least 1, got 0"),
    "a learning rate of 0": (["--learning-rate", "0"], "learning_rate: expected a positive"),
    "a learning rate of nan": (["--learning-rate", "nan"], "learning_rate: expected a positive"),
    "an unknown option": (["--options", "sized=3"], "Did you mean 'size'?"),
    "an option of another type": (["--options", "size=many"], "size: expected int, got 'many'"),
    "an option without a value": (["--options", "size"], "options: expected NAME=VALUE"),
    "an unknown encoder": (["--encoders", "a=cn"], "Did you mean 'cnn'?"),
    "an encoder of no modality": (["--encoders", "z=mlp"], "modality"),
    "an unknown augmentation": (["--augment", "a=noize"], "Did you mean 'noise'?"),
    "an unfit augmentation": (["--augment", "a=noise+flip"], "augment, a=flip: expected"),
    "an augmentation of no modality": (["--augment", "z=noise"], "modality of augment"),
    "an augmentation without a modality": (["--augment", "noise"], "augment: expected NAME=VALUE"),
    "mixing by nothing": (["--mixup", "0"], "mixup: expected a positive number, got 0.0"),
    "an unknown sampling": (["--sampling", "balance"], "Did you mean 'balanced'?"),
    "a weight of no class": (["--class-weights", "9=2"], "class of class_weights"),
    "a weight that is none": (["--class-weights", "0=heavy"], "CLASS=WEIGHT"),
    "an unknown stand-in": (["--absent", "zeros"], "Did you mean 'zero'?"),
    "a share of no modality": (["--missing", "z=0.5"], "missing"),
    "a share that is none": (["--missing", "a=half"], "missing: expected NAME=NUMBER"),
    "a negative number of trials": (["--tune", "-1"], "tune: expected 0 or more, got -1"),
    "no width": (["--width", "0"], "width: expected at least 1, got 0"),
    "no layers": (["--num-layers", "0"], "num_layers: expected at least 1, got 0"),
    "a width to match": (["--width", "8", "--match-params", "9"], "are mutually exclusive"),
    "a dropout of 1": (["--dropout", "1"], "dropout: expected at least 0 and below 1, got 1.0"),
    "an unknown fusion without a like": (["--fusions", "qqqq"], "activation, all, attention_pool"),
    "an unknown fusion with one": (["--fusions", "consat"], f"one of {len(FUSIONS) + 2} names"),
    "an unknown objective": (["--objective", "mze"], "Did you mean 'mse'?"),
    "an unknown method": (["--method", "jint"], "Did you mean 'joint'?"),
    "a negative seed": (["--options", "seed=-1"], "seed: expected a non-negative integer, got -1"),
    "an option twice": (
        ["--options", "size=40", "size=60"],
        "options: the name 'size' is given more than once",
    ),
    "an option again": (["--options", "size=40", "--options", "size=9"], "more than once"),
    "no modality of a fusion": (["--fusions", "sum@"], "modality"),
    "a modality of a fusion twice": (["--fusions", "sum@a+a"], "strategy: expected each modality"),
    "no fusion": (["--fusions", ""], "fusion"),
    "a folder that is not UTF-8": (
        ["--out", "a\udcff"],
        r"out: a\udcff is not valid UTF-8.",
    ),
    "an axis twice": (["--mesh", "data=2,data=2"], "mesh: expected each axis once"),
    "no mesh": (["--mesh", ""], "axis of a mesh: expected one of data"),
    "no parameters to match": (["--match-params", "0"], "match_params: expected at least 1, got 0"),
    "fewer parameters": (["--match-params", "-5"], "match_params: expected at least 1, got -5"),
    "too many parameters": (["--match-params", "9" * 20], "match_params: expected at most 1,000,"),
    "too many seeds": (["--seeds", "9" * 9], "seeds: expected at most 10,000"),
    "too many steps": (["--steps", "9" * 10], "steps: expected at most 2,147,483,647"),
    "too large a batch": (["--batch-size", "9" * 10], "batch_size: expected at most"),
    "no part of a batch": (["--accumulate", "0"], "accumulate: expected at least 1, got 0"),
    "too wide": (["--width", "9" * 9], "width: expected at most 1,000,000"),
    "too deep": (["--num-layers", "9" * 9], "num_layers: expected at most 1,000"),
    "too many trials": (["--tune", "9" * 9], "tune: expected at most 10,000"),
    "a learning rate of inf": (["--learning-rate", "inf"], "learning_rate: expected a positive"),
    "a learning rate of 1e300": (
        ["--learning-rate", "1e300"],
        "positive float32 number, got 1e+300",
    ),
    "a learning rate of 1e-300": (
        ["--learning-rate", "1e-300"],
        "positive float32 number, got 1e-300",
    ),
    "a weight decay of nan": (["--weight-decay", "nan"], "weight_decay: expected a non-neg"),
    "a dropout of nan": (["--dropout", "nan"], "dropout: expected at least 0 and below 1, got nan"),
    "a share of nan": (["--missing", "a=nan"], "missing: expected probabilities from 0 to 1"),
    "a missing folder": (["--task", "mnist_fsdd", "--data", "/missing"], "/missing"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_argument_is_one_line_and_nothing_is_written(case, tmp_path, capsys):
    args, message = BAD[case]
    out = tmp_path / "out"
    base = [] if "--task" in args else ["--task", "synthetic"]
    with pytest.raises(SystemExit) as end:
        main(["compare", *base, "--out", str(out), *args])
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert error.startswith("mmjax: ")
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


OTHERS = {
    "report": "runs: no folder given. Name folders of `mmjax compare`.",
    "data --task synthetic --out x.txt": "out: expected a file name that ends in .png, got x.txt",
    "bench --task synthetic --strategies": "strategies: expected one or more, got none",
    "tune --task synthetic --learning-rates nan 1 --out x": "learning_rates: expected a lowest",
    "tune --task synthetic --dropouts nan nan --out x": "dropouts: expected a lowest",
    "compare digits": "mmjax compare has no place for 'digits'",
    "train gmu concat": "mmjax train has no place for 'concat'",
    "train sum --task synthetic --folds 3 --out x": "folds: each fold has a model of its own",
    "embed run --out run.csv": "out: expected a file name that ends in .npz",
    "train image": "strategy, a fusion or MODALITY_only: expected one of",
    "compare --config none.toml": "none.toml: No such file or directory.",
    "train sum --task synthetic --distributed a:1,2,2": "an index below the count, got 'a:1,2,2'",
    "train sum --task synthetic --distributed a,2,0": "distributed: expected auto or HOST:PORT",
    "train sum --task synthetic --data x\x1b[2J --options a[red]=1": "got 'a[red]'",
}


@pytest.mark.parametrize("line", OTHERS)
def test_so_is_one_of_another_command(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(line.split())
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert OTHERS[line] in error
    assert (error.count("\n"), "\x1b" in error) == (1, False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("encoding", ["ascii", slow("latin-1")])
def test_output_survives_a_terminal_that_is_not_utf_8(encoding):
    run = lambda *words: subprocess.run(
        [sys.executable, "-m", "mmjax", *words],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "60"},
        check=True,
    )
    assert b"compare" in run("--help").stdout
    assert (
        b"rows of each class" in run("data", "--task", "synthetic", "--options", "size=200").stdout
    )


def test_output_that_nobody_reads_is_no_error():
    words = f"{sys.executable} -m mmjax compare --help | true"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)
    assert not done.stderr


@pytest.mark.filterwarnings("always:.* is truncated")
def test_paths_and_warnings_are_shown_and_not_obeyed(capsys, tmp_path):
    folder = make_folder(tmp_path / "a[red]\x1b[31m", {"a_only": 1, "b_only": 2, "gmu": 3})
    page = tmp_path / "b[red]\x1b[2J\udcff.html"
    with (folder / "history.jsonl").open("a") as file:
        file.write('{"cut')
    main(["report", str(folder), "--out", str(page)])
    assert "gmu" in page.read_text(encoding="utf-8")
    said = capsys.readouterr()
    assert r"Report: " in said.out
    assert r"b[red]\x1b[2J\udcff.html" in said.out
    assert r"a[red]\x1b[31m/history.jsonl: line" in said.err
    assert "\x1b" not in said.out + said.err


def test_a_folder_or_file_with_results_is_not_written_over(trained, tmp_path, capsys):
    before = (trained / "rows.jsonl").read_bytes()
    for command in (["compare", *TINY], ["train", "sum", *TINY]):
        with pytest.raises(SystemExit):
            main([*command, "--out", str(trained)])
        assert "expected a new or empty folder" in capsys.readouterr().err
    assert (trained / "rows.jsonl").read_bytes() == before
    taken = tmp_path / "taken.csv"
    taken.write_text("mine")
    with pytest.raises(SystemExit):
        main(["predict", str(trained), "--out", str(taken)])
    with pytest.raises(SystemExit):
        main(["data", "--task", "synthetic", "--out", str(taken)])
    assert taken.read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "run"
    with pytest.raises(SystemExit) as end:
        main(["compare", *TINY, "--out", str(out)])
    assert end.value.code == 2
    assert str(out) in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "{", "[]", '{"strategies": ["concat"], "tusk": "a"}'])
def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(SystemExit):
        main(["evaluate", str(tmp_path)])
    assert "run.json: expected the settings of a run" in capsys.readouterr().err


def test_a_command_ends_with_the_next(capsys):
    assert run("data", "--task", "synthetic", "--options", "size=80") == 0
    last = capsys.readouterr().out.rstrip().splitlines()[-1]
    assert last.endswith(": mmjax compare --task synthetic --options size=80")
