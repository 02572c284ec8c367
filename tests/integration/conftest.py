"""The copy service, for every integration test that needs a consumer group with a life of its own."""

from .loop.conftest import copying

__all__ = ["copying"]
