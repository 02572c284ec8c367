"""Keep a network's weights in one .npz file, readable with numpy alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

from roadloop_trainer.dataset import BadDatasetError

_DESCRIPTION = "description"


@dataclass(frozen=True, slots=True)
class Description:
    """What a checkpoint's weights are for."""

    architecture: str
    classes: list[str]


def save(path: Path, network: nnx.Module, description: Description) -> None:
    """Write all weights and running means."""
    weights = {"/".join(map(str, key)): np.asarray(value) for key, value in flatten_dict(_list_arrays(network)).items()}
    description_text = json.dumps({"architecture": description.architecture, "classes": description.classes})
    np.savez(path, **weights, **{_DESCRIPTION: np.array(description_text)})


def describe(path: Path) -> Description:
    """Say which network a checkpoint belongs to."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            fields = json.loads(str(stored[_DESCRIPTION]))
    except (OSError, ValueError, KeyError) as error:
        raise BadDatasetError(f"{path}: is no checkpoint ({error}); give a checkpoint.npz or none") from error
    return Description(fields["architecture"], fields["classes"])


def restore(path: Path, network: nnx.Module) -> None:
    """Put a checkpoint's weights into a network of the same architecture and classes."""
    with np.load(path, allow_pickle=False) as stored:
        flat = {_split_key(name): stored[name] for name in stored.files if name != _DESCRIPTION}
    state = nnx.state(network, nnx.Any(nnx.Param, nnx.BatchStat))
    nnx.replace_by_pure_dict(state, unflatten_dict(flat))
    nnx.update(network, state)


def _list_arrays(network: nnx.Module) -> dict[str, Any]:
    return nnx.to_pure_dict(nnx.state(network, nnx.Any(nnx.Param, nnx.BatchStat)))


def _split_key(name: str) -> tuple[str | int, ...]:
    return tuple(int(part) if part.isdigit() else part for part in name.split("/"))
