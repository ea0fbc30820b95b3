"""The README's example is short, and runs."""

import re
from functools import partial
from pathlib import Path

import mmjax

README = (Path(__file__).parent.parent / "README.md").read_text()
(EXAMPLE,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_example_runs(tmp_path, monkeypatch, capsys):
    assert len([line for line in EXAMPLE.splitlines() if line.strip()]) <= 15
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mmjax, "compare", partial(mmjax.compare, steps=3, quiet=True))
    exec(compile(EXAMPLE, "README.md", "exec"), {})
    assert {path.name for path in tmp_path.iterdir()} == {"gains.png", "report.html"}
    assert "accuracy %" in capsys.readouterr().out
