"""Integer entropy coding of motion codes and content tokens (numpy and constriction only)."""

from bcdcodec.entropy.content import ContentModel, count_contexts, decode_content, encode_content
from bcdcodec.entropy.context import decode_context, decode_context_prefix, encode_context
from bcdcodec.entropy.context_tables import ContextTables
from bcdcodec.entropy.model_tables import ModelTables
from bcdcodec.entropy.motion import decode_motion, decode_motion_prefix, encode_motion
from bcdcodec.entropy.range_coder import RangeDecoder, RangeEncoder
from bcdcodec.entropy.tables import FrequencyTables

__all__ = [
    "ContentModel",
    "ContextTables",
    "FrequencyTables",
    "ModelTables",
    "RangeDecoder",
    "RangeEncoder",
    "count_contexts",
    "decode_content",
    "decode_context",
    "decode_context_prefix",
    "decode_motion",
    "decode_motion_prefix",
    "encode_content",
    "encode_context",
    "encode_motion",
]
