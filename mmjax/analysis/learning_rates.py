"""Variants of an ablation at their best learning rates, and what other rates would have said."""

import numpy as np

from mmjax.analysis.ablation_verdict import judge_ablation
from mmjax.analysis.answers import make_answers
from mmjax.analysis.study import Study, rename
from mmjax.comparison.ablation import Ablation


def relabel(study: Study) -> Study:
    """The study of an ablation with one strategy per variant, named by what differs from the base.

    Of the learning rates of a variant, that which is best on validation is kept.

    Args:
        study: with an ablation, or without one, to which nothing is done.

    Returns:
        a study whose ablation has no ``rates``, and the same names as its rows.
    """
    ablation = study.ablation
    if ablation is None:
        return study
    score = lambda name: np.nan_to_num(study.on_validation(name), nan=-np.inf)  # it has diverged
    chosen, trained = {}, study.strategies
    for variant in ablation.points:
        names = [n for n in ablation.rates.get(variant, (variant,)) if n in trained]
        if names:
            chosen[max(names, key=score)] = ablation.label(variant)
    label = lambda name: ablation.label(name) if name in ablation.points else name
    lost = {n: n if label(n) in chosen.values() else label(n) for n in study.failed}
    made = Ablation(
        label(ablation.base),
        ablation.design,
        ablation.factors,
        {label(name): point for name, point in ablation.points.items()},
        notes=(*ablation.notes, *_tell_rates(ablation)),
    )
    failed = {lost[name]: reason for name, reason in study.failed.items()}
    return rename(study, chosen)._replace(failed=failed, ablation=made)


def rate_warnings(study: Study) -> list[str]:
    """Sentences on variants whose verdict depends on the learning rate.

    Args:
        study: with an ablation, before ``relabel``.
    """
    ablation = study.ablation
    if not ablation or not ablation.rates:
        return []
    alike = study._replace(ablation=ablation._replace(rates={}))
    best, base = map(_verdicts, (study, alike))
    return [
        f"The learning rate decides about {name}: {best[name]} at the best rate of each variant, "
        f"{base[name]} at that of the base. Tune each with --tune."
        for name in best
        if name in base and base[name] != best[name]
    ]


def _verdicts(study: Study) -> dict[str, str]:
    shown = relabel(study)
    assert shown.ablation
    judged = judge_ablation(make_answers(shown), shown.ablation).against_baseline
    return {one.strategy: one.verdict for one in judged}


def _tell_rates(ablation: Ablation) -> list[str]:
    if not ablation.rates:
        return []
    count = len(next(iter(ablation.rates.values())))
    return [f"Each variant was trained at {count} learning rates, and the best on validation kept."]
