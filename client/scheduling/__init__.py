"""Which server gets which image: decisions only, no I/O and no clock."""
