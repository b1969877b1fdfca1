"""Ids are made from what they name, so asking twice gives the same answer."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def opaque_id(*parts: Any, length: int = 20) -> str:
    """Hash of the parts, as ``length`` hexadecimal digits: nobody can read a mine's name out of it."""
    return hashlib.sha256(canonical_json(parts).encode()).hexdigest()[:length]


def content_sha256(value: Any) -> str:
    """Full SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and without spaces; dates and the like as their text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
