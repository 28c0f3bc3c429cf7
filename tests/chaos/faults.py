"""What goes wrong, at random: every fault begins, lasts for a while, and is mended by itself."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from tests.chaos.system import System

#: What a connection has sent that is a pub/sub link.
_LINK: Final = "SSUBSCRIBE"
#: What stands in every publication, and in no other request.
_PUBLICATION: Final = b'"number":'


class Spell(NamedTuple):
    """One fault that is under way.

    Attributes:
        system: What it happens to.
        chance: Where it takes its choices from.
        tell: Called with what it does, in words.
    """

    system: System
    chance: random.Random
    tell: Callable[[str], None]

    async def lasts(self, shortest: float, longest: float) -> None:
        """Wait for some seconds."""
        await asyncio.sleep(self.chance.uniform(shortest, longest))


Fault = Callable[[Spell], Awaitable[None]]


async def kill_node(spell: Spell) -> None:
    """A node is killed, and after a while another is started."""
    place = spell.chance.choice(spell.system.places)
    spell.tell(f"{place.name} is killed")
    await place.kill()
    await spell.lasts(0, 3)
    await place.start()
    spell.tell(f"{place.name} is started again")


async def hold_node(spell: Spell) -> None:
    """A node stands still, sometimes until it is dead to the others."""
    place = spell.chance.choice(spell.system.places)
    spell.tell(f"{place.name} stands still")
    with place.node.paused():
        await spell.lasts(0.2, 6)
    spell.tell(f"{place.name} goes on")


async def hold_redis(spell: Spell) -> None:
    """Redis stands still."""
    spell.tell("Redis stands still")
    with spell.system.valkey.paused():
        await spell.lasts(0.1, 3)
    spell.tell("Redis goes on")


async def restart_redis(spell: Spell) -> None:
    """Redis is killed and started again, with its data."""
    spell.tell("Redis is killed")
    await spell.system.valkey.kill()
    await spell.lasts(0, 1)
    await spell.system.valkey.start()
    spell.tell("Redis is started again")


async def forget_scripts(spell: Spell) -> None:
    """Redis forgets all scripts."""
    spell.tell("Redis forgets all scripts")
    await spell.system.valkey.ask("SCRIPT FLUSH")


async def cut(spell: Spell) -> None:
    """All lines to Redis are cut."""
    spell.tell(f"{spell.system.proxy.cut()} lines are cut")


async def cut_links(spell: Spell) -> None:
    """The pub/sub links are cut."""
    spell.tell(f"{spell.system.proxy.cut(_LINK)} pub/sub links are cut")


async def refuse(spell: Spell) -> None:
    """All lines to Redis are cut, and no new ones taken."""
    spell.tell("lines are cut and refused")
    spell.system.proxy.refuse()
    spell.system.proxy.cut()
    await spell.lasts(0.1, 2)
    spell.system.proxy.heal()
    spell.tell("lines are taken again")


async def silence(spell: Spell) -> None:
    """All lines to Redis fall silent, and stay open."""
    spell.tell("lines fall silent")
    spell.system.proxy.black_hole()
    await spell.lasts(0.1, 2)
    spell.system.proxy.heal()
    spell.tell("lines are heard again")


async def silence_links(spell: Spell) -> None:
    """The pub/sub links fall silent, and stay open; what is published meanwhile does not come."""
    spell.tell("pub/sub links fall silent")
    spell.system.proxy.black_hole(_LINK)
    await spell.lasts(0.1, 3)
    spell.system.proxy.heal()
    spell.tell("pub/sub links are heard again")


async def strand_links(spell: Spell) -> None:
    """The pub/sub links die unnoticed; new ones work."""
    spell.tell(f"{spell.system.proxy.strand(_LINK)} pub/sub links die unnoticed")


async def lose_reply(spell: Spell) -> None:
    """The reply to a publication that has been made is lost."""
    spell.tell("the reply to a publication is lost")
    spell.system.proxy.cut_after_request(_PUBLICATION)


#: Faults by what they happen to: those of one kind come one after another, and at the same time as
#: those of other kinds.
FAULTS: Final[Mapping[str, Sequence[Fault]]] = {
    "nodes": (kill_node, hold_node),
    "redis": (hold_redis, forget_scripts),
    "lines": (cut, cut_links, refuse, silence, silence_links, strand_links, lose_reply),
}


async def go_wrong(spell: Spell, faults: Sequence[Fault], seconds: float) -> None:
    """Let one fault after another happen for a while; what has begun by then is mended.

    Args:
        spell: What they happen to, and by which chance.
        faults: Which may happen.
        seconds: How long.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    while True:
        await spell.lasts(0.1, 2)
        if loop.time() > end:
            return
        await spell.chance.choice(faults)(spell)
