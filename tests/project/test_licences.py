"""Every dependency's licence must go with GPL-3.0-or-later."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Words of licences that may be combined into a work under GPL-3.0-or-later, as the FSF lists them.
COMPATIBLE = (
    r"apache|bsd|mit\b|mit-0|mit-cmu|isc\b|python software foundation|psf|mpl|mozilla public|unlicense|zlib|cc0|0bsd"
    r"|cnri|lgpl|lesser general public|gplv3|gpl-3|gplv2\+|general public license v3|v2 or later|version 3 of the gpl"
)
INCOMPATIBLE = (
    r"non-?commercial|proprietary|agpl.*only|sspl|busl|business source|gpl-2\.0-only|all rights reserved"
)

#: Distributions whose metadata names no licence in words, with what their licence file says.
READ_BY_HAND = {"cvxopt": "GPL-3.0-or-later"}


def locked_names() -> set[str]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    names = (re.match(r"([A-Za-z0-9._-]+)(\[[^\]]*\])?==", line) for line in lines)
    return {match.group(1).lower().replace("_", "-").replace(".", "-") for match in names if match}


def licence_of(distribution: Distribution) -> str:
    fields = distribution.metadata
    classifiers = [c for c in fields.get_all("Classifier") or [] if c.startswith("License ::")]
    name = fields["Name"].lower()
    words = [READ_BY_HAND.get(name), fields.get("License-Expression"), *classifiers]
    words += (fields.get("License") or "").splitlines()[:1]
    return "; ".join(word for word in words if word)


def test_every_locked_dependency_has_a_licence_that_goes_with_ours():
    locked = locked_names()
    licences = {
        name: licence_of(d)
        for d in distributions()
        if (name := d.metadata["Name"].lower().replace("_", "-").replace(".", "-")) in locked
    }
    assert len(licences) > 200, "the environment is not the locked one"
    unclear = {
        name: text
        for name, text in licences.items()
        if not re.search(COMPATIBLE, text, re.IGNORECASE) or re.search(INCOMPATIBLE, text, re.IGNORECASE)
    }
    assert unclear == {}


@pytest.mark.parametrize(
    ("text", "passes"),
    [("MIT", True), ("LGPL-3.0-only", True), ("Free for non-commercial use, BSD-like", False), ("", False)],
)
def test_the_rule_tells_good_licences_from_bad_ones(text, passes):
    good = re.search(COMPATIBLE, text, re.IGNORECASE) and not re.search(INCOMPATIBLE, text, re.IGNORECASE)
    assert bool(good) is passes


def test_our_own_licence_is_the_gpl():
    assert "GNU GENERAL PUBLIC LICENSE" in (ROOT / "LICENSE").read_text()
