"""Reference: face_recognition, imported so that Pillow still refuses truncated images."""

from __future__ import annotations

import face_recognition
from PIL import ImageFile

__all__ = ["face_recognition"]

# face_recognition sets it for the whole process, as it is imported: pyraface beside it would search halves of images
ImageFile.LOAD_TRUNCATED_IMAGES = False
