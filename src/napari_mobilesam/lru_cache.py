"""Least recently used cache."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar('Value')


class LeastRecentlyUsed(Generic[Value]):
    """Dictionary of limited size that drops least recently used items.

    Thread-safe.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: OrderedDict[Hashable, Value] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._items

    def clear(self) -> None:
        """Remove all items."""
        with self._lock:
            self._items.clear()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of ``key``; call ``make`` if it is missing."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
        return self.put(key, make())

    def peek(self, key: Hashable) -> Value | None:
        """Return the value of ``key``, None if it is missing."""
        return self._items.get(key)

    def put(self, key: Hashable, value: Value) -> Value:
        """Add a value and return it."""
        with self._lock:
            self._items[key] = value
            self._items.move_to_end(key)
            while len(self._items) > self._capacity:
                self._items.popitem(last=False)
        return value

    def drop(self, which: Callable[[Value], bool]) -> None:
        """Remove the items whose values are no longer wanted."""
        with self._lock:
            for key in [k for k, v in self._items.items() if which(v)]:
                del self._items[key]
