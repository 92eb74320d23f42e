"""Functions that an exported NumPy module takes along, by source, where it needs them.

Each reads only NumPy and others of this file. They are tested here as they are exported.
"""

import numpy as np

# ruff: noqa: B905  (they also run under older Pythons)


def _quotient(x, y):
    """Whole numbers divided towards zero."""
    whole = np.abs(x) // np.abs(y)
    return np.where((x < 0) == (y < 0), whole, -whole).astype(np.result_type(x, y))


def _round_away(x):
    """The nearest whole number; halves go away from zero."""
    return np.where(np.abs(x - np.trunc(x)) == 0.5, np.trunc(x) + np.sign(x), np.rint(x))


def _erf_erfc(x):
    """The error function and its complement: a series below 2, a continued fraction above."""
    a = np.abs(np.asarray(x, np.float64))
    small, large = np.minimum(a, 2.0), np.clip(a, 2.0, 30.0)
    term = total = np.ones_like(a)
    for n in range(1, 50):
        term = term * (2 * small**2 / (2 * n + 1))
        total = total + term
    inner = 2 / np.sqrt(np.pi) * small * np.exp(-(small**2)) * total
    tail = large
    for n in range(120, 0, -1):
        tail = large + n / 2 / tail
    outer = np.exp(-(large**2)) / (np.sqrt(np.pi) * tail)
    erf = np.where(np.isnan(a), a, np.where(a < 2, inner, 1 - outer))
    positive = np.where(np.isnan(a), a, np.where(a < 2, 1 - inner, outer))
    return np.copysign(erf, x), np.where(np.asarray(x) < 0, 2 - positive, positive)


def _erf(x):
    return _erf_erfc(x)[0].astype(np.asarray(x).dtype)


def _erfc(x):
    return _erf_erfc(x)[1].astype(np.asarray(x).dtype)


def _erf_inv(x):
    """Inverse error function: Winitzki's start, then Halley's steps on the smaller tail."""
    a = np.abs(np.asarray(x, np.float64))
    rest = np.log1p(-(np.minimum(a, 1 - 2.0**-53) ** 2))
    part = 2 / (np.pi * 0.147) + rest / 2
    y = np.sqrt(np.maximum(np.sqrt(part**2 - rest / 0.147) - part, 0))
    for _ in range(4):
        erf, erfc = _erf_erfc(y)
        off = np.where(a < 0.5, erf - a, (1 - a) - erfc)
        step = off / (2 / np.sqrt(np.pi) * np.exp(-(y**2)))
        y = y - step / (1 + y * step)
    y = np.where(a < 1, y, np.where(a == 1, np.inf, np.nan))
    return np.copysign(y, x).astype(np.asarray(x).dtype)


def _lgamma(x):
    """``log |Gamma(x)|``: Stirling's series after a shift up; reflection below one half."""
    given = np.asarray(x, np.float64)
    low = given < 0.5
    z = np.where(low, 1 - given, given)
    shift = np.ones_like(z)
    for _ in range(8):
        shift = np.where(z < 8, shift * z, shift)
        z = np.where(z < 8, z + 1, z)
    w = 1 / z**2
    series = w * (
        1 / 1680 - w * (1 / 1188 - w * (691 / 360360 - w * (1 / 156 - w * 3617 / 122400)))
    )
    series = (1 / 12 - w * (1 / 360 - w * (1 / 1260 - series))) / z
    out = (z - 0.5) * np.log(z) - z + 0.5 * np.log(2 * np.pi) + series - np.log(shift)
    turn = np.abs(np.sin(np.pi * (given - np.floor(given))))
    out = np.where(low, np.log(np.pi) - np.log(turn) - out, out)
    return np.where(np.isinf(given), np.inf, out).astype(np.asarray(x).dtype)


def _digamma(x):
    """The derivative of ``log Gamma``."""
    given = np.asarray(x, np.float64)
    low = given < 0.5
    z = np.where(low, 1 - given, given)
    out = np.zeros_like(z)
    for _ in range(10):
        out = np.where(z < 10, out - 1 / z, out)
        z = np.where(z < 10, z + 1, z)
    w = 1 / z**2
    series = 1 / 240 - w * (1 / 132 - w * (691 / 32760 - w * (1 / 12)))
    series = w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * series)))
    out = out + np.log(z) - 0.5 / z - series
    return np.where(low, out - np.pi / np.tan(np.pi * given), out).astype(np.asarray(x).dtype)


def _pad(x, value, margins):
    """Margins of each axis as (before, after, between elements); negative ones cut."""
    shape = [b + a + n + max(n - 1, 0) * m for n, (b, a, m) in zip(x.shape, margins)]
    wide = [max(b, 0) + max(a, 0) + n + max(n - 1, 0) * m for n, (b, a, m) in zip(x.shape, margins)]
    out = np.full(wide, value, x.dtype)
    inner = [max(n - 1, 0) * (m + 1) + min(n, 1) for n, (_, _, m) in zip(x.shape, margins)]
    out[tuple(slice(max(b, 0), max(b, 0) + k, m + 1) for k, (b, _, m) in zip(inner, margins))] = x
    return out[tuple(slice(max(-b, 0), max(-b, 0) + n) for n, (b, _, _) in zip(shape, margins))]


def _dynamic_slice(x, starts, sizes):
    """A block of `sizes` that begins at `starts`, moved inside where it would stand out."""
    begin = [min(max(int(s), 0), n - k) for s, n, k in zip(starts, x.shape, sizes)]
    return x[tuple(slice(b, b + k) for b, k in zip(begin, sizes))]


def _dynamic_update_slice(x, part, starts):
    """`x` with a block replaced by `part`."""
    begin = [min(max(int(s), 0), n - k) for s, n, k in zip(starts, x.shape, np.shape(part))]
    out = np.array(x)
    out[tuple(slice(b, b + k) for b, k in zip(begin, np.shape(part)))] = part
    return out


def _places(shape, starts, dims, sizes, rank):
    """Index arrays of a gather: where each output element comes from; which are inside."""
    window, collapsed, batching, start_batching, start_map = dims
    starts = np.asarray(starts).astype(np.int64)
    batch = [i for i in range(rank) if i not in window]
    kept = [d for d in range(len(shape)) if d not in collapsed and d not in batching]
    index, inside = [], np.ones((1,) * rank, bool)
    for d, n in enumerate(shape):
        where = np.zeros((1,) * rank, np.int64)
        if d in start_map:
            where = starts[..., start_map.index(d)]
            good = (where >= 0) & (where <= n - sizes[d])
            spread = [1] * rank
            for axis, count in zip(batch, where.shape):
                spread[axis] = count
            inside = inside & good.reshape(spread)
            where = np.clip(where, 0, n - sizes[d]).reshape(spread)
        if d in batching:
            axis = batch[start_batching[batching.index(d)]]
            where = where + np.arange(n).reshape([-1 if i == axis else 1 for i in range(rank)])
        if d in kept:
            axis = window[kept.index(d)]
            steps = np.arange(sizes[d])
            where = where + steps.reshape([-1 if i == axis else 1 for i in range(rank)])
        index.append(where)
    return tuple(index), inside


def _gather(x, starts, dims, sizes, shape, fill):
    """Blocks of `x` at `starts`; one that stands out is moved inside, or filled."""
    x = np.asarray(x)
    index, inside = _places(x.shape, starts, dims, sizes, len(shape))
    out = np.broadcast_to(x[index], shape)
    return out if fill is None else np.where(inside, out, x.dtype.type(fill))


def _scatter(x, starts, updates, dims, sizes, clip, combine):
    """`x` with blocks combined with `updates`; those that stand out are left out."""
    out, updates = np.array(x), np.asarray(updates)
    index, inside = _places(out.shape, starts, dims, sizes, updates.ndim)
    use = np.broadcast_to(inside | clip, updates.shape)
    place = tuple(np.broadcast_to(i, updates.shape)[use] for i in index)
    if combine is None:
        out[place] = updates[use]
    else:
        combine.at(out, place, updates[use])
    return out


def _sort(arrays, axis, keys):
    """Arrays in the order of the first `keys` of them; equal ones keep their order."""
    order = np.lexsort(arrays[:keys][::-1], axis=axis)
    return tuple(np.take_along_axis(a, order, axis=axis) for a in arrays)


def _top_k(x, k, axis):
    """The k largest, in falling order, and where they stand."""
    turned = np.flip(x, axis)
    order = np.flip(np.argsort(turned, axis=axis, kind="stable"), axis)
    order = np.take(x.shape[axis] - 1 - order, np.arange(k), axis=axis)
    return np.take_along_axis(x, order, axis=axis), order.astype(np.int32)


def _dot(a, b, contracted, batch):
    """Products summed over `contracted` axes, side by side over `batch` axes."""
    left = [i for i in range(a.ndim) if i not in contracted[0] and i not in batch[0]]
    right = [i for i in range(b.ndim) if i not in contracted[1] and i not in batch[1]]
    shape = [a.shape[i] for i in batch[0]]
    inner = int(np.prod([a.shape[i] for i in contracted[0]], dtype=int))
    rows = int(np.prod([a.shape[i] for i in left], dtype=int))
    columns = int(np.prod([b.shape[i] for i in right], dtype=int))
    first = a.transpose(*batch[0], *left, *contracted[0]).reshape(*shape, rows, inner)
    second = b.transpose(*batch[1], *contracted[1], *right).reshape(*shape, inner, columns)
    out = first @ second
    return out.reshape(*shape, *(a.shape[i] for i in left), *(b.shape[i] for i in right))


def _windows(x, window, strides, dilation):
    """All windows over the axes of `x`: (place..., inside the window...)."""
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation)]
    view = np.lib.stride_tricks.sliding_window_view(x, reach)
    places = tuple(slice(None, None, s) for s in strides)
    return view[places + tuple(slice(None, None, d) for d in dilation)]


def _reduce_window(x, start, reduce, window, strides, padding, spread, dilation):
    """`reduce` over windows; outside stands `start`."""
    margins = [(a, b, s - 1) for (a, b), s in zip(padding, spread)]
    view = _windows(_pad(x, start, margins), window, strides, dilation)
    return reduce(view, axis=tuple(range(x.ndim, 2 * x.ndim)))


def _convolve(x, kernel, strides, padding, spread, dilation, groups, batches, layouts):
    """A convolution as one matrix product of windows for each group of channels."""
    x, kernel = np.transpose(x, layouts[0]), np.transpose(kernel, layouts[1])
    if batches > 1:  # parts of the batch as groups of channels
        x = x.reshape(batches, x.shape[0] // batches, *x.shape[1:])
        x = np.moveaxis(x, 0, 1).reshape(x.shape[1], -1, *x.shape[3:])
        groups = batches
    margins = [(0, 0, 0)] * 2 + [(a, b, s - 1) for (a, b), s in zip(padding, spread)]
    whole = (1, 1)
    view = _windows(
        _pad(x, 0, margins),
        whole + kernel.shape[2:],
        whole + tuple(strides),
        whole + tuple(dilation),
    )
    rank = x.ndim
    place = view.shape[2:rank]
    view = view.reshape(view.shape[0], groups, -1, *place, *kernel.shape[2:])
    view = np.moveaxis(view, 2, 2 + len(place))  # batch, group, place..., channel, window...
    filters = kernel.reshape(groups, kernel.shape[0] // groups, -1)
    flat = view.reshape(*view.shape[: 2 + len(place)], -1)
    out = np.stack([flat[:, g] @ filters[g].T for g in range(groups)], axis=1)
    out = np.moveaxis(out, -1, 2).reshape(x.shape[0], kernel.shape[0], *place)
    return np.transpose(out, np.argsort(layouts[2]))


def _triangular_solve(a, b, left, lower, transposed, unit):
    """``a x = b`` or ``x a = b`` for a triangular matrix, by substitution."""
    a = np.tril(a) if lower else np.triu(a)
    if unit:
        a = a - a * np.eye(a.shape[-1], dtype=a.dtype) + np.eye(a.shape[-1], dtype=a.dtype)
    if transposed:
        a, lower = np.swapaxes(a, -1, -2), not lower
    if not left:
        a, b, lower = np.swapaxes(a, -1, -2), np.swapaxes(b, -1, -2), not lower
    x = np.zeros(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + b.shape[-2:], b.dtype)
    count = a.shape[-1]
    for i in range(count) if lower else range(count - 1, -1, -1):
        known = np.squeeze(a[..., i : i + 1, :] @ x, -2)
        x[..., i, :] = (b[..., i, :] - known) / a[..., i, i, None]
    return x if left else np.swapaxes(x, -1, -2)


def _argument(name, value, dtype, shape):
    """`value` as an array of that shape; None stands for any size."""
    array = np.asarray(value, dtype)
    sizes = zip(array.shape, shape)
    if array.ndim != len(shape) or any(k is not None and k != n for n, k in sizes):
        raise ValueError(f"{name}: expected shape {shape}; got {array.shape}")
    return array


def _below(x, y):
    """``x < y`` in the total order: -0 before 0, what is not a number last."""
    if np.asarray(x).dtype.kind != "f":
        return x < y
    zeros = (x == y) & np.signbit(x) & ~np.signbit(y)
    return (x < y) | (np.isnan(y) & ~np.isnan(x)) | zeros


def _lu(x):
    """Elimination with the largest pivot of each column: factors, swaps, order of rows."""
    out = np.array(x)
    rows, columns = out.shape[-2:]
    swaps = np.zeros((*out.shape[:-2], min(rows, columns)), np.int32)
    order = np.broadcast_to(np.arange(rows, dtype=np.int32), out.shape[:-1]).copy()
    for place in np.ndindex(out.shape[:-2]):
        a, o = out[place], order[place]
        for s in range(min(rows, columns)):
            p = s + int(np.argmax(np.abs(a[s:, s])))
            swaps[(*place, s)] = p
            a[[s, p]], o[[s, p]] = a[[p, s]], o[[p, s]]
            a[s + 1 :, s] /= a[s, s]
            a[s + 1 :, s + 1 :] -= np.outer(a[s + 1 :, s], a[s, s + 1 :])
    return out, swaps, order
