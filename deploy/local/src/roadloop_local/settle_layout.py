"""Settle what a data folder is to have, at the first `up`: ports, secrets and names."""

import json
import secrets
from collections.abc import Iterable
from pathlib import Path

from roadloop_local.layout import Layout, read_layout
from roadloop_local.ports import choose_ports
from roadloop_local.private_files import write_private


def settle_layout(data: Path, port_names: Iterable[str], secret_names: Iterable[str]) -> Layout:
    """Return the layout of a data folder; choose what is missing and keep it in `stack.json` (mode 0600)."""
    data.mkdir(parents=True, exist_ok=True)
    exists = (data / "stack.json").exists()
    old_layout = read_layout(data) if exists else Layout(data, secrets.token_hex(8), {}, {})
    chosen_secrets = {name: old_layout.secrets.get(name) or secrets.token_hex(20) for name in secret_names}
    layout = Layout(
        data, old_layout.tag, choose_ports(port_names, old_layout.ports), {**old_layout.secrets, **chosen_secrets}
    )
    if layout != old_layout or not exists:
        settled = {"tag": layout.tag, "ports": layout.ports, "secrets": layout.secrets}
        write_private(data / "stack.json", json.dumps(settled, indent=2) + "\n")
    return layout
