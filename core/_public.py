"""Public names of the core, each stated once: `pyraface` takes them from here at their first use."""

from .compare import compare as compare
from .compare import distance as distance
from .compare import iou as iou
from .pipeline import Pipeline as Pipeline
