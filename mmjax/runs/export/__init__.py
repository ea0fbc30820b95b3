"""A trained run as files that others can use: weights, a program, a model card."""

from mmjax.runs.export.export import export_run
from mmjax.runs.export.weights import load_export

__all__ = ["export_run", "load_export"]
