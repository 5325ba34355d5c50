"""A run that is asked to end."""

from __future__ import annotations

import os
import signal

import pytest

from models.run.signals import Interrupted, StopRequest, handle_signals


def test_the_first_signal_is_noted_its_echo_ignored_and_a_later_one_obeyed():
    clock = iter([0.0, 0.5, 10.0])
    asked = StopRequest(clock=lambda: next(clock))
    with handle_signals(asked):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.signal == signal.SIGTERM
        with pytest.raises(Interrupted, match="stopped by SIGINT") as ending:
            os.kill(os.getpid(), signal.SIGINT)
    assert ending.value.code == 130


def test_where_nothing_is_lost_the_first_is_obeyed_at_once_even_one_from_before():
    asked = StopRequest()
    with handle_signals(asked), pytest.raises(Interrupted), asked.immediate():
        os.kill(os.getpid(), signal.SIGTERM)
    asked = StopRequest()
    with handle_signals(asked):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), asked.immediate():
            pytest.fail("it should not have begun")


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with handle_signals(StopRequest()):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
