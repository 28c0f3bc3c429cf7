"""An instance is sent each order once, whatever comes twice, late or before its reply."""

import msgspec
import pytest

from jackfield.agents.instance import REGISTRATION, ConnectedInstance
from jackfield.store.tasks import HeldTask
from jackfield.wire.protocol import MSGPACK
from tests.support.connected import Connected

TASK = "echo." + "x" * 22


def order(number: int = 1) -> bytes:
    return msgspec.json.encode({"type": "agent.order", "payload": {"n": number}})


class Instance(ConnectedInstance):
    """An instance, its client, and how often it became active."""

    def __init__(self, **options: object) -> None:
        self.client = Connected(**options)  # type: ignore[arg-type]
        self.activations: list[ConnectedInstance] = []
        super().__init__("i1", "echo", self.client.connection, self.activations.append)

    def sent(self) -> list[int]:
        """The numbers of the orders it was sent."""
        return [message["payload"]["n"] for message in self.client.sent()]


@pytest.fixture
async def instance() -> Instance:
    instance = Instance()
    instance.activate()
    return instance


def held(attempt: int = 1, answers: int = 0) -> HeldTask:
    return HeldTask(TASK, attempt, seq=0, state="working", answers=answers)


async def test_orders_wait_for_the_reply_to_the_registration() -> None:
    instance = Instance()
    instance.obey(TASK, 1, "assigned", order(1))
    instance.obey(TASK, 1, "answered", order(2), 1)
    assert instance.sent() == []
    instance.activate()
    assert instance.sent() == [1, 2]
    assert instance.activations == [instance]
    instance.obey(TASK, 1, "canceled", order(3))
    assert instance.sent() == [3]


async def test_what_has_no_reply_is_sent_nothing() -> None:
    instance = Instance()
    instance.obey(TASK, 1, "assigned", order())
    instance.abandon()
    assert instance.sent() == []
    assert instance.activations == []


async def test_messages_are_in_the_clients_encoding() -> None:
    instance = Instance(codec=MSGPACK)
    instance.activate()
    instance.obey(TASK, 1, "assigned", order(7))
    assert instance.sent() == [7]


async def test_a_task_is_assigned_once_and_anew_in_a_later_attempt(instance: Instance) -> None:
    for number, attempt in enumerate((1, 1, 2, 1, 2)):
        instance.obey(TASK, attempt, "assigned", order(number))
    assert instance.sent() == [0, 2]
    assert instance.tasks[TASK].attempt == 2


async def test_a_task_that_was_expected_is_delivered_once(instance: Instance) -> None:
    instance.expect(held())
    assert not instance.tasks[TASK].is_delivered
    instance.obey(TASK, 1, "assigned", order(1))
    instance.obey(TASK, 1, "assigned", order(2))
    assert instance.sent() == [1]
    instance.expect(held())  # it is known to be delivered by now
    assert instance.tasks[TASK].is_delivered


@pytest.mark.parametrize("verb", ["canceled", "answered", "hold", "go", "unheard-of"])
@pytest.mark.parametrize("attempt", [0, 2])
async def test_orders_of_another_attempt_are_dropped(
    instance: Instance, verb: str, attempt: int
) -> None:
    instance.obey(TASK, 1, verb, order(), 1)
    instance.obey(TASK, 1, "assigned", order(5))
    instance.obey(TASK, attempt, verb, order(), 1)
    assert instance.sent() == [5]
    assert instance.tasks[TASK].resumed.is_set()
    assert instance.tasks[TASK].signals == 0


async def test_each_answer_is_sent_once(instance: Instance) -> None:
    instance.obey(TASK, 1, "assigned", order(0))
    for number in (1, 1, 2, 1, 3):
        instance.obey(TASK, 1, "answered", order(number), number)
    assert instance.sent() == [0, 1, 2, 3]


async def test_a_canceled_task_is_gone_and_whoever_waits_for_it_goes_on(
    instance: Instance,
) -> None:
    instance.obey(TASK, 1, "assigned", order(0))
    mine = instance.tasks[TASK]
    mine.resumed.clear()
    instance.obey(TASK, 1, "canceled", order(1))
    instance.obey(TASK, 1, "canceled", order(2))
    assert instance.sent() == [0, 1]
    assert instance.tasks == {}
    assert mine.resumed.is_set()


async def test_a_slow_caller_pauses_and_resumes_it_without_a_message(instance: Instance) -> None:
    instance.obey(TASK, 1, "assigned", order(0))
    mine = instance.tasks[TASK]
    instance.obey(TASK, 1, "hold", b"")
    assert not mine.resumed.is_set()
    instance.obey(TASK, 1, "go", b"")
    assert mine.resumed.is_set()
    assert mine.signals == 2
    assert instance.sent() == [0]


@pytest.mark.parametrize(
    ("known", "redis", "has_missed"),
    [
        (None, (1, 0), True),
        ((1, 0), (1, 0), False),
        ((1, 0), (2, 0), True),
        ((1, 0), (1, 1), True),
        ((1, 2), (1, 1), False),
    ],
)
async def test_what_redis_knows_and_it_does_not_was_missed(
    instance: Instance,
    known: tuple[int, int] | None,
    redis: tuple[int, int],
    *,
    has_missed: bool,
) -> None:
    if known is not None:
        instance.obey(TASK, known[0], "assigned", order())
        instance.tasks[TASK].answers = known[1]
    assert instance.has_missed(held(*redis)) is has_missed


async def test_what_was_only_expected_was_missed(instance: Instance) -> None:
    instance.expect(held())
    assert instance.has_missed(held())


async def test_who_registers_again_has_the_tasks_that_it_had(instance: Instance) -> None:
    instance.obey(TASK, 1, "assigned", order())
    again = Instance()
    again.take_tasks_of(instance)
    again.expect(held())
    assert again.tasks[TASK].is_delivered


async def test_a_task_that_was_lost_is_canceled_with_the_reason(instance: Instance) -> None:
    instance.obey(TASK, 3, "assigned", order())
    instance.sent()
    instance.cancel("echo.other")
    instance.cancel(TASK)
    (message,) = instance.client.sent()
    assert message["type"] == "agent.canceled"
    payload = message["payload"]
    assert (payload["task"], payload["attempt"]) == (TASK, 3)
    assert (payload["error"]["code"], payload["error"]["task"]) == ("agent_gone", TASK)
    assert instance.tasks == {}


async def test_a_connection_is_no_instance_at_first() -> None:
    client = Connected()
    assert client.connection[REGISTRATION].instance is None
    assert client.connection[REGISTRATION] is client.connection[REGISTRATION]
