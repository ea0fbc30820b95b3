"""Exports a trained run: weights, a StableHLO program and a model card."""

from mmjax.runs.export.export import export_run
from mmjax.runs.export.weights import load_export

__all__ = ["export_run", "load_export"]
