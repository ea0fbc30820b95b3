"""The dataflow of a fusion, and its diagram."""

import flax.linen as nn
import jax.numpy as jnp
import pytest
from representatives import representatives

from mmjax.fusion import FUSIONS
from mmjax.layers import masked_mean
from mmjax.registry import CORE
from mmjax.report.diagram.dataflow import Node, trace_dataflow
from mmjax.report.diagram.drawing import module_figure
from mmjax.report.diagram.placement import lay_out
from mmjax.testing import make_tokens
from mmjax.types import Outputs

TOKENS = make_tokens({"amber": (2, 3), "blue": (3, 5)})


def edges(flow):
    """{(from, to): words}, by name where that is clear."""
    return {(start[1], end[1]): words for (start, end), words in flow.edges.items()}


class Handmade(nn.Module):
    """Everything that a graph can have, known by heart."""

    out_dim: int

    @nn.compact
    def __call__(self, tokens, *, train):
        scale = self.param("scale", nn.initializers.ones, (4,))
        shared = nn.Dense(4, name="shared")
        amber = nn.relu(shared(nn.Dense(4, name="first")(masked_mean(tokens["amber"]))))
        again = shared(amber)
        unused = nn.Dense(4, name="unused")(masked_mean(tokens["blue"]))
        blue = jnp.tanh(nn.Dense(4, name="second")(masked_mean(tokens["blue"])))
        mixed = again * blue + scale[None]
        readout = nn.Dense(self.out_dim, name="readout")(mixed)
        del unused
        return Outputs(readout, tokens=tokens, aux={"size": jnp.square(blue).sum()})


def test_a_handmade_fusion_has_the_graph_that_its_code_says():
    flow = trace_dataflow(Handmade(out_dim=3), TOKENS)
    assert edges(flow) == {
        ("amber", "first"): ("mean",),
        ("first", "shared"): (),
        ("blue", "second"): ("mean",),
        ("shared", "0"): (),
        ("second", "0"): ("tanh",),
        ("scale", "1"): (),
        ("0", "1"): (),
        ("1", "readout"): (),
        ("readout", "prediction"): (),
        ("second", "aux size"): ("tanh", "square", "sum"),
    }
    assert flow.nodes["operations", "0"].operations == ("multiply",)
    assert flow.nodes["operations", "1"].operations == ("add",)
    assert flow.nodes["module", "first"] == Node((4, 4), "Dense")


def test_weights_without_input_are_a_place():
    flow = trace_dataflow(FUSIONS["weighted"](out_dim=3), TOKENS)
    assert flow.nodes["module", "weights"].kind == "ModalityWeights"
    assert ("weights", "1") in edges(flow)


@pytest.fixture(params=representatives(FUSIONS, CORE), scope="module")
def flow(request):
    return trace_dataflow(FUSIONS[request.param](out_dim=3), TOKENS)


def test_every_modality_reaches_the_prediction(flow):
    assert flow.nodes["output", "prediction"].shape == (4, 3)
    reached = {("modality", "amber")}, {("modality", "blue")}
    for places in reached:
        for _ in flow.nodes:
            places.update(end for start, end in flow.edges if start in places)
        assert ("output", "prediction") in places


def test_no_two_places_share_a_spot_and_arrows_go_down(flow):
    spots, ways, (width, height) = lay_out(flow, 1.0, dict.fromkeys(flow.nodes, 0.5))
    assert {(stops[0], stops[-1]) for stops in ways} == set(flow.edges)
    here = [(spots[place].x, spots[place].top) for place in flow.nodes]
    assert len(set(here)) == len(here)
    for x, top in here:
        assert 0.5 <= x <= width - 0.5
        assert -height <= top - 0.5
        same_row = sorted(other for other, there in here if there == top and other != x)
        assert all(abs(other - x) >= 1 for other in same_row)
    order = {place: i for i, place in enumerate(flow.nodes)}
    for start, end in flow.edges:
        if order[start] < order[end]:
            assert spots[start].bottom > spots[end].top


def test_the_figure_names_every_place_and_its_shape():
    figure = module_figure(FUSIONS["gmu"](out_dim=3), TOKENS)
    written = [text.get_text() for text in figure.axes[0].texts]
    want = {"amber", "blue", "gate_amber", "project_amber", "project_blue", "readout", "prediction"}
    assert want <= set(written)
    assert written.count("[batch, 2, 3]") == 1
    assert "multiply, sum" in written
