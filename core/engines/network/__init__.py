"""dlib's networks: their files and weights, the packed pyramid, the suppression of overlapping boxes."""
