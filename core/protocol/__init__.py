"""The wire protocol without I/O: messages, their bytes, datagrams, proofs of a key, pairing."""
