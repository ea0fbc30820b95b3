"""Rows as tidy tables: columns of factors, and files that come back."""

import csv

import pandas as pd
import pytest
from commands import run
from folders import make_folder

from mmjax.analysis.study import Study
from mmjax.comparison.ablation import Ablation
from mmjax.errors import UsageError
from mmjax.report.frames import save_rows, tidy_rows

FACTORS = {
    "train": ("1", "0.25"),
    "method.alpha": ("0.5", "none"),
    "gate": ("kept", "removed"),
    "dropout": ("kept", "removed"),
}
VARIANTS = {
    "gmu": {"dropout": 0.1},
    "gmu:train=0.25": {"dropout": 0.1, "varied.train": "0.25"},
    "gmu:method.alpha=none+-gate": {
        "dropout": 0.1,
        "varied.method.alpha": "none",
        "varied.-gate": "true",
    },
    "gmu:-dropout": {"dropout": 0.0, "varied.-dropout": "true"},
}


def make_study():
    points = dict(zip(VARIANTS, [(0,) * 4, (1, 0, 0, 0), (0, 1, 1, 0), (0, 0, 0, 1)], strict=True))
    rows = [{"strategy": n, "seed": s, **more} for n, more in VARIANTS.items() for s in (0, 1)]
    ablation = Ablation("gmu", "fractional", FACTORS, points)
    return Study("toy", (), rows, [], {}, {}, {}, (), {}, {}, ablation)


def test_factors_are_columns_and_the_base_fills_them():
    rows = {row["strategy"]: row for row in tidy_rows([make_study()])}
    columns = ["strategy", "seed", "dropout", "train", "method.alpha", "gate"]
    assert all(list(row) == columns for row in rows.values())
    assert [row["train"] for row in rows.values()] == [1, 0.25, 1, 1]
    assert [row["method.alpha"] for row in rows.values()] == ["0.5", "0.5", "none", "0.5"]
    assert [row["gate"] for row in rows.values()] == ["kept", "kept", "removed", "kept"]
    assert [row["dropout"] for row in rows.values()] == [0.1, 0.1, 0.1, 0]  # as rows state it


def test_the_level_of_the_base_need_not_be_the_first():
    points = {"gmu:width=32": (1,), "gmu": (0,)}
    rows = [{"strategy": "gmu:width=32"}]
    ablation = Ablation("gmu:width=32", "leave-one-out", {"width": ("64", "32")}, points)
    study = Study("toy", (), rows, [], {}, {}, {}, (), {}, {}, ablation)
    assert tidy_rows([study]) == [{"strategy": "gmu:width=32", "width": 32}]


def test_rows_of_several_studies_have_the_columns_of_all():
    plain = Study("toy", (), [{"strategy": "sum", "seed": 0}], [], {}, {}, {}, (), {}, {})
    rows = tidy_rows([plain, make_study()])
    assert len({tuple(row) for row in rows}) == 1
    assert rows[0]["train"] is None
    assert rows[-1]["train"] == 1


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_rows_come_back_from_a_file(tmp_path, suffix):
    study, path = make_study(), tmp_path / f"rows{suffix}"
    save_rows([study], path)
    read = pd.read_csv(path, keep_default_na=False) if suffix == ".csv" else pd.read_parquet(path)
    want = pd.DataFrame(tidy_rows([study]))
    pd.testing.assert_frame_equal(read, want, check_dtype=False)


def test_missing_values_are_empty(tmp_path):
    study = make_study()
    study.rows[0]["seed"] = None
    save_rows([study], tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open() as file:
        assert [row["seed"] for row in csv.DictReader(file)][:2] == ["", "1"]


@pytest.mark.parametrize("name", ["rows", "rows.xlsx", "rows.csv.gz"])
def test_other_files_are_refused(tmp_path, name):
    with pytest.raises(UsageError, match=r"a file \.csv or \.parquet, got .*rows"):
        save_rows([make_study()], tmp_path / name)
    assert not any(tmp_path.iterdir())


def test_the_command_writes_rows_and_refuses_before_it_reads(tmp_path, capsys):
    folder = make_folder(tmp_path / "run", {"a_only": 1.0, "gmu": 2.0}, without=("history",))
    out = ("--out", tmp_path / "page.html", "--rows")
    assert run("report", folder, *out, tmp_path / "rows.json") == 2
    assert "a file .csv or .parquet" in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()
    assert run("report", folder, *out, tmp_path / "rows.csv") == 0
    assert f"Rows: {tmp_path / 'rows.csv'}" in capsys.readouterr().out.replace("\n", "")
    frame = pd.read_csv(tmp_path / "rows.csv")
    assert set(frame["strategy"]) == {"a_only", "gmu"}
    assert len(frame) == 3 * 2 + 3 * 2 * 4
