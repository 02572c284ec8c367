"""Run the process: `python -m screen.rollout`."""

import sys
from functools import partial

from roadloop_runtime.loop.identity import make_identity
from roadloop_runtime.service import lifecycle, logs
from screen.rollout.rollout import main
from screen.rollout.settings import RolloutSettings

if __name__ == "__main__":
    settings = RolloutSettings.read()
    logs.configure("screen-rollout", settings.log_level)
    sys.exit(lifecycle.run(partial(main, settings, make_identity(settings.member))))
