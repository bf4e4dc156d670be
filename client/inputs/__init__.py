"""Inputs: the images to be processed; their files are found, and read, ahead of the servers."""
