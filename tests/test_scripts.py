"""Every script of experiments/ runs on small data and writes what it promises."""

import json
import re
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from folders import SKILLS, make_folder
from layouts import make_arrays, write_competition, write_images, write_published, write_recordings
from load_script import load_script
from reference import run
from scipy import stats

from mmjax.analysis.answers import make_answers
from mmjax.analysis.statistics import compare_pair
from mmjax.cli import main
from mmjax.fusion import FUSIONS
from mmjax.runs.studies import read_studies
from mmjax.storage.jsonl import read_rows, write_rows
from mmjax.tasks import load_task
from mmjax.testing import make_tokens

ROOT = Path(__file__).parents[1]


def make_mnist_fsdd(folder):
    write_images(folder / "mnist")
    write_recordings(folder / "fsdd" / "recordings")


def load_small_task(*args):
    """A few rows of each split, every class among them, and a few numbers of each modality."""
    task = load_task(*args)

    def cut(split):
        split = split.take(np.argsort(np.arange(split.size) % 97, kind="stable")[:200])
        few = lambda x: x.reshape(len(x), -1)[:, -50:-38].astype(np.float32)
        return replace(split, inputs={name: few(x) for name, x in split.inputs.items()})

    train, valid, test = (cut(split) for split in task.splits.values())
    return replace(task, train=train, valid=valid, test=test)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["mnist_fsdd", "written_spoken_digits"])
def test_original_digits(task, tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    make_mnist_fsdd(data) if task == "mnist_fsdd" else write_published(data, make_arrays())
    script = load_script("original_digits")
    script.main(script.Study(str(data), out, task, seeds=1, steps=2, shown=30))

    rows = [row for row in read_rows(out / "rows.jsonl") if row["split"] == "test"]
    recipe = {row["strategy"]: row["recipe"] for row in rows}
    assert list(recipe) == ["audio_only", "image_only", "concat"]
    assert "objective=mse" in recipe["image_only"]
    assert "objective=cross_entropy, method=TwoStage(first=mse" in recipe["concat"]
    summary = (out / "summary.md").read_text()
    assert "| image_only | accuracy | 0.951 |" in summary
    for embedding in ("audio", "fused", "image"):
        assert re.search(rf"\| {embedding} \| -?\d\.\d{{3}} \| -?\d\.\d{{3}} \|", summary)
    assert (out / "embeddings.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("name", load_script("ablations").STUDIES)
def test_ablations(name, tmp_path, monkeypatch):
    make_mnist_fsdd(tmp_path)
    script = load_script("ablations")
    small = script.STUDIES[name].replace("0.01,0.03,0.1,0.3", "0.5").replace("george", "ann")
    monkeypatch.setitem(script.STUDIES, name, small)
    script.main(script.Study(str(tmp_path), tmp_path / "out", (name,), seeds=2, steps=2))
    report = (tmp_path / "out" / name / "report.html").read_text()
    assert "variants. Based on 2 seeds" in report


@pytest.mark.slow
def test_unseen_speaker_goes_on_where_it_stopped(tmp_path, capsys, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "out"
    make_mnist_fsdd(data)
    script = load_script("unseen_speaker")
    monkeypatch.setattr(script, "load_task", load_small_task)
    arms = (*script.BASELINES, "late_mean + branches", "concat + modality_dropout")
    study = script.Study(str(data), out, ("ann", "bob"), arms, seeds=1, steps=2)
    script.main(study)
    rows = read_rows(out / "rows.jsonl")
    assert len(rows) == 2 * 4 * 2  # speakers, arms, splits
    recipes = {row["strategy"]: row["recipe"] for row in rows}
    assert "objective=branches" in recipes["late_mean + branches"]
    assert "method=ModalityDropout(" in recipes["concat + modality_dropout"]

    lines = (out / "rows.jsonl").read_text().splitlines(keepends=True)
    (out / "rows.jsonl").write_text("".join(lines[:-2]))  # as if stopped before the last arm
    capsys.readouterr()
    script.main(study)
    progress = re.findall(r"(.+?) +ann \d+\.\d, bob \d", capsys.readouterr().out)
    assert progress == ["concat + modality_dropout"]
    again = read_rows(out / "rows.jsonl")
    scored = lambda rows: [(r["task"], r["strategy"], r["split"], r["nll"]) for r in rows]
    assert scored(again) == scored(rows)
    summary = (out / "summary.md").read_text()
    assert "| arm | ann | bob | mean | at or above | clearly below |" in summary
    assert "- bob: the best on the validation speaker is " in summary


def test_the_arms_of_the_unseen_speaker_exist():
    script = load_script("unseen_speaker")
    task = load_task("synthetic", options={"size": "200"})
    for name in set(script.ARMS) - set(script.BASELINES):
        arm = script.make_named_arm(task, name, script.Study("", Path()))
        assert arm.strategy == name
        fusion, _, remedy = name.partition(" + ")
        plain = script.make_named_arm(task, fusion, script.Study("", Path())).recipe
        same = (arm.recipe.method, arm.recipe.objective) == (plain.method, plain.objective)
        assert same == (not remedy)


@pytest.mark.slow
def test_zoo_digits_goes_on_where_it_stopped(tmp_path, monkeypatch):
    data, out = tmp_path / "data", tmp_path / "out"
    make_mnist_fsdd(data)
    script = load_script("zoo_digits")
    monkeypatch.setattr(script, "load_task", load_small_task)
    study = script.Study(
        out, str(data), ("concat", "late_mean"), ("concat",), ("ann",), seeds=2, steps=2
    )
    script.main(study)
    rows = read_rows(out / "rows.jsonl")
    strategies = {(row["task"], row["strategy"]) for row in rows}
    tasks = ("digits", "mnist_fsdd/speaker/ann")
    alone = {(task, f"{name}_only") for task in tasks for name in ("audio", "image")}
    encoded = {(f"{task}/encoded", name) for task in tasks for name in ("concat", "late_mean")}
    assert strategies == alone | encoded | {("digits", "concat")}
    assert len(rows) == len(strategies) * 2 * 2  # seeds, splits
    last = {"task": f"{tasks[1]}/encoded", "strategy": "late_mean"}
    kept = [json.dumps(row) + "\n" for row in rows if not last.items() <= row.items()]
    (out / "rows.jsonl").write_text("".join(kept))
    assert len(kept) < len(rows)
    script.main(study)
    scored = lambda rows: sorted((r["task"], r["strategy"], r["seed"], r["nll"]) for r in rows)
    assert scored(read_rows(out / "rows.jsonl")) == scored(rows)
    summary = (out / "summary.md").read_text()
    columns = "digits, two-stage | digits, end to end | unseen speakers, two-stage"
    assert f"| strategy | {columns} | parameters of the fusion | seconds" in summary


@pytest.mark.slow
def test_zoo_synthetic_holds_results_against_the_theory(tmp_path):
    out = tmp_path / "out"
    script = load_script("zoo_synthetic")
    study = script.Study(out, ("concat", "late_mean"), seeds=2, steps=60, size=400)
    script.main(study)
    rows = read_rows(out / "rows.jsonl")
    assert len(rows) == 4 * 4 * 2 * 2  # kinds, arms, seeds, splits
    script.main(study)
    assert read_rows(out / "rows.jsonl") == rows
    summary = (out / "summary.md").read_text()
    assert "out of reach of: a_only, b_only, late_mean." in summary
    assert "None is above three of four." in summary
    cheat = {n: {"xor": np.full(2, 99.0)} for n in ("concat", "late_mean")}
    assert "Contradicted by: late_mean." in " ".join(script.verdicts(cheat))


@pytest.mark.slow
def test_theory_names_only_fusions_whose_scores_do_not_interact():
    """The scores of a class, but for what all classes share, are sums over modalities."""
    script = load_script("zoo_synthetic")
    tokens = make_tokens({"a": (1, 5), "b": (1, 5)}, batch=4)
    # Rows (a1, b1), (a1, b2), (a2, b1), (a2, b2).
    pick = lambda t, rows: jax.tree.map(lambda x: x[np.array(rows)], t)
    tokens = {"a": pick(tokens["a"], [0, 0, 1, 1]), "b": pick(tokens["b"], [0, 1, 0, 1])}
    interacting = set()
    for name in FUSIONS:
        if FUSIONS[name].level in ("feature", "decision", "latent"):
            outputs, _ = run(FUSIONS[name](out_dim=2, width=8), tokens)
            scores = {"late_prob_mean": np.exp, "mmvae": np.exp, "evidential": _plausibility}
            score = scores.get(name, _logits)
            difference = np.diff(score(outputs.prediction), axis=-1)[:, 0]
            if abs(difference @ [1, -1, -1, 1]) > 1e-4:
                interacting.add(name)
    assert not interacting & (set(script.UNIMODAL_SCORES) - {"late_max"})
    assert {"concat", "product", "gmu"} <= interacting


def _logits(prediction):
    return prediction


def _plausibility(prediction):
    """Log plausibility of each class in the opinion of Dirichlet parameters exp(prediction)."""
    alpha = np.exp(prediction)
    strength = alpha.sum(axis=-1, keepdims=True)
    belief, uncertainty = (alpha - 1) / strength, alpha.shape[-1] / strength
    return np.log(belief + uncertainty)


@pytest.mark.slow
def test_publish_copies_the_summary_and_fills_the_readme(tmp_path):
    run, root = tmp_path / "run", tmp_path / "root"
    args = ["--task", "synthetic", "--options", "size=200", "--steps", "2", "--seeds", "1"]
    main(["compare", *args, "--fusions", "concat", "--out", str(run)])
    root.mkdir()
    (root / "README.md").write_text("before\n<!-- tiny: x -->\nstale\n<!-- /tiny -->\nafter\n")
    load_script("publish").publish(run, "tiny", readme=True, root=root)
    page = (root / "docs" / "results" / "tiny.md").read_text()
    command = "mmjax compare --task synthetic --options size=200 --seeds 1 --steps 2"
    assert f"Made by `{command} --fusions concat`." in page
    assert "(tiny-accuracy.png)" in page
    readme = (root / "README.md").read_text()
    assert "stale" not in readme
    assert "| concat |" in readme
    assert "majority class" not in readme
    assert "(docs/results/tiny.md)" in readme
    assert readme.startswith("before")
    assert readme.endswith("after\n")
    written = root / "docs" / "results" / "tiny.md"
    written.write_text("# Title\n<!-- tiny: x -->\nstale\n<!-- /tiny -->\nafter\n")
    load_script("publish").publish(run, "tiny", root=root)
    page = written.read_text()
    assert "(tiny-accuracy.png)" in page
    assert "stale" not in page
    assert page.startswith("# Title\n")
    assert "\n# " not in page  # the title of the run is left out
    assert page.endswith("after\n")


@pytest.mark.slow
def test_the_competitions_files_can_be_predicted(tmp_path):
    write_competition(tmp_path, make_arrays())
    out, csv = tmp_path / "run", tmp_path / "submission.csv"
    task = ["--task", "written_spoken_digits", "--data", str(tmp_path)]
    main(["train", "concat", *task, "--steps", "2", "--seeds", "1", "--out", str(out)])
    assert {row["split"] for row in read_rows(out / "rows.jsonl")} == {"valid"}
    main(["predict", str(out), "--layout", "competition", "--out", str(csv)])
    lines = csv.read_text().splitlines()
    assert lines[0] == "row_id,label"
    assert len(lines) == 1 + len(make_arrays()["wr_test"])


@pytest.mark.slow
def test_the_convolution_benchmark_compares_equal_networks(tmp_path):
    script = load_script("convolution", "benchmarks")
    out = tmp_path / "rows.jsonl"
    script.main(script.Benchmark(out, batch_size=4, steps=2, rounds=1, features=(2, 3)))
    (row,) = read_rows(out)
    assert row["ratio"] > 0
    assert {"mmjax_samples_per_s", "flax_samples_per_s", "versions", "device"} <= set(row)


@pytest.mark.slow
def test_attributions_are_held_against_what_is_known(tmp_path, capsys):
    out = tmp_path / "out"
    script = load_script("attribution")
    script.main(script.Study(out, fusions=("concat",), seeds=1, steps=2, size=200))
    information, gains = (read_rows(out / f"{n}.jsonl") for n in ("information", "shapley"))
    assert len(information) == 4 * 2 * 4  # kinds, sources, parts
    assert len(gains) == 4 * 2  # kinds, modalities
    for kind, total in {"redundant": 50, "unique": 50, "and": 25, "xor": 50}.items():
        assert sum(script.best_gains(kind).values()) == total
    summary = (out / "summary.md").read_text()
    assert "| xor | inputs |" in summary
    assert "-0.000" not in summary
    assert (out / "information.png").stat().st_size > 10_000


def test_the_zoo_of_speakers_counts_what_is_gained_and_lost(tmp_path, capsys):
    folders = [make_folder(tmp_path / name, task=f"toy/speaker/{name}") for name in ("ann", "bob")]
    script = load_script("zoo_speakers")
    script.main(tuple(folders), tmp_path / "out")
    summary = (tmp_path / "out" / "summary.md").read_text()
    assert "| strategy | ann | bob | mean | gained | lost | at or above |" in summary
    answers = {folder.name: make_answers(read_studies([folder])[0]) for folder in folders}
    (row,) = re.findall(r"^\| gmu \| (.*) \|$", summary, re.MULTILINE)
    mean, gained, lost, above = (float(cell) for cell in row.split(" | ")[2:])
    want = [100 * found.scores["gmu"].mean() for found in answers.values()]
    alone = [100 * found.scores["b_only"].mean() for found in answers.values()]
    assert mean == pytest.approx(np.mean(want), abs=0.06)
    assert gained - lost == pytest.approx(np.mean(want) - np.mean(alone), abs=0.11)
    assert above == sum(one >= other for one, other in zip(want, alone, strict=True))
    assert "- ann: Fusion pays: " in summary
    assert (tmp_path / "out" / "exchange.png").stat().st_size > 10_000


def test_harder_tasks_are_sorted_by_what_fusion_gains(tmp_path, capsys):
    fewer = {name: skill for name, skill in SKILLS.items() if name != "gmu"}
    folders = [make_folder(tmp_path / "ann", task="ann")]
    folders += [make_folder(tmp_path / "robert", fewer, task="robert")]
    script = load_script("harder_tasks")
    script.main(tuple(folders), tmp_path / "out")
    summary = (tmp_path / "out" / "summary.md").read_text()
    assert "| strategy | ann, accuracy % | robert, accuracy % |" in summary
    shown = re.findall(r"^\| (\*?\w+\*?) \| (.*) \| (.*) \|$", summary, re.MULTILINE)[1:]
    studies = read_studies(folders)
    assert len(shown) == len(SKILLS)
    for name, *cells in shown:
        for study, cell in zip(studies, cells, strict=True):
            scores = 100 * study.scores(name.strip("*"), "accuracy")
            assert cell.partition(" ")[0] == (f"{scores.mean():.1f}" if len(scores) else "")
    alone = max(studies[0].baselines, key=studies[0].on_validation)
    for study in studies:
        gains = script.gains(study)
        for name in gains:
            of = lambda name, study=study: study.scores(name, "accuracy").mean()
            assert gains[name] == pytest.approx(100 * (of(name) - of(alone)))
    fusions = [name for name, *_ in shown if "*" not in name]
    means = [script.mean_gain(studies, name) for name in fusions]
    assert means == sorted(means, reverse=True)
    assert "- ann: Fusion pays: " in summary
    assert (tmp_path / "out" / "gains.png").stat().st_size > 10_000


def test_launchers_are_held_against_one_process(tmp_path, monkeypatch):
    script = load_script("launchers")

    def compare(study, name, *options):
        out = make_folder(study.out / name)
        for table in ("robustness", "representation", "weights"):
            (out / f"{table}.jsonl").write_text("")
        (out / "arms.jsonl").write_text('{"strategy": "gmu", "error": null}\n' * 5)
        rows = read_rows(out / "rows.jsonl")
        rows[0]["seconds"] += 1  # which may be
        if "ray" in options:
            rows[1]["nll"] += 1e-9
            (out / "predictions" / "gmu.npz").unlink()
        write_rows(out / "rows.jsonl", rows)
        return out

    monkeypatch.setattr(script, "compare", compare)
    script.main(script.Study(tmp_path, "concat,gmu", workers=3))
    summary = (tmp_path / "summary.md").read_text()
    lines = sum(len(read_rows(tmp_path / "ray" / f"{name}.jsonl")) for name in script.TABLES)
    for launcher, row, file in (("local", 0, 0), ("submitit", 0, 0), ("ray", 1, 1)):
        assert f"| {launcher} | 5 | {lines} | {row} | 5 | {file} |" in summary
    assert "`mmjax compare --fusions concat,gmu`, 3 workers" in summary


@pytest.mark.slow
def test_verdicts_are_counted_and_gone_on_with(tmp_path, capsys):
    script = load_script("verdicts")
    study = script.Study(
        tmp_path / "out", lists=20, rows=(12, 40), seeds=(1, 3), rounds=3, pairs=2, steps=2
    )
    script.main(study)
    lists = read_rows(study.out / "lists.jsonl")
    assert {row["gap"] for row in lists} == {0.0, 0.5}
    assert {row["score"] for row in lists} == {"accuracy", "R2", "NLL"}
    assert all(row["told"] <= row["plain_told"] and row["narrowest"] > 0 for row in lists)
    assert {row["gap"] for row in read_rows(study.out / "power.jsonl")} == {0.0, 0.15, 0.4}
    summary = (study.out / "summary.md").read_text()
    assert "2 pairs of copies of 3 seeds" in summary
    script.main(study)
    assert read_rows(study.out / "lists.jsonl") == lists
    assert (study.out / "summary.md").read_text() == summary


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "small", "words"),
    [
        ("metric_verdicts", {"pairs": 3, "rows": (40,), "seeds": (3,)}, "3 pairs each"),
        ("fold_verdicts", {"datasets": 3, "rows": (40,), "seeds": (1,)}, "3 datasets each"),
        (
            "ablation_verdicts",
            {"ablations": 3, "rows": (100,), "seeds": (1, 3), "designs": ("grid 2 x 2",)},
            "3 ablations each",
        ),
    ],
)
def test_simulations_are_gone_on_with(name, small, words, tmp_path):
    script = load_script(name)
    study = script.Study(tmp_path / "out", **small)
    script.main(study)
    rows = read_rows(study.out / "rows.jsonl")
    summary = (study.out / "summary.md").read_text()
    assert words in summary
    assert {row["gap"] for row in rows} == {0.0, script.GAP}
    write_rows(study.out / "rows.jsonl", [row for row in rows if row["gap"]])
    script.main(study)
    key = lambda row: json.dumps(row, sort_keys=True)
    assert sorted(read_rows(study.out / "rows.jsonl"), key=key) == sorted(rows, key=key)


def test_simulated_effects_are_found_and_others_are_not():
    script = load_script("ablation_verdicts")
    (_, effects, _) = script.count("grid 2 x 2", 1000, 5, script.GAP, ablations=10)
    assert effects["family"] == "effects"
    assert effects["found"] >= 8
    assert effects["false"] <= 3


def test_lists_are_judged_as_a_pair_is():
    """The experiment looks at many at once, and what it says must be what users are told."""
    script = load_script("verdicts")
    rng, group = np.random.default_rng(0), np.repeat(np.arange(20), 2)
    difference = rng.choice([-1, 0, 0, 1, 1], size=(30, 4, 3, 40)).astype(float)
    judged = script.judge(difference, group, 0.0)
    for i, j in np.ndindex(30, 4):
        pair = compare_pair(difference[i, j], 0 * difference[i, j], group)
        assert judged["told"][i, j] == (pair.p < 0.05)
        assert judged["sure"][i, j] == (pair.p < 0.001)
        assert judged["covered"][i, j] == (pair.difference.low <= 0 <= pair.difference.high)
    assert 0 < judged["told"].mean() < 1


def test_simulated_strategies_are_what_they_are_said_to_be():
    simulated = load_script("simulated")
    margins = simulated.simulate_lists(
        np.random.default_rng(0), 400, 2, np.arange(300),
        seeds=1, accuracy=0.9, discordance=0.05, luck=0.0, gap=0.2,
    )  # fmt: skip
    first, second = np.moveaxis(margins - np.float32([[0], [0.2]])[..., None], 1, 0) > 0
    assert first.mean() == pytest.approx(0.9, abs=0.003)
    assert (first != second).mean() == pytest.approx(0.05, abs=0.003)
    assert margins.std(axis=(0, 2, 3)) == pytest.approx([1, 1], abs=0.02)
    for name, score in simulated.SCORES.items():
        means = score(margins).mean(axis=(0, 2, 3))
        skill = stats.norm.ppf(0.9)
        want = [simulated.true_score(name, skill), simulated.true_score(name, skill + 0.2)]
        np.testing.assert_allclose(means, want, atol=0.01)
