"""Images: the bytes of a file in, upright RGB pixels out."""
