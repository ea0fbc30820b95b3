"""What members declare as removable, and what is left without it."""

from functools import partial, reduce

import flax.linen as nn
import pytest
from representatives import slow

from mmjax.encoders import ENCODERS
from mmjax.errors import UnknownNameError
from mmjax.fusion import FUSIONS
from mmjax.layers import removable, remove
from mmjax.methods import METHODS
from mmjax.runs.zoo import list_zoo
from mmjax.testing import check_fusion

ZOO = {
    **{f"fusions/{name}": partial(FUSIONS[name], out_dim=3) for name in FUSIONS},
    **{f"encoders/{name}": ENCODERS[name] for name in ENCODERS},
    **{f"methods/{name}": METHODS[name] for name in METHODS},
}
DECLARING = [path for path, make in ZOO.items() if removable(make())]
CHOSEN = [("gmu", "gate"), ("refnet", "refiner")]
REDUCED = [(n, c) for n in FUSIONS for c in removable(ZOO[f"fusions/{n}"]())]


@pytest.mark.parametrize("path", DECLARING)
def test_each_component_can_be_removed_once(path):
    member = ZOO[path]()
    for component, fields in removable(member).items():
        less = remove(member, component)
        assert type(less) is type(member)
        assert {name: getattr(less, name) for name in fields} == fields
        assert [*removable(less)] == [c for c in removable(member) if c != component]
        with pytest.raises(UnknownNameError, match=f"component of {type(member).__name__}"):
            remove(less, component)
    assert removable(reduce(remove, removable(member), member)) == {}


def test_a_member_that_declares_nothing_has_no_components():
    dense = nn.Dense(3)
    assert removable(dense) == {}
    with pytest.raises(UnknownNameError, match="component of Dense: expected none, got 'bias'"):
        remove(dense, "bias")


@pytest.mark.parametrize("case", [c if c in CHOSEN else slow(c) for c in REDUCED], ids="-".join)
def test_fusions_keep_the_contract_without_a_component(case, monkeypatch):
    name, component = case
    _check(remove(FUSIONS[name](out_dim=3), component), monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("name", dict(REDUCED))
def test_fusions_keep_the_contract_without_any_component(name, monkeypatch):
    fusion = FUSIONS[name](out_dim=3)
    _check(reduce(remove, removable(fusion), fusion), monkeypatch)


def _check(fusion, monkeypatch):
    """All rules, except that parameters of a term of the loss may have a weight of zero."""
    values = [value for fields in fusion.removable.values() for value in fields.values()]
    if any(type(value) is float for value in values):
        monkeypatch.setattr(type(fusion), "no_gradient", {"": "the weight is 0"}, raising=False)
    check_fusion(fusion)


def test_the_zoo_lists_components():
    listed = {
        f"{table}/{entry['name']}": entry["removable"]
        for table, entries in list_zoo().items()
        for entry in entries
        if "removable" in entry
    }
    assert listed == {path: [*removable(ZOO[path]())] for path in DECLARING}
