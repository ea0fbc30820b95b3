"""Signals that ask the process to end, kept until a good moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmjax.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def raised_signals() -> Iterator[None]:
    """Inside it, the first SIGTERM raises Interrupted, as SIGINT raises KeyboardInterrupt.

    Only the main thread can have it so; elsewhere nothing changes.
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
    """Inside it, the first SIGINT or SIGTERM waits for the next progress; a second acts at once.

    Only the main thread can hold signals; elsewhere nothing changes.

    Args:
        progress: called with a number of steps.

    Yields:
        progress that raises Interrupted once a signal has come. What keeps checkpoints saves them
        then; what keeps none, such as a search, begins again when the run is resumed.
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
