"""What touches the machine: files of keys, standard streams, network interfaces, other processes, asyncio tasks."""
