"""The conclusions from a study, computed once for every output."""

from dataclasses import dataclass
from functools import cached_property

from mmjax.analysis.answers import Answers, make_answers
from mmjax.analysis.study import Study
from mmjax.analysis.summary import Summary, summarise
from mmjax.analysis.verdicts import Verdict, judge


@dataclass(frozen=True, eq=False)
class Assessment:
    """A study with its answers, verdict and summaries, each computed on first access.

    Example:
        >>> rows = [{"strategy": "gmu", "modalities": "a+b", "seed": 0, "split": "test",
        ...          "hidden": "", "accuracy": 0.9, "macro_f1": 0.9, "params": 10, "seconds": 1.0}]
        >>> assessment = Assessment(Study("toy", (), rows, [], {}, {}, {}, (), {}, {}))
        >>> assessment.answers is None  # there are no predictions
        True
        >>> assessment.summaries[0].strategy
        'gmu'
    """

    study: Study

    @cached_property
    def answers(self) -> Answers | None:
        """The score of each strategy on each row; None where no difference can be judged."""
        return make_answers(self.study)

    @cached_property
    def verdict(self) -> Verdict:
        """Whether fusion pays."""
        return judge(self.answers)

    @cached_property
    def summaries(self) -> list[Summary]:
        """One summary per strategy, the best score on the scored split first."""
        return summarise(self.study.rows)
