"""Counting, ordering and numbering of events as whole numbers: what cleaning does once ids are codes.

An event is a position in columns of codes (uint32). Nothing here copies a table: a choice is a mask or an array of
positions, and an order is one sort of packed numbers in place, so that 20 M events need a few hundred MB.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Codes: TypeAlias = NDArray[np.uint32]
Mask: TypeAlias = NDArray[np.bool_]

_BLOCK = 1 << 22
_LOW = np.uint64(0xFFFFFFFF)


def same_triple(user: Codes, item: Codes, time: Codes) -> Codes:
    """Positions of the events that share user, item and time with another; by hash, so a few may share nothing."""
    mixed = user * np.uint64(0x9E3779B97F4A7C15)
    mixed += item
    mixed *= np.uint64(0xC2B2AE3D27D4EB4F)
    mixed ^= mixed >> np.uint64(29)
    mixed += time
    mixed *= np.uint64(0x165667B19E3779F9)
    ordered = np.sort(mixed)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    marked = np.zeros(1 << 22, np.bool_)  # by the low bits first: a search for every event takes ten times as long
    low = np.uint64(len(marked) - 1)
    marked[twice & low] = True
    blocks = (slice(start, start + _BLOCK) for start in range(0, len(mixed), _BLOCK))
    maybe = [np.flatnonzero(marked[mixed[block] & low]) + block.start for block in blocks] or [np.zeros(0, np.int64)]
    found = np.concatenate(maybe)
    return found[np.isin(mixed[found], twice)].astype(np.uint32)


def with_enough(user: Codes, item: Codes, keep: Mask, least_user: int, least_item: int) -> Mask:
    """Those of ``keep`` that are left when items and users with too few events leave, again and again."""
    keep = keep.copy()
    sides = [(code, least, _counts(code, keep)) for code, least in ((item, least_item), (user, least_user))]
    left = True
    while left:
        left = False
        for code, least, count in sides:
            few = (count > 0) & (count < least)
            if not few.any():
                continue
            gone = few[code]
            gone &= keep
            keep ^= gone
            for other, _, counted in sides:
                np.subtract(counted, np.bincount(other[gone], minlength=len(counted)), out=counted)
            left = True
    return keep


def in_time(keep: Mask, time: Codes | None) -> Codes:
    """Positions of ``keep`` by (time, position); by position where there are no times."""
    positions = np.flatnonzero(keep).astype(np.uint32)
    return positions if time is None else _sorted_by(time[positions], positions)


def by_user(user_in_time: NDArray[np.int32], positions: Codes) -> Codes:
    """``positions``, which come by time, by (user, time); ``user_in_time`` are their users' numbers."""
    ranks = np.arange(len(positions), dtype=np.uint32)
    return positions[_sorted_by(user_in_time, ranks)]


def first_seen(codes: Codes) -> tuple[Codes, Codes]:
    """The codes that occur, by first occurrence, and the place of each one's first occurrence."""
    n = len(codes)
    first = np.full(int(codes.max(initial=0)) + 1, n, np.uint32)
    first[codes[::-1]] = np.arange(n - 1, -1, -1, dtype=np.uint32)  # of equal indices the last assignment holds
    order = np.argsort(first, kind="stable")[: np.count_nonzero(first < n)].astype(np.uint32)
    return order, first[order]


def _sorted_by(key: NDArray, value: Codes) -> Codes:
    """``value``, which ascends, by (key, value): both packed into one number, whose sort needs no second array."""
    packed = key.astype(np.uint64)
    packed <<= np.uint64(32)
    packed |= value
    packed.sort()
    packed &= _LOW
    return packed.astype(np.uint32)


def _counts(code: Codes, keep: Mask) -> NDArray[np.int64]:
    """Events per code; in blocks, since bincount widens what it is given."""
    size = int(code.max(initial=0)) + 1
    total = np.zeros(size, np.int64)
    for start in range(0, len(code), _BLOCK):
        chosen = code[start : start + _BLOCK][keep[start : start + _BLOCK]]
        total += np.bincount(chosen, minlength=size)
    return total
