"""Set, gated, non-local and expert fusions against NumPy, and what they do in training."""

import jax
import numpy as np
import pytest
from reference import (
    OUT_DIM,
    PRESENT,
    WIDTH,
    assert_close,
    attend,
    by_row,
    clean,
    dense,
    embed,
    joint,
    mean,
    mlp,
    pool,
    presence,
    project,
    ragged,
    run,
)
from scipy.special import expit, softmax
from scipy.stats import norm as normal

from mmjax.errors import UsageError
from mmjax.fusion.activation import ActivationFusion
from mmjax.fusion.centralnet import CentralNetFusion
from mmjax.fusion.deepsets import DeepSetsFusion
from mmjax.fusion.embracenet import EmbraceNetFusion
from mmjax.fusion.gated import FiLMFusion, GatedFusion
from mmjax.fusion.hemis import HeMISFusion
from mmjax.fusion.mixture_of_experts import MixtureOfExpertsFusion
from mmjax.fusion.mmtm import MMTMFusion
from mmjax.fusion.nl_gate import NLGateFusion
from mmjax.layers import all_valid
from mmjax.testing import make_tokens

SIZE = {"out_dim": OUT_DIM, "width": WIDTH}


def relu(x):
    return np.maximum(x, 0)


def predict(fusion, params, tokens):
    return jax.jit(lambda p: fusion.apply({"params": p}, tokens, train=False))(params)


def zero(params, prefix):
    """The parameters with zeros where the name of the layer has the prefix."""
    zeros = lambda tree: jax.tree.map(np.zeros_like, tree)
    return {n: zeros(p) if n.startswith(prefix) else p for n, p in params.items()}


def others(vectors, name):
    return {n: x for n, x in vectors.items() if n != name}


def heard(tokens):
    """Whether a sample has a modality beside this one: [batch, modality, 1]."""
    counts = presence(tokens).astype(int)
    return (counts.sum(axis=1, keepdims=True) - counts > 0)[..., None]


# Deep sets


def test_deepsets():
    tokens = ragged()
    got, p = run(DeepSetsFusion(**SIZE), tokens)
    elements = [relu(mlp(p[f"phi_{n}"], x)) for n, x in pool(tokens).items()]
    pooled = by_row(np.stack(elements, axis=1), presence(tokens), np.sum)
    assert_close(got.prediction, dense(p["readout"], relu(dense(p["rho"], pooled))))


def test_deepsets_with_one_phi_is_indifferent_to_order():
    fusion, tokens = DeepSetsFusion(**SIZE), make_tokens({"left": (3, 5), "right": (2, 5)})
    _, p = run(fusion, tokens)
    shared = p | {"phi_right": p["phi_left"]}
    swapped = {"left": tokens["right"], "right": tokens["left"]}
    got = predict(fusion, shared, swapped).prediction
    assert_close(got, predict(fusion, shared, tokens).prediction)
    assert not np.allclose(got, predict(fusion, p, swapped).prediction)


# Moments


def test_hemis():
    tokens = ragged()
    got, p = run(HeMISFusion(**SIZE), tokens)
    vectors, present = project(p, tokens), presence(tokens)
    spread = lambda x, axis: x.var(axis, ddof=1) if len(x) > 1 else np.zeros(WIDTH)
    moments = [("mean", by_row(vectors, present, np.mean))]
    moments += [("variance", by_row(vectors, present, spread))]
    hidden = relu(joint(p["joint"], dict(moments)))
    assert_close(got.prediction, dense(p["readout"], hidden))


@pytest.mark.parametrize("variance", [True, False])
def test_hemis_tells_agreement_from_a_mean_of_opposites(variance):
    """With one map for both: the mean of 0 and 0 is that of x and -x, and the variance is not."""
    fusion, tokens = HeMISFusion(**SIZE, variance=variance), make_tokens({"left": (1, 5)})
    twins = {"left": tokens["left"], "right": tokens["left"]}
    _, p = run(fusion, twins)
    kernel = {"kernel": p["project_left"]["kernel"], "bias": np.zeros(WIDTH, np.float32)}
    p |= {"project_left": kernel, "project_right": kernel}
    scale = lambda n, by: twins[n]._replace(values=by * twins[n].values)
    same = predict(fusion, p, {"left": scale("left", 0), "right": scale("right", 0)})
    unlike = predict(fusion, p, {"left": scale("left", 1), "right": scale("right", -1)})
    assert np.allclose(same.prediction, unlike.prediction, atol=1e-5) != variance


# Modulation


@pytest.mark.parametrize("num_modalities", [1, 2, 3])
def test_gated(num_modalities):
    tokens = ragged(num_modalities)
    got, p = run(GatedFusion(**SIZE), tokens)
    if num_modalities == 1:
        gates = 1
    else:
        said = [joint(p[f"gate_{n}"], others(pool(tokens), n)) for n in tokens]
        gates = np.where(heard(tokens), expit(np.stack(said, axis=1)), 1)
    mixed = by_row(gates * project(p, tokens), presence(tokens), np.sum)
    assert_close(got.prediction, dense(p["readout"], mixed))


def test_a_gate_without_weights_is_half_open():
    fusion, tokens = GatedFusion(**SIZE), make_tokens({"audio": (3, 5), "image": (4, 6)})
    _, p = run(fusion, tokens)
    want = dense(p["readout"], project(p, tokens).sum(axis=1) / 2)
    assert_close(predict(fusion, zero(p, "gate_"), tokens).prediction, want)


@pytest.mark.parametrize("num_modalities", [1, 2, 3])
def test_film(num_modalities):
    tokens = ragged(num_modalities)
    got, p = run(FiLMFusion(**SIZE), tokens)
    gamma, beta = 1, 0
    if num_modalities > 1:
        said = np.stack([joint(p[f"film_{n}"], others(pool(tokens), n)) for n in tokens], axis=1)
        gamma = np.where(heard(tokens), 1 + said[..., :WIDTH], 1)
        beta = np.where(heard(tokens), said[..., WIDTH:], 0)
    features = [dense(p[f"project_{n}"], x) for n, x in pool(tokens).items()]
    modulated = relu(gamma * np.stack(features, axis=1) + beta)
    mixed = by_row(modulated, presence(tokens), np.sum)
    assert_close(got.prediction, dense(p["readout"], mixed))


def test_film_without_conditioning_adds_plain_layers():
    fusion, tokens = FiLMFusion(**SIZE), ragged()
    _, p = run(fusion, tokens)
    features = [relu(dense(p[f"project_{n}"], x)) for n, x in pool(tokens).items()]
    mixed = by_row(np.stack(features, axis=1), presence(tokens), np.sum)
    assert_close(predict(fusion, zero(p, "film_"), tokens).prediction, dense(p["readout"], mixed))


# Tokens


@pytest.mark.parametrize("num_modalities", [1, 2, 3])
def test_nl_gate(num_modalities):
    tokens = ragged(num_modalities)
    got, p = run(NLGateFusion(**SIZE), tokens)
    embedded, masks = embed(p, tokens), clean(tokens)[1]
    pooled = {}
    for n, own in embedded.items():
        z = own.copy()
        for other, context in others(embedded, n).items():
            block = p[f"{n}_from_{other}"]
            assert block["query"]["kernel"].shape == (WIDTH, 1, WIDTH)  # the paper has one head
            z += attend(block, own, context, masks[other])
        pooled[n] = mean(np.where(masks[n][..., None], z, 0), masks[n])
    assert_close(got.prediction, dense(p["readout"], relu(joint(p["joint"], pooled))))


@pytest.mark.parametrize("excites", [True, False])
def test_mmtm(excites):
    """Without weights of excitation every factor is 2 sigmoid(0) = 1: streams that never meet."""
    fusion, tokens = MMTMFusion(**SIZE), ragged()
    _, p = run(fusion, tokens)
    if not excites:
        p = zero(p, "excite_")
    streams, masks = clean(tokens)
    for i in range(2):
        streams = {n: relu(dense(p[f"stream_{i}_{n}"], x)) for n, x in streams.items()}
        if excites:
            squeezed = relu(joint(p[f"squeeze_{i}"], masked_means(streams, masks)))
            gates = {n: 2 * expit(dense(p[f"excite_{i}_{n}"], squeezed)) for n in streams}
            streams = {n: gates[n][:, None] * x for n, x in streams.items()}
    want = joint(p["readout"], masked_means(streams, masks))
    assert_close(predict(fusion, p, tokens).prediction, want)


def masked_means(values, masks):
    return {n: mean(np.where(masks[n][..., None], x, 0), masks[n]) for n, x in values.items()}


# Streams and products


def test_activation():
    tokens = ragged()
    got, p = run(ActivationFusion(**SIZE), tokens)
    projected = np.where(presence(tokens)[..., None], project(p, tokens), 0)
    product = by_row(projected, presence(tokens), np.prod)
    here = presence(tokens).any(axis=1, keepdims=True)
    squashed = np.where(here, expit(np.tanh(product)), 0)
    kernels = [p["product"]["kernel"], *(p["joint"][n]["kernel"] for n in tokens)]
    together = np.concatenate([squashed, *projected.swapaxes(0, 1)], axis=1)
    hidden = relu(together @ np.concatenate(kernels) + p["joint"]["bias"])
    assert_close(got.prediction, dense(p["readout"], hidden))


def test_centralnet():
    tokens = ragged()
    got, p = run(CentralNetFusion(**SIZE), tokens)
    here = dict(zip(tokens, presence(tokens).T[..., None], strict=True))
    layer = lambda name, n, x: np.where(here[n], dense(p[f"{name}_{n}"], x), 0)
    mix = lambda i, streams: sum(p[f"weight_{i}_{n}"] * x for n, x in streams.items())
    first = {n: relu(layer("stream_0", n, x)) for n, x in pool(tokens).items()}
    second = {n: relu(layer("stream_1", n, x)) for n, x in first.items()}
    centre = relu(dense(p["centre_1"], mix(0, first)))
    logits = dense(p["readout"], p["weight_1"] * centre + mix(1, second))
    branches = {n: layer("readout", n, x) for n, x in second.items()}
    for n in tokens:
        assert_close(got.branches[n], branches[n])
    assert_close(got.prediction, p["weight_2"] * logits + mix(2, branches))


def test_centralnet_follows_the_only_branch_that_has_a_weight():
    fusion, tokens = CentralNetFusion(**SIZE), ragged()
    _, p = run(fusion, tokens)
    outputs = predict(fusion, zero(p, "weight_") | {"weight_2_audio": np.float32(1)}, tokens)
    assert_close(outputs.prediction, outputs.branches["audio"])


def test_the_centre_follows_the_only_stream_that_has_weights():
    fusion, tokens = CentralNetFusion(**SIZE), ragged()
    _, p = run(fusion, tokens)
    deaf = p | {f"weight_{i}_{n}": np.float32(0) for i in range(3) for n in ("image", "text")}
    negated = {n: t._replace(values=-t.values) for n, t in tokens.items()}
    want = predict(fusion, deaf, tokens).prediction
    assert_close(predict(fusion, deaf, negated | {"audio": tokens["audio"]}).prediction, want)
    got = predict(fusion, deaf, tokens | {"audio": negated["audio"]}).prediction
    assert not np.allclose(got, want)


# Draws


def test_embracenet_at_evaluation_is_the_expectation():
    tokens = ragged()
    got, p = run(EmbraceNetFusion(**SIZE), tokens)
    embraced = by_row(project(p, tokens), presence(tokens), np.mean)
    assert_close(got.fused, embraced)
    assert_close(got.prediction, dense(p["readout"], embraced))


@pytest.fixture(scope="module")
def draws():
    """The joint vectors of 2000 training steps [step, batch, width], and what they draw from."""
    fusion, tokens = EmbraceNetFusion(**SIZE), ragged()
    _, p = run(fusion, tokens)
    embrace = lambda key: (
        fusion.apply({"params": p}, tokens, train=True, rngs={"dropout": key}).fused
    )
    fused = jax.jit(jax.vmap(embrace))(jax.random.split(jax.random.key(0), 2000))
    return np.asarray(fused), project(p, tokens), presence(tokens)


def test_embracenet_draws_each_coordinate_from_one_modality_present(draws):
    fused, docked, present = draws
    for row, here in enumerate(present):
        sources = docked[row, here] if here.any() else np.zeros((1, WIDTH))
        nearest = np.abs(fused[:, row, None] - sources[None]).min(axis=1)
        assert nearest.max() < 1e-6


def test_embracenet_draws_on_average_what_it_evaluates(draws):
    fused, docked, present = draws
    expected = by_row(docked, present, np.mean)
    error = fused.std(axis=0) / np.sqrt(len(fused))
    assert (np.abs(fused.mean(axis=0) - expected) < 5 * error + 1e-4).all()


def test_embracenet_draws_coordinates_and_rows_independently(draws):
    fused, docked, _ = draws
    first, second = fused[:, 3, 0], fused[:, 3, 1]  # row 3 has the first and the last modality
    both = np.isclose(first, docked[3, 0, 0]) == np.isclose(second, docked[3, 0, 1])
    assert abs(both.mean() - 1 / 2) < 5 * np.sqrt(1 / 4 / len(both))
    other = fused[:, 0, 0]  # row 0 has all three
    both = np.isclose(first, docked[3, 0, 0]) & np.isclose(other, docked[0, 0, 0])
    assert abs(both.mean() - 1 / 6) < 5 * np.sqrt(5 / 36 / len(both))


# Experts


def top_weights(scores, k):
    """Softmax over the k largest scores of each row; zeros elsewhere."""
    weights = np.zeros(scores.shape)
    for row, s in enumerate(scores):
        best = np.argsort(s)[-k:]
        weights[row, best] = softmax(s[best])
    return weights


def expected_load(scores, spread, k):
    """The chance, row by row, that an expert's own noise lifts it among the k best."""
    chance = np.zeros(scores.shape)
    for row, expert in np.ndindex(scores.shape):
        rest = np.sort(np.delete(scores[row], expert))
        chance[row, expert] = normal.cdf((scores[row, expert] - rest[-k]) / spread[row, expert])
    return chance


def squared_variation(x):
    return x.var() / x.mean() ** 2


@pytest.mark.parametrize("k", [1, 2, 3])
def test_mixture_of_experts(k):
    tokens = ragged()
    got, p = run(MixtureOfExpertsFusion(**SIZE, top_k=k, balance=0.3), tokens)
    counts = presence(tokens).any(axis=1, keepdims=True)
    scores = joint(p["gate"], pool(tokens))
    weights = np.where(counts, top_weights(scores, k), 0)
    experts = relu(joint(p["experts"], pool(tokens)).reshape(len(PRESENT), 4, WIDTH))
    mixed = (weights[..., None] * experts).sum(axis=1)
    assert_close(got.prediction, dense(p["readout"], mixed))

    spread = np.log1p(np.exp(joint(p["noise"], pool(tokens)))) + 0.01
    load = np.where(counts, expected_load(scores, spread, k), 0).sum(axis=0)
    assert_close(got.aux["importance"], 0.3 * squared_variation(weights.sum(axis=0)))
    assert_close(got.aux["load"], 0.3 * squared_variation(load))


def reveal_weights(params):
    """Expert e says the e-th unit vector, so that the joint vector holds the weights."""
    experts = jax.tree.map(np.zeros_like, params["experts"])
    return params | {"experts": experts | {"bias": np.eye(4, WIDTH, dtype=np.float32).ravel()}}


def test_in_training_noise_picks_exactly_k_experts():
    fusion, tokens = MixtureOfExpertsFusion(**SIZE), ragged()
    _, p = run(fusion, tokens)
    p = reveal_weights(zero(zero(p, "gate"), "noise"))  # all that is left is noise of one spread
    gate = lambda key: fusion.apply({"params": p}, tokens, train=True, rngs={"dropout": key}).fused
    fused = jax.jit(jax.vmap(gate))(jax.random.split(jax.random.key(0), 1000))
    weights = np.asarray(fused)[..., :4]
    here = presence(tokens).any(axis=1)
    assert ((weights > 0).sum(axis=-1) == np.where(here, 2, 0)[None]).all()
    assert_close(weights.sum(axis=-1), np.broadcast_to(here, weights.shape[:2]))
    often = (weights[:, here] > 0).mean(axis=0)
    assert np.abs(often - 1 / 2).max() < 5 * np.sqrt(1 / 4 / 1000)


def test_balance_is_cheapest_where_experts_are_used_equally():
    fusion = MixtureOfExpertsFusion(**SIZE, top_k=1, balance=1)
    tokens = make_tokens({"audio": (1, 4)})
    _, p = run(fusion, tokens)
    same = {"audio": {"kernel": np.eye(4, dtype=np.float32)}, "bias": np.zeros(4, np.float32)}
    p = zero(p, "noise") | {"gate": same}
    favourites = [0, 1, 2, 3], [0, 0, 1, 2], [0, 0, 0, 0]
    scores = [9 * np.eye(4, dtype=np.float32)[rows] for rows in favourites]
    aux = jax.jit(lambda x: predict(fusion, p, {"audio": all_valid(x[:, None])}).aux)
    balanced, skewed, collapsed = map(aux, scores)
    for term in ("importance", "load"):
        assert_close(balanced[term], 0)
        assert 0.1 < skewed[term] < collapsed[term]
        # One of four takes all: in shares, a mean of 1/4 and a variance of 3/16.
        assert_close(collapsed[term], 3)


def test_every_expert_learns_where_rows_are_many():
    fusion, tokens = MixtureOfExpertsFusion(**SIZE), make_tokens({"audio": (3, 5)}, batch=64)
    _, p = run(fusion, tokens)

    def loss(params):
        outputs = predict(fusion, params, tokens)
        return (outputs.prediction**2).sum() + sum(outputs.aux.values())

    grads = jax.jit(jax.grad(loss))(p)
    by_expert = grads["experts"]["audio"]["kernel"].reshape(5, 4, WIDTH)
    assert (np.abs(by_expert).max(axis=(0, 2)) > 1e-3).all()
    for layer in ("gate", "noise"):
        assert (np.abs(grads[layer]["audio"]["kernel"]).max(axis=0) > 1e-5).all()


@pytest.mark.parametrize("k", [0, 4])
def test_experts_must_be_more_than_are_picked(k):
    with pytest.raises(UsageError, match="top_k"):
        run(MixtureOfExpertsFusion(**SIZE, top_k=k), ragged())
