"""Diagnosing and re-learning: encoders go back towards their start by how much they memorised."""

import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import jax
import numpy as np

from mmjax.data.task import Split, Task
from mmjax.errors import UsageError
from mmjax.methods.joint import Joint
from mmjax.methods.mechanics import map_encoders
from mmjax.objectives.row_losses import classes_of
from mmjax.types import FitLoop, Prepared, Trained, Tried


@dataclass(frozen=True)
class Relearning(Joint):
    r"""Trains jointly, diagnoses each encoder, softly re-initialises it, and trains jointly again.

    A preliminary run trains the model. :math:`P_m` is the purity of the k-means clusters, as many
    as there are classes, of the embeddings of modality :math:`m`: the share of rows that are of
    their cluster's most frequent class. A modality that separates training rows better than
    validation rows has memorised, and one that separates both alike has room to learn: with the gap
    :math:`g_m = |P_m(\text{train}) - P_m(\text{valid})|` and
    :math:`a_m = \tanh(\text{strength} g_m)`, encoder :math:`m` continues from :math:`(1 - a_m)
    \text{parameters} + a_m \text{initial parameters}`, and everything else from where it was. With
    more ``rounds`` this is repeated. Embeddings are mean tokens, over the rows that have the
    modality, scaled to [-1, 1] per feature as in the authors' code; if no row of a split has it,
    its encoder continues from where it was. Any number of modalities. It needs classes. The
    validation split also selects parameters, here those to start from.

    The paper goes back a few times within one run; here each round is a run, as long as the actual
    one, with a new optimiser.

    Reference: Wei et al., Diagnosing and Re-learning for Balanced Multimodal Learning
    (arXiv:2407.09705).

    Attributes:
        strength: how far a gap takes an encoder back, the paper's lambda; 3 in the authors' code.
        rounds: number of preliminary runs; 3 times within a run in the authors' code.

    Example:
        >>> import numpy as np
        >>> from mmjax.methods.relearning import purity
        >>> embeddings, target = np.array([[0.0], [0.1], [0.9], [1.0]]), np.array([0, 0, 1, 0])
        >>> purity(embeddings, target, num_classes=2)
        0.75
    """

    tried: ClassVar[Tried] = {"strength": (1.0, 3.0, 10.0)}
    strength: float = 3.0
    rounds: int = 1

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise UsageError("rounds", expected="at least 1", got=str(self.rounds))

    def num_runs(self, num_modalities: int) -> int:
        """One per round."""
        return self.rounds

    def prepare(self, fit: FitLoop, recipe: Any, task: Task) -> Prepared:
        """Makes the rounds before the actual run, and re-initialises their encoders."""
        for split in (task.train, task.valid):
            classes_of(split.batch())
        before = replace(self, rounds=self.rounds - 1) if self.rounds > 1 else Joint()
        trained = fit(replace(recipe, method=before), task)
        back = self._diagnose(trained, task)

        def go_back(name, now, start):
            part = lambda x: back[name].reshape(-1, *[1] * (x.ndim - 1)).astype(x.dtype)
            return jax.tree.map(lambda x, y: (1 - part(x)) * x + part(x) * y, now, start)

        return Prepared(map_encoders(go_back, jax.device_get(trained.params), trained.start))

    def _diagnose(self, trained: Trained, task: Task) -> dict[str, np.ndarray]:
        """How far each encoder goes back, from 0 to 1: {modality: [seeds]}."""
        pure = [_purities(trained, split, task.out_dim) for split in (task.train, task.valid)]
        # Nothing is known of a modality that no row of a split has.
        gap = {name: np.nan_to_num(np.abs(pure[0][name] - pure[1][name])) for name in pure[0]}
        return {name: np.tanh(self.strength * each) for name, each in gap.items()}


def _purities(trained: Trained, split: Split, num_classes: int) -> dict[str, np.ndarray]:
    """{modality: [seeds]}."""
    found = trained.view(trained.params, split.batch()).embeddings
    rows = {name: np.asarray(present) for name, present in split.present.items()}
    return {
        name: np.array([purity(x[here], split.target[here], num_classes) for x in found[name]])
        for name, here in rows.items()
    }


def purity(embeddings: np.ndarray, target: np.ndarray, num_classes: int) -> float:
    """Share of rows that are of the most frequent class of their cluster; NaN without rows.

    Args:
        embeddings: [rows, features].
        target: [rows] classes.
        num_classes: number of clusters.
    """
    from sklearn.cluster import KMeans  # half a second
    from sklearn.exceptions import ConvergenceWarning

    if not len(target):
        return np.nan
    low, high = embeddings.min(axis=0), embeddings.max(axis=0)
    scaled = 2 * (embeddings - low) / np.where(high > low, high - low, 1) - 1
    with warnings.catch_warnings():
        # Collapsed embeddings have fewer distinct rows than classes.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clusters = KMeans(min(num_classes, len(target)), random_state=0).fit_predict(scaled)
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (clusters, target), 1)
    return float(counts.max(axis=1).sum() / len(target))
