"""Numbers and names of the ways to code motion, as HEAD states them."""

from ..errors import BcdError

PROFILE_STATIC, PROFILE_CONTEXT = 0, 1
PROFILES = {"static": PROFILE_STATIC, "context": PROFILE_CONTEXT}


def profile_number(name: str) -> int:
    """Return the number of a profile; BcdError for a name that there is not."""
    if name not in PROFILES:
        raise BcdError(f"no entropy profile {name!r}, expected one of {', '.join(PROFILES)}")
    return PROFILES[name]


def profile_name(number: int) -> str:
    """Return the name of a profile that HEAD may state."""
    return next(name for name, each in PROFILES.items() if each == number)
