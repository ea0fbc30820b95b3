"""Which options the help of a command shows first."""

import re

import pytest

from mmjax.cli import _VERBS, main
from mmjax.runs.arguments import _options
from mmjax.runs.common_options import COMMON


@pytest.mark.parametrize("name", COMMON)
def test_help_shows_five_common_options_first_and_each_once(name, capsys):
    with pytest.raises(SystemExit):
        main([name, "--help"])
    shown = re.findall(r"^\W{2}(--\w[\w-]*)", capsys.readouterr().out, re.MULTILINE)
    assert shown[:5] == [f"--{option.replace('_', '-')}" for option in COMMON[name]]
    assert sorted(shown) == sorted(f"--{option}" for option, _ in _options(_VERBS[name]))
