"""Every member of a table keeps the contract of its kind."""

import pytest
from representatives import FUSIONS as CHOSEN
from representatives import representatives

from mmjax.fusion import FUSIONS
from mmjax.testing import check_fusion


@pytest.mark.parametrize("name", representatives(FUSIONS, set(CHOSEN) - {"mmtm", "mvae"}))
def test_fusion_keeps_the_contract(name):
    check_fusion(FUSIONS[name](out_dim=3))


def test_every_fusion_has_a_known_level():
    levels = {"input", "feature", "token", "decision", "latent", "search"}
    assert {fusion.level for fusion in FUSIONS.values()} <= levels
