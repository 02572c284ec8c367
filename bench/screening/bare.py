"""The same model server saturated by a client that does nothing else. Run as `python -m screening.bare JOB`.

Its pictures are in memory and made into inputs before the clock starts. Per frame, or so many of them, it asks the
models that a worker asks, both at once, for the outputs that a worker reads; it looks at nothing of the answer.
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from tritonclient.grpc.aio import InferenceServerClient, InferInput, InferRequestedOutput

WARM_UP_S = 2.0


@dataclass(frozen=True)
class Job:
    """Ask `models` about the pictures in `folder` for some seconds: `in_flight` at once, `together` in a request."""

    address: str
    models: Sequence[str]
    outputs: Sequence[str]
    folder: str
    in_flight: int
    together: int
    seconds: float


def load_inputs(folder: str, together: int) -> list[InferInput]:
    """Return a folder's pictures as the server's inputs, so many in each; the shorter ones have zeros behind them."""
    pictures = [np.fromfile(file, np.uint8) for file in sorted(Path(folder).glob("*.jpg"))]
    inputs = []
    for start in range(0, len(pictures) - together + 1, together):
        group = pictures[start : start + together]
        rows = np.zeros((together, max(map(len, group))), np.uint8)
        for row, picture in zip(rows, group, strict=True):
            row[: len(picture)] = picture
        inputs.append(InferInput("IMAGE", rows.shape, "UINT8").set_data_from_numpy(rows))
    return inputs


async def saturate(job: Job) -> dict[str, float]:
    """Return how many frames a second were answered after the warm-up."""
    client = InferenceServerClient(job.address)
    pictures, outputs = (
        cycle(load_inputs(job.folder, job.together)),
        [InferRequestedOutput(name) for name in job.outputs],
    )
    began = time.monotonic() + WARM_UP_S
    ends = began + job.seconds
    answered = 0

    async def ask_on() -> None:
        nonlocal answered
        while time.monotonic() < ends:
            picture = next(pictures)
            await asyncio.gather(*[client.infer(name, [picture], outputs=outputs) for name in job.models])
            answered += job.together * (began <= time.monotonic() < ends)

    await asyncio.gather(*[ask_on() for _ in range(job.in_flight // job.together)])
    await client.close()
    return {"frames": answered, "seconds": job.seconds, "frames_per_s": answered / job.seconds}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(saturate(Job(**json.loads(sys.argv[1]))))))
