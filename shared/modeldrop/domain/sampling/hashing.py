"""A prediction's place in every sample: 64 bits that depend on nothing but its id."""

from hashlib import blake2b

LARGEST_HASH = 2**64 - 1
_PURPOSE = b"modeldrop.sample"  # fixed for ever: another one would be another sample


def hash_id(prediction_id: str) -> int:
    """0 to 2^64 - 1, the same on every machine and in every release: BLAKE2b (RFC 7693) of the id's UTF-8, 8 bytes.

    Any text has a hash, also one that UTF-8 cannot write (half a surrogate pair).

    >>> hash_id("order-1")
    7583360803719873292
    """
    digest = blake2b(prediction_id.encode("utf-8", "surrogatepass"), digest_size=8, person=_PURPOSE).digest()
    return int.from_bytes(digest, "big")
