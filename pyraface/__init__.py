"""pyraface finds and encodes every face in large photo archives, on the machines you already own.

    from pyraface.client import Client, detect_faces      # through daemons, on this machine or others
    from pyraface.core.pipeline import Pipeline           # embedded, without a server
"""

__version__ = "0.1.0"
