"""The process that services are forked from: started first, since what it imports takes longest of all that `sauro up` does."""

import os
import sys
from multiprocessing import forkserver, get_context

CONTEXT = get_context("forkserver")


def warm_up() -> None:
    """Let a process of its own import all that services need, while the caller does something else; harmless if it does so."""
    CONTEXT.set_forkserver_preload(["services.cli.warm"])
    # It is to find the modules that this process has, whatever lies in the current folder.
    ours = {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    before = dict(os.environ)
    os.environ.update(ours)
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
