"""The facts of a `.bcd` file or a model folder, as plain dicts. Needs no torch."""

from __future__ import annotations

import os

from bcdcodec.container import OPUS_RATE, BcdReader, VerifyReport, open_bcd, verify_file
from bcdcodec.container.head import MAJOR
from bcdcodec.entropy.profiles import CONTENT_PROFILES, profile_name
from bcdcodec.errors import FormatError, ModelMismatchError
from bcdcodec.files.opening import naming, open_sound
from bcdcodec.model_folder import CARD, ModelFolder, open_model, shipped_models


def describe_file(path: str | os.PathLike) -> dict:
    """The facts of a `.bcd` file, read without its model; only JSON types.

    Bytes are of the file: `motion` and `content` the coded parts, `container` everything else; kbps are kbit/s of
    the frames' duration, None for no frames. Of a truncated file (`complete` False) all figures are those of its
    whole chunks.
    Raises FormatError and its kinds for a damaged file, BcdError for one that cannot be read.
    """
    with open_sound(path) as reader:
        head, counts, seconds, sound = reader.head, reader.byte_counts, reader.duration_seconds, reader.audio_format
        constant = head.frame_duration > 0

        def kbps(size: int) -> float | None:
            return round(size * 8 / seconds / 1000, 4) if seconds > 0 else None

        return {
            "version": MAJOR,
            "model": head.model_name,
            "model_fingerprint": head.model_fingerprint.hex(),
            "frames": reader.frames,
            "coded_frames": reader.coded_frames,  # the others are interpolated
            "width": head.coded_width,
            "height": head.coded_height,
            "duration_s": seconds,
            "frame_rate": head.time_base_den / (head.time_base_num * head.frame_duration) if constant else "variable",
            "source_width": head.source_width,
            "source_height": head.source_height,
            "crop": list(head.crop),
            "coded_share": head.crop[2] * head.crop[3] / (head.source_width * head.source_height),  # of the picture
            "groups": head.groups,
            "codes": head.codes,
            "entropy_profile": profile_name(head.entropy_profile),
            "content_profile": profile_name(head.content_profile, CONTENT_PROFILES),
            "contents": reader.content_count,
            "content_bytes_each": [size for name, _, size in reader.chunks if name == "CONT"],  # with their few fields
            "bits_per_frame": counts.motion * 8 / reader.coded_frames if reader.frames else None,  # coded ones
            "bytes": {
                name: getattr(counts, name)
                for name in ("motion", "content", "container", "audio", "surroundings", "total")
            },
            "kbps": {
                "motion": kbps(counts.motion),
                "motion_container": kbps(counts.motion + counts.container),
                "audio": kbps(counts.audio),
                "total": kbps(counts.total),
            },
            "audio": sound
            and {
                "codec": "opus",
                "channels": sound.channels,
                "duration_s": reader.audio_seconds,
                "start_s": sound.delay / OPUS_RATE,
            },
            "sampler_seed": head.sampler_seed,
            "own_tables": reader.has_own_tables,
            "metadata": _metadata(reader),
            "unknown_chunks": [
                {"name": chunk.type.decode(), "bytes": len(chunk.payload)} for chunk in reader.ancillary()
            ],
            "complete": reader.complete,
            "reenacted": head.reenacted,
            "generated": head.generated,
        }


def _metadata(reader: BcdReader) -> object:
    """The metadata with only JSON types; of metadata that is not valid what is wrong with it; None without any."""

    def plain(value: object) -> object:
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        return [plain(item) for item in value] if isinstance(value, list) else value

    try:
        return plain(reader.metadata)
    except FormatError as error:
        return f"not readable: {error}"


def check_file(
    path: str | os.PathLike, model: str | os.PathLike | None = None, strict: bool = False, everything: bool = False
) -> VerifyReport:
    """Verify a file; its codes too where its model is given, or shipped. `strict`, `everything`: as of `verify_file`.

    Raises BcdError where there is nothing to check, ModelMismatchError if `model` is not the file's.
    """
    path = str(path)
    with naming(path):
        with open_bcd(path) as reader:
            name = reader.head.model_name
        if model is not None:
            return verify_file(path, open_model(model).tables, strict, everything)
        if name in shipped_models():
            try:
                return verify_file(path, open_model(name).tables, strict, everything)
            except ModelMismatchError:
                pass  # made with other weights of that name: its bytes can still be checked
        return verify_file(path, strict=strict)


def describe_model(folder: ModelFolder) -> dict:
    """The facts of a model folder: sizes in pixels and bytes, rates in bits a frame and kbit/s; only JSON types."""
    config = folder.config
    card = folder.path / CARD
    lines = card.read_text().splitlines() if card.is_file() else []
    return {
        "name": folder.name,
        "picture_size": config.latent.picture_size,
        "groups": config.quantiser.groups,
        "codes": config.quantiser.codes,
        "target_bits_per_frame": config.quantiser.target_bits,
        "target_kbps": config.quantiser.target_bits * config.frame_rate / 1000,
        "bytes_on_disk": sum(file.stat().st_size for file in folder.path.iterdir() if file.is_file()),
        "card": next((line.lstrip("# ").strip() for line in lines if line.strip()), ""),
    }
