"""What a train step costs each device of a mesh, read from the program that XLA makes for it.

    python benchmarks/scaling.py --out runs/scaling/rows.jsonl
    python benchmarks/scaling.py --out runs/scaling/rows.jsonl --page docs/scaling.md

Nothing is trained: for each mesh the step of a transformer fusion is compiled for as many virtual
devices, each in a process of its own, and XLA's own analysis gives the operations, the memory and
the communication of one of them. A mesh whose row is there is passed over. The second command fills
the table of the page. A quarter of an hour on two CPU cores.
"""

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from page import fill
from rich.progress import track

from mmjax.analysis.cost import peak_bytes
from mmjax.comparison.scores import versions
from mmjax.data.task import Split, Task
from mmjax.objectives import cross_entropy
from mmjax.report.tables import markdown_table
from mmjax.storage.jsonl import append_rows, read_rows
from mmjax.training.lanes import over_seeds
from mmjax.training.mesh import deal_rows, lane_spec, make_mesh, num_devices, parse_mesh
from mmjax.training.optimiser import Adam
from mmjax.training.recipe import make_model
from mmjax.training.step import init_params, init_state, make_step

MESHES = ("data=1", "data=8", "data=64", "seed=8", "data=8,seed=8", "data=8,model=8", "model=8")
TPU_V5E = {"flop_s": 197e12, "byte_s": 200e9}
"""Peak in bfloat16, and links between chips: cloud.google.com/tpu/docs/v5e."""

_BYTES = {"f32": 4, "s32": 4, "u32": 4, "bf16": 2, "f16": 2, "s8": 1, "u8": 1, "pred": 1}
_COLLECTIVE = re.compile(
    r"= (?P<shapes>\(.*?\)|\S+) "
    r"(?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?\("
)
_SHAPE = re.compile(r"\b([a-z]+\d*)\[([\d,]*)\]")


@dataclass(frozen=True)
class Benchmark:
    """What the command line sets.

    Attributes:
        out: file of rows.
        page: page to fill with the rows, in place of making any.
        meshes: as ``mmjax train --mesh`` takes them.
        width: size of a token.
        layers: transformer blocks.
        batch_size: rows of a step, all devices together.
        seeds: lanes of the program.
        mesh: the one mesh that this process is for; a JSON object is printed.
    """

    out: Path = Path("runs/scaling/rows.jsonl")
    page: Path | None = None
    meshes: tuple[str, ...] = MESHES
    width: int = 512
    layers: int = 4
    batch_size: int = 512
    seeds: int = 8
    mesh: str | None = None


def main(benchmark: Benchmark) -> None:
    """Measures one mesh, or all, or fills the page."""
    if benchmark.page:
        fill(benchmark.page, make_table(read_rows(benchmark.out)))
    elif benchmark.mesh:
        print(json.dumps(measure(benchmark, benchmark.mesh)))
    else:
        benchmark.out.parent.mkdir(parents=True, exist_ok=True)
        rows = read_rows(benchmark.out) if benchmark.out.exists() else []
        done = {row["mesh"] for row in rows}
        for mesh in track([m for m in benchmark.meshes if m not in done], "meshes"):
            append_rows(benchmark.out, [in_new_process(benchmark, mesh)])


def in_new_process(benchmark: Benchmark, mesh: str) -> dict[str, Any]:
    """A row, from a process that has as many devices as the mesh wants."""
    numbers = {k: v for k, v in asdict(benchmark).items() if isinstance(v, int)}
    flags = [word for k, v in numbers.items() for word in (f"--{k.replace('_', '-')}", str(v))]
    command = [sys.executable, __file__, "--mesh", mesh, *flags]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": str(num_devices(mesh))}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def measure(benchmark: Benchmark, name: str) -> dict[str, Any]:
    """Compiles a step for a mesh, and reads what it costs each device.

    Operations and bytes sent are of one seed: the body of the loop over a device's seeds counts
    once.
    """
    mesh = make_mesh(name)
    states, rows, step = make_shapes(benchmark, mesh)
    advance = over_seeds(lambda state, rows: step(state, deal_rows(rows, mesh)), mesh)
    program = advance.lower(states, rows).compile()
    return {
        "mesh": name,
        "devices": mesh.size,
        "params": sum(x.size for x in jax.tree.leaves(states.params)) // benchmark.seeds,
        "width": benchmark.width,
        "layers": benchmark.layers,
        "batch_size": benchmark.batch_size,
        "seeds": benchmark.seeds,
        "flops": program.cost_analysis()["flops"],
        "peak_bytes": peak_bytes(program),
        **{f"{kind}_bytes": size for kind, size in moved_bytes(program.as_text()).items()},
        "versions": versions(),
    }


def make_shapes(benchmark: Benchmark, mesh: jax.sharding.Mesh) -> tuple[Any, Any, Any]:
    """Shapes of all lanes' states and of a batch, on the mesh, and the step."""
    task = make_task()
    model = make_model(task, "transformer")
    fusion = model.fusion.clone(width=benchmark.width, num_layers=benchmark.layers, num_heads=8)
    model, tx = model.clone(fusion=fusion), Adam().build(100)
    one_row = task.train.batch()
    state = jax.eval_shape(lambda: init_state(init_params(model, one_row, 0), tx, 0))

    def on_mesh(x, first, spec):
        sharding = jax.sharding.NamedSharding(mesh, spec((first, *x.shape)))
        return jax.ShapeDtypeStruct((first, *x.shape), x.dtype, sharding=sharding)

    by_lane = lambda shape: lane_spec(shape, mesh)
    whole = lambda shape: jax.sharding.PartitionSpec()
    states = jax.tree.map(lambda x: on_mesh(x, benchmark.seeds, by_lane), state)
    row = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), one_row)
    rows = jax.tree.map(lambda x: on_mesh(x, benchmark.batch_size, whole), row)
    return states, rows, make_step(model, cross_entropy, tx)


def make_task() -> Task:
    """Rows of the shapes of written and spoken digits."""
    index = np.arange(10)
    inputs = {
        "image": np.zeros((10, 28, 28, 1), np.float32),
        "audio": np.zeros((10, 39, 13), np.float32),
    }
    parts = [Split(inputs, target=index, group=index + 10 * part) for part in range(3)]
    return Task("shapes", *parts, out_dim=10)


def moved_bytes(program: str) -> dict[str, int]:
    """Bytes that a device gives to the links, by kind of collective, in a step.

    A reduction over a ring sends every byte twice (to be summed, and to be spread).

    Args:
        program: HLO after partitioning.
    """
    moved = {"reduce": 0, "gather": 0, "other": 0}
    for found in _COLLECTIVE.finditer(program):
        size = sum(
            _BYTES.get(kind, 4) * int(np.prod([int(n) for n in dims.split(",") if n]))
            for kind, dims in _SHAPE.findall(found["shapes"])
        )
        if found["kind"] == "all-reduce":
            moved["reduce"] += 2 * size
        else:
            moved["gather" if found["kind"] == "all-gather" else "other"] += size
    return moved


def make_table(rows: list[dict[str, Any]]) -> str:
    """The rows, with what they would take on a chip whose peaks are known."""
    head = ["mesh", "devices", "GFLOP", "memory, MiB", "sent, MiB", "compute, ms", "sending, ms"]
    lines = [[row["mesh"], f"{row['devices']}", *map(_three_digits, _figures(row))] for row in rows]
    first = rows[0]
    what = (
        f"{first['versions']}. A transformer fusion of {first['params'] / 1e6:.1f} million "
        f"parameters, {first['seeds']} seeds, {first['batch_size']} rows a step."
    )
    return f"{what}\n\n{markdown_table(head, lines)}"


def _figures(row):
    lanes = row["seeds"] // parse_mesh(row["mesh"])["seed"]
    flops = lanes * row["flops"]
    sent = lanes * sum(row[f"{kind}_bytes"] for kind in ("reduce", "gather", "other"))
    milliseconds = 1e3 * flops / TPU_V5E["flop_s"], 1e3 * sent / TPU_V5E["byte_s"]
    return (flops / 1e9, row["peak_bytes"] / 2**20, sent / 2**20, *milliseconds)


def _three_digits(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
