"""The plugin that servers in processes of their own are tested with: rooms open to everyone."""

from marshmallow import Schema, fields

from jackfield import Plugin

rooms = Plugin("rooms")


class Line(Schema):
    """One publication, told apart by who published it and as their which."""

    by = fields.String(required=True)
    number = fields.Integer(required=True)


#: What a test may publish while a subscriber is away, and read in one reply.
_HISTORY = 1000

room = rooms.topic(
    "room:{name}", event=Line, history=_HISTORY, ttl="1h", presence=True, publish=True
)
#: What it keeps is soon gone.
brief = rooms.topic("brief:{name}", event=Line, history=3, ttl="1h", publish=True)
feed = rooms.topic("feed:{name}", event=Line, history=_HISTORY, ttl="1h", publish=True)
