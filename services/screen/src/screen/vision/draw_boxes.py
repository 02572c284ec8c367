"""A picture with its detections drawn in."""

import zlib
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from roadloop_schemas.fields import Detection
from screen.vision.detections import Box

SHOWN_FROM = 0.3
COLOURS = (  # BGR, far from each other and from roads and skies
    *((60, 220, 255), (255, 120, 60), (90, 235, 90), (200, 80, 255), (60, 60, 240), (255, 230, 70), (40, 150, 255)),
    *((220, 170, 250), (120, 255, 200), (150, 110, 20), (30, 180, 120), (110, 40, 150)),
)
FONT = cv2.FONT_HERSHEY_SIMPLEX
Image = NDArray[np.uint8]  # [H, W, 3], BGR


def draw_boxes(picture: bytes, boxes: Sequence[Detection], width: int = 512) -> bytes:
    """Return a picture of that width in pixels with its detections from a score of 0.3 drawn in, as JPEG.

    What is no picture comes back as it is.
    """
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return picture
    height = round(image.shape[0] * width / image.shape[1])
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if image.shape[1] > width else 2)
    draw_on(image, boxes)
    return encode_image(image, ".jpg")


def encode_image(image: Image, suffix: str) -> bytes:
    """Return an image as a file of that kind, .jpg or .png."""
    content: bytes = cv2.imencode(suffix, image)[1].tobytes()
    return content


def draw_on(image: Image, boxes: Sequence[Detection | Box], shown_from: float = SHOWN_FROM) -> None:
    """Draw boxes with class and score into an image, the surest on top; lines and letters grow with the image."""
    unit = max(1.0, min(image.shape[:2]) / 500)
    for box in sorted((b for b in boxes if b.score >= shown_from), key=lambda b: b.score):
        colour = COLOURS[zlib.crc32(box.class_name.encode()) % len(COLOURS)]
        _draw(image, box, colour, unit)


def _draw(image: Image, box: Detection | Box, colour: tuple[int, int, int], unit: float) -> None:
    height, width = image.shape[:2]
    left, top, right, bottom = (
        round(edge * side) for edge, side in ((box.x1, width), (box.y1, height), (box.x2, width), (box.y2, height))
    )
    cv2.rectangle(image, (left, top), (right, bottom), colour, round(2 * unit))
    text, thick = f"{box.class_name} {box.score:.2f}", max(1, round(unit))
    (wide, tall), below = cv2.getTextSize(text, FONT, 0.45 * unit, thick)
    left = max(0, min(left, width - wide))
    foot = max(tall + below, min(top, height))  # above the box, or inside where there is no room
    cv2.rectangle(image, (left, foot - tall - below), (left + wide, foot), colour, cv2.FILLED)
    text_colour = (0, 0, 0) if sum(colour) > 330 else (255, 255, 255)
    cv2.putText(image, text, (left, foot - below // 2 - 1), FONT, 0.45 * unit, text_colour, thick, cv2.LINE_AA)
