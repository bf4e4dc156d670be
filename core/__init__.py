"""Core: the computation, bytes and arrays in, values out; no sockets, no clock, no logging set-up.

Only two kinds of files are read from disk: a parameters file (`parameters.load`) and the networks' weights.
"""
