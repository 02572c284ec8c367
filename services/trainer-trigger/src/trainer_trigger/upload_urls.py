"""The addresses that researchers put sets and models to: each ends by itself."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from roadloop_runtime.storage.objects import ObjectStore

URL_LIFETIME = timedelta(minutes=15)


def sign_upload_url(store: ObjectStore, bucket: str, tenant: str, *, sha256: str, name: str) -> Mapping[str, Any]:
    """Return where a file of a tenant belongs, and an address to put it to."""
    key = f"{tenant}/uploaded/{sha256}/{name}"
    url = store.presign_put(bucket, key, URL_LIFETIME)
    return {"put": url, "uri": f"s3://{bucket}/{key}", "expires_in_s": URL_LIFETIME.total_seconds()}
