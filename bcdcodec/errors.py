"""The errors a user can meet, all under one root so that a caller needs one `except`."""


class BcdError(Exception):
    """Root of all errors of the codec; its message is one line that says what was found, expected and to do."""


class FormatError(BcdError):
    """The bytes are not a valid `.bcd` file, or values cannot be written as one."""


class TruncatedError(FormatError):
    """The file ends before something that is needed."""


class ChecksumError(FormatError):
    """Stored and computed checksums differ: the bytes were damaged after writing."""


class LimitError(FormatError):
    """A stated size is above the limit of the format; refused before anything is allocated."""


class UnsupportedError(FormatError):
    """The file asks for something this version does not know (newer major version, chunk, flag or profile)."""


class ModelMismatchError(BcdError):
    """The file was made with another model, or other entropy tables, than the ones at hand."""


class VideoError(BcdError):
    """A video could not be opened, read or written."""


class MissingDetectorError(VideoError):
    """Faces cannot be looked for: the detector is not installed."""


class ModelError(BcdError):
    """A model folder or its tables are missing or not valid."""
