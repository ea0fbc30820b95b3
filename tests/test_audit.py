"""The audit: what protocols report, against counting by hand, and a study of seconds."""

from dataclasses import replace

import audit
import audit_claims as claims
import audit_measures
import audit_report
import audit_tasks
import numpy as np
import pytest
from audit_claims import Answers, Draw

ROWS = 130  # two batches and two rows more


def make_arm(**right):
    """An arm that is right with the given probabilities: {"clean" and so on: [rates]}."""
    rng = np.random.default_rng(len(right))
    draw = lambda p, size: rng.random((3, 4, size)) < np.reshape(p, (3, 1, 1))
    return {name: Answers(draw(p, 90), draw(p, ROWS), draw(p, 400)) for name, p in right.items()}


@pytest.fixture
def arm():
    return make_arm(
        **{
            "clean": [0.3, 0.6, 0.9],
            "test": [0.4, 0.7, 0.95],
            "leaking clean": [0.99, 0.5, 0.5],
            "leaking test": [0.5, 0.5, 0.99],
        }
    )


def test_each_contamination_reports_what_it_says(arm):
    draw = Draw(np.array([2, 0]), np.ones(ROWS), np.ones(ROWS))
    of = lambda selection, rate, seeds=(2, 0), rows=ROWS: (
        arm[selection].test[rate][list(seeds), :rows].mean()
    )
    want = {
        (): of("clean", 2),
        ("best test epoch",): of("test", 2),
        ("one seed",): of("clean", 2, seeds=(2,)),
        ("baseline not tuned",): of("clean", claims.USUAL),
        ("speakers shared",): of("leaking clean", 0),
        ("speakers shared", "best test epoch"): of("leaking test", 2),
    }
    for dirty, value in want.items():
        assert claims.score(arm, draw, {*dirty}) == pytest.approx(value)
    assert claims.score(arm, draw, {"last batch dropped"}) == pytest.approx(
        of("clean", 2, rows=128)
    )
    best = max(of("clean", rate) for rate in range(3))
    assert claims.score(arm, draw, {"tuned on test"}) == pytest.approx(best)


def test_rows_count_as_often_as_they_are_drawn(arm):
    weights = np.random.default_rng(0).integers(3, size=ROWS).astype(float)
    rows = np.repeat(np.arange(ROWS), weights.astype(int))
    want = arm["clean"].test[2][:, rows].mean()
    assert claims.score(arm, Draw(np.arange(4), weights), set()) == pytest.approx(want)
    (draw,) = claims.resample((4, 9), np.arange(ROWS) // 5, np.arange(20) // 4, times=1)
    assert draw.weights.sum() == ROWS
    assert len({*draw.weights[:5]}) == 1  # whole groups
    assert draw.leaking.sum() == 20
    assert len({*draw.leaking[:4]}) == 1
    assert len(draw.of_baseline) == 9


def test_many_draws_of_seeds_are_scored_at_once(arm):
    seeds = np.array([[2, 0], [1, 3]])
    for dirty in ({"tuned on test"}, {"one seed"}, set()):
        each = [claims.score(arm, Draw(one, np.ones(ROWS)), dirty) for one in seeds]
        assert claims.score(arm, Draw(seeds, np.ones(ROWS)), dirty) == pytest.approx(each)


def test_the_whole_draw_has_every_seed_once_as_the_one(arm):
    whole, *others = audit_measures.make_draws({"concat": arm}, np.arange(ROWS), np.arange(ROWS))
    value = claims.score(arm, whole, {"one seed", "baseline not tuned"}).mean()
    assert value == pytest.approx(arm["clean"].test[claims.USUAL].mean())
    assert len(others) == audit_measures.BOOTSTRAPS


def test_intervals_are_about_their_value():
    draws = np.array([1.0, *np.linspace(3, 5, 101)])
    assert audit_measures.bounds(draws) == pytest.approx([0.05, 1.95])


def test_agreement_does_to_each_arm_what_it_is_told():
    arms = [make_arm(clean=[p, 0.5, 0.3]) for p in (0.6, 0.75, 0.9)]
    draw = Draw(np.arange(4), np.ones(ROWS))
    true = [claims.truth(arm) for arm in arms]
    assert claims.agreement(arms, true, draw, [set()] * 3) == 1
    last = [set(), set(), {"baseline not tuned"}]  # 0.9 becomes 0.5
    assert claims.agreement(arms, true, draw, last) == pytest.approx(-1 / 3)


def test_the_method_alone_or_both_sides(arm):
    base, draw = (
        make_arm(clean=[0.3, 0.6, 0.9], test=[0.4, 0.7, 0.95]),
        Draw(np.arange(4), np.ones(ROWS)),
    )
    dirty = {"best test epoch", "baseline not tuned"}
    side = lambda who, *how: claims.score(who, draw, {*how})
    alone = side(arm, "best test epoch") - side(base, "baseline not tuned")
    both = side(arm, "best test epoch") - side(base, "best test epoch", "baseline not tuned")
    assert claims.claim(arm, base, (draw, draw), dirty, both=False) == pytest.approx(alone)
    assert claims.claim(arm, base, (draw, draw), dirty, both=True) == pytest.approx(both)


def test_a_method_that_does_nothing_wins_half_of_the_time_if_all_is_clean():
    base = make_arm(clean=[0.5, 0.5, 0.5])
    wide = {k: Answers(*(np.repeat(x, 3, axis=1) for x in one)) for k, one in base.items()}
    rng = np.random.default_rng(0)
    draw = lambda total: Draw(
        rng.permuted(np.tile(np.arange(total), (400, 1)), axis=1), np.ones(ROWS)
    )
    wins, large = claims.nothing_wins(wide, draw(12), set(), both=True)
    assert wins == pytest.approx(0.5, abs=0.08)
    assert large < wins
    tuned = make_arm(clean=[0.9, 0.5, 0.5])
    assert claims.nothing_wins(tuned, draw(4), {"baseline not tuned"}, both=True)[0] == 1


def test_groups_stay_whole_and_nothing_is_in_two_parts():
    audited = audit_tasks.divide(audit_tasks.null().clean, leak="rows")
    rows = lambda split: {row.tobytes() for row in split.inputs["a"]}
    parts = [rows(s) for s in (*audited.clean.splits.values(), audited.held_out)]
    assert sum(map(len, parts)) == len(set.union(*parts))
    dealt = [rows(split) for split in audited.leaking.splits.values()]
    assert set.union(*dealt) == set.union(*parts[:3])
    assert [len(part) for part in dealt] == [len(part) for part in parts[:3]]
    assert dealt[2] != parts[2]


def test_recordings_are_dealt_whole():
    clean = audit_tasks.null().clean
    group = lambda split, start: replace(split, group=start + np.arange(split.size) // 7)
    train, valid, test = map(group, clean.splits.values(), (0, 10_000, 20_000))
    task = replace(clean, train=train, valid=valid, test=test)
    dealt = audit_tasks.deal_anew(task, "recordings", np.random.default_rng(0)).splits
    groups = [set(split.group.tolist()) for split in dealt.values()]
    assert sum(map(len, groups)) == len(set.union(*groups))
    assert all(min(part) < 10_000 for part in groups)  # some of training in each
    assert sum(split.size for split in dealt.values()) == train.size + valid.size + test.size


@pytest.mark.slow
def test_a_bundle_gives_the_same_summary_without_training(tmp_path, monkeypatch):
    sizes = {"TRAIN": 80, "VALID": 40, "REPORTED": 70, "HELD_OUT": 60}
    for name, size in sizes.items():
        monkeypatch.setattr(audit_tasks, name, size)
    monkeypatch.setattr(audit, "SEEDS", 2)
    monkeypatch.setattr(audit, "BASELINE_SEEDS", 6)
    monkeypatch.setattr(audit, "FRESH", 2)
    monkeypatch.setattr(audit, "strategies", lambda: ["concat:ogm_ge", "sum"])
    for name, few in {"BOOTSTRAPS": 5, "DRAWS": 20, "PAIRS": 5, "PAIR_SEEDS": 3}.items():
        for module in (audit_measures, audit_report):
            monkeypatch.setattr(module, name, few, raising=False)
    audit.main(audit.Study(out=tmp_path / "a", tasks=("null",), steps=3))
    monkeypatch.setattr(audit, "collect", None)
    audit.main(audit.Study(out=tmp_path / "b", bundle=tmp_path / "a" / "audit.npz"))
    summary = (tmp_path / "a" / "summary.md").read_text()
    assert (tmp_path / "b" / "summary.md").read_text() == summary
    assert "| concat:ogm_ge |" in summary
    assert "null: a method that does nothing wins" in summary
    assert "| null, each pair of models of its own | 2 |" in summary
    assert (tmp_path / "b" / "gains.png").exists()
