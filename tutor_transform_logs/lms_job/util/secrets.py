"""Masks secrets in texts from outside: a server or a proxy may repeat the request that it got, with its headers."""

from __future__ import annotations

import re
from collections.abc import Iterable

STARS = "***"
# A secret of at most this many characters is also a part of other texts, and masking it there would only spoil them.
SHORT = 3


def masked(text: str, secrets: Iterable[str]) -> str:
    """``text`` without ``secrets``: the longest first, because one may be a part of another.

    A short one is masked where it stands by itself, as a user name, a password or a header's value does wherever one
    is repeated. Inside a word it can't be told from the word.
    """
    for secret in sorted({*secrets} - {""}, key=len, reverse=True):
        text = text.replace(secret, STARS) if len(secret) > SHORT else _by_itself(secret).sub(STARS, text)
    return text


def _by_itself(secret: str) -> re.Pattern[str]:
    """``secret`` with no letter or digit beside it; an escape of JSON, Python or a URL before it is neither."""
    return re.compile(rf"(?:(?<![^\W_])|(?<=\\[bfnrt])|(?<=%[0-9A-Fa-f]{{2}})){re.escape(secret)}(?![^\W_])")
