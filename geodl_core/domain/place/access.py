"""How assets are reached: with whose credentials, by which of their hrefs, and what is out of bounds."""

from dataclasses import dataclass, field

from geodl_core.domain.place.address import AllowedHosts

PLANETARY_COMPUTER = "planetarycomputer.microsoft.com"


@dataclass(frozen=True, slots=True)
class Access:
    """What holds for the assets of all Items; the places of plans and results are the operator's own affair."""

    is_service: bool = False
    """Items come from strangers: their hrefs may name public servers and buckets alone."""
    allowed_hosts: AllowedHosts = field(default_factory=AllowedHosts)
    """In service mode: what may be read besides."""
    pays: bool = False
    """Buckets whose owner makes the reader pay may be read."""
    is_anonymous: bool = False
    """Buckets are read without credentials."""
    schemes: tuple[str, ...] = ()
    """Of hrefs, best first; an asset with alternates is read by the first it has. None: by its own href."""
    signing_url: str = f"https://{PLANETARY_COMPUTER}/api/sas/v1"
    """Of the Planetary Computer's service that signs hrefs."""
    signing_key: str | None = field(default=None, repr=False)
    """A subscription to it; it works without, for less."""
    gdal: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """GDAL's names for what the environment says of object stores under obstore's."""
