"""Pool of servers: discovery, connections, their supervision, and images sent as the scheduler decides."""
