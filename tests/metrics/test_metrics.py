"""Metrics against scikit-learn, SciPy and the jackknife."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn.metrics as sk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import expit, softmax
from small import make_task

from mmjax.errors import UnknownNameError, UsageError
from mmjax.metrics import METRICS, as_blocks, decide, goodness, make_metric, with_metric
from mmjax.registry import Table
from mmjax.types import Metric

KINDS = ("binary", "classes", "labels", "numbers")


def draw(kind, rows=90, seed=0, ties=False):
    """Predictions that know something of a target, and the target."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(rows, {"binary": 2, "classes": 4, "labels": 3, "numbers": 2}[kind]))
    if kind in ("binary", "classes"):
        target = rng.integers(noise.shape[1], size=rows)
        prediction = noise + np.eye(noise.shape[1])[target]
    else:
        target = rng.integers(2, size=noise.shape) if kind == "labels" else 3 * noise[::-1] + 7
        prediction = noise + target - (0.5 if kind == "labels" else 0)
    return (prediction.round(1) if ties else prediction), target


def cases(*kinds):
    return [
        (n, k)
        for n, m in METRICS.items()
        for k in kinds
        if k.replace("binary", "classes") in m.kinds
    ]


def ranked(function):
    """A ranking metric of scikit-learn on probabilities."""

    def score(prediction, target):
        if target.ndim == 2:
            return function(target, expit(prediction), average="macro")
        share = softmax(prediction, axis=1)
        if share.shape[1] == 2:
            return function(target, share[:, 1])
        return function(np.eye(share.shape[1])[target], share, average="macro")

    return score


def decided(function, **options):
    return lambda p, t: function(t, decide(p, t).astype(int), **options)


def per_number(function):
    return lambda p, t: np.mean([function(*pair).statistic for pair in zip(p.T, t.T, strict=True)])


def f1(average):
    return decided(sk.f1_score, average=average, zero_division=0)


ORACLES = {
    "accuracy": lambda p, t: (decide(p, t) == t).mean(),
    "balanced_accuracy": decided(sk.balanced_accuracy_score),
    "macro_f1": f1("macro"),
    "micro_f1": f1("micro"),
    "weighted_f1": f1("weighted"),
    "auroc": ranked(sk.roc_auc_score),
    "auprc": ranked(sk.average_precision_score),
    "log_loss": lambda p, t: (
        sk.log_loss(t, softmax(p, axis=1))
        if t.ndim == 1
        else sum(sk.log_loss(a, expit(b)) for a, b in zip(t.T, p.T, strict=True))
    ),
    "r2": lambda p, t: sk.r2_score(t, p),
    "rmse": lambda p, t: sk.root_mean_squared_error(t, p),
    "mae": lambda p, t: sk.mean_absolute_error(t, p),
    "pearson": per_number(stats.pearsonr),
    "spearman": per_number(stats.spearmanr),
}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("name", "kind"), cases(*KINDS))
def test_values_are_those_of_scikit_learn_and_scipy(name, kind, ties):
    prediction, target = draw(kind, ties=ties)
    got = METRICS[name].score(prediction, target)
    np.testing.assert_allclose(got, ORACLES[name](prediction, target), rtol=1e-6)


@pytest.mark.parametrize(("name", "kind"), cases(*KINDS))
def test_contributions_add_up_to_the_score_and_are_the_jackknifes(name, kind):
    metric, (prediction, target) = METRICS[name], draw(kind, rows=150)
    group = np.arange(len(target))
    score, got = metric.score(prediction, target), metric.contributions(prediction, target, group)
    np.testing.assert_allclose(got.mean(), score)
    if name == "r2":
        return  # whose variance is taken as known
    without = [
        metric.score(np.delete(prediction, row, 0), np.delete(target, row, 0)) for row in group
    ]
    pseudo = len(group) * score - (len(group) - 1) * np.array(without)  # Tukey's
    assert np.corrcoef(got, pseudo)[0, 1] > 0.98
    np.testing.assert_allclose(got.std(), pseudo.std(), rtol=0.12)


@pytest.mark.parametrize("kind", ["classes", "labels"])
@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.trade])
def test_rows_on_which_both_decide_alike_add_nothing_to_a_difference(name, kind):
    metric = METRICS[name]
    if kind not in metric.kinds:
        return
    (one, target), (other, _) = draw(kind, seed=1), draw(kind, seed=1)
    other = np.where(np.arange(len(target))[:, None] < 12, np.roll(other, 1, axis=0), other)
    own, his = metric.trade(decide(one, target), decide(other, target), target)
    same = (decide(one, target) == decide(other, target)).reshape(len(target), -1).all(axis=1)
    assert 0 < same.sum() < len(target)
    np.testing.assert_allclose(own[same], his[same], atol=1e-12)
    gain = metric.score(one, target) - metric.score(other, target)
    np.testing.assert_allclose((own - his).mean(), gain, atol=1e-12)


@settings(deadline=None)
@given(st.integers(0, 2**20), st.integers(2, 5), st.integers(1, 12))
def test_the_difference_is_exact_however_few_the_rows(seed, classes, rows):
    """Classes may be said by one model only, or occur in no row."""
    rng = np.random.default_rng(seed)
    target, one, other = rng.integers(classes, size=(3, rows))
    for name in ("macro_f1", "weighted_f1", "micro_f1", "balanced_accuracy"):
        own, his = METRICS[name].trade(one, other, target)
        logits = [np.eye(classes)[x] for x in (one, other)]
        want = METRICS[name].score(logits[0], target) - METRICS[name].score(logits[1], target)
        np.testing.assert_allclose((own - his).mean(), want, atol=1e-9)


def test_a_class_that_is_only_predicted_counts_in_macro_f1():
    said, target = np.eye(3)[[0, 1, 2]], np.array([0, 0, 0])
    want = sk.f1_score(target, said.argmax(1), average="macro", zero_division=0)
    np.testing.assert_allclose(METRICS["macro_f1"].score(said, target), want)


def test_labels_that_never_occur():
    logits, target = np.array([[1.0, -1.0], [-1.0, -1.0]]), np.array([[1, 0], [1, 0]])
    np.testing.assert_allclose(METRICS["macro_f1"].score(logits, target), 2 / 3)
    nothing = -np.ones((2, 2)), np.zeros((2, 2), int)
    for name in ("macro_f1", "micro_f1", "weighted_f1"):
        assert METRICS[name].score(*nothing) == 1
    assert np.isnan(METRICS["auroc"].score(*nothing))


def test_constant_numbers():
    prediction, target = np.full((9, 1), 2.0), np.random.default_rng(0).normal(size=(9, 1))
    assert METRICS["pearson"].score(prediction, target) == 0
    assert METRICS["spearman"].score(prediction, target) == 0
    assert METRICS["r2"].score(target * 0 + 1, target * 0 + 1) == 1
    np.testing.assert_array_equal(METRICS["rmse"].contributions(target, target, None), 0)
    tenths = np.full((7, 1), 0.1)  # their mean is rounded
    assert METRICS["r2"].score(target[:7], tenths) == 0
    assert METRICS["pearson"].score(target[:7], tenths) == 0


def test_a_function_may_change_what_it_is_given():
    def centred(prediction, target):
        prediction -= prediction.mean()
        target -= target.mean()
        return float((prediction * target).mean())

    target = np.arange(9.0)[:, None]
    prediction = 2 * target
    make_metric(centred, "numbers").score(prediction, target)
    assert (target[-1], prediction[-1]) == (8, 16)


def geometric(probability, target):
    """The geometric mean of the probabilities of the right classes."""
    return np.exp(np.log(probability[np.arange(len(target)), target]).mean())


def test_a_function_is_a_metric():
    prediction, target = draw("classes", rows=400)
    metric = make_metric(geometric, "classes")
    want = np.exp(-METRICS["log_loss"].score(prediction, target))
    np.testing.assert_allclose(metric.score(prediction, target), want)
    group = np.repeat(np.arange(100), 4)
    got = metric.contributions(prediction, target, group)
    np.testing.assert_allclose(got.mean(), want)
    # By the chain rule from those of the log loss, summed over groups.
    loss = METRICS["log_loss"].contributions(prediction, target, group)
    exact = want - want * (loss - loss.mean())
    sums = [np.bincount(group, each - want) for each in (got, exact)]
    np.testing.assert_allclose(*sums, rtol=0.05, atol=0.01)


def test_blocks_keep_groups_together_and_are_of_like_size():
    group = np.repeat(np.arange(1000), 3)
    block = as_blocks(group)
    assert len(np.unique(block)) == 200
    assert set(np.bincount(block)) == {15}
    assert all(len(set(block[group == g])) == 1 for g in range(0, 1000, 97))
    np.testing.assert_array_equal(np.unique(as_blocks(np.arange(7))), np.arange(7))


def test_what_cannot_be_a_metric_is_refused():
    with pytest.raises(UnknownNameError, match="macro_f1"):
        make_metric("makro_f1", "classes")
    with pytest.raises(UsageError, match=r"for numbers, such as r2, .*got macro_f1"):
        make_metric("macro_f1", "numbers")
    with pytest.raises(UsageError, match="that has a name"):
        make_metric(lambda p, t: 0.5, "classes")
    with pytest.raises(UsageError, match="that has a name"):
        make_metric(3, "classes")

    def accuracy(prediction, target):
        return 0.5

    with pytest.raises(UsageError, match="accuracy is taken"):
        make_metric(accuracy, "classes")


def test_a_metric_without_a_value_is_refused_before_training():
    task = make_task()

    def nothing(prediction, target):
        return np.nan

    with pytest.raises(UsageError, match="nothing, which is nan"):
        with_metric(task, nothing)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda p, t: (p == t[:, :1, None]).mean(), "got IndexError"),
        (lambda p, t: p.argmax(axis=1) == t, "got TypeError"),
        (lambda p: 0.5, "got TypeError.*1 positional argument"),
    ],
)
def test_a_function_that_fails_is_told_what_it_was_given(wrong, said):
    task, wrong.__name__ = make_task(), "wrong"
    shapes = (
        rf"wrong to map predictions \({task.valid.size}, 3\) and targets \({task.valid.size},\)"
    )
    with pytest.raises(UsageError, match=f"{shapes} to a float, {said}"):
        with_metric(task, wrong)


def test_other_packages_provide_functions(monkeypatch):
    table = Table("mmjax.metrics", {"geometric": geometric, "accuracy": METRICS["accuracy"]})
    monkeypatch.setattr("mmjax.metrics.own.METRICS", table)
    metric = make_metric("geometric", "classes")
    assert isinstance(metric, Metric)
    assert metric.name == "geometric"


def test_goodness_is_higher_for_better_rows():
    assert goodness({"metric": "log_loss", "log_loss": 0.5}) == -0.5
    assert goodness({"accuracy": 0.5}) == 0.5
    assert goodness({"r2": None, "metric": "r2"}) == -np.inf


def test_scores_of_a_task_have_its_metric_and_the_usual_ones():
    task = with_metric(make_task(), "auroc")
    logits = np.random.default_rng(0).normal(size=(task.test.size, task.out_dim))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = task.scores(logits, task.test.target)
    assert list(got) == ["metric", "auroc", "accuracy", "macro_f1", "nll"]
    assert got["auroc"] == METRICS["auroc"].score(logits, task.test.target)


@pytest.mark.parametrize("metric", ["macro_f1", geometric])
def test_a_task_with_a_metric_can_be_pickled(metric):
    task = with_metric(make_task(), metric)
    again = pickle.loads(pickle.dumps(task))
    assert again.digest() == task.digest()
    logits = np.random.default_rng(0).normal(size=(task.test.size, task.out_dim))
    got, want = (one.scores(logits, task.test.target) for one in (again, task))
    assert got == want
    assert (METRICS.get(again.metric.name) is again.metric) == isinstance(metric, str)
