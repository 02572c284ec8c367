"""A picture with its detections drawn in."""

from collections.abc import Sequence

import cv2
import numpy as np

from roadloop_schemas.fields import Detection

SHOWN_FROM = 0.3
COLOUR = (60, 220, 255)  # BGR


def draw_boxes(picture: bytes, boxes: Sequence[Detection], width: int = 512) -> bytes:
    """Return a picture of that width in pixels with its detections from a score of 0.3 drawn in, as JPEG.

    What is no picture comes back as it is.
    """
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return picture
    height = round(image.shape[0] * width / image.shape[1])
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if image.shape[1] > width else 2)
    for box in (b for b in boxes if b.score >= SHOWN_FROM):
        corner = (round(box.x1 * width), round(box.y1 * height))
        cv2.rectangle(image, corner, (round(box.x2 * width), round(box.y2 * height)), COLOUR, 2)
        text = f"{box.class_name} {box.score:.2f}"
        cv2.putText(image, text, (corner[0], max(12, corner[1] - 4)), cv2.FONT_HERSHEY_SIMPLEX, 0.45, COLOUR, 1)
    return cv2.imencode(".jpg", image)[1].tobytes()
