"""A short run of `python -m tests.attacks`: whatever is done to a server, the honest are served."""

import pytest

from tests.attacks.rows import find_rows
from tests.attacks.run import lay_siege

#: Seconds: every row has come to its limit by then.
SHORT = 8


@pytest.mark.timeout(180)
async def test_all_attacks_at_once_leave_a_well_behaved_client_served() -> None:
    report = await lay_siege(find_rows(), SHORT)
    assert report.wrong == [], "\n".join(report.answers)
    assert report.rounds > 2


def test_rows_are_chosen_by_their_name_or_their_group() -> None:
    assert [row.name for row in find_rows(["tasks"])] == ["tasks"]
    assert {"tasks", "publications"} <= {row.name for row in find_rows(["shares"])}
    with pytest.raises(ValueError, match="no row or group nowhere"):
        find_rows(["nowhere"])
