"""Image files: bytes in, upright RGB pixels out."""
