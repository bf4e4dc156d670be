"""People: names that photographs hold already, matched to faces, and the file that keeps them."""
