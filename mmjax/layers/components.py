"""Components that an ablation can remove from a fusion, an encoder or a training method."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

from mmjax.errors import look_up
from mmjax.types import Removable

T = TypeVar("T")


def removable(member: Any) -> Removable:
    """The components that a member has and can do without: {component: {field: value without it}}.

    Its class declares them as the attribute ``removable``.

    Example:
        >>> from mmjax.fusion import TransformerFusion
        >>> from mmjax.layers.components import removable
        >>> [*removable(TransformerFusion(out_dim=3))]
        ['positions', 'modality_embeddings', 'cls_token']
        >>> [*removable(TransformerFusion(out_dim=3, positions=False))]
        ['modality_embeddings', 'cls_token']
    """
    declared: Removable = getattr(member, "removable", {})
    has = lambda fields: any(getattr(member, name) != value for name, value in fields.items())
    return {component: fields for component, fields in declared.items() if has(fields)}


def remove(member: T, component: str) -> T:
    """The member without a component.

    Raises:
        UnknownNameError: it has no such component.

    Example:
        >>> from mmjax.layers.components import remove
        >>> from mmjax.methods import OGMGE
        >>> remove(OGMGE(alpha=0.5), "noise")
        OGMGE(alpha=0.5, noise=0.0, noise_all=True)
    """
    what = f"component of {type(member).__name__}"
    fields = look_up(what, component, removable(member))
    return with_fields(member, fields)


def with_fields(member: T, fields: Mapping[str, Any]) -> T:
    """The same module or method with other values of some fields.

    Example:
        >>> from mmjax.fusion import SumFusion
        >>> with_fields(SumFusion(out_dim=3), {"width": 16}).width
        16
    """
    clone = getattr(member, "clone", None)  # of a Linen module
    return clone(**fields) if clone else replace(member, **fields)  # type: ignore[type-var]
