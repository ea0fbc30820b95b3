"""Partial information decomposition: textbook answers, other solvers, and tasks that are known."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, minimize
from scipy.stats import entropy

from mmjax.analysis.attribution import (
    Decomposition,
    decompose,
    discretise,
    discretise_predictions,
    estimate,
)
from mmjax.analysis.attribution import information as information_module
from mmjax.analysis.attribution.information import TOLERANCE
from mmjax.errors import UsageError
from mmjax.report.figures.attribution_figures import information_figure
from mmjax.tasks import load_task

AND = 2 - 0.75 * np.log2(3)  # entropy of the class, H(1/4)
AND_ALONE = AND - 0.5


def table(rows):
    """Counts of (first, second, class) triples; whatever they are becomes a symbol."""
    codes = [
        np.unique(column, return_inverse=True, axis=0)[1] for column in zip(*rows, strict=True)
    ]
    counts = np.zeros([code.max() + 1 for code in codes])
    np.add.at(counts, tuple(codes), 1)
    return counts


BITS = list(product((0, 1), repeat=2))
KNOWN = {
    "xor": ([(a, b, a ^ b) for a, b in BITS], (0, 0, 0, 1)),
    "and": ([(a, b, a & b) for a, b in BITS], (AND_ALONE, 0, 0, 0.5)),
    "sum": ([(a, b, a + b) for a, b in BITS], (0.5, 0, 0, 1)),
    "copies": ([(a, a, a) for a in range(2)], (1, 0, 0, 0)),
    "four copies": ([(a, a, a) for a in range(4)], (2, 0, 0, 0)),
    "first": ([(a, b, a) for a, b in BITS], (0, 1, 0, 0)),
    "second": ([(a, b, b) for a, b in BITS], (0, 0, 1, 0)),
    "two bits": ([(a, b, 2 * a + b) for a, b in BITS], (0, 1, 1, 0)),
    "nothing": ([(a, b, y) for a, b in BITS for y in (0, 1)], (0, 0, 0, 0)),
    "one class": ([(a, b, 0) for a, b in BITS], (0, 0, 0, 0)),
    "one symbol": ([(0, b, b) for b in range(2)], (0, 0, 1, 0)),
    "redundant and xor": (
        [((a, r), (b, r), (a ^ b, r)) for a, b in BITS for r in (0, 1)],
        (1, 0, 0, 1),
    ),
    "all four": (
        [
            ((a, r, u), (b, r, v), (a ^ b, r, u, v))
            for a, b, r, u, v in product((0, 1), repeat=5)
        ],
        (1, 1, 1, 1),
    ),
}  # fmt: skip


def random_joint(shape, seed=0, concentration=1.0):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(np.prod(shape), concentration)).reshape(shape)


def information(table):
    """Of [symbol, class] probabilities or counts, in bits: entropies by SciPy."""
    margins = entropy(table.sum(axis=1), base=2) + entropy(table.sum(axis=0), base=2)
    return margins - entropy(table, axis=None, base=2)


def check_sums(parts, joint):
    first, second = information(joint.sum(axis=1)), information(joint.sum(axis=0))
    both = information(joint.reshape(-1, joint.shape[2]))
    assert parts.redundancy + parts.first == pytest.approx(first, abs=1e-8)
    assert parts.redundancy + parts.second == pytest.approx(second, abs=1e-8)
    assert sum(parts) == pytest.approx(both, abs=1e-8)
    assert min(parts) >= -TOLERANCE


@pytest.mark.parametrize("name", KNOWN)
def test_textbook_answers(name):
    rows, want = KNOWN[name]
    parts = decompose(table(rows))
    np.testing.assert_allclose(parts, want, atol=TOLERANCE)
    check_sums(parts, table(rows))


@pytest.mark.parametrize("seed", range(3))
def test_the_program_is_solved_as_another_solver_does(seed):
    """What SLSQP finds is allowed, so it is an upper bound; the dual's value is a lower one."""
    shape = (3, 2, 2)
    joint = random_joint(shape, seed)
    free = []  # what changes no marginal: +1 and -1 at the corners of a rectangle in one class
    for i, c in product((1, 2), (0, 1)):
        free.append(np.zeros(shape))
        free[-1][[0, i], [0, 1], c], free[-1][[0, i], [1, 0], c] = 1, -1
    free = np.stack(free, axis=-1)
    start = joint.sum(1)[:, None] * joint.sum(0)[None] / joint.sum((0, 1))
    found = minimize(
        lambda steps: information((start + free @ steps).clip(0).reshape(-1, shape[2])),
        np.zeros(free.shape[-1]),
        method="trust-constr",
        constraints=LinearConstraint(free.reshape(joint.size, -1), -start.ravel(), np.inf, True),
        options={"xtol": 1e-9, "barrier_tol": 1e-9},
    )
    assert (start + free @ found.x).min() >= 0
    parts = decompose(joint)
    assert parts.redundancy + parts.first + parts.second == pytest.approx(found.fun, abs=1e-5)


@pytest.mark.parametrize("concentration", [0.02, 0.3, 3.0])
@pytest.mark.parametrize("shape", [(2, 2, 2), (5, 3, 4), (2, 9, 3)])
def test_parts_add_up_to_informations_and_are_not_negative(shape, concentration):
    for seed in range(3):
        joint = random_joint(shape, seed, concentration)
        check_sums(decompose(joint), joint)


def test_large_alphabets():
    joint = random_joint((20, 20, 10), concentration=0.1)
    check_sums(decompose(joint), joint)


def test_sources_that_are_copies_share_everything():
    alone = random_joint((4, 3))
    joint = alone[:, None] * np.eye(4)[:, :, None]
    np.testing.assert_allclose(decompose(joint), (information(alone), 0, 0, 0), atol=TOLERANCE)


def test_exchanged_sources_exchange_their_parts():
    joint = random_joint((3, 4, 2))
    parts, other = decompose(joint), decompose(joint.swapaxes(0, 1))
    np.testing.assert_allclose(
        other, (parts.redundancy, parts.second, parts.first, parts.synergy), atol=TOLERANCE
    )


def test_names_of_symbols_and_unused_ones_mean_nothing():
    joint = random_joint((3, 4, 2))
    padded = np.pad(1000 * joint[[2, 0, 1]][:, :, ::-1], ((0, 1), (1, 0), (0, 2)))
    np.testing.assert_allclose(decompose(padded), decompose(joint), atol=TOLERANCE)


def test_independent_systems_add_up():
    """Additivity: Bertschinger et al. (2014), lemma 19."""
    one, two = random_joint((2, 3, 2), 1), random_joint((2, 2, 2), 2)
    both = np.einsum("ijk,abc->iajbkc", one, two).reshape(4, 6, 4)
    want = np.add(decompose(one), decompose(two))
    np.testing.assert_allclose(decompose(both), want, atol=3 * TOLERANCE)


def test_unique_parts_and_redundancy_depend_on_the_sources_one_at_a_time():
    joint = random_joint((3, 4, 2))
    apart = joint.sum(1)[:, None] * joint.sum(0)[None] / joint.sum((0, 1))
    np.testing.assert_allclose(decompose(apart)[:3], decompose(joint)[:3], atol=TOLERANCE)


def test_probabilities_that_floats_can_hardly_hold():
    joint = np.array([[[1.0, 1e-170], [1e-160, 1e-300]]])
    np.testing.assert_allclose(decompose(joint), 0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("joint", "message"),
    [
        (np.ones((2, 2)), "expected .first, second, class."),
        (np.zeros((2, 2, 2)), "sum 0.0"),
        (np.full((2, 2, 2), -1.0), "minimum -1.0"),
        (np.full((2, 2, 2), np.nan), "nan"),
        (np.ones((2, 0, 2)), "sum 0.0"),
    ],
)
def test_what_is_no_joint_distribution_is_refused(joint, message):
    with pytest.raises(UsageError, match=f"joint: .*{message}"):
        decompose(joint)


def sample(joint, rows, seed):
    draws = np.random.default_rng(seed).choice(joint.size, size=rows, p=joint.ravel())
    return np.unravel_index(draws, joint.shape)


def plug_in(*columns):
    return decompose(table(list(zip(*columns, strict=True))))


def test_independent_data_say_nothing_on_average():
    joint = np.full((4, 4, 3), 1 / 48)
    data = [sample(joint, 600, seed) for seed in range(6)]
    biased = np.mean([sum(plug_in(*columns)) for columns in data])
    found = np.array([estimate(*columns)[0] for columns in data])
    assert biased == pytest.approx(30 / (2 * 600 * np.log(2)), rel=0.25)  # 15 * 2 free cells
    assert abs(found.sum(axis=1).mean()) < 0.15 * biased
    assert np.all(np.abs(found.mean(axis=0)) < 0.2 * biased)


@pytest.mark.slow
def test_the_jackknife_takes_bias_away_and_its_errors_are_right():
    joint = random_joint((4, 3, 3), seed=3, concentration=4.0)
    data = [sample(joint, 300, seed) for seed in range(12)]
    parts, errors = map(np.array, zip(*(estimate(*columns) for columns in data), strict=True))
    truth, found = sum(decompose(joint)), parts.sum(axis=1)
    allowed = 3 * found.std(ddof=1) / np.sqrt(len(data))
    assert found.mean() == pytest.approx(truth, abs=allowed)
    assert np.mean([sum(plug_in(*columns)) for columns in data]) > truth + allowed
    np.testing.assert_allclose(errors.mean(axis=0)[3], parts.std(axis=0, ddof=1)[3], rtol=0.4)


def test_rows_of_one_group_are_one_draw():
    columns = sample(random_joint((3, 3, 2)), 300, seed=0)
    twice = [np.repeat(column, 2) for column in columns]
    once = estimate(*columns)
    np.testing.assert_allclose(estimate(*twice, np.repeat(np.arange(300), 2)), once, atol=1e-9)
    assert estimate(*twice)[1].synergy < once[1].synergy


def test_symbols_and_groups_are_names_only():
    columns = sample(random_joint((3, 3, 2)), 200, seed=0)
    group = np.arange(200) // 2
    renamed = [7 - 3 * column for column in columns]
    np.testing.assert_allclose(
        estimate(*renamed, 5 + 2 * group), estimate(*columns, group), atol=1e-4
    )


def test_classes_in_turn_do_not_fall_into_one_block(monkeypatch):
    monkeypatch.setattr(information_module, "NUM_BLOCKS", 4)
    target = np.arange(400) % 4
    parts, errors = estimate(target, target, target)
    assert parts.redundancy == pytest.approx(2, abs=0.05)
    assert errors.redundancy < 0.05


def test_lengths_that_differ_and_a_single_group_are_refused():
    column = np.zeros(4, int)
    with pytest.raises(UsageError, match=r"expected one length, got \[4, 3, 4, 4\]"):
        estimate(column, column[1:], column)
    with pytest.raises(UsageError, match="group: expected two groups or more, got 1"):
        estimate(column, column, column, column)


def test_clusters_are_those_of_the_rows_they_are_fitted_on():
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=60)
    centres = np.array([0.0, 100.0, 200.0])[:, None, None, None]
    images = centres[truth] + rng.normal(size=(60, 4, 4, 1))
    symbols = discretise(images, 3, fit_on=np.tile(centres, (1, 4, 4, 1)), seed=0)
    counts = table(list(zip(symbols, truth, truth, strict=True)))
    assert np.count_nonzero(counts.sum(axis=1)) == 3  # one symbol for each of the three
    one = discretise(images[truth == 1], 3, fit_on=images, seed=0)
    assert len(np.unique(one)) == 1  # fitted on themselves they would be three


def test_predictions_in_doubt_are_a_symbol_of_their_own():
    """Of "and" a single bit leaves in doubt; which class is then ahead is chance."""
    rng = np.random.default_rng(0)
    bits = rng.integers(2, size=(2000, 2))
    target = bits.all(axis=1).astype(int)
    doubt = rng.normal(scale=0.1, size=bits.shape)
    logits = np.stack([np.where(bits, doubt, 6), np.where(bits, -doubt, -6)], axis=-1)
    said = [discretise_predictions(logits[:, m], fit_on=logits[:500, m]) for m in range(2)]
    np.testing.assert_allclose(estimate(*said, target)[0], TASKS["and"], atol=0.05)
    ahead = estimate(*logits.argmax(axis=-1).T, target)[0]
    assert ahead.synergy < 0.35


TASKS = {
    "redundant": (1, 0, 0, 0),
    "unique": (0, 1, 0, 0),
    "and": (AND_ALONE, 0, 0, 0.5),
    "xor": (0, 0, 0, 1),
}


@pytest.mark.parametrize("kind", TASKS)
def test_synthetic_tasks_have_the_parts_that_they_are_made_of(kind):
    task = load_task("synthetic", options={"kind": kind, "size": "4000"})
    splits = task.splits.values()
    symbols = [
        discretise(
            np.concatenate([s.inputs[name] for s in splits]),
            2,
            fit_on=task.train.inputs[name],
            seed=0,
        )
        for name in task.modalities
    ]
    target = np.concatenate([s.target for s in splits])
    parts, errors = estimate(*symbols, target)
    np.testing.assert_allclose(parts, TASKS[kind], atol=0.03)
    assert max(errors) < 0.02


def test_the_figure_stacks_the_parts():
    figure = information_figure(
        {"one": Decomposition(0.3, 0.2, -0.01, 0.5), "two": Decomposition(0, 0, 1, 0)}, ("a", "b")
    )
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one", "two"]
    ends = [[bar.get_x() + bar.get_width() for bar in bars] for bars in axes.containers]
    np.testing.assert_allclose(ends, [[0.3, 0], [0.5, 0], [0.5, 1], [1, 1]])
    assert axes.containers[0][0].get_y() > axes.containers[0][1].get_y()  # the first on top
