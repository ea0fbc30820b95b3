"""The model card of an export."""

from collections.abc import Sequence

from mmjax.report.summary import markdown_table, notes, scored_split, summarise
from mmjax.scoring import Row
from mmjax.sizes import num_params
from mmjax.task import Task
from mmjax.trained import TrainedRun


def make_card(run: TrainedRun, rows: Sequence[Row]) -> str:
    """The card as Markdown, with the front matter that hubs of models read.

    Args:
        run: the run that is exported.
        rows: its scores; what the card says of them, it takes from there.
    """
    arm, task = run.arm, run.arm.task
    inputs = [
        f"| {_code(name)} | {_code(str(x.dtype))} | {_code(str([*x.shape[1:]]))} |"
        for name, x in sorted(task.train.inputs.items())
    ]
    return _CARD.format(
        strategy=arm.strategy,
        task=_code(task.name),
        modalities=", ".join(map(_code, task.modalities)),
        seeds=", ".join(map(str, arm.recipe.seeds)),
        best_seed=run.best_seed,
        num_params=f"{num_params(run.best.params):,}",
        out_dim=task.out_dim,
        target=task.kind,
        names=_names(task),
        said=_SAID[task.kind],
        inputs="\n".join(inputs),
        split=scored_split(rows),
        scores=markdown_table(summarise(rows)),
        notes=notes(rows).strip(),
        recipe=rows[0]["recipe"],
        data=rows[0]["data"],
    )


def _code(text: str) -> str:
    """As code, in which nothing is markup; names have no newlines."""
    return "`" + text.replace("`", "'") + "`"


def _names(task: Task) -> str:
    if not task.names:
        return ""
    return f"The {task.kind}, in order: {', '.join(map(_code, task.names))}.\n\n"


_SAID = {
    "classes": "the probabilities",
    "labels": "the probabilities of each label",
    "numbers": "the numbers, in their own units,",
}


_CARD = """---
library_name: mmjax
tags:
- multimodal
- fusion
- jax
---

# {strategy} on {task}

A model of {out_dim} {target} that fuses {modalities}; {num_params} parameters a seed, trained
with the seeds {seeds}.

## Scores

On the {split} split.

{scores}
{notes}

## Inputs

| modality | dtype | shape of a row |
|---|---|---|
{inputs}

Every modality may be absent from a row, as `present` says.

## Use

{names}With mmjax, the mean over the seeds of {said} [rows, {out_dim}]:

```python
from mmjax.export import load_export

run = load_export("this folder")  # model.safetensors: the parameters of every seed
run.predict(inputs)  # {{modality: [rows, ...]}}
run.embed(inputs)  # {{modality and "fused": [rows, features]}}
```

Without mmjax, {said} of seed {best_seed}, which did best on validation:

```python
from pathlib import Path
from jax import export

program = export.deserialize(bytearray(Path("model.stablehlo").read_bytes()))
program.call(inputs, present)  # {{modality: [rows, ...]}}, {{modality: [rows] bool}}
```

## Training

Data: sha256 {data} (its first digits). Recipe:

```
{recipe}
```
"""
