"""Where the published files lie, and what they hold."""

from pathlib import Path
from typing import Any

import jsonschema

from roadloop_schemas.schema_snapshots import read_json_files

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "schemas"
SNAPSHOTS: dict[str, Any] = read_json_files(SCHEMAS / "snapshots")
EXAMPLES: dict[str, Any] = read_json_files(SCHEMAS / "examples")


def valid(instance: Any, schema: Any) -> None:
    """Raise unless the schema, read as its own dialect, takes the instance; formats count too."""
    dialect = jsonschema.validators.validator_for(schema)
    dialect.check_schema(schema)
    dialect(schema, format_checker=dialect.FORMAT_CHECKER).validate(instance)
