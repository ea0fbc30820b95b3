"""A trained run as files that others can use: weights, a program, a model card."""

from mmjax.export.folder import export_run
from mmjax.export.weights import load_export

__all__ = ["export_run", "load_export"]
