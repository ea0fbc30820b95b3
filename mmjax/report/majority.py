"""What a score is worth where some answers are far more frequent than others."""

from collections.abc import Sequence

from mmjax.report.summary import Summary, find_majority


def majority_warnings(summaries: Sequence[Summary]) -> list[str]:
    """A sentence that names the strategies which do not beat the majority class, if there are any.

    They may have learned no more than how frequent the answers are, however high they score.
    """
    found = find_majority(summaries)
    if found is None:
        return []
    names = [s.strategy for s in summaries if s.score.mean() <= found[0]]
    if not names:
        return []
    none = len(names) == len(summaries)
    who = "No strategy beats" if none else f"{', '.join(names)}: no better than"
    return [
        f"{who} the majority class, which has {100 * found[0]:.2f} % accuracy without any input. "
        "Macro F1, in which every class counts alike, shows whether more was learned."
    ]
