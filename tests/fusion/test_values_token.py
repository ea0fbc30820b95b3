"""The fusions of tokens against NumPy, and who may read whom, bit by bit."""

from functools import partial

import jax
import numpy as np
import pytest
from reference import (
    OUT_DIM,
    WIDTH,
    assert_close,
    block,
    clean,
    dense,
    embed,
    joint,
    mean,
    norm,
    pool,
    presence,
    ragged,
    run,
)
from representatives import slow

from mmjax.fusion.bottleneck import BottleneckFusion
from mmjax.fusion.co_attention import CoAttentionFusion
from mmjax.fusion.gated_cross_attention import GatedCrossAttentionFusion
from mmjax.fusion.healnet import HEALNetFusion
from mmjax.fusion.hierarchical_attention import HierarchicalAttentionFusion
from mmjax.fusion.late_transformer import LateTransformerFusion
from mmjax.fusion.perceiver_io import PerceiverIOFusion
from mmjax.fusion.q_former import QFormerFusion
from mmjax.fusion.zorro import ZorroFusion
from mmjax.testing import make_tokens
from mmjax.testing.common import KEYS, initialise
from mmjax.types import Tokens

TWO = {"audio": (3, 5), "image": (4, 6)}


def fuse(fusion, tokens, **fields):
    return run(fusion(out_dim=OUT_DIM, width=WIDTH, **fields), tokens)


@partial(jax.jit, static_argnums=0, compiler_options={"xla_backend_optimization_level": 0})
def apply(fusion, params, tokens, key=None):
    """Outputs, in training if there is a key."""
    rngs = {} if key is None else {"dropout": key}
    return fusion.apply({"params": params}, tokens, train=key is not None, rngs=rngs)


def learned(parameter, like):
    """Learned tokens once per row, and their mask."""
    values = np.broadcast_to(parameter[None], (len(like), *parameter.shape))
    return values, np.ones(values.shape[:2], bool)


def join(*parts):
    return tuple(np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))


def embedded(p, tokens):
    """{name: (values, mask)}."""
    values, masks = embed(p, tokens), clean(tokens)[1]
    return {n: (values[n], masks[n]) for n in values}


def self_attend(p, x):
    return block(p, *x), x[1]


def cross_attend(p, x, context):
    return block(p, *x, *context), x[1]


def normed_mean(p, x):
    values, mask = x
    return mean(np.where(mask[..., None], norm(p, values), 0), mask)


def over_present(values, present):
    """Mean of [batch, modality, ...] over the modalities present, row by row."""
    rows = [
        x[here].mean(axis=0) if here.any() else np.zeros(x.shape[1:])
        for x, here in zip(values, present, strict=True)
    ]
    return np.stack(rows)


# Values


@pytest.mark.parametrize("num_tokens", [1, 2])
def test_late_transformer(num_tokens):
    tokens = ragged()
    got, p = fuse(LateTransformerFusion, tokens, num_tokens=num_tokens)
    parts = [learned(p["cls"], presence(tokens))]
    for n, x in pool(tokens).items():
        project = p[f"project_{n}"]
        values = np.stack(
            [x @ project["kernel"][:, i] + project["bias"][i] for i in range(num_tokens)], axis=1
        )
        here = np.asarray(tokens[n].mask).any(axis=1)
        parts.append((values, np.stack([here] * num_tokens, axis=1)))
    x = join(*parts)
    for i in range(2):
        x = self_attend(p[f"block_{i}"], x)
    assert_close(got.prediction, dense(p["readout"], norm(p["norm"], x[0][:, 0])))


@pytest.mark.parametrize(("num_modalities", "num_layers"), [(1, 1), (2, 2), slow(3, 1)])
def test_co_attention(num_modalities, num_layers):
    tokens = ragged(num_modalities)
    got, p = fuse(CoAttentionFusion, tokens, num_layers=num_layers)
    streams = embedded(p, tokens)
    for i in range(num_layers):
        before = dict(streams)
        for n in tokens:
            others = [before[other] for other in tokens if other != n]
            if others:
                streams[n] = cross_attend(p[f"co_{n}_{i}"], before[n], join(*others))
            streams[n] = self_attend(p[f"self_{n}_{i}"], streams[n])
    product = np.ones((len(presence(tokens)), WIDTH))
    for n, here in zip(tokens, presence(tokens).T, strict=True):
        product[here] *= normed_mean(p[f"norm_{n}"], streams[n])[here]
    product[~presence(tokens).any(axis=1)] = 0
    assert_close(got.prediction, dense(p["readout"], product))


@pytest.mark.parametrize(("num_layers", "fusion_layer"), [slow(2, 0), (3, 1), slow(1, 1)])
def test_bottleneck(num_layers, fusion_layer):
    tokens, k = ragged(), 3
    fields = {"num_layers": num_layers, "fusion_layer": fusion_layer, "num_bottlenecks": k}
    got, p = fuse(BottleneckFusion, tokens, **fields)
    present = presence(tokens)
    streams = {n: join(learned(p[f"cls_{n}"], present), x) for n, x in embedded(p, tokens).items()}
    for n in tokens:
        for i in range(fusion_layer):
            streams[n] = self_attend(p[f"{n}_{i}"], streams[n])
    if fusion_layer < num_layers:
        shared = learned(p["bottleneck"], present)
    for i in range(fusion_layer, num_layers):
        written = []
        for n in tokens:
            values, mask = self_attend(p[f"{n}_{i}"], join(streams[n], shared))
            streams[n] = values[:, :-k], mask[:, :-k]
            written.append(values[:, -k:])
        shared = over_present(np.stack(written, axis=1), present), shared[1]
    cls = np.stack([norm(p["norm"], streams[n][0][:, 0]) for n in tokens], axis=1)
    logits = np.where(present[..., None], dense(p["readout"], cls), 0)
    assert_close(np.stack([got.branches[n] for n in tokens], axis=1), logits)
    assert_close(got.prediction, over_present(logits, present))
    assert_close(got.fused, over_present(cls, present))


def test_perceiver_io():
    tokens = ragged()
    got, p = fuse(PerceiverIOFusion, tokens, num_layers=2)
    inputs = join(*embedded(p, tokens).values())
    latents = cross_attend(p["encode"], learned(p["latents"], presence(tokens)), inputs)
    for i in range(2):
        latents = self_attend(p[f"process_{i}"], latents)
    read, _ = cross_attend(p["decode"], learned(p["query"], presence(tokens)), latents)
    assert_close(got.prediction, dense(p["readout"], norm(p["norm"], read[:, 0])))


def test_healnet():
    """Row by row, so that what is absent is left out rather than masked."""
    tokens = ragged()
    got, p = fuse(HEALNetFusion, tokens)
    streams = embedded(p, tokens)
    for row, want in enumerate(got.prediction):
        latents = learned(p["latents"], [row])
        for i in range(2):
            for n, (values, mask) in streams.items():
                if mask[row].any():
                    one = values[row : row + 1], mask[row : row + 1]
                    latents = cross_attend(p[f"read_{n}_{i}"], latents, one)
            latents = self_attend(p[f"self_{i}"], latents)
        read = norm(p["norm"], latents[0].mean(axis=1))
        assert_close(dense(p["readout"], read)[0], want)


@pytest.mark.parametrize("num_layers", [1, slow(2)])
def test_q_former(num_layers):
    tokens = ragged()
    got, p = fuse(QFormerFusion, tokens, num_layers=num_layers)
    inputs = join(*embedded(p, tokens).values())
    queries = learned(p["queries"], presence(tokens))
    for i in range(num_layers):
        queries = self_attend(p[f"self_{i}"], queries)
        queries = cross_attend(p[f"read_{i}"], queries, inputs)
    logits = dense(p["readout"], norm(p["norm"], queries[0]))  # of each query
    assert_close(got.prediction, logits.mean(axis=1))


@pytest.mark.parametrize(("num_modalities", "num_layers"), [slow(1, 1), (2, 2), slow(3, 1)])
def test_gated_cross_attention(num_modalities, num_layers):
    tokens = ragged(num_modalities)
    got, p = fuse(GatedCrossAttentionFusion, tokens, num_layers=num_layers)
    streams = embedded(p, tokens)
    for i in range(num_layers):
        before = dict(streams)
        for n in tokens:
            others = [before[other] for other in tokens if other != n]
            if others:
                streams[n] = cross_attend(p[f"read_{n}_{i}"], before[n], join(*others))
            streams[n] = self_attend(p[f"self_{n}_{i}"], streams[n])
    pooled = {n: normed_mean(p[f"norm_{n}"], x) for n, x in streams.items()}
    assert_close(got.prediction, joint(p["readout"], pooled))


def test_zorro():
    """By structure in place of a mask: each stream is a transformer of its own, weights shared."""
    tokens = ragged()
    got, p = fuse(ZorroFusion, tokens)
    present, streams = presence(tokens), embedded(p, tokens)
    fusion = learned(p["fusion"], present)
    for i in range(2):
        shared = p[f"block_{i}"] | {"norm_context": p[f"block_{i}"]["LayerNorm_0"]}
        fusion = cross_attend(shared, fusion, join(fusion, *streams.values()))
        streams = {n: self_attend(shared, x) for n, x in streams.items()}

    def read(context):
        found, _ = cross_attend(p["read"], learned(p["query"], present), context)
        return dense(p["readout"], norm(p["norm"], found[:, 0]))

    assert_close(got.prediction, read(join(fusion, *streams.values())))
    for here, (n, x) in zip(present.T, streams.items(), strict=True):
        assert_close(got.branches[n], np.where(here[:, None], read(x), 0))


@pytest.mark.parametrize("joint_first", [False, True])
def test_hierarchical_attention(joint_first):
    tokens = ragged()
    got, p = fuse(HierarchicalAttentionFusion, tokens, joint_first=joint_first)
    streams = embedded(p, tokens)
    ends = np.cumsum([x[1].shape[1] for x in streams.values()])
    own = lambda streams: {n: self_attend(p[f"own_{n}_0"], x) for n, x in streams.items()}

    def joint(streams):
        values, mask = self_attend(p["joint_0"], join(*streams.values()))
        parts = (np.split(x, ends[:-1], axis=1) for x in (values, mask))
        return dict(zip(streams, zip(*parts, strict=True), strict=True))

    streams = own(joint(streams)) if joint_first else joint(own(streams))
    fused = normed_mean(p["norm"], join(*streams.values()))
    assert_close(got.prediction, dense(p["readout"], fused))


# Who reads whom


def with_other(name, tokens):
    """The same tokens, but for one modality that holds something else."""
    return {**tokens, name: make_tokens(TWO, seed=9)[name]}


def assert_same_bits(a, b):
    np.testing.assert_array_equal(a, b)


def differs(a, b):
    return np.abs(a - b).max() > 1e-4


@pytest.mark.parametrize("num_fusion_layers", [slow(0), 1, 2])
def test_bottleneck_carries_from_its_second_layer_on(num_fusion_layers):
    """In its first, what is read is as it was learned; what is written is read in the next."""
    tokens = make_tokens(TWO)
    fields = {"num_layers": 2, "fusion_layer": 2 - num_fusion_layers}
    a, b = (fuse(BottleneckFusion, t, **fields)[0] for t in (tokens, with_other("audio", tokens)))
    assert differs(a.branches["audio"], b.branches["audio"])
    if num_fusion_layers < 2:
        assert_same_bits(a.branches["image"], b.branches["image"])
    else:
        assert differs(a.branches["image"], b.branches["image"])


def test_bottleneck_without_fusion_layers_is_a_transformer_per_modality():
    tokens = make_tokens(TWO)
    fusion = BottleneckFusion(out_dim=OUT_DIM, width=WIDTH, fusion_layer=2)
    both, params = run(fusion, tokens)
    assert "bottleneck" not in params
    for n in tokens:
        own = {k: v for k, v in params.items() if n in k or k in ("norm", "readout")}
        alone = apply(fusion, own, {n: tokens[n]})
        assert_close(both.branches[n], alone.prediction)


@pytest.mark.parametrize("train", [False, True])
def test_zorro_keeps_the_streams_of_modalities_pure(train):
    tokens = make_tokens(TWO)
    fusion = ZorroFusion(out_dim=OUT_DIM, width=WIDTH)
    _, params = run(fusion, tokens)
    key = jax.random.key(0) if train else None
    before = apply(fusion, params, tokens, key)
    for name, other in [("audio", "image"), ("image", "audio")]:
        after = apply(fusion, params, with_other(name, tokens), key)
        assert_same_bits(before.branches[other], after.branches[other])
        assert differs(before.branches[name], after.branches[name])
        assert differs(before.prediction, after.prediction)
    absent = Tokens(tokens["audio"].values, np.zeros_like(tokens["audio"].mask))
    alone = apply(fusion, params, {**tokens, "audio": absent}, key)
    assert_same_bits(before.branches["image"], alone.branches["image"])


def initial(fusion, tokens):
    return initialise(lambda key: fusion.init(key, tokens, train=False), KEYS[0])["params"]


def test_gates_keep_streams_as_they_are_alone_until_they_open():
    tokens = make_tokens(TWO)
    fusion = GatedCrossAttentionFusion(out_dim=OUT_DIM, width=WIDTH)
    params = initial(fusion, tokens)
    streams = lambda params, tokens: np.split(apply(fusion, params, tokens).fused, 2, axis=1)
    before = streams(params, tokens)
    after = streams(params, with_other("image", tokens))
    assert_same_bits(before[0], after[0])
    assert differs(before[1], after[1])
    own = {k: v for k, v in params.items() if "audio" in k} | {"readout": params["readout"]}
    assert_close(before[0], apply(fusion, own, {"audio": tokens["audio"]}).fused)
    for gate in ("gate_read", "gate_hidden"):
        reader = {**params["read_audio_0"], gate: np.float32(0.5)}
        opened = {**params, "read_audio_0": reader}
        assert differs(streams(opened, tokens)[0], before[0])
        changed = streams(opened, with_other("image", tokens))
        assert differs(streams(opened, tokens)[0], changed[0]) == (gate == "gate_read")


@pytest.mark.slow
def test_gates_learn_to_open_and_then_all_that_is_behind_them_learns():
    tokens = make_tokens(TWO)
    fusion = GatedCrossAttentionFusion(out_dim=OUT_DIM, width=WIDTH)
    params = initial(fusion, tokens)

    @jax.jit
    @jax.grad
    def gradient(params):
        outputs = fusion.apply({"params": params}, tokens, train=False)
        return (outputs.prediction**3).sum()

    for read in ("read_audio_0", "read_image_0"):
        first = gradient(params)[read]
        moves = {k for k, g in first.items() if any(np.any(x) for x in jax.tree.leaves(g))}
        assert moves == {"gate_read", "gate_hidden"}
        opened = {k: v - 0.1 * first[k] if k in moves else v for k, v in params[read].items()}
        second = gradient({**params, read: opened})[read]
        assert all(np.any(x) for x in jax.tree.leaves(second))


def test_q_former_reads_shares_whatever_the_resolution():
    """Each token twice, or the queries in another order: nothing changes without positions."""
    tokens = make_tokens(TWO)
    fusion = QFormerFusion(out_dim=OUT_DIM, width=WIDTH, positions=False)
    got, params = run(fusion, tokens)
    twice = {n: Tokens(*(np.repeat(x, 2, axis=1) for x in t)) for n, t in tokens.items()}
    assert_close(apply(fusion, params, twice).prediction, got.prediction)
    one_more = {
        n: Tokens(*(np.concatenate([x, x[:, :1]], 1) for x in t)) for n, t in tokens.items()
    }
    assert differs(apply(fusion, params, one_more).prediction, got.prediction)
    backwards = {**params, "queries": params["queries"][::-1]}
    assert_close(apply(fusion, backwards, tokens).prediction, got.prediction)


@pytest.mark.parametrize(
    "fusion",
    [
        LateTransformerFusion,
        HEALNetFusion,
        *map(slow, (PerceiverIOFusion, QFormerFusion, HierarchicalAttentionFusion)),
    ],
)
def test_an_absent_modality_is_as_if_it_were_not_given(fusion):
    tokens = make_tokens(TWO)
    absent = Tokens(tokens["audio"].values, np.zeros_like(tokens["audio"].mask))
    fusion = fusion(out_dim=OUT_DIM, width=WIDTH)
    got, params = run(fusion, {**tokens, "audio": absent})
    own = {k: v for k, v in params.items() if "audio" not in k}
    alone = apply(fusion, own, {"image": tokens["image"]})
    assert_close(got.prediction, alone.prediction)


@pytest.mark.parametrize(
    "fusion",
    [
        LateTransformerFusion,
        BottleneckFusion,
        *map(slow, (CoAttentionFusion, PerceiverIOFusion, ZorroFusion)),
        *map(slow, (HEALNetFusion, QFormerFusion, GatedCrossAttentionFusion)),
        slow(HierarchicalAttentionFusion),
    ],
)
def test_dropout_is_the_only_difference_of_training(fusion):
    tokens = make_tokens(TWO)
    sober = fusion(out_dim=OUT_DIM, width=WIDTH, num_layers=1, dropout=0.0)
    want, params = run(sober, tokens)
    train = lambda fusion, seed: apply(fusion, params, tokens, jax.random.key(seed)).prediction
    assert_close(train(sober, 0), want.prediction)
    noisy = sober.clone(dropout=0.5)
    assert differs(train(noisy, 0), train(noisy, 1))
