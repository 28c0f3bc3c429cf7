"""What the protocol takes of agents: the forms of their names and ids, and how much of everything.

Handlers refuse what is past these limits, and the agent SDK refuses it before it is sent.
"""

from typing import Final

#: Part of Redis keys, of scopes and of the names of topics, so plain and short.
AGENT_NAME: Final = r"[a-z][a-z0-9_-]{0,63}"
#: As an agent's name, and with dots: skills are often named in groups.
SKILL_ID: Final = r"[a-z][a-z0-9_.-]{0,63}"
#: 16 random bytes in base64url (RFC 4648, section 5): nobody can guess them.
INSTANCE_ID: Final = r"[A-Za-z0-9_-]{22}"
#: Begins with the agent's name, by which its keys are found.
TASK_ID: Final = rf"{AGENT_NAME}\.{INSTANCE_ID}"

#: Seconds that a caller may give a task, or an agent an answer. It is for ever, and what is more is
#: no longer exact in the milliseconds of a script.
MAX_SECONDS: Final = 10**12
#: The least of them: time is counted in milliseconds.
MIN_SECONDS: Final = 0.001
#: Attempts of a task, and chunks of it: integers above this are not exact in JavaScript and Lua.
MAX_COUNT: Final = 2**53 - 1
#: Characters of what is asked for as a task: room for longer ids of later versions.
MAX_TASK_LENGTH: Final = 128
#: Skills of an agent. An instance's place among those that are free is kept for each.
MAX_SKILLS: Final = 64
#: Tasks of one instance at a time: as many as are looked through when it dies.
MAX_CAPACITY: Final = 1000
#: Users that may see a task beside its caller; each is compared at each look.
MAX_WATCHERS: Final = 20
#: Agents of one page of the list; the bytes of a reply are usually reached before.
MAX_PAGE: Final = 1000
#: Chunks of one update; an event must hold them.
MAX_CHUNKS: Final = 1000
#: Characters of what people read: a skill's description, a question, the words of a failure.
MAX_WORDS: Final = 2000
#: Characters of why a task is cancelled: it is kept with the task.
MAX_REASON: Final = 500
#: Characters of an agent's own code of a failure: as a message type's.
MAX_CODE_LENGTH: Final = 128
