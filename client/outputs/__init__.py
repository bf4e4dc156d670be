"""Where results go: the journal of JSON lines, its index, its file."""
