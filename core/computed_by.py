"""ComputedBy: the engine, the device and the software that computed a result."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from functools import lru_cache


@dataclass(frozen=True)
class ComputedBy:
    """The origin of a result. Another one computes the same faces, but for noise: it makes no result stale.

    Attributes:
        engine: "onnx" or "dlib".
        device: the kind of device, and anything else of it on which digits may depend: "cpu, int8", "cuda, Orin".
        version: of pyraface, then those of the engine's libraries: "0.1.0, onnxruntime 1.32.0, dlib 20.0.1".
    """

    engine: str
    device: str
    version: str

    def has(self, value: str) -> bool:
        """Returns whether a value is the engine, the device or the version, or a part of one between commas.

        Upper and lower case are the same.
        """
        value = value.casefold()
        texts = [text.casefold() for text in (self.engine, self.device, self.version)]
        return value in texts or any(value in text.split(", ") for text in texts)

    def as_json(self) -> dict[str, str]:
        """Returns the map that stands for it in a line of the output."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> ComputedBy | None:
        """Returns the origin that a line of an output has, None for any other value."""
        if not isinstance(value, dict):
            return None
        texts = tuple(text for key in _KEYS if isinstance(text := value.get(key), str))
        return _computed_by(*texts) if len(texts) == len(_KEYS) else None


_KEYS = tuple(field.name for field in fields(ComputedBy))


@lru_cache
def _computed_by(engine: str, device: str, version: str) -> ComputedBy:
    """The lines of an output have few of them."""
    return ComputedBy(engine, device, version)
