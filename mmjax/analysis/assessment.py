"""The conclusions from a study, computed once for every output."""

from dataclasses import dataclass
from functools import cached_property

from mmjax.analysis.ablation_verdict import judge_ablation
from mmjax.analysis.answers import Answers, make_answers
from mmjax.analysis.learning_rates import rate_warnings, relabel
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

    given: Study

    @cached_property
    def study(self) -> Study:
        """The study; that of an ablation under the labels of its variants."""
        return relabel(self.given)

    @cached_property
    def answers(self) -> Answers | None:
        """The score of each strategy on each row; None where no difference can be judged."""
        return make_answers(self.study)

    @cached_property
    def verdict(self) -> Verdict:
        """Whether fusion pays, or what matters in an ablation."""
        if self.study.ablation is None:
            return judge(self.answers)
        found = judge_ablation(self.answers, self.study.ablation)
        return found._replace(sentences=(*found.sentences, *rate_warnings(self.given)))

    @cached_property
    def summaries(self) -> list[Summary]:
        """One summary per strategy, the best score on the scored split first."""
        return summarise(self.study.rows)
