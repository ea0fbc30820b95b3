"""The examples of README and CONTRIBUTING are short, and run."""

import re
from pathlib import Path

import pytest
from representatives import slow

import mmjax


def example(page):
    """The program in a page, and how many lines say something."""
    text = (Path(__file__).parent.parent / page).read_text()
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return program, len([line for line in program.splitlines() if line.strip()])


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, slow(None)])
def test_the_program_of_the_readme_runs(count, tmp_path, monkeypatch, capsys):
    """With the first of its strategies and one seed, or with all of them."""
    compare = mmjax.compare

    def shortened(task, fusions, seeds):
        return compare(task, fusions[:count], seeds=count or seeds, steps=3, quiet=True)

    program, lines = example("README.md")
    assert lines <= 15
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mmjax, "compare", shortened)
    exec(compile(program, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"gains.png", "report.html"}
    assert "accuracy %" in capsys.readouterr().out


def test_the_fusion_of_contributing_keeps_the_contract():
    program, lines = example("CONTRIBUTING.md")
    assert lines <= 20
    names = {"__name__": "contributing"}
    exec(compile(program, "CONTRIBUTING.md", "exec"), names)
    mmjax.check_fusion(names["MinFusion"](out_dim=3))
