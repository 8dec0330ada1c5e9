"""Names of the models that `codec.py` uses until it asks the registry."""

from bcdcodec.models.base import Decoded, VideoModel as BCD  # noqa: F401
