"""Settings of trainer-trigger."""

from pathlib import Path

from pydantic import DirectoryPath, Field, FilePath

from roadloop_runtime.service.settings import DatabaseSettings


class Settings(DatabaseSettings):
    """Read once, in `__main__.py`."""

    http_port: int = Field(ge=1, le=65535)
    http_host: str = "127.0.0.1"
    state_dir: Path = Field(description="Cache of pictures and data sets, and the work folders of runs.")
    trainer_python: FilePath = Field(description="The Python that has the trainer's packages.")
    trainer_path: DirectoryPath = Field(description="The folder with the package roadloop_trainer.")
    trainer_environment: dict[str, str] = Field(default={}, description="Variables the trainer gets, as JSON.")
    uploads_bucket: str = "uploads"
    datasets_bucket: str = "datasets"
    models_bucket: str = "models"
