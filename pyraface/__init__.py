"""pyraface finds and encodes every face in large photo archives, on the machines you already own.

pyraface.client.Client, detect_faces    through daemons, on this machine or others
pyraface.core.pipeline.Pipeline         embedded, without a server
"""

__version__ = "0.1.0"
