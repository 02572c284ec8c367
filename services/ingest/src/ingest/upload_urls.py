"""The addresses that vehicles put their pictures to: one per file, and it ends by itself."""

from datetime import timedelta
from typing import Any

from ingest.manifest import Manifest, name_object
from ingest.vehicle_table import Vehicle
from roadloop_runtime.storage.objects import ObjectStore

URL_LIFETIME = timedelta(minutes=30)


def sign_upload_urls(store: ObjectStore, bucket: str, manifest: Manifest, caller: Vehicle) -> list[dict[str, Any]]:
    """Return where each file of a manifest belongs, and an address to put it to."""
    keys = [
        name_object(caller.tenant, caller.vehicle, manifest.upload_id, number, file)
        for number, file in enumerate(manifest.files)
    ]
    return [
        {"number": number, "uri": f"s3://{bucket}/{key}", "put_url": store.presign_put(bucket, key, URL_LIFETIME)}
        for number, key in enumerate(keys)
    ]
