"""Outputs: the journal of a run, the index of its lines, the formats of lines, and the output file."""
