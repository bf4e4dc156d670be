"""The server: one process on the network, and its worker, a child process that finds faces.

server      the life of a daemon, from its start to the last answer
listener    clients accepted, admitted, given TLS and served, or refused
state       the data shared by all connections of one server
connection  one client
admission   the limits on connected clients
budget      bytes that all connections together may hold
executor    the daemon's side of its worker: a queue, time limits, restarts
beacon      announcements by UDP broadcast
tls         the server's key, and its certificate
pair        a key given to another machine by a code
logs, process   the daemon's log, and its own memory, core dumps and descriptors
worker/     the child process: decoding threads and the engine; nothing imports it
"""
