"""Trackers get what a run's own files say, and open no connection."""

import importlib.util
import json
import socket
import struct

import numpy as np
import pytest
from commands import TINY, run
from folders import make_folder

from mmjax import errors
from mmjax.errors import FailedArmsError, UsageError
from mmjax.runs.track import tracked
from mmjax.storage.jsonl import read_rows

needs_wandb = pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="needs the extra wandb"
)


def read_events(folder):
    """{(tag, step): value} of the event file in a folder, as TensorFlow's records are laid out."""
    from tensorboardX.proto.event_pb2 import Event

    (path,) = folder.iterdir()
    content, found = path.read_bytes(), {}
    while content:
        (size,) = struct.unpack("<Q", content[:8])
        event = Event.FromString(content[12 : 12 + size])
        for value in event.summary.value:
            text = [part.decode() for part in value.tensor.string_val]
            found[value.tag, event.step] = text[0] if text else value.simple_value
        content = content[16 + size :]
    return found


@pytest.mark.slow
def test_tensorboard_gets_curves_and_scores(tmp_path):
    out = tmp_path / "run"
    flags = (*TINY, "--seeds", "2", "--out", out, "--track", "tensorboard")
    assert run("train", "concat", *flags) == 0
    for seed in (0, 1):
        found = read_events(out / "tensorboard" / "concat" / f"seed{seed}")
        curve = [row for row in read_rows(out / "history.jsonl") if row["seed"] == seed]
        validated = [row for row in curve if "valid_accuracy" in row]
        assert 1 < len(validated) < len(curve)
        for rows, names in ((curve, ["recent_loss"]), (validated, ["loss", "valid_accuracy"])):
            for row in rows:
                for name in names:
                    np.testing.assert_allclose(found[name, row["step"]], row[name], rtol=1e-6)
        for row in read_rows(out / "rows.jsonl"):
            if row["seed"] == seed:
                score = found[f"{row['split']}/nll", row["best_step"]]
                np.testing.assert_allclose(score, row["nll"], rtol=1e-6)
                assert found["recipe/text_summary", 0] == row["recipe"]


@pytest.mark.slow
def test_every_strategy_of_a_comparison_is_there_though_one_has_failed(tmp_path):
    def fail():
        with tracked(tmp_path / "run", "tensorboard"):
            make_folder(tmp_path / "run", best_step=4)
            raise FailedArmsError("one arm failed")

    with pytest.raises(FailedArmsError):
        fail()
    tracks = tmp_path / "run" / "tensorboard"
    names = {path.name for path in tracks.iterdir()}
    assert names == {row["strategy"] for row in read_rows(tmp_path / "run" / "rows.jsonl")}
    kept = {(n, s): v for (n, s), v in read_events(tracks / "gmu" / "seed2").items() if s}
    assert {name for name, _ in kept} >= {"valid_accuracy", "test/accuracy", "valid/nll"}
    rows = read_rows(tmp_path / "run" / "rows.jsonl")
    (row,) = (
        r for r in rows
        if (r["strategy"], r["seed"], r["split"], r["hidden"]) == ("gmu", 2, "test", "")
    )  # fmt: skip
    np.testing.assert_allclose(kept["test/accuracy", 4], row["accuracy"], rtol=1e-6)


@pytest.mark.slow
def test_a_run_that_goes_on_replaces_what_it_had_tracked(tmp_path):
    make_folder(tmp_path, best_step=4)
    for _ in range(2):
        with tracked(tmp_path, "tensorboard"):
            pass
    assert len(list((tmp_path / "tensorboard" / "gmu" / "seed0").iterdir())) == 1


@pytest.mark.slow
def test_a_run_that_has_not_begun_leaves_nothing(tmp_path):
    with tracked(tmp_path, "tensorboard"):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("tracker", "package", "extra"),
    [("tensorboard", "tensorboardX", "track"), ("wandb", "wandb", "wandb")],
)
def test_a_missing_package_is_told_before_training(tmp_path, monkeypatch, tracker, package, extra):
    def import_module(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(errors, "import_module", import_module)
    begun = []
    with pytest.raises(UsageError, match=rf"package {package}, .*mmjax\[{extra}\]"):  # noqa: SIM117
        with tracked(tmp_path, tracker):
            begun.append(True)
    assert not begun


def read_wandb(path):
    """Records of a .wandb file of one block: 7 bytes, then as LevelDB's log has them."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = path.read_bytes()[7:]
    while content:
        size, kind = struct.unpack("<HB", content[4:7])
        assert kind == 1  # a record in one piece
        yield Record.FromString(content[7 : 7 + size])
        content = content[7 + size :]


@needs_wandb
def test_wandb_gets_the_same_and_no_connection_is_opened(tmp_path, monkeypatch):
    make_folder(tmp_path, {"gmu": 2.0}, seeds=1, best_step=4)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        for name in ("WANDB_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, address)
        monkeypatch.setenv("WANDB_MODE", "online")  # whatever the user has: ours is offline
        monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
        with tracked(tmp_path, "wandb"):
            pass
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
    (path,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    history, summary, config = {}, {}, {}
    for record in read_wandb(path):
        for item in record.history.item:
            key = item.key or item.nested_key[0]
            history[key, record.history.step.num] = json.loads(item.value_json)
        for item in record.summary.update:
            summary[item.key or item.nested_key[0]] = json.loads(item.value_json)
        for item in record.run.config.update:
            config[item.key] = json.loads(item.value_json)
    for row in read_rows(tmp_path / "history.jsonl"):
        assert history["valid_accuracy", row["step"]] == row["valid_accuracy"]
    (row,) = (
        r for r in read_rows(tmp_path / "rows.jsonl") if r["split"] == "test" and not r["hidden"]
    )
    assert summary["test/nll"] == row["nll"]
    assert config["recipe"] == row["recipe"]
