"""Which partition holds a key: Kafka's own choice (murmur2), so that Java clients, librdkafka and we agree."""

from __future__ import annotations

SEED = 0x9747B28C
MULTIPLIER = 0x5BD1E995
MASK = 0xFFFFFFFF
POSITIVE = 0x7FFFFFFF


def partition_of(key: bytes, partition_count: int) -> int:
    """Give the partition that the default partitioner of Kafka's Java client puts this key in.

    Source: org.apache.kafka.common.utils.Utils.murmur2 and toPositive.
    """
    return (murmur2(key) & POSITIVE) % partition_count


def murmur2(key: bytes) -> int:
    """Hash a key with the 32-bit MurmurHash2 of Kafka; unsigned."""
    value = SEED ^ len(key)
    whole = len(key) & ~3
    for start in range(0, whole, 4):
        word = int.from_bytes(key[start : start + 4], "little") * MULTIPLIER & MASK
        word ^= word >> 24
        value = (value * MULTIPLIER & MASK) ^ (word * MULTIPLIER & MASK)
    if whole != len(key):
        value = (value ^ int.from_bytes(key[whole:], "little")) * MULTIPLIER & MASK
    value ^= value >> 13
    value = value * MULTIPLIER & MASK
    return value ^ value >> 15
