"""What the scaling benchmark reads from XLA's programs."""

import json

import pytest
from scaling import Benchmark, in_new_process, make_table, moved_bytes

PROGRAM = """
  %all-reduce.1 = f32[8,4]{1,0} all-reduce(%a), channel_id=1, replica_groups={{0,1}}
  %b = (f32[2]{0}, bf16[3]{0}) all-reduce(%c, %d), channel_id=2, replica_groups={{0,1}}
  %g = u32[10]{0} all-gather(%e), channel_id=3, dimensions={0}
  %t = (f32[1,1]{1,0}, f32[1,1]{1,0}) all-to-all(%f, %g), channel_id=4
  %add = f32[8,4]{1,0} add(%all-reduce.1, %x)
"""


def test_bytes_of_collectives():
    assert moved_bytes(PROGRAM) == {"reduce": 2 * (128 + 8 + 6), "gather": 40, "other": 8}


@pytest.fixture(scope="module")
def rows():
    tiny = Benchmark(width=16, layers=1, batch_size=8, seeds=2)
    return [in_new_process(tiny, mesh) for mesh in ("data=1", "data=2")]


@pytest.mark.slow
def test_data_is_dealt_out_and_gradients_are_summed(rows):
    one, two = rows
    assert one["reduce_bytes"] == 0
    gradients = 4 * one["params"]  # of one seed: the body of the loop over seeds counts once
    assert gradients <= two["reduce_bytes"] / 2 < 1.2 * gradients
    assert two["flops"] < one["flops"]
    assert json.loads(json.dumps(two)) == two


@pytest.mark.slow
def test_the_table_has_a_line_for_each_mesh(rows):
    text = make_table(rows)
    assert "| data=2 | 2 |" in text
    assert "2 seeds, 8 rows a step" in text
