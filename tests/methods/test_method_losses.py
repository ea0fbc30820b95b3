"""Methods that change losses and rows: what each paper claims, against NumPy."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from method_setup import (
    KEY,
    NAMES,
    Setup,
    first_rows,
    gradient_of_objective,
    nll,
    scaled,
    target_probability,
)
from scipy.special import logsumexp
from small import NUM_CLASSES

from mmjax.errors import UsageError
from mmjax.methods import Joint
from mmjax.methods.comm import CoMM, mutual_nce
from mmjax.methods.distillation import Distillation
from mmjax.methods.greedy import Greedy, speeds
from mmjax.methods.mla import MLA
from mmjax.methods.modality_dropout import ModalityDropout, drop_modalities
from mmjax.methods.more_vs_fewer import MoreVsFewer, nested_subsets
from mmjax.methods.pmr import PMR
from mmjax.objectives import cross_entropy
from mmjax.testing.common import compile_fast


@pytest.fixture(scope="module")
def batch():
    return first_rows()


# Modality dropout


@pytest.mark.parametrize("rate", [0.0, 0.3, 1.0])
def test_modality_dropout_never_drops_all_and_as_often_as_it_says(rate):
    size, names = 20_000, ("a", "b", "c")
    present = {name: jnp.ones(size, bool) for name in names}
    left = drop_modalities(KEY, present, rate)
    assert np.any(list(left.values()), axis=0).all()
    for name in names:  # dropped unless all three are, and this one has the largest draw
        np.testing.assert_allclose(1 - left[name].mean(), rate - rate**3 / 3, atol=0.015)
    dropped = [~np.asarray(left[name]) for name in names]
    np.testing.assert_allclose(
        (dropped[0] & dropped[1]).mean(), rate**2 * (1 - 2 * rate / 3), atol=0.01
    )


def test_modality_dropout_leaves_what_is_absent_and_rows_with_one_modality():
    a, b = jnp.arange(400) % 2 == 0, jnp.arange(400) % 4 < 2
    left = drop_modalities(KEY, {"a": a, "b": b}, 0.9)
    for name, here in {"a": a, "b": b}.items():
        alone = here & ~(a & b)
        assert not (left[name] & ~here).any()
        assert (left[name] | ~alone).all()


def test_modality_dropout_is_joint_training_on_the_rows_that_the_key_leaves(batch):
    setup = Setup(ModalityDropout(rate=0.5), batch)
    drop_key, key = jax.random.split(KEY)
    left = drop_modalities(drop_key, batch.present, 0.5)
    assert any((left[name] != batch.present[name]).any() for name in NAMES)
    joint = compile_fast(Joint().gradient(setup.forward, cross_entropy))
    want = joint(setup.params, (), batch._replace(present=left), key)
    got = setup.gradient(setup.params, (), batch, KEY)
    chex.assert_trees_all_close(got, want, atol=1e-6)


# More vs. Fewer


def test_more_and_fewer_are_nested_and_of_every_size_equally_often():
    size, names = 12_000, ("a", "b", "c")
    kept = np.arange(size)[:, None] % 4 >= [1, 2, 3]  # a quarter each has 0, 1, 2, 3 modalities
    present = {name: jnp.asarray(kept[:, i]) for i, name in enumerate(names)}
    more, fewer = (np.stack(list(s.values()), axis=1) for s in nested_subsets(KEY, present))
    assert not (more & ~kept).any()
    assert not (fewer & ~more).any()
    count, most, least = kept.sum(axis=1), more.sum(axis=1), fewer.sum(axis=1)
    few = count < 2
    np.testing.assert_array_equal(most[few], count[few])
    np.testing.assert_array_equal(least[few], count[few])
    assert (least < most)[~few].all()
    assert (least > 0)[~few].all()
    pairs = [(2, 1), (3, 1), (3, 2)]
    shares = [((most == m) & (least == f))[count == 3].mean() for m, f in pairs]
    np.testing.assert_allclose(shares, [1 / 2, 1 / 4, 1 / 4], atol=0.03)
    np.testing.assert_allclose(
        fewer[count == 3].mean(axis=0), (1 / 2 + 1 / 4 + 2 / 4) / 3, atol=0.03
    )


def halves(setup, batch):
    """What each row loses in nats with more and with fewer modalities."""
    draw_key, _ = jax.random.split(KEY)
    for present in nested_subsets(draw_key, batch.present):
        outputs = setup.forward(setup.params, batch._replace(present=present), KEY)
        yield nll(outputs.prediction, batch.target)


def test_more_vs_fewer_ranks_the_losses_of_two_subsets(batch):
    setup = Setup(MoreVsFewer(weight=0.5), batch)
    more, fewer = halves(setup, batch)
    _, _, metrics = setup.gradient(setup.params, (), batch, KEY)
    np.testing.assert_allclose(metrics["loss"], (more.mean() + fewer.mean()) / 2, rtol=1e-5)
    ranking = np.maximum(more - fewer, 0).mean()
    assert ranking > 1e-3
    np.testing.assert_allclose(metrics["ranking"], ranking, rtol=1e-4)


def test_the_ranking_loss_makes_more_modalities_help(batch):
    """A step along its gradient alone lowers what rows lose by having more of them."""
    setup = Setup(MoreVsFewer(weight=1.0), batch)
    plain = compile_fast(MoreVsFewer(weight=0.0).gradient(setup.forward, cross_entropy))
    grads = [step(setup.params, (), batch, KEY)[0] for step in (setup.gradient, plain)]
    along = jax.tree.map(lambda ranked, p: ranked - p, *grads)
    stepped = jax.tree.map(lambda p, g: p - 0.1 * g, setup.params, along)
    before, after = (
        setup.gradient(params, (), batch, KEY)[2]["ranking"] for params in (setup.params, stepped)
    )
    assert after < 0.9 * before


# CoMM


def nce_by_hand(z, w, temperature):
    """Each view's other one among both views of all rows but itself."""
    views = np.concatenate([z, w])
    views /= np.maximum(np.linalg.norm(views, axis=1, keepdims=True), 1e-6)
    losses = []
    for i in range(len(views)):
        others = [j for j in range(len(views)) if j != i]
        pair = (i + len(z)) % len(views)
        scores = np.array([views[i] @ views[j] / temperature for j in others])
        losses.append(logsumexp(scores) - scores[others.index(pair)])
    return np.mean(losses)


@pytest.mark.parametrize("twice", [False, True])
def test_comm_contrasts_the_fused_vector_with_that_of_each_modality(batch, twice):
    setup = Setup(CoMM(weight=0.5, temperature=0.3), batch, "concat")  # without dropout
    view = {name: 1 - x / 2 for name, x in batch.inputs.items()} if twice else None
    views = [batch, batch._replace(inputs=view) if twice else batch]
    grads, _, metrics = setup.gradient(setup.params, (), batch._replace(view=view), KEY)
    fuse = lambda rows: np.asarray(setup.forward(setup.params, rows, KEY).fused)
    whole, other = map(fuse, views)
    terms = [nce_by_hand(whole, other, 0.3)]
    for name in NAMES:
        rows = np.asarray(batch.present[name])
        z, z_other = (fuse(rows.hide({*NAMES} - {name})) for rows in views)
        both = nce_by_hand(z[rows], other[rows], 0.3), nce_by_hand(z_other[rows], whole[rows], 0.3)
        terms.append(np.mean(both))
    np.testing.assert_allclose(metrics["contrast"], np.mean(terms), rtol=1e-4)
    np.testing.assert_allclose(metrics["loss"], cross_entropy(setup.outputs, batch)[0], rtol=1e-5)
    rest = jax.tree.map(jnp.subtract, grads, gradient_of_objective(setup, batch))
    moved = lambda tree: max(np.abs(x).max() for x in jax.tree.leaves(tree))
    assert all(moved(rest[f"encoders_{name}"]) > 1e-3 for name in NAMES)
    assert np.abs(rest["fusion"]["readout"]["kernel"]).max() < 1e-6


def test_what_only_one_modality_knows_lowers_the_contrast_of_comm_alone():
    """Modalities that share nothing: aligned with each other they are at chance."""
    size = 8
    a, b = np.eye(size, 2 * size), np.eye(size, 2 * size, size)
    here = jnp.ones(size, bool)
    nce = lambda z, w: mutual_nce(jnp.asarray(z), jnp.asarray(w), here, temperature=0.1)
    np.testing.assert_allclose(nce(a, b), np.log(2 * size - 1), rtol=1e-5)
    want = np.log1p((2 * size - 2) * np.exp(-10 / 2**0.5))  # a cosine of 45 degrees, and zeros
    np.testing.assert_allclose([nce(a, a + b), nce(b, a + b)], want, rtol=1e-4)


def test_comm_needs_what_is_fused(batch):
    with pytest.raises(UsageError, match="joint representation, for the method comm"):
        Setup(CoMM(), batch, "late_mean")


# PMR


def prototypes_by_hand(features, batch, name):
    rows, target = np.asarray(features[name]), np.asarray(batch.target)
    here = np.asarray(batch.present[name])
    return np.stack([rows[here & (target == c)].mean(axis=0) for c in range(NUM_CLASSES)])


@pytest.mark.parametrize("early", [0, 50])
def test_pmr_adds_prototype_losses_and_early_entropies(batch, early):
    setup = Setup(PMR(alpha=0.8, mu=0.3, early=early), batch)
    grads, memory, metrics = setup.gradient(setup.params, setup.memory, batch, KEY)
    features = {n: t.values.mean(axis=1) for n, t in setup.outputs.tokens.items()}
    prototypes = {n: prototypes_by_hand(features, batch, n) for n in NAMES}
    chex.assert_trees_all_close(memory["prototypes"], prototypes, rtol=1e-4, atol=1e-6)

    distance = lambda rows, n: np.linalg.norm(np.asarray(rows)[:, None] - prototypes[n], axis=2)
    s = {n: target_probability(-distance(features[n], n), batch, n) for n in NAMES}
    other = dict(zip(NAMES, NAMES[::-1], strict=True))
    slow = {n: np.clip(s[other[n]] / s[n] - 1, 0, 1) for n in NAMES}
    fast = {n: np.clip(s[n] / s[other[n]] - 1, 0, 1) for n in NAMES}
    for n in NAMES:
        np.testing.assert_allclose(metrics[f"slow_{n}"], slow[n], rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(metrics[f"fast_{n}"], fast[n], rtol=1e-3, atol=1e-5)
    assert max(slow.values()) > 0

    def loss(params):
        outputs = setup.forward(params, batch, KEY)
        total = cross_entropy(outputs, batch)[0]
        for n in NAMES:
            rows = outputs.tokens[n].values.mean(axis=1)[batch.present[n]]
            apart = jnp.linalg.norm(rows[:, None] - prototypes[n][None], axis=2)
            log_p, target = jax.nn.log_softmax(-apart), batch.target[batch.present[n]]
            total += 0.8 * slow[n] * -log_p[jnp.arange(len(target)), target].mean()
            entropy = -(jnp.exp(log_p) * log_p).sum(axis=1).mean()
            total -= 0.3 * fast[n] * entropy * (early > 0)
        return total

    chex.assert_trees_all_close(
        grads, compile_fast(jax.grad(loss))(setup.params), rtol=1e-3, atol=1e-6
    )


def test_pmr_prototypes_are_running_averages_of_the_classes_seen(batch):
    setup = Setup(PMR(decay=0.75), batch)
    first = batch._replace(target=batch.target * 0)
    _, memory, _ = setup.gradient(setup.params, setup.memory, first, KEY)
    for n in NAMES:
        assert memory["seen"][n].tolist() == [True, False, False]
    features = {n: t.values.mean(axis=1) for n, t in setup.outputs.tokens.items()}
    _, after, _ = setup.gradient(setup.params, memory, batch, KEY)
    for n in NAMES:
        new = prototypes_by_hand(features, batch, n)
        new[0] = 0.75 * memory["prototypes"][n][0] + 0.25 * new[0]
        np.testing.assert_allclose(after["prototypes"][n], new, rtol=1e-4, atol=1e-6)


# MLA


def mean_used(setup, batch, name):
    """The mean input of the readout with one modality alone, and the rows that have it."""
    alone = {n: batch.present[n] & (n == name) for n in NAMES}
    rows = batch._replace(present=alone)
    fused = setup.forward(setup.params, rows, KEY).fused
    return np.asarray(fused, float)[np.asarray(alone[name])].mean(axis=0), rows


def test_mla_takes_turns_and_projects_by_what_the_head_has_learned_on(batch):
    setup = Setup(MLA(alpha=0.1), batch, "mean")
    gradient = partial(setup.gradient, setup.params)
    first, memory, _ = gradient(setup.memory, batch, KEY)
    second, after, metrics = gradient(memory, batch, KEY)
    assert not any(np.any(x) for x in jax.tree.leaves(first["encoders_vector"]))
    assert not any(np.any(x) for x in jax.tree.leaves(second["encoders_sequence"]))
    assert after["step"] == 2

    projection = np.eye(7)
    for name, state in (("sequence", memory), ("vector", after)):
        used, rows = mean_used(setup, batch, name)
        inverse = np.linalg.inv(projection) + np.outer(used, used) / 0.1  # what is inverted
        projection = np.linalg.inv(inverse) / np.linalg.norm(np.linalg.inv(inverse))
        np.testing.assert_allclose(state["projection"], projection, rtol=1e-3, atol=1e-4)

    here = np.asarray(rows.present["vector"])

    def loss(params):
        log_p = jax.nn.log_softmax(setup.forward(params, rows, KEY).prediction)
        return -log_p[jnp.arange(32), batch.target][here].mean()

    np.testing.assert_allclose(metrics["loss"], loss(setup.params), rtol=1e-5)
    free = compile_fast(jax.grad(loss))(setup.params)
    kernel = np.sqrt(7) * projection @ free["fusion"]["readout"]["kernel"]
    free["fusion"]["readout"]["kernel"] = kernel
    chex.assert_trees_all_close(second, free, rtol=1e-3, atol=1e-5)


def test_mla_shrinks_what_would_change_the_answers_to_mean_inputs_seen(batch):
    setup = Setup(MLA(alpha=0.01), batch, "mean")
    free = Setup(MLA(alpha=np.inf), batch, "mean")
    seen = np.stack([mean_used(setup, batch, n)[0] for n in NAMES])
    change = {}
    for name, each in (("projected", setup), ("free", free)):
        memory = each.memory
        for _ in NAMES:
            grads, memory, _ = each.gradient(each.params, memory, batch, KEY)
        kernel = np.asarray(grads["fusion"]["readout"]["kernel"])
        change[name] = np.linalg.norm(seen @ kernel) / np.linalg.norm(kernel)
    assert change["projected"] < 0.3 * change["free"]


def test_mla_needs_a_shared_readout(batch):
    with pytest.raises(UsageError, match="readout"):
        Setup(MLA(), batch, "late_mean")


# Greedy


def speed_by_hand(grads, params):
    square = lambda tree: sum(float((np.asarray(x) ** 2).sum()) for x in jax.tree.leaves(tree))
    return square(grads) / square(params)


def test_greedy_trains_the_modality_used_least_alone_for_a_window(batch):
    setup = Setup(Greedy(threshold=0.01, window=2, warmup=2), batch)
    memory, alone = setup.memory, []
    for _ in range(6):
        grads, memory, metrics = setup.gradient(setup.params, memory, batch, KEY)
        idle = [n for n in NAMES if not any(map(np.any, jax.tree.leaves(grads[f"encoders_{n}"])))]
        alone.append([n for n in NAMES if idle and n not in idle])
        assert metrics["joint"] == (not idle)
    joint = gradient_of_objective(setup, batch)
    s = {}
    for n, other in zip(NAMES, NAMES[::-1], strict=True):
        of = lambda tree, n=n: (tree[f"encoders_{n}"], tree["fusion"][f"readout_{n}"])
        around = lambda tree, other=other: tree["fusion"][f"readout_{other}"]
        own = speed_by_hand(of(joint), of(setup.params))
        s[n] = np.log10(speed_by_hand(around(joint), around(setup.params)) / own)
    least = max(NAMES, key=s.get)
    assert s[least] > sum(s.values()) - s[least] + 0.01
    assert alone == [[], [], [least], [least], [], [least]]
    np.testing.assert_allclose(
        np.log10(memory["around"] / memory["own"]), [s[n] for n in NAMES], rtol=1e-3
    )


def test_greedy_tells_a_modality_from_one_whose_name_begins_with_its_own():
    ones = lambda size: jnp.ones(size)
    params = {
        "encoders_left": {"kernel": ones(1)},
        "encoders_left_hand": {"kernel": ones(2)},
        "fusion": {
            "project_left": {"kernel": ones(3)},
            "project_left_hand": {"kernel": ones(4)},
            "left_to_left_hand": {"kernel": ones(5)},
            "leftover": {"kernel": ones(6)},
        },
    }
    # A square norm of gradients that tells which parameters it is of.
    grads = jax.tree.map(lambda x: x * jnp.sqrt(10.0 ** (len(x) - 1) / len(x)), params)
    around, own = speeds(grads, params, ["left", "left_hand"])
    np.testing.assert_allclose(own, [10101 / 9, 11010 / 11], rtol=1e-5)
    np.testing.assert_allclose(around, [101000 / 10, 100100 / 9], rtol=1e-5)


def test_greedy_trains_jointly_within_the_threshold(batch):
    setup = Setup(Greedy(threshold=100.0, warmup=0), batch)
    want = gradient_of_objective(setup, batch)
    memory = setup.memory
    for _ in range(3):
        grads, memory, _ = setup.gradient(setup.params, memory, batch, KEY)
        chex.assert_trees_all_close(grads, want, rtol=1e-4, atol=1e-7)


# Distillation


def test_distillation_pulls_features_to_those_of_the_teachers(batch):
    setup = Setup(Distillation(weight=0.6), batch)
    teachers = {k: scaled(v, 1.3) for k, v in setup.memory.items()}
    taught = setup.forward({**setup.params, **teachers}, batch, KEY).tokens
    grads, memory, metrics = setup.gradient(setup.params, teachers, batch, KEY)

    def distance(params):
        tokens = setup.forward(params, batch, KEY).tokens
        total = 0.0
        for n in NAMES:
            error = tokens[n].values[:, 0] - taught[n].values[:, 0]
            total += jnp.square(error)[batch.present[n]].mean()
        return total

    value, pull = compile_fast(jax.value_and_grad(distance))(setup.params)
    joint = gradient_of_objective(setup, batch)
    want = jax.tree.map(lambda j, p: j + 0.6 * p, joint, pull)
    np.testing.assert_allclose(metrics["distance"], value, rtol=1e-5)
    chex.assert_trees_all_close(grads, want, rtol=1e-3, atol=1e-6)
    chex.assert_trees_all_equal(memory, teachers)
