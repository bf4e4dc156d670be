"""dlib's networks without a library that runs them: files and weights, the packed pyramid, non-maximum suppression."""
