"""Run the process: `python -m screen.learn`."""

import sys
from functools import partial

from roadloop_runtime.loop.identity import make_identity
from roadloop_runtime.service import lifecycle, logs
from roadloop_runtime.service.settings import ServiceSettings
from screen.learn.learner import main

if __name__ == "__main__":
    settings = ServiceSettings.read()
    logs.configure("screen-learn", settings.log_level)
    sys.exit(lifecycle.run(partial(main, settings, make_identity(settings.member))))
