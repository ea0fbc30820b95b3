"""What follows from a study, computed once for all that shows it."""

from dataclasses import dataclass
from functools import cached_property

from mmjax.analysis.answers import Answers, make_answers
from mmjax.analysis.study import Study
from mmjax.analysis.summary import Summary, summarise
from mmjax.analysis.verdicts import Verdict, judge


@dataclass(frozen=True, eq=False)
class Assessment:
    """A study with its answers, its verdict and its table, each computed when first asked for."""

    study: Study

    @cached_property
    def answers(self) -> Answers | None:
        """How each strategy does on each row; None where no difference can be judged."""
        return make_answers(self.study)

    @cached_property
    def verdict(self) -> Verdict:
        """Whether fusion pays."""
        return judge(self.answers)

    @cached_property
    def summaries(self) -> list[Summary]:
        """A line of numbers for each strategy, the best on the scored split first."""
        return summarise(self.study.rows)
