"""Opaque names, from which a method learns nothing about the answer of a query.

A plain number in a key would reveal something: neighbouring rows of a file often refer to the same object, and drawn
scenes have their kinds of expressions in a fixed order.
"""

from __future__ import annotations

import hashlib

DIGEST_BYTES = 8
"""Size in bytes of the digest of a name; among a million names, two share one with a probability of 3e-8."""
ROUNDS = 4
"""Number of rounds of the Feistel network that seals numbers: a strong permutation (Luby & Rackoff, 1988)."""
_DIGITS, _LETTERS = "0123456789abcdef", "ghijklmnopqrstuv"
_TO_LETTERS, _TO_DIGITS = str.maketrans(_DIGITS, _LETTERS), str.maketrans(_LETTERS, _DIGITS)
HALF_BYTES = 8
"""Size in bytes of one half of a sealed number."""


def opaque(name: object) -> str:
    """Return the digest of a name, 16 hexadecimal digits that are the same in every process.

    >>> opaque(41), opaque(42)
    ('9ce9e933ef4f7ef6', '57b43cf02666687a')
    """
    return hashlib.blake2b(str(name).encode(), digest_size=DIGEST_BYTES).hexdigest()


def seal(number: bytes) -> str:
    """Map 16 bytes to 32 hexadecimal digits by a fixed permutation, which :func:`unseal` inverts.

    >>> seal(bytes(16)), seal(bytes(15) + bytes([1]))
    ('80469054602bcad69861d9d969b34131', 'c559f6849f800f21e4fb36fe5562979b')
    """
    first, second = number[:HALF_BYTES], number[HALF_BYTES:]
    for turn in range(ROUNDS):
        first, second = second, _xor(first, _mixed(second, turn))
    return (first + second).hex()


def unseal(name: str) -> bytes:
    """Return the 16 bytes that :func:`seal` mapped to a name.

    >>> unseal(seal(b"0123456789abcdef"))
    b'0123456789abcdef'
    """
    digits = bytes.fromhex(name)
    first, second = digits[:HALF_BYTES], digits[HALF_BYTES:]
    for turn in reversed(range(ROUNDS)):
        first, second = _xor(second, _mixed(first, turn)), first
    return first + second


def seal_text(text: str) -> str:
    """Return a text as letters that tell nothing of it; :func:`unseal_text` inverts it.

    >>> unseal_text(seal_text("images/neg_7.jpg"))
    'images/neg_7.jpg'
    """
    content = text.encode("utf-8", "surrogateescape")
    name = hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
    return (name + _masked(content, name)).hex().translate(_TO_LETTERS)


def unseal_text(sealed: str) -> str:
    """Return the text that :func:`seal_text` made into letters."""
    content = bytes.fromhex(sealed.translate(_TO_DIGITS))
    return _masked(content[DIGEST_BYTES:], content[:DIGEST_BYTES]).decode("utf-8", "surrogateescape")


def _masked(content: bytes, name: bytes) -> bytes:
    """Combine bytes with a sequence that a name gives; twice restores them."""
    mask = hashlib.shake_256(name).digest(len(content))
    return bytes(a ^ b for a, b in zip(content, mask, strict=True))


def _mixed(half: bytes, turn: int) -> bytes:
    return hashlib.blake2b(half, digest_size=HALF_BYTES, salt=bytes([turn])).digest()


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
