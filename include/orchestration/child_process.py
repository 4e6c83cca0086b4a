"""Programs that must not outlive the process that started them."""

import signal
import sys


def end_with_parent(stop_signal: signal.Signals = signal.SIGTERM, *options: str) -> list[str]:
    """Return the start of a command that gets a signal when the thread that started it ends, even where that was killed outright.

    `setpriv` with further `options` of its own on Linux, nothing elsewhere. Not `preexec_fn`: a fork that runs Python hangs where
    a client of HDFS was used before, whose threads it lacks.
    """
    name = stop_signal.name.removeprefix("SIG")
    return ["setpriv", "--pdeathsig", name, *options, "--"] if sys.platform == "linux" else []
