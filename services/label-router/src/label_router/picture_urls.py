"""The links by which annotators see a picture: each ends by itself."""

from datetime import timedelta

from roadloop_runtime.storage.objects import ObjectStore
from roadloop_schemas.fields import ObjectRef

URL_LIFETIME = timedelta(minutes=15)


def sign_picture_url(store: ObjectStore, picture: ObjectRef) -> str:
    """Return a link to a picture."""
    return store.presign_get(picture.bucket, picture.key, URL_LIFETIME)
