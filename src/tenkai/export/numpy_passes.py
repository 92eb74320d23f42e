"""What NumPy does by itself: broadcasting in elementwise operations."""

from __future__ import annotations

from .ir import Block, Operation, Value, same_shape, same_size
from .numpy_forms import ELEMENTWISE, aligned
from .simplify import without_dead_code


def aligned_broadcasts(block: Block) -> Block:
    """The block with elementwise operands repeated by NumPy instead of by an operation."""
    return without_dead_code(_rewritten(block, {}))


def _rewritten(block: Block, makers: dict[int, Operation]) -> Block:
    makers, operations = dict(makers), []
    for op in block.operations:
        blocks = tuple(_rewritten(b, makers) for b in op.blocks)
        inputs = list(op.inputs)
        if op.kind in ELEMENTWISE and len(inputs) > 1:
            inputs, added = _aligned(op, makers)
            operations += added
        op = Operation(op.kind, inputs, op.outputs, op.params, blocks, op.source)
        operations.append(op)
        makers.update((id(o), op) for o in op.outputs)
    return Block(block.inputs, operations, block.outputs)


def _aligned(op: Operation, makers: dict[int, Operation]) -> tuple[list[Value], list[Operation]]:
    shape = op.outputs[0].shape
    changed, added, covered = list(op.inputs), [], set[int]()
    for i, value in enumerate(op.inputs):
        maker = makers.get(id(value))
        if maker is None or maker.kind != "broadcast_in_dim" or not same_shape(value.shape, shape):
            if same_shape(value.shape, shape):
                covered.update(range(len(shape)))
            continue
        inner, dims = maker.inputs[0], tuple(maker.params["broadcast_dimensions"])
        for d, n in zip(dims, inner.shape, strict=True):
            if same_size(n, shape[d]):
                covered.add(d)
        index = aligned(inner.shape, dims, len(shape))
        changed[i] = inner
        if index and inner.shape:
            changed[i] = Value((), inner.dtype, level=value.level)
            added.append(Operation("aligned", [inner], [changed[i]], {"index": index}))
    if covered != set(range(len(shape))):
        return list(op.inputs), []
    return changed, added
