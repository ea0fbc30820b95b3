"""Run folders: what the commands write, and what they show."""

from mmjax.runs.arms import run_arm
from mmjax.runs.compare import compare_in
from mmjax.runs.from_settings import make_arms, make_task, parse_fusions
from mmjax.runs.inspect import inspect_task, show_zoo
from mmjax.runs.measure import bench_in, make_cases
from mmjax.runs.train import train_in

__all__ = [
    "bench_in",
    "compare_in",
    "inspect_task",
    "make_arms",
    "make_cases",
    "make_task",
    "parse_fusions",
    "run_arm",
    "show_zoo",
    "train_in",
]
