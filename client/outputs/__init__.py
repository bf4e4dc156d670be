"""Outputs: the journal of a run, the index of its lines, their formats, and the file they are in."""
