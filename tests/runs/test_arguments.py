"""What a command line may say: lists, options of other programs, configurations."""

import tomllib
from pathlib import Path

import pytest
import tyro
from commands import run

from mmjax.errors import DataError, UsageError
from mmjax.runs.arguments import prepare, printing
from mmjax.runs.settings import Settings


def verb(
    base: tyro.conf.Positional[str],
    settings: Settings,
    fusions: str = "core",
    vary: tuple[str, ...] = (),
    meshes: tuple[str, ...] = (),
    out: Path | None = None,
    resume: bool = False,
) -> None: ...


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("gmu --seeds 3", "gmu --seeds 3"),
        ("--seeds 3 gmu --resume", "--seeds 3 gmu --resume"),
        ("--fusions gmu sum", "--fusions gmu,sum"),
        ("--fusions gmu, --fusions=sum", "--fusions gmu,sum"),
        ("--seeds 3 --seeds=4", "--seeds 4"),
        ("--batch_size=8", "--batch-size 8"),
        ("--vary width=8,16 --vary method=joint", "--vary width=8,16 method=joint"),
        ("--vary width=8,16,method=joint,agm", "--vary width=8,16 method=joint,agm"),
        ("--encoders a=gru,b=mlp c=raw", "--encoders a=gru b=mlp c=raw"),
        ("--options kinds=a=words,b=table", "--options kinds=a=words,b=table"),
        ("--class-weights balanced", "--class-weights balanced"),
        ("--meshes data=4,seed=2 seed=8", "--meshes data=4,seed=2 seed=8"),
        ("--no-remat -h", "--no-remat -h"),
    ],
)
def test_words(line, want):
    assert prepare(verb, line.split()) == want.split()


@pytest.mark.parametrize(
    ("line", "meant"),
    [("--lr 1", "learning-rate"), ("--fusion gmu", "fusions"), ("--epochs 3", "steps")],
)
def test_options_of_other_programs_get_the_right_name(line, meant):
    with pytest.raises(UsageError, match=f"verb has no such option. Did you mean --{meant}"):
        prepare(verb, line.split())
    with pytest.raises(UsageError, match="mmjax verb --help lists all"):
        prepare(verb, ["--zzzzzz"])


def test_a_configuration_counts_unless_the_command_line_says_otherwise(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('seeds = 3\nremat = true\nvary = ["width=8,16"]\nlearning_rate = 1e-3\n')
    words = prepare(verb, ["gmu", "--config", str(path), "--seeds", "4"])
    want = "gmu --seeds 4 --remat --vary width=8,16 --learning-rate 0.001"
    assert words == want.split()
    for text, error, message in [
        ("seeds = ", DataError, "run.toml: this is not TOML"),
        ("sedes = 3", UsageError, "run.toml: --sedes: .*Did you mean --seeds"),
        ('base = "gmu"', UsageError, "run.toml: --base: mmjax verb has no such option"),
    ]:
        path.write_text(text)
        with pytest.raises(error, match=message):
            prepare(verb, ["--config", str(path)])


def test_what_is_printed_is_a_configuration_of_the_same(tmp_path, capsys):
    settings = Settings(seeds=3, encoders=('a="x"',), learning_rate=1e-3, remat=True)
    printing(verb)("gmu", settings, vary=("width=8,16",), out=tmp_path)
    printed = capsys.readouterr().out
    content = tomllib.loads(printed)
    assert content["encoders"] == ['a="x"']
    assert "base" not in content
    assert "# metric =" in printed
    path = tmp_path / "run.toml"
    path.write_text(printed)
    words = " ".join(prepare(verb, ["--config", str(path)]))
    assert "--seeds 3" in words
    assert "--remat" in words
    assert f"--vary width=8,16 --meshes --out {tmp_path} --no-resume" in words


def test_a_command_prints_and_reads_its_configuration(tmp_path, capsys):
    assert run("compare", "--fusions", "gmu", "sum", "--steps", "7", "--print-config") == 0
    path = tmp_path / "run.toml"
    path.write_text(capsys.readouterr().out)
    assert run("compare", "--config", path, "--print-config") == 0
    assert capsys.readouterr().out == path.read_text()
    assert 'fusions = "gmu,sum"' in path.read_text()
    assert run("compare", "--config", tmp_path / "none.toml") == 2
    assert "none.toml" in capsys.readouterr().err
