"""Hostile bytes of strangers, clients and images, against one daemon that outlasts them all."""
