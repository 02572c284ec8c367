"""What the model server's client makes of an answer."""

import numpy as np
import pytest

from screen.embedding import unpack
from screen.look import RefusedByModel
from screen.triton import packed


def test_an_embedding_that_no_verdict_can_carry_is_refused_with_what_to_do() -> None:
    assert len(unpack(packed(np.ones(6_144, np.float32)))) == 6_144
    with pytest.raises(RefusedByModel, match="6145 numbers, and 6144 are taken: export its mean over the picture"):
        packed(np.ones(6_145, np.float32))
