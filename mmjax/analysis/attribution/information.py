"""Partial information decomposition: what two sources carry about a class, alone and together."""

import warnings
from typing import NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import entr, rel_entr, softmax
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from mmjax.analysis.threads import one_thread
from mmjax.errors import UsageError

TOLERANCE = 1e-6  # bits
NUM_BLOCKS = 20
_NEGLIGIBLE = 1e-12  # probability; smaller ones are below the tolerance and ill-conditioned
_CENTRED = 0.01  # squared Newton decrement in units of the weight: a small part of the gap


class Decomposition(NamedTuple):
    """Information of two sources about a class, in bits.

    Attributes:
        redundancy: available from either source.
        first: unique to the first source.
        second: unique to the second source.
        synergy: available only from both sources together.

    Example:
        >>> parts = Decomposition(redundancy=0.5, first=0.25, second=0.0, synergy=0.25)
        >>> sum(parts)  # what both sources carry together
        1.0
    """

    redundancy: float
    first: float
    second: float
    synergy: float


@one_thread
def decompose(joint: np.ndarray) -> Decomposition:
    """Decomposes the mutual information between a class and two discrete sources.

    ``redundancy + first`` is the information of the first source, ``redundancy + second`` that of
    the second, and the four parts sum to that of both. Reference: Bertschinger et al., Quantifying
    Unique Information (Entropy 16, 2014, arXiv:1311.2852), whose measure Liang et al.
    (arXiv:2302.12247) estimate for multimodal tasks. Every part is within ``TOLERANCE`` of its
    true value, which is never negative.

    Args:
        joint: [first, second, class] probabilities, or counts.

    Raises:
        UsageError: the shape is wrong, an entry is negative or not finite, or all are zero.

    Example:
        >>> xor = np.zeros((2, 2, 2))
        >>> xor[[0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 0]] = 1
        >>> [abs(round(part, 3)) for part in decompose(xor)]  # all of it is synergy
        [0.0, 0.0, 0.0, 1.0]
    """
    joint = np.asarray(joint, np.float64)
    least, total = joint.min(initial=0), joint.sum()
    if joint.ndim != 3 or not (least >= 0 and 0 < total < np.inf):
        raise UsageError(
            "joint",
            expected="[first, second, class] entries from 0, with a finite sum above 0",
            got=f"shape {joint.shape}, minimum {least}, sum {total}",
        )
    joint = np.where(joint < _NEGLIGIBLE * total, 0, joint) / total
    first, second = _information(joint.sum(axis=1)), _information(joint.sum(axis=0))
    both = _information(joint.reshape(-1, joint.shape[2]))
    union = _union_information(joint)
    return Decomposition(first + second - union, union - second, union - first, both - union)


def _information(joint: np.ndarray) -> float:
    """Mutual information of [source, class] probabilities, in bits."""
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    return float(rel_entr(joint, apart).sum() / np.log(2))


def _union_information(joint: np.ndarray) -> float:
    """The least information of both sources compatible with each source's marginal, in bits.

    The dual of this convex program is to maximise ``E[a(first, class) + b(second, class)]`` such
    that ``exp(a + b)``, summed over classes, is at most 1 for every pair of symbols. Its optimum
    is minus the largest entropy of the class given both. With a logarithmic barrier, the maximum is
    at most ``weight * pairs`` nats lower. Makkeh et al. (Entropy 20, 2018) find interior-point
    methods the most robust for this program.
    """
    of_first, of_second = joint.sum(axis=1), joint.sum(axis=0)
    probability = np.concatenate([of_first, of_second])
    support = (of_first > 0)[:, None] & (of_second > 0)[None]
    # A feasible start, by the Cauchy-Schwarz inequality.
    terms = 0.5 * np.log(np.where(probability > 0, probability, 1)) - 0.5
    num_pairs = len(of_first) * len(of_second)
    for gap in np.geomspace(0.1, TOLERANCE / 2 * np.log(2), num=5):  # half: centres are inexact
        terms = _centre(terms, gap / num_pairs, probability, support)
    of_class = of_first.sum(axis=0)
    return float((entr(of_class).sum() + np.sum(probability * terms)) / np.log(2))


def _centre(
    terms: np.ndarray, weight: float, probability: np.ndarray, support: np.ndarray
) -> np.ndarray:
    """Newton's method for the dual with its barrier over terms [first and second, class]."""
    n = len(support)
    exponential = lambda t: np.exp(np.where(support, t[:n, None] + t[None, n:], -np.inf))

    def value(terms):
        with np.errstate(over="ignore"):  # the step was too long
            room = 1 - exponential(terms).sum(axis=2)
        barrier = np.log(room).sum() if room.min() > 0 else -np.inf
        return np.sum(probability * terms) + weight * barrier

    while True:
        mass = exponential(terms)
        joint = weight * mass / (1 - mass.sum(axis=2, keepdims=True))  # primal, once centred
        gradient = probability - np.concatenate([joint.sum(axis=1), joint.sum(axis=0)])
        factor = cho_factor(_hessian(joint, weight, probability))
        step = cho_solve(factor, gradient.ravel()).reshape(terms.shape)
        if np.sum(gradient * step) <= _CENTRED * weight:
            return terms
        while value(terms + step) < value(terms) + 0.01 * np.sum(gradient * step):
            step = step / 2
        terms = terms + step


def _hessian(joint: np.ndarray, weight: float, probability: np.ndarray) -> np.ndarray:
    """Minus the second derivative, [terms, terms], regularised in its null directions."""
    num_first, num_second, num_classes = joint.shape
    each, size = np.eye(num_classes), probability.size
    pairs = joint[..., None] * each + joint[..., None] * joint[..., None, :] / weight
    blocks = np.zeros((num_first + num_second, num_classes) * 2)
    first, second = np.arange(num_first), num_first + np.arange(num_second)
    blocks[first, :, first] = pairs.sum(axis=1)
    blocks[second, :, second] = pairs.sum(axis=0)
    blocks[:num_first, :, num_first:] = pairs.transpose(0, 2, 1, 3)
    blocks[num_first:, :, :num_first] = pairs.transpose(1, 2, 0, 3)
    # A constant can move between the two sources' terms of a class: give this direction curvature.
    flat = np.repeat([[1.0], [-1.0]], [num_first, num_second], axis=0) * probability
    blocks += np.einsum("ik,jl,kl->ikjl", flat, flat, each)
    return blocks.reshape(size, size) + np.diag(probability.ravel() == 0)


def estimate(
    first: np.ndarray,
    second: np.ndarray,
    target: np.ndarray,
    group: np.ndarray | None = None,
    *,
    seed: int = 0,
) -> tuple[Decomposition, Decomposition]:
    """Estimates the decomposition from observed rows.

    Using counts for probabilities overestimates information, above all synergy, by a term that
    falls as 1 / rows. The jackknife removes this bias and gives standard errors (Quenouille,
    Biometrika 43, 1956; Miller, Biometrika 61, 1974; for entropy, Zahl, Ecology 58, 1977): it
    leaves out ``NUM_BLOCKS`` blocks of whole groups. Parts near zero may come out negative. Two
    biases remain: with fewer rows than combinations of symbols and class, and where both sources
    carry the same information and one seems to carry more by chance, a bias that falls only as
    1 / sqrt(rows).

    Args:
        first: [rows] integers, the symbols of one source.
        second: [rows] integers, those of the other.
        target: [rows] integer classes.
        group: [rows] integers; rows of one group count as one draw. None: each row is a group.
        seed: of the division into blocks.

    Returns:
        the parts, and the standard error of each.

    Raises:
        UsageError: the lengths differ, or there are fewer than two groups.

    Example:
        >>> first = np.arange(400) % 2
        >>> second = np.random.default_rng(0).integers(2, size=400)  # says nothing about the class
        >>> parts, errors = estimate(first, second, target=first)
        >>> round(parts.redundancy + parts.first, 1)  # the bit that the first source carries
        1.0
    """
    group = np.arange(len(target)) if group is None else group
    lengths = [len(array) for array in (first, second, target, group)]
    if len(set(lengths)) > 1:
        raise UsageError("first, second, target, group", expected="one length", got=str(lengths))
    names, group = np.unique(group, return_inverse=True)
    num_blocks = min(NUM_BLOCKS, len(names))
    if num_blocks < 2:
        raise UsageError("group", expected="two groups or more", got=str(len(names)))
    block = (np.random.default_rng(seed).permutation(len(names)) % num_blocks)[group]
    codes = [np.unique(array, return_inverse=True)[1] for array in (first, second, target)]
    shape = tuple(code.max() + 1 for code in codes)
    cell = np.ravel_multi_index(codes, shape)
    parts = lambda rows: decompose(np.bincount(cell[rows], minlength=np.prod(shape)).reshape(shape))
    without = np.array([parts(block != b) for b in range(num_blocks)])
    whole = np.array(parts(block >= 0))
    corrected = num_blocks * whole - (num_blocks - 1) * without.mean(axis=0)
    errors = np.sqrt((num_blocks - 1) * without.var(axis=0))
    return Decomposition(*corrected.tolist()), Decomposition(*errors.tolist())


@one_thread
def discretise(values: np.ndarray, num: int, *, fit_on: np.ndarray, seed: int) -> np.ndarray:
    """Maps inputs or embeddings to symbols: the nearest of ``num`` k-means centres.

    This follows Liang et al. (arXiv:2302.12247). A symbol carries no more information about the
    class than the values (data processing inequality), so information can only be lost, and what
    one source loses can appear to be unique to the other.

    Args:
        values: [rows, ...], finite: only rows where the modality is present.
        num: number of symbols.
        fit_on: [other rows, ...] of the training split, to which the centres are fitted.
        seed: of the initial centres of k-means.

    Returns:
        [rows] integers from 0 to ``num - 1``.

    Example:
        >>> values = np.array([[0.0], [0.1], [9.0]])
        >>> a, b, c = discretise(values, 2, fit_on=values, seed=0)
        >>> bool(a == b), bool(a == c)
        (True, False)
    """
    flat = lambda array: np.asarray(array, np.float32).reshape(len(array), -1)
    with warnings.catch_warnings():
        # Fewer distinct rows than symbols leave some symbols unused, which is harmless.
        warnings.simplefilter("ignore", ConvergenceWarning)
        means = KMeans(num, n_init=10, random_state=seed).fit(flat(fit_on))
    return means.predict(flat(values))


def discretise_predictions(logits: np.ndarray, *, fit_on: np.ndarray) -> np.ndarray:
    """Maps predictions to symbols by clustering probabilities, with as many clusters as classes.

    The predicted class alone would not do: where a model rightly gives two classes equal
    probability, the predicted one is arbitrary, and the uncertainty is lost.

    Args:
        logits: [rows, classes], finite.
        fit_on: [other rows, classes], such as those of validation.

    Returns:
        [rows] integers from 0 to ``classes - 1``.

    Example:
        >>> logits = np.array([[9.0, 0.0], [8.0, 0.0], [0.0, 9.0]])
        >>> a, b, c = discretise_predictions(logits, fit_on=logits)
        >>> bool(a == b), bool(a == c)
        (True, False)
    """
    probabilities = lambda x: softmax(np.asarray(x, np.float64), axis=-1)
    num_classes = logits.shape[-1]
    return discretise(probabilities(logits), num_classes, fit_on=probabilities(fit_on), seed=0)
