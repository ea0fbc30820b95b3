"""The model as a StableHLO program, which runs without mmjax."""

from typing import cast

import jax
import numpy as np
from jax import export

from mmjax.comparison.frozen import EncodedTask, source_of
from mmjax.errors import import_extra
from mmjax.layers import kernels
from mmjax.runs.trained import TrainedRun
from mmjax.types import Outputs

PROGRAM = "model.stablehlo"
_ANSWERS = {"classes": jax.nn.softmax, "labels": jax.nn.sigmoid, "numbers": lambda x: x}
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def export_program(run: TrainedRun) -> bytes:
    """Serialises ``run.best.predict``, for any number of rows, with ``jax.export``.

    ``jax.export.deserialize(content).call(inputs, present)`` maps {modality: [rows, ...]} and
    {modality: [rows] bool} to probabilities or numbers, float32 [rows, out_dim]. The parameters,
    those of frozen encoders included, are constants of the program, which is lowered for CPU,
    NVIDIA and AMD GPUs and TPU.

    Raises:
        UsageError: flatbuffers is not installed.
    """
    import_extra("export", "flatbuffers", "export")  # a dependency that jax.export leaves optional
    task, model = run.arm.task, run.arm.recipe.model
    params = jax.tree.map(lambda x: x[0], run.best.params)
    frozen = task.frozen if isinstance(task, EncodedTask) else {}

    def answer(*row):
        # A model may need a static number of rows: it gets one row, and is vmapped.
        inputs, present = jax.tree.map(lambda x: x[None], row)
        for name, encoder in frozen.items():
            features = encoder.run(encoder.arrays, inputs[name], present[name])
            inputs = {**inputs, name: features}
        outputs = model.apply({"params": params}, inputs, present, train=False)
        said = _ANSWERS[task.kind](cast(Outputs, outputs).prediction[0])
        return said * deviation + mean

    mean, deviation = (np.float32(x) for x in task.scale or (0, 1))
    batch = source_of(task).valid.batch()
    (rows,) = export.symbolic_shape("rows")
    like = lambda x: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype)
    program = export.export(jax.jit(jax.vmap(answer)), platforms=PLATFORMS)
    with kernels.without():  # which other machines lack
        exported = program(*jax.tree.map(like, (batch.inputs, batch.present)))
    return bytes(exported.serialize())
