"""Imported by the process that the processes of `sauro up` are forked from: all that services need, and nothing done with it.

Not the command's own module: `multiprocessing` runs it in each process, under a name of its own.
"""

import gc
import os
import signal
from importlib import import_module

WARM = ("services.app", "services.api.app", "services.api.server", "services.cli.processes", "services.cli.running")

if os.getpid() != os.getpgrp():
    os.setsid()  # who ends `sauro up` through the terminal or its group does not end this one: it ends when that does
signal.signal(signal.SIGTERM, signal.SIG_IGN)
gc.disable()  # of what is imported nothing is thrown away
for _module in WARM:
    import_module(_module)
gc.collect()
gc.enable()
gc.freeze()  # a collection in a forked process would write to the pages it shares with the others
