"""The order of the training rows: shuffled, or each class equally often."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmjax.errors import UnknownNameError
from mmjax.tasks.synthetic import synthetic
from mmjax.training.recipe import Recipe, make_model
from mmjax.training.sampling import balanced, order_of, shuffled

KEY = jax.random.key(4)
BALANCED = jax.jit(balanced, static_argnames="num_classes")


@st.composite
def targets(draw):
    """31 rows of classes of which each occurs, some much more often."""
    num_classes = draw(st.sampled_from([2, 5]))
    more = draw(st.lists(st.integers(0, num_classes - 1), min_size=31, max_size=31))
    return np.array([*range(num_classes), *more][:31])


@given(target=targets(), epoch=st.integers(0, 100))
def test_each_class_comes_equally_often_and_rows_in_turn(target, epoch):
    num_classes = target.max() + 1
    rows = np.asarray(BALANCED(KEY, epoch, target, num_classes=int(num_classes)))
    assert rows.shape == target.shape
    whole = target[rows][: len(rows) // num_classes * num_classes].reshape(-1, num_classes)
    np.testing.assert_array_equal(np.sort(whole, axis=1), [np.arange(num_classes)] * len(whole))
    for label in range(num_classes):  # no row again before all of its class
        times = np.bincount(rows, minlength=len(target))[target == label]
        assert times.max() - times.min() <= 1


def test_over_epochs_each_row_of_a_class_is_equally_likely():
    target = np.array([0] * 12 + [1] * 2 + [2])
    draw = jax.jit(jax.vmap(lambda epoch: balanced(KEY, epoch, target, num_classes=3)))
    rows = np.asarray(draw(np.arange(2000)))
    shares = np.bincount(rows.ravel(), minlength=15) / rows.size
    want = [1 / 36] * 12 + [1 / 6] * 2 + [1 / 3]
    np.testing.assert_allclose(shares, want, atol=0.005)
    first = np.bincount(target[rows[:, 0]], minlength=3) / len(rows)
    np.testing.assert_allclose(first, 1 / 3, atol=0.04)


def test_an_order_is_a_function_of_the_key_and_the_epoch():
    target = np.arange(40) % 4
    for order in (shuffled, lambda *a: balanced(*a, num_classes=4)):
        rows = [np.asarray(order(KEY, epoch, target)) for epoch in (0, 0, 1)]
        np.testing.assert_array_equal(rows[0], rows[1])
        assert not np.array_equal(rows[0], rows[2])
        assert not np.array_equal(rows[0], order(jax.random.key(5), 0, target))


def test_a_recipe_names_its_order():
    task = synthetic(size=60)
    model = make_model(task, "sum")
    target = task.train.target
    np.testing.assert_array_equal(order_of(Recipe(model))(KEY, 3, target), shuffled(KEY, 3, target))
    np.testing.assert_array_equal(
        order_of(Recipe(model, sampling="balanced"))(KEY, 3, target),
        balanced(KEY, 3, target, num_classes=2),
    )
    with pytest.raises(UnknownNameError, match="Did you mean 'balanced'"):
        Recipe(model, sampling="balance")
