"""What scripts publish on channels, as templates.

On a topic's channel go messages for its members: events, or changes of its presence. A line says
the number of the first and the bytes of each, and behind it they stand end to end.

On a node's channel of an agent go records, end to end: a line of words that ends with the bytes of
what follows, which may be nothing. A record is an event of a task that the node follows, or an
order: what an instance at the node has to do or to know.
"""

from typing import Final

TEMPLATES: Final = {
    "events_message": "e $epoch $first $sizes\n$events",
    "presence_message": "p - $first $sizes\n$changes",
    "record": "$words $size\n$body",
    "event_record": "e $task $epoch $offset",
    "order_record": "o $instance $task $attempt $verb",
    # How often a task was answered goes along: an instance is told each answer once.
    "answer_record": "o $instance $task $attempt answered $number",
    # The instance has come back at another node.
    "moved_record": "o $instance - 0 moved",
}
