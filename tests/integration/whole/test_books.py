"""The books balance after bad input of every kind, sent at once."""

import pytest

from roadloop_world.actors import fleet
from tests.waiting import LONG_TEST_S

from .books import check_books
from .conftest import UNSERVED, Road, a_name, body, file, noise, picture, signed

pytestmark = [pytest.mark.integration, pytest.mark.timeout(LONG_TEST_S)]


async def test_at_the_end_the_books_balance(road: Road) -> None:
    unserved, twin = await road.enrol(UNSERVED), picture()
    uploads = {
        "good": (road.car, [twin, picture()]),
        "with a file that is no picture": (road.car, [picture(), picture(b"no picture")]),
        "the same picture again": (road.car, [twin]),
        "of a tenant without a model": (unserved, [picture()]),
    }
    await road.send(*signed(road.car, b"{not JSON"))
    await road.send(*signed(road.car, body(road.car, a_name("up"), file(f"{road.prefix}missing", noise()))))
    await road.send(*signed(road.car, body(road.car, a_name("up"), file(road.prefix, noise())), by=unserved))
    for car, pictures in uploads.values():
        upload_id = a_name("up")
        uris = await road.put(upload_id, pictures, car)
        done = fleet.sign_completion(car, upload_id, "d-1", uris, pictures)
        for _ in range(2):
            await road.send(*done)
        await road.fate(upload_id, car)
    await road.still_goes_on()
    await check_books(road.whole.stack)
