"""People: names that photographs hold already, and the faces that they belong to.

    RegionReader       reads the regions of photographs, of their sidecars and of Picasa's files
    Regions, Region    what it found: boxes in pixels of the upright picture
    PhotographSize            the size and the orientation of a photograph

docs/people.md shows them.
"""

from .client.people.photographs import RegionReader as RegionReader
from .client.people.regions import PhotographSize as PhotographSize
from .client.people.regions import Region as Region
from .client.people.regions import Regions as Regions
