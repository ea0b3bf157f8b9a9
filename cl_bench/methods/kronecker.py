"""A quadratic penalty in Kronecker form: each layer is held in the eigenbasis of two factors.

For a layer's matrix W [out, in + 1] the precision is diagonal in U^T W V, U and V the eigenvectors
of a row factor B and a column factor A, be they of gradients (K-FAC) or of the weights' motion.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cl_bench.engine.layout import LayerBlocks
from cl_bench.engine.linalg import symmetric_eigen, trace
from cl_bench.engine.networks import Network
from cl_bench.engine.state import Kept
from cl_bench.methods.precision import Precision, shrinkage

Factors = Sequence[tuple[Tensor, Tensor]]
"""B [R, out, out] and A [R, in + 1, in + 1] of each layer."""


def accumulated(totals: list[Tensor], new: list[Tensor]) -> list[Tensor]:
    """Add each layer's to the totals in place and return them; if none, the new."""
    for total, part in zip(totals, new, strict=bool(totals)):
        total.add_(part)
    return totals or new


class Eigenbasis(Kept):
    """The eigenvectors of a layer's row factor B and the leading ones of its column factor A.

    B and A themselves are not kept: B is U diag(b) U^T, and A is V diag(a) V^T and, outside of the
    columns of V, as large in every direction.

    Args:
        left: U, [R, out, out].
        right: V, [R, in + 1, k].
        left_values: b, [R, out].
        right_values: a, [R, k].
        rest: the mean eigenvalue of A outside of V, [R, 1]; 0 where V is whole.
    """

    def __init__(
        self,
        left: Tensor,
        right: Tensor,
        left_values: Tensor,
        right_values: Tensor,
        rest: Tensor,
    ) -> None:
        self.left, self.right = left, right
        self.left_values, self.right_values, self.rest = left_values, right_values, rest

    @classmethod
    def of(cls, rows: Tensor, columns: Tensor, rank: int = 0) -> Eigenbasis:
        """Return the basis of B [R, out, out] and A [R, in + 1, in + 1].

        Args:
            rows: B.
            columns: A.
            rank: keep so many of A's leading eigenvectors; 0 keeps them all.
        """
        left_values, left = symmetric_eigen(rows)
        values, right = symmetric_eigen(columns)
        cut = max(0, values.shape[1] - rank) if rank else 0
        rest = values[:, :cut].sum(1, keepdim=True) / max(1, cut)
        # Copies: a view would keep what it was cut from alive.
        right, values = right[:, :, cut:].clone(), values[:, cut:].clone()
        return cls(left, right, left_values, values, rest)

    @property
    def whole(self) -> bool:
        """Whether every input direction is kept."""
        return self.right.shape[1] == self.right.shape[2]

    @property
    def left_out(self) -> int:
        """How many input directions are not kept."""
        return self.right.shape[1] - self.right.shape[2]

    def factors(self) -> tuple[Tensor, Tensor]:
        """Return B [R, out, out] and A [R, in + 1, in + 1]."""
        rows = torch.bmm(self.left * self.left_values.unsqueeze(1), self.left.mT)
        columns = torch.bmm(
            self.right * (self.right_values - self.rest).unsqueeze(1), self.right.mT
        )
        if not self.whole:
            columns.diagonal(dim1=1, dim2=2).add_(self.rest)
        return rows, columns

    def multiply(self, block: Tensor, scale: Tensor, rest: Tensor) -> Tensor:
        """Return a matrix [R, out, in + 1] with its coordinates multiplied, in the old basis.

        Args:
            block: the matrix.
            scale: the factor of each coordinate, [R, out, k].
            rest: of each row's coordinates outside of V, [R, out, 1].
        """
        rows = torch.bmm(self.left.mT, block)
        inner = torch.bmm(rows, self.right)
        turned = inner.mul_(scale if self.whole else scale - rest)
        back = torch.bmm(turned, self.right.mT)
        if not self.whole:
            back.addcmul_(rows, rest)
        return torch.bmm(self.left, back)


class Kronecker(Precision):
    """Each layer is held in the eigenbasis of a Kronecker product.

    For a layer's matrix W [out, in + 1], coordinates are U^T W V, with U and V the eigenvectors of
    the accumulated factors B [out, out] and A [in + 1, in + 1]; the precision is diagonal there.
    The basis is that of George et al. 2018 (arXiv 1806.03884).

    Args:
        network: whose layers these are.
        bases: the eigenbasis of each layer.
        scale: the precision of each coordinate, [R, out, k].
        rest: the precision of each row's coordinates outside of V, [R, out, 1].
        anchor: where the weights are held, [R, D].
    """

    def __init__(
        self,
        network: Network,
        bases: Sequence[Eigenbasis],
        scale: Sequence[Tensor],
        rest: Sequence[Tensor],
        anchor: Tensor,
    ) -> None:
        self.network = network
        self.bases, self.scale, self.rest = list(bases), list(scale), list(rest)
        self.anchor = anchor
        self.row_floor = torch.zeros_like(anchor[:, :1])
        """Added to each row: so many times the mean of the rows, [R, 1]. Not taken over by a
        later penalty, whose rows have the same mean."""

    @classmethod
    def joined(
        cls,
        network: Network,
        new: Factors,
        past: Kronecker | None,
        anchor: Tensor,
        *,
        rank: int = 0,
        power: Tensor | None = None,
        decay: Tensor | None = None,
    ) -> Kronecker:
        """Return the penalty B x A of each layer, with an earlier one taken in.

        The sum of two Kronecker products is none: kept is the exact diagonal of the sum in the
        eigenbasis of the summed factors, at the memory of one.

        Args:
            network: whose layers these are.
            new: B and A of each layer.
            past: the earlier penalty; it moves to the new anchor.
            anchor: where the weights are held, [R, D].
            rank: input directions of a layer to keep; 0 keeps them all.
            power: of the new precision, [R, 1]; None is 1.
            decay: the weight of the past, [R, 1]; None is 1.
        """
        share = torch.ones_like(anchor[:, :1]) if decay is None else decay
        bases, scales, rests = [], [], []
        for layer, (rows, columns) in enumerate(new):
            total = rows, columns
            if past is not None:
                summed = zip(total, past.bases[layer].factors(), strict=True)
                rows_and, columns_and = (a + share.unsqueeze(-1) * b for a, b in summed)
                total = rows_and, columns_and
            basis = Eigenbasis.of(*total, rank)
            left = _spread(rows, basis.left).unsqueeze(2)
            right = _spread(columns, basis.right).unsqueeze(1)
            beyond = trace(columns).unsqueeze(-1) - right.sum(2, keepdim=True)
            outside = beyond.clamp(min=0) / max(1, basis.left_out)
            scale, rest = left * right, left * outside
            bases.append(basis)
            scales.append(scale if power is None else scale.pow(power.unsqueeze(-1)))
            rests.append(rest if power is None else rest.pow(power.unsqueeze(-1)))
        joined = cls(network, bases, scales, rests, anchor)
        if past is not None:
            joined.take_in(past, share.unsqueeze(-1))
        return joined

    @property
    def layers(self) -> LayerBlocks:
        """The network's layers as matrices."""
        return self.network.layer_blocks

    @property
    def outputs_constrained(self) -> Tensor:
        """How many combinations of the outputs are held, [R, 1]: those of its last layer's B.

        The participation ratio of B's eigenvalues: n for n that are equal.
        """
        values = self.bases[-1].left_values.clamp(min=0)
        square = values.square().sum(1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
        return values.sum(1, keepdim=True).square() / square

    def held(self, layer: int) -> tuple[Tensor, Tensor]:
        """Return a layer's precision with its floor: [R, out, k] and, outside of V, [R, out, 1]."""
        floor = self.row_floor.unsqueeze(-1)

        def floored(rows: Tensor) -> Tensor:
            return rows + floor * rows.mean(1, keepdim=True)

        return floored(self.scale[layer]), floored(self.rest[layer])

    def prepare(self, rate: Tensor) -> None:
        stiff = rate.unsqueeze(-1)
        self._share = [
            (shrinkage(stiff * scale), shrinkage(stiff * rest))
            for scale, rest in map(self.held, range(len(self.bases)))
        ]

    def pull(self, theta: Tensor) -> None:
        gap = theta - self.anchor
        for layer, (share, rest) in enumerate(self._share):
            block = self.layers.block(gap, layer)
            self.layers.subtract(theta, layer, self.bases[layer].multiply(block, share, rest))

    def gradient(self, theta: Tensor) -> Tensor:
        gap = theta - self.anchor
        negative = torch.zeros_like(theta)
        for layer, basis in enumerate(self.bases):
            block = self.layers.block(gap, layer)
            held = basis.multiply(block, *self.held(layer))
            self.layers.subtract(negative, layer, held)
        return negative.neg_()

    def to_matrix(self) -> Tensor:
        runs, size = self.anchor.shape
        every = torch.eye(size, dtype=self.anchor.dtype).expand(runs, size, size)
        at_zero = self.gradient(torch.zeros_like(self.anchor))
        columns = [self.gradient(every[:, i]) - at_zero for i in range(size)]
        return torch.stack(columns, 2)

    def diagonal_in(self, layer: int, basis: Eigenbasis) -> tuple[Tensor, Tensor]:
        """Return the exact diagonal of a layer's precision in another basis, and the rest's mean.

        Returns:
            [R, out, k] and, outside of the other's V, the mean of each row, [R, out, 1].
        """
        own, scale, rest = self.bases[layer], self.scale[layer], self.rest[layer]
        turn_left = torch.bmm(basis.left.mT, own.left).square_()
        turn_right = torch.bmm(own.right.mT, basis.right).square_()
        found = torch.bmm(torch.bmm(turn_left, scale), turn_right)
        if not own.whole:
            outside = (1 - turn_right.sum(1, keepdim=True)).clamp(min=0)
            found += torch.bmm(turn_left, rest) * outside
        if basis.whole:
            return found, torch.zeros_like(rest)
        total = torch.bmm(turn_left, scale.sum(2, keepdim=True) + rest * own.left_out)
        left_over = (total - found.sum(2, keepdim=True)).clamp(min=0)
        return found, left_over / basis.left_out

    def take_in(self, past: Kronecker, decay: Tensor) -> None:
        """Add an earlier penalty, as far as it is diagonal in this basis, about this anchor.

        Args:
            past: the earlier penalty; it moves to this one's anchor.
            decay: its weight, [R, 1, 1].
        """
        for layer, basis in enumerate(self.bases):
            scale, rest = past.diagonal_in(layer, basis)
            self.scale[layer] += decay * scale
            self.rest[layer] += decay * rest


def _spread(factor: Tensor, basis: Tensor) -> Tensor:
    """Return the diagonal of basis^T factor basis, [R, k]: not negative but for rounding."""
    return (torch.bmm(factor, basis) * basis).sum(1).clamp(min=0)
