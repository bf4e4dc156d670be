"""The process that finds faces, and nothing else: the daemon starts it, and nothing imports it."""
