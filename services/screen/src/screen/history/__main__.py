"""Run the process: `python -m screen.history`."""

import sys
from functools import partial

from roadloop_runtime.loop.identity import make_identity
from roadloop_runtime.service import lifecycle, logs
from screen.history.sink import HistorySettings, main

if __name__ == "__main__":
    settings = HistorySettings.read()
    logs.configure("screen-history", settings.log_level)
    sys.exit(lifecycle.run(partial(main, settings, make_identity(settings.member))))
