"""Puts a revision live."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagwatch.adapters.database.ledger import Ledger


class Publication:
    """Reached as `ledger.publication`."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
