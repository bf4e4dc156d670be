"""People: names that photographs hold already, the faces that they belong to, and the file that keeps both.

    RegionReader                        reads the regions of photographs, of their sidecars and of Picasa's files
    Regions, Region, PhotographSize     what it found: boxes in pixels of the upright picture
    match, Matching, Pair               which face each region is around
    load, update, people_path           the people file, faces.people.json
    People, Person, NamedFace           what is in it

docs/people.md shows them.
"""

from .client.people.matching import Matching as Matching
from .client.people.matching import Pair as Pair
from .client.people.matching import match as match
from .client.people.people import NamedFace as NamedFace
from .client.people.people import People as People
from .client.people.people import Person as Person
from .client.people.people_file import load as load
from .client.people.people_file import people_path as people_path
from .client.people.people_file import update as update
from .client.people.photographs import RegionReader as RegionReader
from .client.people.regions import PhotographSize as PhotographSize
from .client.people.regions import Region as Region
from .client.people.regions import Regions as Regions
from .core.errors import PeopleFileError as PeopleFileError
