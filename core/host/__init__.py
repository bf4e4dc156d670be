"""What touches the machine: files of keys, network interfaces, other processes, asyncio tasks."""
