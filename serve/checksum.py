"""CRC-32C (Castagnoli), as TFRecord files want it; plain Python would take seconds for a megabyte.

A checksum is linear over bits, so a long message is cut into equal lanes, all lanes are fed one byte at a
time as one numpy array, and the lanes' results are then joined by shifting each over the bytes behind it.
Source: RFC 3720, appendix B.4; the masking is tensorflow/core/lib/hash/crc32c.h.
"""

from __future__ import annotations

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reflected
_LANES = 1024
_ALL = 0xFFFFFFFF


def masked_crc32c(data: bytes) -> int:
    """The checksum of some bytes, rotated and shifted as TFRecord files store it."""
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & _ALL


def crc32c(data: bytes) -> int:
    """The CRC-32C of some bytes."""
    length = len(data) // _LANES
    crc = _ALL
    if length > 16:
        lanes = np.frombuffer(data, np.uint8, _LANES * length).reshape(_LANES, length)
        shift = _shift_by(length)
        for lane in _remainders(lanes):
            crc = _apply(shift, crc) ^ int(lane)
        data = data[_LANES * length :]
    table = _table().tolist()
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ _ALL


def _remainders(lanes: np.ndarray) -> np.ndarray:
    """The checksum of every row, begun at zero and not inverted."""
    table = _table()
    crc = np.zeros(len(lanes), np.uint32)
    for column in np.ascontiguousarray(lanes.T):
        crc = table[(crc ^ column) & 0xFF] ^ crc >> np.uint32(8)
    return crc


@functools.cache
def _table() -> np.ndarray:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = crc >> np.uint32(1) ^ np.where(crc & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return crc


def _shift_by(count: int) -> list[int]:
    """The matrix over bits, one column a number, that feeds ``count`` zero bytes to a checksum."""
    result = [1 << bit for bit in range(32)]
    power = [_feed_zero(1 << bit) for bit in range(32)]
    while count:
        if count & 1:
            result = [_apply(power, column) for column in result]
        power = [_apply(power, column) for column in power]
        count >>= 1
    return result


def _feed_zero(crc: int) -> int:
    return int(_table()[crc & 0xFF]) ^ crc >> 8


def _apply(matrix: list[int], vector: int) -> int:
    result, bit = 0, 0
    while vector:
        if vector & 1:
            result ^= matrix[bit]
        vector >>= 1
        bit += 1
    return result
