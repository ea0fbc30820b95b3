"""Run folders of simulated strategies, without training any."""

import numpy as np

from mmjax.data.targets import row_nll
from mmjax.metrics import METRICS
from mmjax.runs.command import compare_command
from mmjax.runs.run_file import RunFile, write_run_file
from mmjax.runs.settings import Settings
from mmjax.storage.jsonl import append_rows

SKILLS = {"a_only": 1.0, "b_only": 1.6, "concat": 2.6, "gmu": 2.7, "late_mean": 1.5}


def scores(logits, target):
    """The usual scores of classes."""
    some = {name: METRICS[name].score(logits, target) for name in ("accuracy", "macro_f1")}
    return {**some, "nll": float(row_nll(logits, target).mean())}


def make_folder(folder, skills=SKILLS, *, task="toy", seeds=3, groups=60, without=(), **facts):
    """Fills a run folder as the command does.

    Args:
        folder: where.
        skills: {strategy: how far the logit of the right class stands out}; names that end in
            "_only" have one modality.
        task: its name.
        seeds: number of seeds.
        groups: number of test groups of two rows; validation has as many.
        without: files to leave out.
        facts: fields that every row gets.
    """
    rng = np.random.default_rng(len(task))
    group = np.repeat(np.arange(groups), 2)
    target = {name: rng.integers(3, size=2 * groups) for name in ("valid", "test")}
    luck = {name: rng.normal(size=(1, 2 * groups, 3)) for name in target}
    rows, history = [], []
    (folder / "predictions").mkdir(parents=True)
    for strategy, skill in skills.items():
        alone = strategy.endswith("_only")
        modalities = strategy.removesuffix("_only") if alone else "a+b"
        name = {"task": task, "strategy": strategy, "modalities": modalities}
        arrays = {"seeds": np.arange(seeds)}
        for split, classes in target.items():
            arrays[split] = np.float32(
                luck[split] + rng.normal(size=(seeds, len(classes), 3)) + skill * np.eye(3)[classes]
            )
            hidden = {"": 1.0} | ({} if alone else {"a": 0.5, "b": 0.3, "a+b": 0.0})
            for absent, share in hidden.items():
                for seed in range(seeds):
                    logits = arrays[split][seed] - (1 - share) * skill * np.eye(3)[classes]
                    where = {"seed": seed, "split": split, "hidden": absent}
                    size = {"rows": len(classes), "groups": groups, "params": 1000, "flops": 2e6}
                    made = {
                        "seconds": 1.5,
                        "recipe": f"Recipe({strategy})",
                        "data": f"{task}-{modalities}",
                    }
                    made |= {"versions": "mmjax 0", "device": "cpu"}
                    rows.append(
                        {**name, **where, **scores(logits, classes), **size, **made, **facts}
                    )
        if "predictions" not in without and "/" not in strategy:
            np.savez(folder / "predictions" / f"{strategy}.npz", **arrays)
        for seed in range(seeds):
            history += [
                {**name, "seed": seed, "step": s, "valid_accuracy": 0.9 - 0.5 / s}
                for s in (1, 2, 4)
            ]
    append_rows(folder / "rows.jsonl", rows)
    if "history" not in without:
        append_rows(folder / "history.jsonl", history)
    if "labels" not in without:
        labels = {f"{split}_target": classes for split, classes in target.items()}
        np.savez(folder / "labels.npz", valid_group=group, test_group=group, **labels)
    if "run" not in without:
        settings = Settings(task=task, seeds=seeds, data="/secret/place")
        fused = [name for name in skills if not name.endswith("_only")]
        run = RunFile(settings, list(skills), command=compare_command(settings, fused))
        write_run_file(folder, run)
    return folder
