"""AV1 units of drawn faces, made once by encoders and kept as bytes, and what they decode to.

The hashes are SHA-256 of the planes Y, Cb, Cr one after the other, and of the RGB image of format-spec.md, section 16.
"""

from base64 import b64decode
from dataclasses import dataclass

from bcdcodec.container import Picture


@dataclass(frozen=True)
class DecodedHashes:
    """What a picture decodes to."""

    planes: str  # SHA-256, hexadecimal
    rgb: str


# a full header, so that inter frames can refer to it; SVT-AV1, as `encode_key` makes it.
KEY = Picture(
    96,
    64,
    b64decode(
        "CgoAAAADLf/Pv5iEMvIBEACcAHHCFATeTDjJvjfxjNm3xXT/6yPSIoznNfoEW45nN+7OqyMkrV1LKQwujtB2QvJHI2T8fWBbdjDt"
        "labs1USrmTCiCG6m+5ZziAW/dr2Aiig4kNd/Y/V10ki1C327AiJK8BTXXGDuaz7J692zeh6Jp0ZEgKKHLJCSSRzj3P+dQIRBh1Oi"
        "GVCzd4bEMy1uMrHRLppZur1hq65I08pYkEGcEcVnvsfS9u2fr6i8x5CAJyZxE5FhPCoOVc5QG6QM85jWNqg1qHGwZcNINdxWlTu4"
        "LiEjXlgMN29H8gPVyHSP9ndguJc+h8c+hRZDfQDZjPA="
    ),
)
# the same drawing with head, lids and mouth moved, from KEY; SVT-AV1, as `encode_inter` makes it.
INTER = Picture(
    96,
    64,
    b64decode(
        "MqIBMAICCSVtek8BxwhQESI/zADEwHPs6epzAKpT0CW3KfwR058EIYPsBQyUcal96LSNygQL9XPZzDcD0rj4EwIyuQlVSr1qfXoE"
        "b6qzEee4/4goPmSJoxBEh8CTRx7b5/ljn+CvC3dtp8jQansZGEp4QkaDmqBt+a612SbOlwbAflgpg5l3i6OvVOxYGC5x2GV0KKML"
        "qJvT7KH1AxApinyXSHFA"
    ),
    base=0,
)
# another size.
OTHER_KEY = Picture(
    64,
    64,
    b64decode(
        "CgoAAAACr/+ffzEIMrgBEADAAIIIIBDYGHDHkAyX9MjubWjHB/QC9X7h7/fxx3wz/WCSLMNgFPXn1U3LOg5zzu/hW3XET8HzM2ne"
        "3wQy5nzxmojtbwKo3Abp816RbxzveNTjwNNTXm85NmLr1oXjHPjrqnoJCAhZe+mZAVl6rHJLkRGqMnftkhxHElKU21bvFIU4ft5O"
        "/Yo2Fs8wm3fFEBgSy2w2ga9+zfoQOXJ1p5wpCItmDiNAgslqTDksMNxOhmnaCHEooA=="
    ),
)
# a reduced still picture header; SVT-AV1 with avif=1.
STILL = Picture(
    64,
    80,
    b64decode(
        "CgYYFb+emIQyXxZACyxyIZmABM3kyWn9ZDcJZpyY0ZzZg++PUHhoRl56812Ifr4jVxgSqwqAebLzucblfwyIl2uiYDdd/iOi/wLQ"
        "Onqgb/h6JuxP1LyC1MJjjHeJfAKZn0lv8sM5D7TQ"
    ),
)
# sides that are odd; libaom by way of Pillow's AVIF, its colour description taken out.
ODD = Picture(
    37,
    19,
    b64decode(
        "CgYYFSSTYhAyXhrHh4XhyBgAAoFBAvMhLvGx2OdmS/TRyZdL0iXJt3lchs112nrX2ANh8oSB22AfQjjZ7lrkMNvQSpi2JWbb3hX2"
        "T6TfudrET1LU+2w7ZA5bKfywbgfSKxKRJZRtP7g="
    ),
)

DECODED = {
    KEY: DecodedHashes(
        "80edd2b5a9f1ae025269eb02e55aaa4d835d3cbed9a9d0a4701893147e049976",
        "8bd5368a08426b7af5e5214966d8b4707e2107d5312c6fcf750f8855dc2cc0dd",
    ),
    INTER: DecodedHashes(
        "08885621a747fc09baf8cb45376961de9f8192d3f734713f0bd06231950fd9e5",
        "3437164e6d2b67084f4779e10e038e13c46ebf5fe59070082e0f6a724b817586",
    ),
    OTHER_KEY: DecodedHashes(
        "a19a1ae0766936196e73ab78c5801aaa331a7cb4034f8620dfb2262f7c66db23",
        "68cd5f0f3e3966a227f13c99f4aa302d75d8e93b4fa4d4eaad00b82250904f4e",
    ),
    STILL: DecodedHashes(
        "2360825fea352bf9fa2e0d1860ec0dfe847f4baaadde6b011b89fb5c2af012ab",
        "e220eebbb90024e4118a2b58c7f2ee0bbe7c64c8dc68998d92b77d9d95a1b1f0",
    ),
    ODD: DecodedHashes(
        "a9d59443705dcb7cad39d3429f7976cadb67011a5f5a6dd9bfabfafc66641694",
        "6086a03dfdc0b937bf37b7580c06d05977326e24b1eea9a9bfb56cabc8b8dac1",
    ),
}
