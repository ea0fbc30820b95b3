"""What a GPU or a TPU would run, lowered on this machine: nothing of it is what CPUs run."""

import re
from dataclasses import replace
from functools import cache

import jax
import numpy as np
import pytest
from jax import export
from representatives import representatives, slow
from small import make_coded_task, make_task

from mmjax.comparison.arm import make_arm
from mmjax.layers import kernels
from mmjax.layers.convolution import conv
from mmjax.layers.platform import stated_platform
from mmjax.registry import ENCODERS, FUSIONS, METHODS
from mmjax.training import lanes
from mmjax.training.predict import compile_forward
from mmjax.training.program import make_program

SEEDS = 11  # of which nothing in a model has as many
LOWERED = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}  # JAX has two names for some
ACCELERATORS = ["gpu", slow("tpu")]
READABLE = {
    **dict.fromkeys(("cnn", "patches"), "image"),
    **dict.fromkeys(("bag", "one_hot", "text"), "note"),
    **dict.fromkeys(("ft_transformer", "table"), "who"),
    **dict.fromkeys(("cnn3d", "video"), "clip"),
}  # the others read sequences
LIBRARIES = {  # linear algebra that a platform brings along
    "cusolver_potrf_ffi",
    "cusolver_gesvdj_ffi",
    "Qr",
    "Eigh",
    "ProductOfElementaryHouseholderReflectors",
}


@cache
def task():
    """The small task, and clips of four frames."""
    small = make_task()

    def film(split):
        clip = np.stack([split.inputs["image"]] * 4, axis=1)
        return replace(split, inputs={**split.inputs, "clip": clip})

    return replace(small, **{name: film(split) for name, split in small.splits.items()})


@pytest.fixture(autouse=True)
def defaults(monkeypatch):
    monkeypatch.delenv(lanes.VARIABLE, raising=False)
    monkeypatch.setenv(kernels.VARIABLE, "1")  # accelerators ignore it


def lower(platform, strategy="concat", modalities=None, **recipe):
    """Jaxprs and StableHLO of the training of all seeds, and of their prediction."""
    whole = make_coded_task() if "who" in (modalities or ()) else task()
    data = whole.only(*modalities) if modalities else whole
    arm = make_arm(data, strategy, seeds=tuple(range(SEEDS)), batch_size=16, **recipe)
    with stated_platform(platform):
        program, carried = make_program(arm.recipe, data)
        predict, _ = compile_forward(arm.recipe.model)
        calls = {
            program.advance: (carried, data.train.batch(), 0, 0),
            predict: (carried[0].best, data.valid.batch()),
        }
        return [_lower(f, arguments, LOWERED[platform]) for f, arguments in calls.items()]


def _lower(f, arguments, platform):
    exported = export.export(f, platforms=[platform])(*arguments)
    return str(f.trace(*arguments).jaxpr), exported.mlir_module()


def check(programs):
    for jaxpr, program in programs:
        assert f"f32[{SEEDS}," in jaxpr
        assert not re.search(rf"length={SEEDS}\b", jaxpr), "a loop over seeds"
        assert "callback" not in program
        assert set(re.findall(r"custom_call\s*@(\w+)", program)) <= LIBRARIES


@pytest.mark.parametrize("platform", ACCELERATORS)
@pytest.mark.parametrize("name", representatives(FUSIONS, ["concat"]))
def test_a_fusion_is_one_batched_program(name, platform):
    check(lower(platform, name, modalities=("vector", "sequence")))


@pytest.mark.parametrize("platform", ACCELERATORS)
@pytest.mark.parametrize("name", representatives(METHODS, []))
def test_a_method_is_one_batched_program(name, platform):
    fusion = {"mla": "mean", "stacking": "stacking"}.get(name, "concat")
    check(lower(platform, fusion, modalities=("vector", "sequence"), method=METHODS[name]()))


@pytest.mark.parametrize("platform", ACCELERATORS)
@pytest.mark.parametrize("name", representatives(ENCODERS, []))
def test_an_encoder_is_one_batched_program(name, platform):
    read = READABLE.get(name, "sequence")
    other = "who" if read == "note" else "note" if read == "who" else "vector"
    check(lower(platform, modalities=(other, read), encoders={read: name}))


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["gpu", "tpu"])
def test_convolution_and_pooling_are_those_of_the_platform(platform, monkeypatch):
    (_, train), (_, predict) = programs = lower(platform, modalities=("image", "sequence"))
    check(programs)
    # Two convolutions per modality: forward, for the kernels, and for all inputs but the first.
    assert train.count("stablehlo.convolution") == 2 * (2 + 2 + 1)
    assert predict.count("stablehlo.convolution") == 2 * 2
    assert train.count('"stablehlo.select_and_scatter"') == 2 * 2  # the gradients of pooling
    monkeypatch.setenv(kernels.VARIABLE, "0")
    (_, on_cpu), _ = lower("cpu", modalities=("image", "sequence"))
    assert '"stablehlo.select_and_scatter"' not in on_cpu


@pytest.mark.parametrize("how", ["map", "shard"])
def test_a_loop_over_seeds_would_be_seen(how, monkeypatch):
    monkeypatch.setattr(lanes, "how", lambda num_lanes: how)
    with pytest.raises(AssertionError, match="a loop over seeds"):
        check(lower("gpu", modalities=("vector",)))


def test_what_is_traced_for_one_platform_is_not_used_on_another():
    x, kernel = jax.numpy.ones((2, 8, 8, 3)), jax.numpy.ones((3, 3, 3, 4))
    gradient = jax.jit(jax.grad(lambda kernel: conv(x, kernel, pool=(2, 2)).sum()))
    count = lambda: gradient.lower(kernel).as_text().count("select_and_scatter")
    before = count()
    with stated_platform("gpu"):
        assert count() > before == 0
    assert count() == before
