"""Passwords in URLs, such as a database's, are not written down: neither in run folders nor in messages."""

import re

# A password may hold slashes. Digits before a slash are a port, and what follows is a path.
_PASSWORD = re.compile(r"(://[^\s:/@\"']*):(?!\d+/)[^\s@\"']+@")


def without_passwords(text: str) -> str:
    """The text with *** in the place of every password in a URL: `postgresql://team:***@host/study`."""
    return _PASSWORD.sub(r"\1:***@", text)
