"""The server: one process that talks, one child process that finds faces.

server      the life of a daemon, from start to the last answer
connection  one client
executor    the parent's side of the child: queue, time limits, restarts
worker      the child: decoding threads and the engine
beacon      says over UDP that this server is here
"""
