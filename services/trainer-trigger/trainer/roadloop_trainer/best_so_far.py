"""Remember the weights that did best on held-out frames, and for how long nothing did better."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class BestSoFar:
    """The smallest loss on the held-out frames, the step it was measured after, and the state of the network then.

    A loss that is no number is no gain.
    """

    loss: float = math.inf
    step: int = 0
    state: Any = None
    without_gain: int = 0  # evaluations since

    def take_loss(self, step: int, loss: float, state: Any) -> None:
        """Take note of an evaluation."""
        if loss < self.loss:
            self.loss, self.step, self.state, self.without_gain = loss, step, state, 0
        else:
            self.without_gain += 1
