"""Opaque names: what a method reads of the key of a query or of a drawn picture tells it nothing.

A number in a key would: neighbours in a file often mean the same object, and scenes that are drawn have their kinds of
expression in a fixed order.
"""

from __future__ import annotations

import hashlib

DIGEST_BYTES = 8
"""Size of the digest that stands for a name: two of a million names share one with a probability of 3e-8."""
ROUNDS = 4
"""Rounds of the Feistel network that seals numbers: as many as make it a strong permutation (Luby & Rackoff, 1988)."""
HALF_BYTES = 8
"""Size of a half of a sealed number."""


def opaque(name: object) -> str:
    """Return 16 hexadecimal digits that stand for a name, the same in every process.

    >>> opaque(41), opaque(42)
    ('9ce9e933ef4f7ef6', '57b43cf02666687a')
    """
    return hashlib.blake2b(str(name).encode(), digest_size=DIGEST_BYTES).hexdigest()


def seal(number: bytes) -> str:
    """Return 32 hexadecimal digits that stand for 16 bytes; :func:`unseal` gives them back.

    >>> seal(bytes(16)), seal(bytes(15) + bytes([1]))
    ('80469054602bcad69861d9d969b34131', 'c559f6849f800f21e4fb36fe5562979b')
    """
    left, right = number[:HALF_BYTES], number[HALF_BYTES:]
    for turn in range(ROUNDS):
        left, right = right, _xor(left, _mixed(right, turn))
    return (left + right).hex()


def unseal(name: str) -> bytes:
    """Return the 16 bytes behind a name that :func:`seal` gave.

    >>> unseal(seal(b"0123456789abcdef"))
    b'0123456789abcdef'
    """
    digits = bytes.fromhex(name)
    left, right = digits[:HALF_BYTES], digits[HALF_BYTES:]
    for turn in reversed(range(ROUNDS)):
        left, right = _xor(right, _mixed(left, turn)), left
    return left + right


def _mixed(half: bytes, turn: int) -> bytes:
    return hashlib.blake2b(half, digest_size=HALF_BYTES, salt=bytes([turn])).digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
