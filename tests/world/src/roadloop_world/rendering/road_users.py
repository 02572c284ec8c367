"""Draw one road user of each class, from behind, from the front or from the side."""

from collections.abc import Callable

from roadloop_world.rendering.scenes import RoadUser, View
from roadloop_world.rendering.shapes import Colour, Spot, bar, disc, polygon, ring, shade, stroke

TYRE: Colour = (24, 24, 26)
HUB: Colour = (150, 150, 155)
GLASS: Colour = (96, 128, 150)
SKIN: Colour = (214, 170, 140)
TAIL: Colour = (205, 30, 28)
LAMP: Colour = (250, 246, 220)

Draw = Callable[[Spot, RoadUser], None]


def draw(spot: Spot, user: RoadUser) -> None:
    """Draw `user` so that it fills the spot."""
    _DRAWINGS[user.class_name, user.view == View.SIDE](spot, user)


def _draw_wheel(spot: Spot, x: float, radius: float) -> None:
    disc(spot, (x, 1.0 - radius), radius, TYRE)
    disc(spot, (x, 1.0 - radius), radius * 0.5, HUB)


def _draw_end_lights(spot: Spot, user: RoadUser, y: float) -> None:
    colour = LAMP if user.view == View.FRONT else TAIL
    bar(spot, (0.05, y, 0.23, y + 0.11), colour)
    bar(spot, (0.77, y, 0.95, y + 0.11), colour)


def _draw_car_side(spot: Spot, user: RoadUser) -> None:
    body = user.paint
    polygon(spot, ((0.18, 0.48), (0.32, 0.0), (0.70, 0.0), (0.86, 0.48)), shade(body, 0.85))
    polygon(spot, ((0.24, 0.44), (0.35, 0.08), (0.49, 0.08), (0.49, 0.44)), GLASS)
    polygon(spot, ((0.53, 0.44), (0.53, 0.08), (0.67, 0.08), (0.78, 0.44)), GLASS)
    polygon(spot, ((0.0, 0.52), (0.06, 0.40), (0.94, 0.42), (1.0, 0.56), (1.0, 0.86), (0.0, 0.86)), body)
    bar(spot, (0.0, 0.52, 0.04, 0.64), TAIL)
    bar(spot, (0.95, 0.55, 1.0, 0.66), LAMP)
    _draw_wheel(spot, 0.22, 0.19)
    _draw_wheel(spot, 0.78, 0.19)


def _draw_car_end(spot: Spot, user: RoadUser) -> None:
    body = user.paint
    bar(spot, (0.06, 0.80, 0.26, 1.0), TYRE)
    bar(spot, (0.74, 0.80, 0.94, 1.0), TYRE)
    polygon(spot, ((0.08, 0.46), (0.22, 0.0), (0.78, 0.0), (0.92, 0.46)), shade(body, 0.85))
    polygon(spot, ((0.17, 0.42), (0.27, 0.09), (0.73, 0.09), (0.83, 0.42)), GLASS)
    polygon(spot, ((0.0, 0.50), (0.08, 0.42), (0.92, 0.42), (1.0, 0.50), (1.0, 0.88), (0.0, 0.88)), body)
    _draw_end_lights(spot, user, 0.52)
    bar(spot, (0.36, 0.66, 0.64, 0.78), (235, 235, 230))


def _draw_truck_side(spot: Spot, user: RoadUser) -> None:
    bar(spot, (0.0, 0.74, 1.0, 0.84), (50, 50, 52))
    bar(spot, (0.0, 0.0, 0.70, 0.76), user.accent)
    bar(spot, (0.0, 0.10, 0.70, 0.16), shade(user.accent, 0.7))
    polygon(spot, ((0.73, 0.20), (0.92, 0.20), (1.0, 0.48), (1.0, 0.82), (0.73, 0.82)), user.paint)
    polygon(spot, ((0.80, 0.26), (0.91, 0.26), (0.97, 0.48), (0.80, 0.48)), GLASS)
    for x in (0.14, 0.30, 0.86):
        _draw_wheel(spot, x, 0.13)


def _draw_truck_end(spot: Spot, user: RoadUser) -> None:
    bar(spot, (0.08, 0.84, 0.28, 1.0), TYRE)
    bar(spot, (0.72, 0.84, 0.92, 1.0), TYRE)
    bar(spot, (0.0, 0.0, 1.0, 0.82), user.accent)
    bar(spot, (0.04, 0.03, 0.48, 0.78), shade(user.accent, 0.82))
    bar(spot, (0.52, 0.03, 0.96, 0.78), shade(user.accent, 0.82))
    if user.view == View.FRONT:
        bar(spot, (0.0, 0.28, 1.0, 0.90), user.paint)
        bar(spot, (0.10, 0.33, 0.90, 0.56), GLASS)
    bar(spot, (0.0, 0.80, 1.0, 0.91), (45, 45, 48))
    _draw_end_lights(spot, user, 0.80)


def _draw_bus_side(spot: Spot, user: RoadUser) -> None:
    bar(spot, (0.0, 0.0, 1.0, 0.88), user.paint)
    bar(spot, (0.0, 0.58, 1.0, 0.68), user.accent)
    for index in range(6):
        x = 0.04 + index * 0.155
        bar(spot, (x, 0.14, x + 0.12, 0.50), GLASS)
    bar(spot, (0.62, 0.14, 0.74, 0.86), shade(GLASS, 0.7))
    _draw_wheel(spot, 0.20, 0.14)
    _draw_wheel(spot, 0.82, 0.14)


def _draw_bus_end(spot: Spot, user: RoadUser) -> None:
    bar(spot, (0.08, 0.86, 0.26, 1.0), TYRE)
    bar(spot, (0.74, 0.86, 0.92, 1.0), TYRE)
    bar(spot, (0.0, 0.0, 1.0, 0.92), user.paint)
    bar(spot, (0.18, 0.03, 0.82, 0.12), (250, 190, 60))
    bar(spot, (0.07, 0.16, 0.93, 0.56), GLASS)
    bar(spot, (0.0, 0.62, 1.0, 0.70), user.accent)
    _draw_end_lights(spot, user, 0.74)


def _draw_rider(spot: Spot, coat: Colour, hat: Colour) -> None:
    polygon(spot, ((0.36, 0.24), (0.54, 0.20), (0.58, 0.52), (0.36, 0.56)), coat)
    stroke(spot, ((0.50, 0.28), (0.72, 0.42)), coat, 0.06)
    stroke(spot, ((0.44, 0.54), (0.54, 0.80)), (50, 52, 70), 0.07)
    disc(spot, (0.50, 0.10), 0.10, SKIN)
    polygon(spot, ((0.36, 0.10), (0.40, 0.0), (0.60, 0.0), (0.64, 0.10)), hat)


def _draw_rider_end(spot: Spot, coat: Colour, hat: Colour) -> None:
    polygon(spot, ((0.22, 0.22), (0.78, 0.22), (0.88, 0.56), (0.12, 0.56)), coat)
    disc(spot, (0.5, 0.10), 0.10, SKIN)
    polygon(spot, ((0.24, 0.10), (0.34, 0.0), (0.66, 0.0), (0.76, 0.10)), hat)


def _draw_bicycle_side(spot: Spot, user: RoadUser) -> None:
    ring(spot, (0.21, 0.77), 0.23, TYRE)
    ring(spot, (0.79, 0.77), 0.23, TYRE)
    for line in (((0.21, 0.77), (0.42, 0.54)), ((0.42, 0.54), (0.72, 0.50)), ((0.72, 0.50), (0.79, 0.77))):
        stroke(spot, line, user.accent, 0.04)
    stroke(spot, ((0.21, 0.77), (0.72, 0.50)), user.accent, 0.04)
    _draw_rider(spot, user.paint, shade(SKIN, 0.35))


def _draw_bicycle_end(spot: Spot, user: RoadUser) -> None:
    bar(spot, (0.40, 0.58, 0.60, 1.0), TYRE)
    stroke(spot, ((0.0, 0.46), (1.0, 0.46)), user.accent, 0.04)
    _draw_rider_end(spot, user.paint, shade(SKIN, 0.35))


def _draw_ebike_side(spot: Spot, user: RoadUser) -> None:
    _draw_rider(spot, user.paint, (245, 245, 240))
    polygon(spot, ((0.06, 0.52), (0.46, 0.54), (0.60, 0.76), (0.60, 0.88), (0.10, 0.88)), user.accent)
    polygon(spot, ((0.66, 0.40), (0.80, 0.40), (0.90, 0.84), (0.56, 0.88)), user.accent)
    bar(spot, (0.0, 0.34, 0.28, 0.54), (240, 200, 40))
    _draw_wheel(spot, 0.18, 0.16)
    _draw_wheel(spot, 0.84, 0.16)


def _draw_ebike_end(spot: Spot, user: RoadUser) -> None:
    bar(spot, (0.36, 0.66, 0.64, 1.0), TYRE)
    _draw_rider_end(spot, user.paint, (245, 245, 240))
    polygon(spot, ((0.12, 0.48), (0.88, 0.48), (0.76, 0.86), (0.24, 0.86)), user.accent)
    stroke(spot, ((0.0, 0.44), (1.0, 0.44)), TYRE, 0.05)
    disc(spot, (0.5, 0.62), 0.07, LAMP if user.view == View.FRONT else TAIL)


def _draw_tricycle_side(spot: Spot, user: RoadUser) -> None:
    polygon(spot, ((0.56, 0.26), (0.68, 0.22), (0.70, 0.56), (0.56, 0.60)), user.paint)
    disc(spot, (0.64, 0.11), 0.11, SKIN)
    stroke(spot, ((0.66, 0.32), (0.84, 0.46)), user.paint, 0.06)
    polygon(spot, ((0.0, 0.34), (0.50, 0.34), (0.48, 0.78), (0.02, 0.78)), user.accent)
    bar(spot, (0.0, 0.46, 0.50, 0.52), shade(user.accent, 0.6))
    stroke(spot, ((0.46, 0.74), (0.88, 0.74)), shade(user.accent, 0.5), 0.06)
    stroke(spot, ((0.84, 0.44), (0.88, 0.80)), shade(user.accent, 0.5), 0.05)
    for x in (0.13, 0.37, 0.88):
        _draw_wheel(spot, x, 0.17)


def _draw_tricycle_end(spot: Spot, user: RoadUser) -> None:
    bar(spot, (0.0, 0.68, 0.14, 1.0), TYRE)
    bar(spot, (0.86, 0.68, 1.0, 1.0), TYRE)
    polygon(spot, ((0.34, 0.18), (0.66, 0.18), (0.72, 0.5), (0.28, 0.5)), user.paint)
    disc(spot, (0.5, 0.10), 0.10, SKIN)
    bar(spot, (0.06, 0.42, 0.94, 0.82), user.accent)
    bar(spot, (0.06, 0.58, 0.94, 0.63), shade(user.accent, 0.6))


def _draw_pedestrian(spot: Spot, user: RoadUser) -> None:
    spread = 0.30 if user.view == View.SIDE else 0.14
    for side in (-1, 1):
        stroke(spot, ((0.5 + 0.08 * side, 0.56), (0.5 + spread * side, 0.97)), user.accent, 0.09)
        stroke(spot, ((0.5, 0.24), (0.5 + 0.36 * side, 0.52)), shade(user.paint, 0.8), 0.07)
    polygon(spot, ((0.24, 0.20), (0.76, 0.20), (0.70, 0.60), (0.30, 0.60)), user.paint)
    disc(spot, (0.5, 0.09), 0.09, SKIN)
    polygon(spot, ((0.30, 0.08), (0.40, 0.0), (0.60, 0.0), (0.70, 0.08)), (50, 36, 30))


_DRAWINGS: dict[tuple[str, bool], Draw] = {
    ("car", True): _draw_car_side,
    ("car", False): _draw_car_end,
    ("truck", True): _draw_truck_side,
    ("truck", False): _draw_truck_end,
    ("bus", True): _draw_bus_side,
    ("bus", False): _draw_bus_end,
    ("bicycle", True): _draw_bicycle_side,
    ("bicycle", False): _draw_bicycle_end,
    ("e-bike", True): _draw_ebike_side,
    ("e-bike", False): _draw_ebike_end,
    ("tricycle", True): _draw_tricycle_side,
    ("tricycle", False): _draw_tricycle_end,
    ("pedestrian", True): _draw_pedestrian,
    ("pedestrian", False): _draw_pedestrian,
}
