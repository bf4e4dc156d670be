"""The pool of servers: found, connected, kept up, and given images as the scheduler decides."""
