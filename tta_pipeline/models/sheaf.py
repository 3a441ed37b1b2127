"""Diffusion on hypergraphs through scalar sheaves.

References
----------
Duta, Cassara, Silvestri, Lio, "Sheaf Hypergraph Networks", NeurIPS 2023: section 3, the linear sheaf Laplacian.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Hypergraph:
    """Pairs of a node and a hyperedge that it is in, those of an edge one after another; every node is in some edge.

    node, edge : (pairs,) int64.
    size : (edges,) int64, members of each edge, at least 1.
    degree : (nodes,) int64, edges of each node, at least 1.
    by_node : (pairs,) int64, the order in which the pairs of a node are one after another.
    """

    node: Tensor
    edge: Tensor
    size: Tensor
    degree: Tensor
    by_node: Tensor

    @classmethod
    def of(cls, members: Tensor, *, valid: Tensor, nodes: int) -> "Hypergraph":
        """From members (edges, most), which are nodes, and which of them there are (edges, most)."""
        node = members[valid]
        size = valid.sum(dim=1)
        return cls(
            node=node,
            edge=torch.arange(len(members), device=members.device).repeat_interleave(size),
            size=size,
            degree=node.bincount(minlength=nodes),
            by_node=node.argsort(stable=True),
        )

    def to_edges(self, hidden: Tensor, *, weight: Tensor) -> Tensor:
        """Weighted sums over the members of each edge: (nodes, d) and (pairs,) -> (edges, d)."""
        return _sums(hidden, rows=self.node, weight=weight, sizes=self.size)

    def to_nodes(self, hidden: Tensor, *, weight: Tensor) -> Tensor:
        """Weighted sums over the edges of each node: (edges, d) and (pairs,) -> (nodes, d)."""
        order = self.by_node
        return _sums(hidden, rows=self.edge[order], weight=weight[order], sizes=self.degree)


def _sums(hidden: Tensor, *, rows: Tensor, weight: Tensor, sizes: Tensor) -> Tensor:
    """Sums of weighted rows, `sizes` of them in a group; no row is copied."""
    first = sizes.cumsum(dim=0) - sizes
    summed: Tensor = F.embedding_bag(rows, hidden, first, mode="sum", per_sample_weights=weight)
    return summed


class SheafConvolution(nn.Module):
    """One step of diffusion, then a linear layer: D^-1/2 H B^-1 H^T D^-1/2 X W + b.

    H_ve = sigmoid(a x_v + c m_e + d) is the restriction map of a node v to an edge e that it is in, with m_e the mean
    of the edge's members; B holds the sizes of edges, and D_v = sum_e H_ve^2.
    """

    def __init__(self, width: int):
        super().__init__()
        self.restriction = nn.Linear(2 * width, 1)
        self.linear = nn.Linear(width, width)

    def maps(self, hidden: Tensor, graph: Hypergraph) -> Tensor:
        """Restriction maps (pairs,) of nodes (nodes, width), in (0, 1)."""
        own, of_edge = self.restriction.weight.view(2, -1)
        share = graph.size.to(hidden.dtype).reciprocal()[graph.edge]  # (pairs,)
        common = hidden.new_zeros(len(graph.size)).index_add(0, graph.edge, (hidden @ of_edge)[graph.node] * share)
        maps: Tensor = ((hidden @ own)[graph.node] + common[graph.edge] + self.restriction.bias).sigmoid()
        return maps

    def forward(self, hidden: Tensor, graph: Hypergraph) -> Tensor:
        """(nodes, width) -> (nodes, width)."""
        maps = self.maps(hidden, graph)
        strength = hidden.new_zeros(len(hidden)).index_add(0, graph.node, maps.square())  # D, (nodes,)
        weight = maps * strength.rsqrt()[graph.node]
        edges = graph.to_edges(hidden, weight=weight / graph.size[graph.edge])
        out: Tensor = self.linear(graph.to_nodes(edges, weight=weight))
        return out
