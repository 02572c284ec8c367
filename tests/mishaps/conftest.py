"""The copy service, to which mishaps happen."""

from tests.integration.loop.conftest import copying

__all__ = ["copying"]
