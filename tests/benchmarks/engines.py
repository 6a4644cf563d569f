"""`python -m tests.benchmarks.engines --addresses FILE`: PostgreSQL and NATS alone, initdb included, until interrupted."""

import signal
import sys
from pathlib import Path

from services.engines import EmbeddedEngines

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    with EmbeddedEngines():
        made = Path(sys.argv[2]).with_suffix(".new")
        made.write_text("{}")
        made.rename(sys.argv[2])
        signal.pause()
