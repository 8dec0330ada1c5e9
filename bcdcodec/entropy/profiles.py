"""Numbers and names of the ways to code motion and contents, as HEAD states them."""

from bcdcodec.errors import BcdError

PROFILE_STATIC, PROFILE_CONTEXT = 0, 1
PROFILES = {"static": PROFILE_STATIC, "context": PROFILE_CONTEXT}
CONTENT_NEIGHBOURS, CONTENT_LEARNED = 0, 1
CONTENT_PROFILES = {"neighbours": CONTENT_NEIGHBOURS, "learned": CONTENT_LEARNED}


def profile_number(name: str) -> int:
    """Return the number of a profile; BcdError for a name that there is not."""
    if name not in PROFILES:
        raise BcdError(f"no entropy profile {name!r}, expected one of {', '.join(PROFILES)}")
    return PROFILES[name]


def profile_name(number: int, profiles: dict[str, int] = PROFILES) -> str:
    """Return the name of a profile that HEAD may state, of motion or of CONTENT_PROFILES."""
    return next(name for name, each in profiles.items() if each == number)
