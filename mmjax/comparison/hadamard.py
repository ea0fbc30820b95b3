"""Hadamard matrices, of which two-level designs are made."""

import numpy as np


def hadamard(size: int) -> np.ndarray | None:
    """A matrix of 1 and -1 with orthogonal columns, the first constant; None if none is known here.

    Its other columns are a two-level design for as many factors (Plackett and Burman, Biometrika
    33, 1946). It is built by Sylvester's doubling and Paley's two constructions (Journal of
    Mathematics and Physics 12, 1933) from quadratic residues of a prime, which together give every
    multiple of 4 up to 112 but 52, 92 and 100.

    Example:
        >>> matrix = hadamard(12)
        >>> bool((matrix.T @ matrix == 12 * np.eye(12)).all())
        True
    """
    if size in (1, 2):
        return np.array([[1, 1], [1, -1]])[:size, :size]
    if size % 4:
        return None
    if _is_prime(size - 1):
        found = _paley(size - 1)
    elif (half := hadamard(size // 2)) is not None:
        found = np.block([[half, half], [half, -half]])
    elif _is_prime(size // 2 - 1):
        found = _paley_two(size // 2 - 1)
    else:
        return None
    return found * found[:, :1]


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % k for k in range(2, int(number**0.5) + 1))


def _residues(prime: int) -> np.ndarray:
    """The quadratic character of the differences of all pairs modulo a prime."""
    squares = {k * k % prime for k in range(1, prime)}
    character = np.array([0, *(1 if k in squares else -1 for k in range(1, prime))])
    index = np.arange(prime)
    return character[(index[:, None] - index) % prime]


def _paley(prime: int) -> np.ndarray:
    skew = np.zeros((prime + 1, prime + 1), int)
    skew[0, 1:], skew[1:, 0] = 1, -1
    skew[1:, 1:] = _residues(prime)
    return skew + np.eye(prime + 1, dtype=int)


def _paley_two(prime: int) -> np.ndarray:
    core = np.ones((prime + 1, prime + 1), int)
    core[0, 0], core[1:, 1:] = 0, _residues(prime)
    plus, on = np.array([[1, 1], [1, -1]]), np.array([[1, -1], [-1, -1]])
    return np.kron(core, plus) + np.kron(np.eye(prime + 1, dtype=int), on)
