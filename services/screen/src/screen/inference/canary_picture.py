"""A real picture to ask a model server with: its health endpoints lie when a python stub is dead."""

import base64

# 16 x 16 grey pixels as PNG
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAANElEQVQoFZXBAQEAAAABIJ433QZV5FHkUeRR5FHkUeRR5FHkUeRR5FHkUeRR5FHkUeRR5DH7UhgRpIrbBwAAAABJRU5ErkJggg=="
)
