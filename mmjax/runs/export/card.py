"""The model card of an export."""

from collections.abc import Sequence

from mmjax.analysis.summary import scored_split, summarise
from mmjax.comparison.frozen import source_of
from mmjax.comparison.scores import Row
from mmjax.errors import printable
from mmjax.report.score_table import score_table
from mmjax.report.tables import markdown_table, notes, summary_markdown
from mmjax.runs.trained import TrainedRun
from mmjax.training.sizes import num_params


def make_card(run: TrainedRun, rows: Sequence[Row]) -> str:
    """The card as Markdown, with the front matter that model hubs read.

    Args:
        run: the exported run.
        rows: its scores.
    """
    arm, task = run.arm, source_of(run.arm.task)
    inputs = [
        [_code(name), _code(str(x.dtype)), _code(str([*x.shape[1:]]))]
        for name, x in sorted(task.train.inputs.items())
    ]
    return _CARD.format(
        strategy=arm.strategy,
        task=_code(task.name),
        modalities=", ".join(map(_code, task.modalities)),
        seeds=", ".join(map(str, arm.recipe.seeds)),
        best_seed=run.best_seed,
        num_params=f"{num_params(run.best.params):,}",
        answer=_TELLS[task.kind].format(task.out_dim) + _names(task.names),
        said=f"{'numbers' if task.kind == 'numbers' else 'probabilities'} [rows, {task.out_dim}]",
        inputs=markdown_table(["modality", "dtype", "shape of a row"], inputs, text_columns=3),
        padded=_tell_padded(task.padded),
        split=scored_split(rows),
        scores=summary_markdown(score_table(summarise(rows))),
        notes=notes(rows).strip(),
        recipe=rows[0]["recipe"],
        data=rows[0]["data"],
    )


_TELLS = {
    "classes": "which of {} classes a row has",
    "labels": "which of {} labels a row has",
    "numbers": "{} numbers for each row",
}


def _names(names: Sequence[str]) -> str:
    return f" ({', '.join(map(_code, names))})" if names else ""


def _tell_padded(names: Sequence[str]) -> str:
    listed = ", ".join(map(_code, names))
    return f"\nRows of {listed} may be shorter: NaN fills the rest.\n" if names else ""


def _code(text: str) -> str:
    """Inline code, on one line and without markup."""
    return "`" + printable(text).replace("`", "'") + "`"


_CARD = """---
library_name: mmjax
tags:
- multimodal
- fusion
- jax
---

# {strategy} on {task}

Predicts {answer} from {modalities}; {num_params} parameters per seed, trained with seeds {seeds}.

## Scores

On the {split} split.

{scores}
{notes}

## Inputs

{inputs}

Any modality may be absent from a row; `present` marks it.
{padded}
## Use

With mmjax, the {said}, averaged over the seeds:

```python
from mmjax.runs.export import load_export

run = load_export("this folder")  # model.safetensors: the parameters of every seed
run.predict(inputs)  # {{modality: [rows, ...]}}
run.embed(inputs)  # {{modality and "fused": [rows, features]}}
```

Without mmjax, the {said} of seed {best_seed}, the best on validation:

```python
from pathlib import Path
from jax import export

program = export.deserialize(bytearray(Path("model.stablehlo").read_bytes()))
program.call(inputs, present)  # {{modality: [rows, ...]}}, {{modality: [rows] bool}}
```

## Training

Data: sha256 {data} (truncated). Recipe:

```
{recipe}
```
"""
