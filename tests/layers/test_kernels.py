"""The C++ kernels against Flax, and what happens where they cannot be had."""

import os
import shutil
import subprocess
import sys
from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from attention_cases import (
    ATTENTIONS,
    attention_with_gradients,
    check_attention,
    check_extreme_scores,
)
from norm_cases import SHAPES, check_layer_norm

from mmjax.errors import BuildError, UsageError, tell
from mmjax.layers import kernels
from mmjax.layers.convolution import Conv, conv
from mmjax.layers.kernels.build import build
from mmjax.layers.normalisation import LayerNorm
from mmjax.tasks.synthetic import synthetic
from mmjax.training.lanes import over_seeds
from mmjax.training.mesh import make_mesh
from mmjax.training.recipe import make_model
from mmjax.training.sizes import sizes

COMPILER = shutil.which(os.environ.get("CXX", "c++"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(COMPILER is None, reason="needs a C++ compiler"),
]

CONVOLUTIONS = [
    # batch, size, features in and out, window, strides, padding
    (1, (7,), 3, 4, (3,), 1, "SAME"),
    (2, (40,), 13, 33, (5,), 1, "SAME"),
    (3, (1,), 17, 1, (1,), 1, "VALID"),
    (2, (9,), 1, 48, (4,), 3, "VALID"),
    (2, (8,), 3, 2, (2,), 3, ((2, 1),)),
    (40, (3, 4), 2, 5, (3, 3), 1, "SAME"),
    (1, (28, 28), 1, 32, (3, 3), 1, "SAME"),
    (2, (14, 14), 33, 17, (3, 3), 1, "SAME"),
    (2, (9, 8), 17, 64, (3, 2), 2, "VALID"),
    (5, (8, 7), 2, 3, (2, 3), (2, 3), "SAME"),
    (2, (5, 6), 3, 16, (3, 4), (1, 2), ((0, 2), (1, 3))),
    (2, (6, 5), 4, 1, (1, 1), (3, 2), ((3, 2), (0, 4))),
    (2, (6, 7), 2, 3, (2, 2), 1, ((-1, 0), (2, -2))),
]


@pytest.fixture(autouse=True)
def demanded(monkeypatch):
    """With this, nothing is tested without kernels unnoticed."""
    monkeypatch.setenv("MMJAX_KERNELS", "1")


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    """As in a new process, on a machine without a compiler."""
    monkeypatch.setattr(kernels, "_load", cache(kernels._load.__wrapped__))
    monkeypatch.setattr(kernels, "_tell_once", cache(tell))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", "no-such-compiler")


def draw(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def loss(kernel, x):
    return jnp.sum(jnp.sin(conv(x, kernel)))


def uses_kernels(function, *arguments):
    return "mmjax_convolve" in jax.jit(function).lower(*arguments).as_text()


def forward(x, kernel):
    """The convolution where a gradient is to follow; without one, the kernels are not used."""
    return jax.vjp(conv, x, kernel)[0]


@pytest.mark.parametrize(
    ("batch", "size", "fan_in", "fan_out", "window", "strides", "padding"), CONVOLUTIONS
)
def test_kernels_are_flax_conv(batch, size, fan_in, fan_out, window, strides, padding):
    x = draw(batch, *size, fan_in)
    params = {"kernel": draw(*window, fan_in, fan_out, seed=1), "bias": draw(fan_out, seed=2)}
    fields = {"features": fan_out, "kernel_size": window, "strides": strides, "padding": padding}

    def value_and_gradients(conv):
        y, pull = jax.vjp(lambda p, x: conv.apply({"params": p}, x), params, x)
        return y, pull(draw(*y.shape, seed=3))

    ours = lambda: value_and_gradients(Conv(**fields))
    assert uses_kernels(ours)
    want = jax.jit(lambda: value_and_gradients(nn.Conv(**fields)))()
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), jax.jit(ours)(), want
    )


@pytest.mark.parametrize(("size", "pool"), [((7,), (2,)), ((6, 6), (2, 2)), ((7, 5), (3, 2))])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("fan_out", [5, 32])
def test_kernels_pool_what_they_convolve(size, pool, strides, fan_out):
    x, window = draw(40, *size, 3), (3,) * len(size)
    params = {"kernel": draw(*window, 3, fan_out, seed=1)}

    def value_and_gradients(apply):
        y, pull = jax.vjp(lambda p, x: apply({"params": p}, x), params, x)
        return y, pull(draw(*y.shape, seed=3))

    conv_and_pool = Conv(fan_out, window, strides, use_bias=False, pool=pool).apply
    alone = nn.Conv(fan_out, window, strides, use_bias=False).apply
    in_turn = lambda p, x: nn.max_pool(alone(p, x), pool, strides=pool)
    ours = lambda: value_and_gradients(conv_and_pool)
    assert "ui8" in jax.jit(ours).lower().as_text()  # which entry of each window is the largest
    want = jax.jit(lambda: value_and_gradients(in_turn))()
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    jax.tree.map(close, jax.jit(ours)(), want)
    np.testing.assert_allclose(conv_and_pool({"params": params}, x), want[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("sizes", ATTENTIONS)
def test_kernels_are_softmax_attention(sizes):
    check_attention(*sizes)
    assert "mmjax_attend_gradient" in jax.jit(attention_with_gradients(*sizes)).lower().as_text()


@pytest.mark.parametrize("shape", SHAPES)
def test_kernels_are_flax_layer_norm(shape):
    check_layer_norm(*shape)
    x = draw(*shape)
    lowered = jax.jit(LayerNorm().apply).lower(LayerNorm().init(jax.random.key(0), x), x)
    assert "mmjax_layer_norm" in lowered.as_text()


def test_kernel_attention_at_extreme_scores():
    check_extreme_scores()


@pytest.mark.parametrize("shape", [(0, 6, 6, 2), (1, 0, 6, 2), (1, 6, 6, 0)])
def test_nothing_has_a_gradient_of_zero(shape):
    kernel = draw(3, 3, shape[-1], 4)
    y, gradient = jax.jit(jax.value_and_grad(loss))(kernel, jnp.zeros(shape))
    assert y == 0
    np.testing.assert_array_equal(gradient, np.zeros_like(kernel))


def test_other_types_and_ranks_take_the_way_without_kernels():
    x, kernel = draw(1, 4, 4, 4, 2), draw(2, 2, 2, 2, 3)
    assert not uses_kernels(forward, x, kernel)
    assert not uses_kernels(forward, x[0].astype(jnp.bfloat16), kernel[0].astype(jnp.bfloat16))
    assert uses_kernels(forward, x[0], kernel[0])


def test_kernels_are_used_unless_turned_off(monkeypatch):
    x, kernel = draw(1, 4, 4, 2), draw(3, 3, 2, 3)
    monkeypatch.delenv("MMJAX_KERNELS")
    assert uses_kernels(partial(forward), x, kernel)
    assert kernels.version().startswith("kernels ")
    monkeypatch.setenv("MMJAX_KERNELS", "0")
    assert not uses_kernels(partial(forward), x, kernel)
    assert kernels.version() == "no kernels"


def test_a_program_is_traced_again_without_kernels():
    program, given = jax.jit(forward), (draw(1, 4, 4, 2), draw(3, 3, 2, 3))
    with_kernels = program(*given)
    with kernels.without():
        assert "mmjax_" not in program.lower(*given).as_text()
        np.testing.assert_allclose(program(*given), with_kernels, rtol=1e-5, atol=1e-6)
    assert "mmjax_" in program.lower(*given).as_text()


def test_without_a_compiler_all_goes_on_and_one_line_says_so(monkeypatch, no_compiler, capsys):
    monkeypatch.delenv("MMJAX_KERNELS")
    for _ in range(2):
        assert not uses_kernels(partial(forward), draw(1, 4, 4, 2), draw(3, 3, 2, 3))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("mmjax: training without C++ kernels, slower (MMJAX_KERNELS=0 accepts")
    assert "cannot run the C++ compiler" in line
    assert kernels.version() == "no kernels"


def test_without_a_compiler_what_is_demanded_is_an_error(no_compiler):
    with pytest.raises(BuildError, match=r"no-such-compiler: cannot run the C\+\+ compiler.*CXX"):
        forward(draw(1, 4, 4, 2), draw(3, 3, 2, 3))


def test_operations_are_counted_the_same(monkeypatch):
    task = synthetic(size=60)
    model = make_model(task, "transformer")
    with_kernels = sizes(model, task)
    monkeypatch.setenv("MMJAX_KERNELS", "0")
    assert sizes(model, task) == with_kernels


def test_a_mesh_does_without_kernels():
    mapped = over_seeds(forward, make_mesh("data=1"), lanes=2)
    given = draw(1, 1, 4, 4, 2), draw(1, 3, 3, 2, 3)
    assert "mmjax_" not in mapped.lower(*given).as_text()


def test_seeds_and_steps_are_as_one_by_one():
    kernel, x = draw(2, 3, 3, 2, 4), draw(3, 2, 6, 6, 2, seed=1)  # seeds; steps, batch

    def train(kernel, x):
        step = lambda k, x: (k - 0.1 * jax.grad(loss)(k, x), loss(k, x))
        return jax.lax.scan(step, kernel, x)

    alone = [jax.jit(train)(k, x) for k in kernel]
    want = jax.tree.map(lambda *leaves: np.stack(leaves), *alone)
    mapped = jax.jit(lambda k: jax.lax.map(lambda k: train(k, x), k))(kernel)
    batched = jax.jit(jax.vmap(train, in_axes=(0, None)))(kernel, x)
    for got in (mapped, batched):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), got, want)


THREADS = """
import os, sys
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(sys.argv[1])])
import jax, numpy as np
from mmjax.layers.convolution import conv
draw = np.random.default_rng(0).normal
x, w = draw(size=(37, 9, 9, 5)).astype("f4"), draw(size=(3, 3, 5, 19)).astype("f4")
y, pull = jax.vjp(conv, x, w)
np.savez(sys.argv[2], y, *pull(y))
"""


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2,
    reason="needs a choice of processors",
)
def test_results_are_the_same_to_the_bit_on_one_thread_and_two(tmp_path):
    # Affinity holds for a process, so each number of threads needs its own.
    files = [tmp_path / f"{threads}.npz" for threads in (1, 2)]
    for threads, file in enumerate(files, start=1):
        subprocess.run([sys.executable, "-c", THREADS, str(threads), file], check=True)
    one, two = map(np.load, files)
    assert len(one.files) == 3
    for name in one.files:
        np.testing.assert_array_equal(one[name], two[name])


def test_many_convolutions_at_once_wait_for_each_other_but_not_for_ever():
    # Independent convolutions of one program, and more of them than threads, may all be in flight.
    x, many = draw(20, 8, 8, 3), draw(16, 3, 3, 3, 4, seed=1)
    alone, together = jax.jit(forward), jax.jit(lambda x: [forward(x, k) for k in many])
    for kernel, y in zip(many, together(x), strict=True):
        np.testing.assert_array_equal(y, alone(x, kernel))


@pytest.mark.parametrize("value", ["", "yes", "2"])
def test_a_value_that_is_no_switch_is_an_error(monkeypatch, value):
    monkeypatch.setenv("MMJAX_KERNELS", value)
    with pytest.raises(UsageError, match="MMJAX_KERNELS: expected 0 or 1"):
        kernels.available()


def test_a_failing_compiler_is_quoted_and_leaves_nothing_behind(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("CXX", f"{COMPILER} -include no_such_header.h")
    with pytest.raises(BuildError, match=r"(?s)exit status.*no_such_header.*name one in CXX"):
        build()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_windows_of_more_entries_than_a_byte_counts_are_pooled():
    x, kernel = draw(2, 20, 20, 1), draw(3, 3, 1, 4, seed=1)
    pooled = lambda x: nn.max_pool(conv(x, kernel), (17, 17), strides=(17, 17))
    got = jax.jit(jax.grad(lambda x: (conv(x, kernel, pool=(17, 17)) ** 2).sum()))(x)
    want = jax.jit(jax.grad(lambda x: (pooled(x) ** 2).sum()))(x)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_half_a_library_is_compiled_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library = build()
    whole = library.read_bytes()
    library.write_bytes(whole[: len(whole) // 2])
    assert build().stat().st_size == len(whole)


def test_a_library_is_compiled_once():
    first = build()
    stamp = first.stat().st_mtime_ns
    assert build() == first
    assert first.stat().st_mtime_ns == stamp
