"""What the environment says; read once, by the command line or a handler, and by nothing else."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_OUT = "geodl-out"
CATALOG_NAME = "catalog.db"


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that hold where a command's own options say nothing."""

    out: Path
    """`GEODL_OUT`: folder of results."""
    catalog: str
    """`GEODL_CATALOG`: path or URL of the catalog; by default `catalog.db` in `out`."""
    cache: Path
    """`GEODL_CACHE`: folder of what may be made anew at any time; by default `geodl` where the system keeps caches."""
    is_debugging: bool
    """`GEODL_DEBUG`: show where an unexpected error came from."""

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """Read the `GEODL_*` variables."""
        out = Path(env.get("GEODL_OUT") or DEFAULT_OUT)
        return cls(
            out=out,
            catalog=env.get("GEODL_CATALOG") or str(out / CATALOG_NAME),
            cache=Path(env.get("GEODL_CACHE") or _user_cache(env) / "geodl"),
            is_debugging=env.get("GEODL_DEBUG", "") not in ("", "0"),
        )


def _user_cache(env: Mapping[str, str]) -> Path:
    """Return the folder of the user's caches (XDG Base Directory Specification; %LOCALAPPDATA% on Windows)."""
    return Path(env.get("XDG_CACHE_HOME") or env.get("LOCALAPPDATA") or Path.home() / ".cache")
