"""A run that is asked to end."""

from __future__ import annotations

import os
import signal

import pytest

from models.run.signals import Asked, Interrupted, handled


def test_the_first_signal_is_noted_its_echo_ignored_and_a_later_one_obeyed():
    clock = iter([0.0, 0.5, 10.0])
    asked = Asked(clock=lambda: next(clock))
    with handled(asked):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked.number == signal.SIGTERM
        with pytest.raises(Interrupted, match="stopped by SIGINT") as ending:
            os.kill(os.getpid(), signal.SIGINT)
    assert ending.value.code == 130


def test_where_nothing_is_lost_the_first_is_obeyed_at_once_even_one_from_before():
    asked = Asked()
    with handled(asked), pytest.raises(Interrupted), asked.at_once():
        os.kill(os.getpid(), signal.SIGTERM)
    asked = Asked()
    with handled(asked):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted), asked.at_once():
            pytest.fail("it should not have begun")


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with handled(Asked()):
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
