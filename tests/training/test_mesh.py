"""Many devices, and many processes, compute what one device does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, PartitionSpec
from representatives import slow

from mmjax.errors import UnknownNameError, UsageError
from mmjax.training.mesh import agreed, check_mesh, join_processes, lane_spec, make_mesh, parse_mesh

WORKER = Path(__file__).parents[1] / "mesh_worker.py"
TOLERANCE = 1e-5  # of losses of about one, after nine steps


def start(folder, *arguments, devices=1, **variables):
    """A process that trains."""
    paths = [str(WORKER.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": str(devices),
        "PYTHONPATH": os.pathsep.join(paths),
        **variables,
    }
    return subprocess.Popen([sys.executable, WORKER, folder, *arguments], env=environment)


def train(folder, *arguments, **options):
    assert start(folder, *arguments, **options).wait(timeout=300) == 0


def train_in_two(folder, *arguments, **options):
    """Two processes of one device each."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    address = lambda index: f"localhost:{port},2,{index}"
    both = [
        start(folder, *arguments, "--distributed", address(index), **options) for index in range(2)
    ]
    assert [process.wait(timeout=300) for process in both] == [0, 0]


def read(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def check_close(got, want):
    np.testing.assert_allclose(got["scores"], want["scores"], atol=TOLERANCE)
    assert len(got["history"]) == len(want["history"])
    for a, b in zip(got["history"], want["history"], strict=True):
        assert a.keys() == b.keys()
        for name, value in b.items():
            np.testing.assert_allclose(a[name], value, atol=TOLERANCE, err_msg=name)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    train(folder, "one")
    return read(folder, "one")


@pytest.mark.parametrize("flags", [(), slow(("--varied",))])
@pytest.mark.slow
def test_four_devices_compute_what_one_does(tmp_path, flags):
    train(tmp_path, "one", "data=2,seed=2", *flags, devices=4)
    got = read(tmp_path, "data=2,seed=2")
    assert got["devices"] == 4
    check_close(got, read(tmp_path, "one"))


@pytest.mark.slow
def test_eight_devices_compute_what_one_does(tmp_path, one):
    meshes = ("data=4,seed=2", "data=2,seed=2,model=2", "data=8")
    train(tmp_path, *meshes, devices=8)
    for mesh in meshes:
        got = read(tmp_path, mesh)
        assert got["devices"] == 8
        check_close(got, one)


@pytest.mark.slow
def test_two_processes_compute_what_one_does_and_one_goes_on_with_their_checkpoints(tmp_path, one):
    train_in_two(tmp_path, "data=2")
    check_close(read(tmp_path, "data=2"), one)
    train_in_two(tmp_path, "data=2", "--keep", "--stop")
    assert len(list((tmp_path / "steps").iterdir())) == 2
    train(tmp_path, "one", "--keep")
    got = read(tmp_path, "one")
    assert got["calls"] < one["calls"]
    check_close(got, one)


@pytest.mark.slow
def test_another_mesh_goes_on_with_the_checkpoints_of_the_first(tmp_path, one):
    train(tmp_path, "data=2,seed=2", "--keep", "--stop", devices=4)
    train(tmp_path, "data=2", "--keep", devices=2)
    got = read(tmp_path, "data=2")
    assert got["calls"] < one["calls"]
    check_close(got, one)


@pytest.mark.slow
def test_streamed_rows_reach_the_devices_that_take_them(tmp_path, one):
    pytest.importorskip("grain")
    train(tmp_path, "data=2,seed=2", devices=4, MMJAX_FEED="stream")
    check_close(read(tmp_path, "data=2,seed=2"), one)
    train_in_two(tmp_path, "data=2", MMJAX_FEED="stream")  # each reads its part of a batch
    check_close(read(tmp_path, "data=2"), one)


def test_meshes_are_read():
    assert parse_mesh("data=4,seed=2") == {"data": 4, "seed": 2, "model": 1}
    with pytest.raises(UnknownNameError, match="Did you mean 'seed'"):
        parse_mesh("seeds=2")
    for text in ("data", "data=", "data=0", "data=-1", "data=two"):
        with pytest.raises(UsageError, match="AXIS=DEVICES"):
            parse_mesh(text)


def test_a_mesh_must_fit_the_devices_and_the_recipe():
    with pytest.raises(UsageError, match=f"a mesh of the available devices, {jax.device_count()}"):
        make_mesh("data=64")
    check_mesh("data=4,seed=2", seed=6, data=64)
    with pytest.raises(UsageError, match="a divisor of 3 along seed, got seed=2"):
        check_mesh("data=4,seed=2", seed=3, data=64)


def test_other_processes_are_named_as_they_should_be():
    with pytest.raises(UsageError, match="auto or HOST:PORT,COUNT,INDEX"):
        join_processes("localhost:1234")


def test_alone_a_process_agrees_with_itself():
    assert agreed(7) == 7


@pytest.mark.parametrize(
    ("shape", "spec"),
    [
        ((4,), ("seed",)),
        ((3,), (None,)),
        ((4, 64), ("seed", None)),  # a bias
        ((4, 7, 64), ("seed", None, "model")),
        ((4, 7, 65), ("seed", None, None)),
        ((4, 7, 32), ("seed", None, None)),  # half of it is too narrow for a device
        ((4, 3, 3, 7, 64), ("seed", None, None, None, "model")),
    ],
)
def test_where_arrays_lie(shape, spec):
    mesh = AbstractMesh((2, 2, 2), ("data", "seed", "model"))
    assert lane_spec(shape, mesh) == PartitionSpec(*spec)
