"""Options of analyses of edges and networks in some of the people."""

from __future__ import annotations

from typing import Literal

from conn.config.base import Name, Section


class Features(Section):
    """Whose edges and networks an analysis looks at."""

    subset: dict[Name, tuple[str, ...]] = {}
    """Keep only people whose variable has one of these values."""
    edges: tuple[tuple[str, str], ...] | str = "all"
    """Pairs of regions: `all`, `none`, a list of pairs, or the name of a network (`conn rois networks`, or of `connectivity.networks`)."""
    networks: tuple[str, ...] = ()
    """Networks whose mean over their edges is looked at too. A network that `edges` names is so by itself."""
    edge_measure: Literal["pearson", "partial"] = "pearson"
    """Whether an edge is a Pearson or a partial correlation; see `connectivity.partial`."""

    @property
    def declared_networks(self) -> tuple[str, ...]:
        """Networks whose mean is looked at, the one that `edges` names first."""
        named = (self.edges,) if isinstance(self.edges, str) and self.edges not in ("all", "none") else ()
        return tuple(dict.fromkeys([*named, *self.networks]))

    @property
    def nothing(self) -> bool:
        """Neither edges nor networks."""
        return self.edges == "none" and not self.networks
