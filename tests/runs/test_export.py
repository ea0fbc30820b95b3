"""What is exported answers as the run does: from its weights, and as a program without mmjax."""

import shutil
import subprocess
import sys

import jax
import numpy as np
import pytest
from commands import TINY, run
from jax import export
from representatives import slow
from small import make_task

from mmjax import errors
from mmjax.comparison.arm import make_arm
from mmjax.data.task import Task
from mmjax.errors import UsageError
from mmjax.runs.export import export_run, load_export
from mmjax.runs.export.stablehlo import PROGRAM, export_program
from mmjax.runs.export.weights import WEIGHTS, dump_weights
from mmjax.runs.run_file import RunFile
from mmjax.runs.settings import Settings
from mmjax.runs.trained import TrainedRun, load_run
from mmjax.storage.files import has_files
from mmjax.storage.jsonl import read_rows
from mmjax.training.step import init_params


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run, and its export."""
    folder = tmp_path_factory.mktemp("export")
    trained, exported = folder / "run", folder / "out" / "exported"
    assert run("train", "gmu", *TINY, "--seeds", "2", "--out", trained) == 0
    assert run("export", trained, "--out", exported) == 0
    return trained, exported


def untrained(strategy, encoders=None, **recipe):
    """A run of two seeds on a vector, a sequence and an image, as it is initialised."""
    return initialise(make_arm(make_task(), strategy, encoders, seeds=(0, 1), **recipe))


def initialise(arm):
    lanes = [init_params(arm.recipe.model, arm.task.valid.batch(), seed) for seed in (0, 1)]
    return TrainedRun(arm, jax.tree.map(lambda *x: np.stack(x), *lanes), best_seed=1)


def some_rows(task, size):
    """Inputs, and modalities that are absent here and there."""
    split = task.test.take(np.arange(size))
    here = {name: np.arange(size) % 3 != k for k, name in enumerate(task.modalities)}
    return split.inputs, here


def test_weights_give_the_same_predictions_to_the_bit(folders):
    before, after = load_run(folders[0]), load_export(folders[1])
    rows = some_rows(before.arm.task, 30)
    np.testing.assert_array_equal(after.predict(*rows), before.predict(*rows))
    for name, values in before.embed(*rows).items():
        np.testing.assert_array_equal(after.embed(*rows)[name], values)
    assert (after.best_seed, after.arm.task.name) == (before.best_seed, before.arm.task.name)


ALONE = """if True:
    import sys
    import numpy as np
    from jax import export
    program = export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
    rows = dict(np.load(sys.argv[2]))
    named = lambda kind: {k.removeprefix(kind): rows[k] for k in rows if k.startswith(kind)}
    np.save(sys.argv[3], program.call(named("inputs."), named("present.")))
    assert not any(name.split(".")[0] in ("mmjax", "flax") for name in sys.modules)
    print(*program.platforms)
"""


@pytest.mark.slow
def test_the_program_answers_without_mmjax(folders, tmp_path):
    trained, exported = folders
    before = load_run(trained)
    inputs, present = some_rows(before.arm.task, 7)
    named = {f"inputs.{name}": x for name, x in inputs.items()}
    named |= {f"present.{name}": x for name, x in present.items()}
    np.savez(tmp_path / "rows.npz", **named)
    paths = (exported / "model.stablehlo", tmp_path / "rows.npz", tmp_path / "answers.npy")
    command = [sys.executable, "-c", ALONE, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    want = before.best.predict(inputs, present)
    np.testing.assert_allclose(np.load(paths[2]), want, atol=1e-6)
    assert done.stdout.split() == ["cpu", "cuda", "rocm", "tpu"]


CNNS = {"image": "cnn", "sequence": "gru"}
MIXED = {"image": "patches", "sequence": "transformer"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("strategy", "encoders"),
    [
        slow("late_mean", CNNS),
        slow("zorro", MIXED),
        slow("mvae", MIXED),
        slow("mixture_of_experts", {}),
    ],
)
def test_programs_of_all_kinds_take_any_number_of_rows(strategy, encoders):
    model = untrained(strategy, encoders)
    program = export.deserialize(bytearray(export_program(model)))
    for size in (1, 5):
        rows = some_rows(model.arm.task, size)
        np.testing.assert_allclose(program.call(*rows), model.best.predict(*rows), atol=1e-6)


@pytest.mark.slow
def test_a_program_has_no_kernels_of_this_machine():
    content = export_program(untrained("transformer", {"image": "cnn"}))
    assert b"mmjax_" not in export.deserialize(bytearray(content)).mlir_module_serialized


@pytest.mark.slow
def test_means_widths_and_encoders_come_back(tmp_path):
    """What is found in data, or by a search, is read and not sought again."""
    model = untrained("sum", {"image": "mlp"}, absent="mean")
    settings = Settings(
        encoders=("image=mlp",), absent="mean", seeds=2, match_params=10**9, data="/a/folder"
    )
    (tmp_path / WEIGHTS).write_bytes(dump_weights(model, RunFile(settings, ["sum"])))
    assert b"/a/folder" not in (tmp_path / WEIGHTS).read_bytes()
    after = load_export(tmp_path)
    rows = some_rows(model.arm.task, 6)
    np.testing.assert_array_equal(after.predict(*rows), model.predict(*rows))


TARGETS = {
    "classes": (np.array(["a", "b", "c"])[np.arange(60) % 3], {}),
    "labels": (np.stack([np.arange(60) % 2, np.arange(60) % 3 == 0], axis=1), {}),
    "numbers": (np.stack([np.arange(60.0), 9 - np.arange(60.0)], axis=1), {"rtol": 1e-5}),
}


@pytest.mark.parametrize("kind", TARGETS)
def test_all_kinds_of_targets_and_standardised_inputs_come_back(kind, tmp_path):
    target, tolerance = TARGETS[kind]
    rng = np.random.default_rng(0)
    inputs = {"x": rng.normal(7, 3, (60, 4)), "y": rng.normal(-5, 2, (60, 6, 2))}
    task = Task.from_arrays(inputs, target)
    run = initialise(make_arm(task, "concat", {"y": "raw"}, seeds=(0, 1)))
    found = RunFile(Settings(encoders=("y=raw",), seeds=2), ["concat"])
    (tmp_path / WEIGHTS).write_bytes(dump_weights(run, found))
    after = load_export(tmp_path)
    assert (after.arm.task.kind, after.arm.task.names) == (kind, task.names)
    rows = some_rows(task, 6)
    np.testing.assert_array_equal(after.predict(*rows), run.predict(*rows))
    run.save_program(tmp_path / PROGRAM)
    program = export.deserialize(bytearray((tmp_path / PROGRAM).read_bytes()))
    want = run.best.predict(*rows)
    np.testing.assert_allclose(program.call(*rows), want, atol=1e-6, **tolerance)
    if kind == "numbers":
        assert abs(want[:, 0].mean() - 29.5) < 20  # in the units that were given


@pytest.mark.slow
def test_a_part_of_the_modalities_is_enough(tmp_path):
    model = untrained("sum@vector+sequence")
    settings = Settings(encoders=("image=mlp",), seeds=2)
    found = RunFile(settings, ["sum@vector+sequence"])
    (tmp_path / WEIGHTS).write_bytes(dump_weights(model, found))
    assert load_export(tmp_path).arm.task.modalities == ("sequence", "vector")


def test_the_card_says_what_the_rows_say(folders):
    trained, exported = folders
    card = (exported / "README.md").read_text()
    rows = [row for row in read_rows(trained / "rows.jsonl") if row["split"] == "test"]
    accuracy = 100 * np.array([row["accuracy"] for row in rows])
    error = accuracy.std(ddof=1) / np.sqrt(len(accuracy))
    assert f"| gmu | {accuracy.mean():.2f} +- {error:.2f} |" in card
    row = rows[0]
    for fact in ("recipe", "data", "versions", "device"):
        assert row[fact] in card
    assert f"{row['params']:,} parameters per seed" in card
    assert "| `a` | `float32` | `[12]` |" in card
    assert card.startswith("---\nlibrary_name: mmjax\n")


def test_damage_of_an_export_is_found(folders, tmp_path, capsys):
    assert run("verify", folders[1]) == 0
    out = shutil.copytree(folders[1], tmp_path / "copy")
    (out / "README.md").write_text("")
    (out / "model.stablehlo").unlink()
    assert run("verify", out) == 1
    told = capsys.readouterr().out
    assert f"damaged     {out / 'README.md'}: expected the file as it was written" in told
    assert f"damaged     {out / 'model.stablehlo'}: expected the file as it was written" in told
    assert f"ok          {out / WEIGHTS}" in told


def test_a_folder_with_files_is_left_alone(folders, tmp_path, capsys):
    (tmp_path / "mine").touch()
    assert run("export", folders[0], "--out", tmp_path) == 2
    assert "out: expected a new or empty folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("package", ["safetensors.numpy", "flatbuffers"])
def test_a_missing_extra_is_named(folders, tmp_path, monkeypatch, package):
    def import_module(name):
        if name == package:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return sys.modules[name]

    monkeypatch.setattr(errors, "import_module", import_module)
    with pytest.raises(UsageError, match=r'pip install "mmjax\[export\]"'):
        export_run(folders[0], tmp_path / "out")
    assert not (tmp_path / "out").exists() or not has_files(tmp_path / "out")
