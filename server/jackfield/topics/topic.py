"""`Topic`: a topic of this node, found by its name."""

from typing import NamedTuple

from jackfield.declaration.topic_family import TopicFamily
from jackfield.store.topics import StoredTopic


class Topic(NamedTuple):
    """A topic, found by its name.

    Attributes:
        name: Its name.
        family: Its family.
        parts: What its name has in the places of the family's pattern.
        stored: What Redis has to know of it.
        head: The start of its events in JSON, up to the offset.
    """

    name: str
    family: TopicFamily
    parts: dict[str, str]
    stored: StoredTopic
    head: bytes
