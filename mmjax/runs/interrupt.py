"""Termination signals, deferred until training can save its state."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmjax.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def raised_signals() -> Iterator[None]:
    """Context manager in which the first SIGTERM raises Interrupted.

    Only the main thread can handle signals; in other threads it does nothing.
    """

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        raise Interrupted(number)

    try:
        before = signal.signal(signal.SIGTERM, end)
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def held_signals(progress: Callable[[int], None]) -> Iterator[Callable[[int], None]]:
    """Context manager that defers the first SIGINT or SIGTERM; a second acts at once.

    Only the main thread can handle signals; in other threads it does nothing.

    Args:
        progress: called with a number of steps.

    Yields:
        a wrapper of ``progress`` that raises Interrupted after a signal. Training saves a
        checkpoint then; what has none, such as a search, restarts when the run is resumed.
    """
    came: list[int] = []

    def note(number, frame):
        came.append(number)
        restore()

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    def heed(steps: int) -> None:
        progress(steps)
        if came:
            raise Interrupted(came[0])

    try:
        before = {number: signal.signal(number, note) for number in SIGNALS}
    except ValueError:  # not in the main thread
        before = {}
    try:
        yield heed
    finally:
        restore()
