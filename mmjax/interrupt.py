"""Signals that ask the process to end, kept until a good moment."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_signals() -> Iterator[Callable[[], int | None]]:
    """Inside it, the first SIGINT or SIGTERM is only noted; a second one acts at once.

    Only the main thread can hold signals; elsewhere nothing changes.

    Yields:
        a function that says which signal has come, or None.
    """
    came: list[int] = []

    def note(number, frame):
        came.append(number)
        restore()

    def restore():
        for number, handler in before.items():
            signal.signal(number, handler)

    try:
        before = {number: signal.signal(number, note) for number in SIGNALS}
    except ValueError:  # not in the main thread
        before = {}
    try:
        yield lambda: came[0] if came else None
    finally:
        restore()
