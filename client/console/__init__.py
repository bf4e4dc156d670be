"""Console output of the command: progress, rates, the dashboard, text on a terminal."""
