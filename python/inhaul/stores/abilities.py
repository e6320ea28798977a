"""The abilities of a storage in a bucket, as `testremote` reports them."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ability:
    """An ability of a storage.

    Attributes:
        name: The name of the ability.
        works: Whether the storage has it.
        needed: Whether inhaul needs it.
        detail: What was observed if it does not work; otherwise empty.
    """

    name: str
    works: bool
    needed: bool
    detail: str


@dataclass(slots=True)
class RemoteReport:
    """The outcome of `testremote`.

    Attributes:
        url: The address of the storage in canonical form.
        abilities: The abilities that were tested, in the order of the tests.
    """

    url: str
    abilities: list[Ability] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """True if the storage has all abilities that inhaul needs."""
        return all(ability.works for ability in self.abilities if ability.needed)
