"""Upright: the quarter turn that brings each proposed face upright.

dlib's detector finds four in five faces that lie on their side, and encodes them as rubbish; its confidence does not tell.
The proposer finds faces in every position, but scores an upright one higher: so it looks once more at each proposal, small,
in all four quarter turns. Faces of one photograph mostly agree, because a photograph that lies on its side does so with
all of them. docs/accuracy.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..engines import Pixels, Proposer

TURNS = (0, 90, 180, 270)
"""Degrees clockwise."""

SIDE = 64
"""Pixels of the tile's side: a face has 38. On photographs turned by each quarter turn, the upright tile had the highest
score for all of 293 faces; with faces of 29 px, and in tiles of 96 and 128 px, for one or two less."""

LEAST, MOST = 0.02, 0.98
"""Limits of a score: beyond them, its logarithm of the odds would tell of nothing but noise."""

SURE = 0.6
"""The score, in its best turn, from which a proposal has a say about the photograph: nearly all faces, one thing in ten."""

UPRIGHT, SHARED = 0.3, 1.5
"""The advantage, in logarithms of the odds, of no turn, and of the turn in which more than half of the photograph's sure
proposals are upright. With both, 3 of 1403 upright faces on 124 photographs were declared turned, without them 30; a turned
face alone in its photograph is recognised as before."""


def turns(proposer: Proposer, cuts: Sequence[Pixels]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Returns the degrees clockwise, (n,), that bring the proposed face in each cut upright, and its score then, (n,).

    Args:
        cuts: of one photograph, square, the face in the middle with 0.6 of the side.

    Raises:
        EngineError: the proposer failed.
    """
    if not cuts:
        return np.zeros(0, np.int32), np.zeros(0, np.float32)
    sides = [Image.fromarray(cut).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for cut in cuts]
    upright = np.array([np.asarray(side) for side in sides], np.uint8).reshape(-1, SIDE, SIDE, 3)
    tiles = np.stack([np.rot90(upright, -turn // 90, axes=(1, 2)) for turn in TURNS], axis=1)
    tiles = tiles.reshape(-1, SIDE, SIDE, 3)
    scores = proposer.scores(list(tiles)).reshape(-1, len(TURNS))
    best = decided(scores)
    return np.array(TURNS, np.int32)[best], scores[np.arange(len(scores)), best]


def decided(scores: NDArray[np.float32]) -> NDArray[np.intp]:
    """Returns the index of the turn, (n,), for the scores of n proposals of one photograph in each of TURNS, (n, 4)."""
    likely = np.clip(scores, LEAST, MOST).astype(np.float64)
    evidence = np.log(likely / (1 - likely))
    evidence[:, 0] += UPRIGHT
    votes = np.bincount(evidence[scores.max(axis=1) >= SURE].argmax(axis=1), minlength=len(TURNS))
    if votes.max() * 2 > votes.sum():
        evidence[:, votes.argmax()] += SHARED
    best: NDArray[np.intp] = evidence.argmax(axis=1)
    return best
