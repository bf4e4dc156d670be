"""Scheduling: decisions about which server gets which image, without I/O and without a clock."""
