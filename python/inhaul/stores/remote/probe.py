"""Tests of the abilities of a server, one after the other."""

from collections.abc import Awaitable, Callable, Iterable

from inhaul.stores.abilities import Ability, RemoteReport
from inhaul.stores.remote.limiter import Limits

LIMITS = Limits(no_progress=20, give_up=20)
"""The limits on requests of a test."""


Attempt = tuple[str, bool, Callable[[], Awaitable[str | None]]]
"""The name of an ability, whether inhaul needs it, and a function that uses it and returns the problem, in words."""


async def try_each(
    report: RemoteReport, attempts: Iterable[Attempt], problem_of: Callable[[Exception], str | None]
) -> None:
    """Tests one ability after the other.

    Args:
        report: Gets the abilities.
        attempts: The abilities.
        problem_of: Returns the problem that an error shows, in words; None for an error that ends the test of all.
    """
    for name, needed, attempt in attempts:
        try:
            problem = await attempt()
        except Exception as error:
            problem = problem_of(error)
            if problem is None:
                raise
        report.abilities.append(Ability(name, problem is None, needed, problem or ""))
