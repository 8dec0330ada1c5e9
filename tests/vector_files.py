"""The valid files among the conformance vectors: what every reader must read."""

import io
from dataclasses import replace

import numpy as np
from vector_parts import (
    CONTEXT,
    DEEP,
    EVEN_BUT_TWO,
    LEARNED,
    OWN,
    OWN_CONTEXT,
    PAIRS,
    SMALL,
    STAGES,
    WIDE,
    content_for,
    contextual,
    file_bytes,
    learned,
    motion_for,
    picture_for,
    put,
    recording,
    sound_for,
    wandering,
    with_chunk,
    with_payload,
)
from vector_pictures import INTER, KEY, ODD, OTHER_KEY, STILL

from bcdcodec.container import Content, Surroundings, write_recording
from bcdcodec.entropy.profiles import PROFILE_CONTEXT

# The pictures of each vector, in the order of its contents.
PICTURES = {
    "picture": [KEY],
    "picture_refined": [KEY],
    "picture_inter": [KEY, INTER, OTHER_KEY, INTER],
    "picture_still": [STILL],
    "picture_odd": [ODD],
}


def picture_vectors() -> dict[str, tuple[str, bytes]]:
    """Return name -> (tables' name, bytes) of the files with reference pictures."""
    contents = {
        "picture": [picture_for(SMALL, 0, KEY)],
        "picture_refined": [replace(content_for(SMALL), picture=KEY)],
        "picture_inter": [
            picture_for(SMALL, 0, KEY),
            replace(content_for(SMALL, 1, 2), picture=INTER),
            content_for(SMALL, 2, 4),
            picture_for(SMALL, 3, OTHER_KEY, 6),
            replace(picture_for(SMALL, 4, INTER, 8), reference_codes=content_for(SMALL, 4).reference_codes),
        ],
        "picture_still": [picture_for(SMALL, 0, STILL)],
        "picture_odd": [picture_for(SMALL, 0, ODD)],
    }

    def file(contents: list[Content]) -> bytes:
        motions = [motion_for(SMALL, 2 * i, 2, i) for i in range(len(contents))]
        return file_bytes(recording(contents=contents, motions=motions), SMALL)

    return {name: ("small", file(given)) for name, given in contents.items()}


def valid_vectors() -> dict[str, tuple[str, bytes]]:
    """Return name -> (tables' name, bytes)."""
    plain = file_bytes(recording(), SMALL)
    context = contextual(motions=[motion_for(CONTEXT, 0, 6), wandering(CONTEXT, 6, 40)])
    three = [content_for(SMALL, 0), content_for(SMALL, 1, 3, 1, 3), content_for(SMALL, 2, 5, 3, 1, reference=False)]
    moves = [
        motion_for(SMALL, 0, 3, 0),
        motion_for(SMALL, 3, 2, 1),
        motion_for(SMALL, 5, 2, 2),
        motion_for(SMALL, 7, 1, 0),
    ]
    rates = [motion_for(SMALL, 0, 4, pts=[-7, 0, 33, 1000]), motion_for(SMALL, 4, 2, pts=[1001, 2**40])]
    rates += [
        motion_for(SMALL, 6, 1, pts=[2**61 - 1000]),
        motion_for(SMALL, 7, 9, pts=np.cumsum(EVEN_BUT_TWO) + 2**61 - 900),
    ]
    streaming = io.BytesIO()
    write_recording(streaming, recording(), SMALL)
    newer = with_payload(plain, b"HEAD", lambda p: put(p, 0, b"\x19") + b"later")
    stills = (Surroundings(0, b"RIFF\x04\0\0\0WEBP"), Surroundings(2, b""))
    strided = file_bytes(
        recording(motions=[motion_for(SMALL, 0, 9, stride=4), motion_for(SMALL, 9, 8, stride=3)]), SMALL
    )
    uneven = [motion_for(SMALL, 0, 3, pts=[0, 17, 33], stride=2), motion_for(SMALL, 3, 1, pts=[50], stride=64)]
    uneven.append(motion_for(SMALL, 4, 2, pts=[67, 83]))
    tail_start = plain.rindex(b"TAIL")
    last_motion = plain.rindex(b"MOTN")
    vectors = {
        "plain": plain,
        "one_frame": file_bytes(recording(motions=[motion_for(SMALL, 0, 1)]), SMALL),
        "variable_rate": file_bytes(recording(motions=rates, frame_duration=0, time_base_den=1000), SMALL),
        "three_contents": file_bytes(recording(contents=three, motions=moves), SMALL),
        "no_reference": file_bytes(recording(contents=[content_for(SMALL, reference=False)]), SMALL),
        "odd_sizes": file_bytes(
            recording(source_width=641, source_height=1, crop=(640, 0, 1, 1), coded_height=8192), SMALL
        ),
        "context": ("small_context", context),
        "context_one_frame": ("small_context", contextual(motions=[wandering(CONTEXT, 0, 1)])),
        "context_variable_rate": (
            "small_context",
            contextual(motions=[wandering(CONTEXT, 0, 4, pts=[-7, 0, 33, 1000])], frame_duration=0, time_base_den=1000),
        ),
        "context_own_tables": (
            "small_context",
            file_bytes(recording(OWN_CONTEXT, entropy_profile=PROFILE_CONTEXT), OWN_CONTEXT, own=True),
        ),
        "context_stages": (
            "stages",
            contextual(STAGES, motions=[wandering(STAGES, 0, 150), wandering(STAGES, 150, 2)]),
        ),
        "context_pairs": ("pairs", contextual(PAIRS, motions=[motion_for(PAIRS, 0, 4), wandering(PAIRS, 4, 60)])),
        "context_cut": ("small_context", context[: context.rindex(b"TAIL") - 20]),
        "learned": ("learned", learned(contents=three, motions=moves)),
        "learned_escapes": ("learned", learned(contents=[content_for(LEARNED, spread=65535)])),
        "learned_deep": ("deep", learned(DEEP, contents=[content_for(DEEP, rows=3, columns=4, spread=9)])),
        "learned_and_context": (
            "learned",
            learned(entropy_profile=PROFILE_CONTEXT, motions=[wandering(LEARNED, 0, 9)]),
        ),
        "wide_alphabet": ("wide", file_bytes(recording(WIDE), WIDE)),
        "own_tables": file_bytes(recording(OWN), OWN, own=True),
        "escapes": file_bytes(recording(contents=[content_for(SMALL, spread=65535)]), SMALL),
        "metadata": file_bytes(recording(metadata={"title": "ä", "made_by": {"n": [1, 2.5, None]}}), SMALL),
        "flags": file_bytes(recording(generated=True, reenacted=True), SMALL),
        "indexed": file_bytes(recording(motions=[motion_for(SMALL, i, 1) for i in range(9)]), SMALL),
        "streaming": streaming.getvalue(),
        "newer_minor": newer,
        "surroundings": file_bytes(replace(recording(contents=three, motions=moves), surroundings=stills), SMALL),
        "content_only": file_bytes(replace(recording(), motions=()), SMALL),
        "strided": strided,
        "strided_variable": file_bytes(recording(motions=uneven, frame_duration=0, time_base_den=1000), SMALL),
        "strided_cut": strided[: strided.rindex(b"TAIL") - 2],
        "sound": file_bytes(recording(audio=sound_for()), SMALL),
        "sound_of_1_0": with_chunk(plain, 2, b"AUDI", b"no sound"),
        "unknown_ancillary": with_chunk(plain, 2, b"zzTp", b"kept"),
        "no_tail": plain[:tail_start],
        "cut_in_motion": plain[: tail_start - 3],
        "cut_in_header": plain[: last_motion + 5],
        **picture_vectors(),
    }
    return {name: given if isinstance(given, tuple) else ("small", given) for name, given in vectors.items()}
