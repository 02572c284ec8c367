"""What tries a detector in tests and at the command line is what serves it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[4]


def test_both_environments_have_the_same_onnxruntime() -> None:
    locks = (ROOT / "requirements.lock", ROOT / "deploy/local/triton/requirements.lock")
    versions = [re.findall(r"^onnxruntime==(\S+)", lock.read_text(), re.MULTILINE) for lock in locks]
    assert versions[0] == versions[1]
    assert len(versions[0]) == 1
