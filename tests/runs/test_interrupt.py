"""Signals wait for a good moment."""

import os
import signal
import threading

import pytest

from mmjax.errors import Interrupted
from mmjax.runs.interrupt import held_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_waits_for_progress(number):
    told, before = [], signal.getsignal(number)
    with held_signals(told.append) as progress:
        progress(1)
        os.kill(os.getpid(), number)
        told.append("goes on")
        with pytest.raises(Interrupted) as stop:
            progress(2)
    assert stop.value.signal == number
    assert told == [1, "goes on", 2]
    assert signal.getsignal(number) is before


def test_the_second_acts_at_once():
    with held_signals(lambda steps: None):
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_elsewhere_than_in_the_main_thread_nothing_changes():
    told = []

    def work():
        with held_signals(told.append) as progress:
            progress(3)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [3]
