"""The settings of label-router."""

from pydantic import Field

from roadloop_runtime.service.settings import DatabaseSettings


class Settings(DatabaseSettings):
    """Read once, in `__main__.py`."""

    http_port: int = Field(ge=1, le=65535)
    http_host: str = "127.0.0.1"
    public_s3_endpoint: str = Field(default="", description="Where annotators reach S3, if not where this does.")
    lease_s: float = Field(default=600, ge=1, le=86_400)
