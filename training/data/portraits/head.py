"""ICT-FaceKit's head (ICT-VGL, MIT): the part of the mesh that is drawn, its modes and its contours.

Axes: x to the picture's right, y up, z to the viewer; one unit is about 1 cm.
"""

from __future__ import annotations

import heapq
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bcdcodec.errors import BcdError
from bcdcodec.training.data.portraits.correspondence import SURFACE

IDENTITIES = 50  # modes of identity that a fit uses
MATERIALS = {"face": "M_Face", "teeth": "M_Teeth", "gums": "M_GumsTongue"}
EAR = 7.3  # |x| beyond which the mesh is an ear
DEEP = 2.5  # z behind which it isn't drawn
BELOW_JAW = 0.9  # so far below the jaw's line the face ends
FACE_TOP = 11.0
JAW_LEAST = 1.0  # units by which an open jaw moves the lower teeth at least
PATCH_MOST = 1500  # vertices; what hangs together and is larger is the face itself


@dataclass(frozen=True)
class Head:
    """Vertices of the face, of the teeth and of gums and tongue, in this order, and what moves them."""

    vertices: np.ndarray  # float32 [v, 3], mean head
    identity: np.ndarray  # float32 [m, v, 3]
    expression: np.ndarray  # float32 [57, v, 3]
    names: tuple[str, ...]  # of the 57 expressions
    face: np.ndarray  # int32 [f, 3] triangles
    teeth: np.ndarray  # int32 [f, 3]
    gums: np.ndarray  # int32 [f, 3]
    upper_teeth: np.ndarray  # int [k] vertices
    lower_teeth: np.ndarray  # int [k]: those that the jaw moves
    lower_jaw: np.ndarray  # int32 [f, 3] triangles of the lower teeth
    upper_lip: np.ndarray  # int [k] inner contour, from the right corner of the mouth (small x) to the left
    lower_lip: np.ndarray
    upper_lids: tuple[np.ndarray, np.ndarray]  # contours, right eye (small x), left eye, from small x to large
    lower_lids: tuple[np.ndarray, np.ndarray]
    eyes: np.ndarray  # float32 [2, 3] centres of the eyeballs
    landmarks: np.ndarray  # int [68] dlib's points
    surface: np.ndarray  # int [468] vertices that the landmarker's points lie on
    source: np.ndarray  # int [v] indices in the file

    @property
    def contour_pairs(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """Upper and lower contours of the mouth, the right eye and the left one."""
        return (self.upper_lip, self.lower_lip), *zip(self.upper_lids, self.lower_lids, strict=True)

    def shape(self, identity: np.ndarray, expression: np.ndarray) -> np.ndarray:
        """Vertices [v, 3] of weights of identity [m] and of expression [57]."""
        shape = self.vertices + np.tensordot(identity, self.identity[: len(identity)], 1)
        return shape + np.tensordot(expression, self.expression, 1)


def load_head(path: Path) -> Head:
    """The head of `ict_facekit.npz`. Raises BcdError."""
    if not Path(path).is_file():
        raise BcdError(f"{path}: no such file; it is ICT-FaceKit as one .npz")
    with np.load(path, allow_pickle=False) as z:
        vertices, triangles, material = z["V"].astype(np.float32), z["F"], z["mat"]
        names, materials = tuple(str(n) for n in z["exnames"]), [str(m) for m in z["mats"]]
        landmarks = np.array(json.loads(str(z["vertex_indices"]))["idx_to_landmark_verts"])
        part = {name: triangles[material == materials.index(m)] for name, m in MATERIALS.items()}
        eyes = []
        for m in ("M_IrisRight", "M_IrisLeft"):
            ball = vertices[np.unique(triangles[material == materials.index(m)])]
            eyes.append((ball.min(0) + ball.max(0)) / 2)
        whole = part["face"]
        part["face"] = whole[_drawn(vertices, vertices[landmarks], whole)]
        source = np.concatenate([np.unique(part["face"]), np.unique(part["teeth"]), np.unique(part["gums"])])
        new = np.full(len(vertices), -1)
        new[source] = np.arange(len(source))
        identity = np.ascontiguousarray(z["ID"][:IDENTITIES].astype(np.float32)[:, source])
        expression = np.ascontiguousarray(z["EX"].astype(np.float32)[:, source])
    face = new[part["face"]]
    edges = defaultdict(dict)
    for a, b, c in face:
        for i, j in ((a, b), (b, c), (c, a)):
            edges[i][j] = edges[j][i] = float(np.linalg.norm(vertices[source[i]] - vertices[source[j]]))
    marks = new[landmarks]
    lips = _path(edges, marks[[60, 61, 62, 63, 64]]), _path(edges, marks[[60, 67, 66, 65, 64]])
    upper = _path(edges, marks[36:40]), _path(edges, marks[42:46])
    lower = _path(edges, marks[[36, 41, 40, 39]]), _path(edges, marks[[42, 47, 46, 45]])
    hidden = _behind(face, edges, [*lips, *upper, *lower])
    face = face[~np.isin(face, hidden).any(1)]
    teeth = np.unique(new[part["teeth"]])
    low = np.linalg.norm(expression[names.index("jawOpen")][teeth], axis=1) > JAW_LEAST
    lower_jaw = new[part["teeth"]].astype(np.int32)
    lower_jaw = lower_jaw[np.isin(lower_jaw[:, 0], teeth[low])]
    return Head(
        vertices[source], identity, expression, names, face.astype(np.int32),
        new[part["teeth"]].astype(np.int32), new[part["gums"]].astype(np.int32),
        teeth[~low], teeth[low], lower_jaw, *lips, upper, lower,
        np.array(eyes, np.float32), marks, new[SURFACE], source,
    )  # fmt: skip


def _drawn(vertices: np.ndarray, marks: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Which triangles [f] are the front of the face: no ears, no neck."""
    centre = vertices[triangles].mean(1)
    side = np.abs(centre[:, 0])
    jaw = np.interp(side, marks[8:17, 0], marks[8:17, 1])
    keep = (side < EAR) & (centre[:, 2] > DEEP) & (centre[:, 1] > jaw - BELOW_JAW) & (centre[:, 1] < FACE_TOP)
    return keep


def _behind(triangles: np.ndarray, edges: dict, contours: list[np.ndarray]) -> list[int]:
    """Vertices inside the contours of lips and lids: the lips' inner side, the lids' edges. They join holes."""
    pairs = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), 1)
    pairs, counts = np.unique(pairs, axis=0, return_counts=True)
    rim = {int(v) for v in pairs[counts == 1].ravel()}
    wall = {int(v) for line in contours for v in line}
    hidden, done = [], set(wall)
    for start in rim - wall:
        if start in done:
            continue
        patch, stack = [], [start]
        done.add(start)
        while stack:
            vertex = stack.pop()
            patch.append(vertex)
            for other in edges[vertex]:
                if int(other) not in done:
                    done.add(int(other))
                    stack.append(int(other))
        if len(patch) < PATCH_MOST:
            hidden += patch
    return hidden


def _path(edges: dict, through: np.ndarray) -> np.ndarray:
    """The shortest way over edges through the given vertices."""
    way = [int(through[0])]
    for start, end in zip(through[:-1], through[1:], strict=True):
        cost, back, heap = {int(start): 0.0}, {}, [(0.0, int(start))]
        while heap:
            spent, vertex = heapq.heappop(heap)
            if vertex == end:
                break
            for other, length in edges[vertex].items():
                if spent + length < cost.get(other, np.inf):
                    cost[other], back[other] = spent + length, vertex
                    heapq.heappush(heap, (spent + length, other))
        piece, vertex = [], int(end)
        while vertex != start:
            piece.append(vertex)
            vertex = back[vertex]
        way += piece[::-1]
    return np.array(way)
