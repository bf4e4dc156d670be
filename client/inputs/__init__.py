"""The images to be done: files found, and read ahead of the servers."""
