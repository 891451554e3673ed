"""A study's policy by name: who proposes configurations, and who decides how far they go."""

from pipeline.search.schedules import Scheduled
from pipeline.search.seen import Ladder, Policy
from pipeline.search.space import Space


def build(
    space: Space,
    ladder: Ladder,
    *,
    sampler: str,
    schedule: str = "none",
    eta: int = 3,
    seed: int = 0,
) -> Policy:
    """Return the policy of a sampler and a schedule, as a study names them."""
    if sampler == "multitask":
        from pipeline.search.multitask import Multitask  # scikit-learn takes a second to load

        return Multitask(space, ladder, seed)
    return Scheduled(space, ladder, sampler, schedule, eta, seed)
