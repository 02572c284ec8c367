"""`python -m roadloop_schemas snapshots|asyncapi`: write the published files anew, from the repository's root."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from roadloop_schemas.asyncapi import as_yaml, build_document
from roadloop_schemas.schema_snapshots import read_json_files, write_snapshots


def main(arguments: Sequence[str] | None = None) -> None:
    """Write what was asked for into the folder of the schemas."""
    parser = argparse.ArgumentParser(prog="python -m roadloop_schemas", description=__doc__)
    parser.add_argument("what", choices=("snapshots", "asyncapi"))
    parser.add_argument("--folder", type=Path, default=Path("schemas"), help="where the files lie (default: schemas)")
    options = parser.parse_args(arguments)
    if not (options.folder / "examples").is_dir():
        parser.error(f"{options.folder}/examples is not there: run this from the repository's root, or give --folder")
    if options.what == "snapshots":
        write_snapshots(options.folder / "snapshots")
    else:
        examples = read_json_files(options.folder / "examples")
        (options.folder / "asyncapi.yaml").write_text(as_yaml(build_document(examples)))


if __name__ == "__main__":
    main()
