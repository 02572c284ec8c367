"""A key's partition is the one Java's client chooses, so that our records and those of others stay in order."""

import pytest

from roadloop_runtime.kafka.writer import hash_to_partition

# Source: org.apache.kafka.common.utils.UtilsTest, testMurmur2.
VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize("partitions", [1, 3, 6, 1024])
@pytest.mark.parametrize(("key", "murmur2"), VECTORS.items())
def test_the_partition_is_javas_murmur2_made_positive_modulo_the_count(
    key: bytes, murmur2: int, partitions: int
) -> None:
    assert hash_to_partition(key, partitions) == (murmur2 & 0x7FFFFFFF) % partitions


@pytest.mark.parametrize("partitions", [1, 6])
def test_a_record_without_a_key_goes_to_partition_0(partitions: int) -> None:
    assert hash_to_partition(None, partitions) == 0
