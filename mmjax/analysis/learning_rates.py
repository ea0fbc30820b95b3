"""Variants of an ablation at their best learning rates, and what other rates would have said."""

from collections.abc import Callable, Mapping

from mmjax.analysis.ablation_verdict import judge_ablation
from mmjax.analysis.answers import make_answers
from mmjax.analysis.study import Study, rename
from mmjax.comparison.ablation import Ablation


def relabel(study: Study) -> Study:
    """The study of an ablation with one strategy per variant, named by what differs from the base.

    Of the learning rates of a variant, that which is best on validation is kept.

    Args:
        study: with an ablation.

    Returns:
        a study whose ablation has no ``rates``, and the same names as its rows.
    """
    return _choose(study, lambda names: max(names, key=study.on_validation))


def rate_warnings(study: Study) -> list[str]:
    """Sentences on variants whose verdict depends on the learning rate.

    Args:
        study: with an ablation, before ``relabel``.
    """
    if not study.ablation or not study.ablation.rates:
        return []
    words: list[Mapping[str, str]] = []
    for kept in (relabel(study), _choose(study, lambda names: names[0])):
        assert kept.ablation
        judged = judge_ablation(make_answers(kept), kept.ablation).against_baseline
        words.append({one.strategy: one.verdict for one in judged})
    best, base = words
    return [
        f"The learning rate decides about {name}: {best[name]} at the best rate of each variant, "
        f"{base[name]} at that of the base. Tune each with --tune."
        for name in best
        if name in base and base[name] != best[name]
    ]


def _choose(study: Study, choose: Callable[[list[str]], str]) -> Study:
    ablation = study.ablation
    if ablation is None:
        return study
    labels, trained = {}, study.strategies
    for variant in ablation.points:
        names = [n for n in ablation.rates.get(variant, (variant,)) if n in trained]
        if names:
            labels[choose(names)] = ablation.label(variant)
    failed = {ablation.label(n) if n in ablation.points else n: w for n, w in study.failed.items()}
    points = {ablation.label(name): point for name, point in ablation.points.items()}
    made = Ablation(
        ablation.label(ablation.base),
        ablation.design,
        ablation.factors,
        points,
        notes=(*ablation.notes, *_tell_rates(ablation)),
    )
    return rename(study, labels)._replace(failed=failed, ablation=made)


def _tell_rates(ablation: Ablation) -> list[str]:
    if not ablation.rates:
        return []
    count = len(next(iter(ablation.rates.values())))
    return [f"Each variant was trained at {count} learning rates, and the best on validation kept."]
