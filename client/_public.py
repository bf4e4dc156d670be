"""Public names of the client, each said once: `pyraface.client` and `pyraface` take them from here at their first use."""

from ..core.errors import DetectionError as DetectionError
from ..core.errors import ErrorCode as ErrorCode
from ..core.errors import KeyFileError as KeyFileError
from ..core.errors import ParametersError as ParametersError
from ..core.errors import PyrafaceError as PyrafaceError
from ..core.errors import ServerError as ServerError
from ..core.faces import Face as Face
from ..core.faces import Faces as Faces
from ..core.results import Result as Result
from .api import Client as Client
from .blocking import detect_faces as detect_faces
from .blocking import encode_faces as encode_faces
from .blocking import map_faces as map_faces
from .pool.status import Availability as Availability
from .pool.status import ServerStatus as ServerStatus
