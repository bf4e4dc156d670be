"""Bytes and arrays in, values out: no sockets, no clock, no logging set-up.

The one thing read from disk is what a caller names: a parameters file (`parameters.load`) and the networks' weights.
"""
