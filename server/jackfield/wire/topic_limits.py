"""What the protocol takes of topics: how long their names and the keys of publications may be."""

from typing import Final

#: Characters of a topic's name. A name is part of several Redis keys, and stands in every event.
MAX_TOPIC_LENGTH: Final = 255
#: Characters of an idempotency key, of a publication or a call: any kind of unique id fits.
MAX_KEY_LENGTH: Final = 128
