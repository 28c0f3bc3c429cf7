"""So many handlers of a plugin run at once, and each that ends makes room for one."""

import pytest

from jackfield import Error
from jackfield.dispatch.bulkhead import Bulkhead


def test_past_the_limit_a_handler_is_refused_until_another_has_ended() -> None:
    bulkhead = Bulkhead(2)
    bulkhead.acquire()
    bulkhead.acquire()
    for _ in range(2):  # a refusal takes nothing
        with pytest.raises(Error) as refused:
            bulkhead.acquire()
    error = refused.value.as_dict()
    assert (error["code"], error["retry_after"]) == ("rate_limited", 1.0)
    bulkhead.release()
    bulkhead.acquire()
    with pytest.raises(Error):
        bulkhead.acquire()
