"""Run the process: `python -m screen.view`."""

import sys
from functools import partial

from roadloop_runtime.loop.identity import make_identity
from roadloop_runtime.service import lifecycle, logs
from screen.view.view import ViewSettings, main

if __name__ == "__main__":
    settings = ViewSettings.read()
    logs.configure("screen-view", settings.log_level)
    sys.exit(lifecycle.run(partial(main, settings, make_identity(settings.member))))
