"""Settings of ingest."""

from pydantic import Field, SecretStr

from roadloop_runtime.service.settings import DatabaseSettings


class Settings(DatabaseSettings):
    """Read once, in `__main__.py`."""

    http_port: int = Field(ge=1, le=65535)
    http_host: str = "127.0.0.1"
    signing_key: SecretStr = Field(min_length=32)
    bucket: str = "uploads"
    max_file_bytes: int = Field(default=20 * 1024 * 1024, gt=0)
    abandon_after_s: float = Field(default=86_400, gt=0, description="An upload not completed by then is abandoned.")
    public_s3_endpoint: str = Field(default="", description="Where vehicles reach S3, if not where ingest does.")
