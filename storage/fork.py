"""Forks: what a process may not share with a child that it forks is made anew in the child.

A child has none of its parent's threads and a copy of everything else: of locks that were held, and of event loops and
connections that the parent goes on using. Whatever has such a thing is `Forked` and `watch`ed, wherever it stands.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from typing import Any

PATIENCE = 5.0
"""Seconds for which a fork waits for each thing that is in use. What is in use for longer is lost to the child."""

_lock = threading.RLock()
_watched: list[weakref.ref[Forked]] = []
_held: list[Forked] = []


class Forked:
    """Something of which a forked child needs its own."""

    def hold(self) -> None:
        """In the parent, before: come to a rest, within `PATIENCE`."""

    def go_on(self) -> None:
        """In the parent, after the fork."""

    def renew(self) -> None:
        """In the child, where no other thread runs yet: make anew what it has, or let it be made when it is needed."""


def watch(thing: Forked) -> None:
    """Has a thing told of every fork, for as long as it lives. What is watched later comes to rest earlier."""
    _watched.append(weakref.ref(thing, _watched.remove))


def abandon(thing: Any) -> None:
    """Keeps what belongs to the parent from ever being destroyed in this child, even at its end.

    Closing it would reach into the parent: an event loop takes its sockets off the selector that both share, SQLite
    its locks off the file, TLS says goodbye in the name of both.
    """
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _known() -> list[Forked]:
    return [thing for one in tuple(_watched) if (thing := one()) is not None]


def _before() -> None:
    _lock.acquire()  # two threads that fork at once would wait for what the other holds
    for thing in reversed(_known()):
        _held.append(thing)
        thing.hold()


def _in_parent() -> None:
    while _held:
        _held.pop().go_on()
    _lock.release()


def _in_child() -> None:
    global _lock
    _lock = threading.RLock()
    _held.clear()
    for thing in _known():
        thing.renew()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
