"""Children of a test, which can be killed."""

import os
import signal


def in_child(function):
    """Run a function in a child of this process; the child's number."""
    if child := os.fork():
        return child
    try:
        function()
    except BaseException:
        os._exit(1)
    os._exit(0)


def ended(child):
    """The exit status of a child; negative if a signal ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die(*_):
    """What a process does that is killed: nothing more."""
    os.kill(os.getpid(), signal.SIGKILL)
