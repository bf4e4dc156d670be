"""Worker: the daemon's child process that finds faces. The daemon starts it, and nothing imports it."""
