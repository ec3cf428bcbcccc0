# SPDX-License-Identifier: BSD-3-Clause
"""Which terms a measured cost grows by: least squares over sums of few terms.

Points are (ranks, pages, value). The smallest set of terms is taken that fits every
point within TOLERANCE; terms are `pages` (homed per rank), `ranks`, `log ranks` and
products. A sum that needs more is given with the error it leaves.
"""
import itertools
import math

TOLERANCE = 0.05

TERMS = {
    "1": lambda p, h: 1.0,
    "log ranks": lambda p, h: math.log2(p),
    "ranks": lambda p, h: float(p),
    "ranks^2": lambda p, h: float(p) * p,
    "pages": lambda p, h: float(h),
    "pages log ranks": lambda p, h: h * math.log2(p),
    "ranks x pages": lambda p, h: float(p) * h,
}


def solve(matrix, right):
    """Gaussian elimination; None where singular."""
    n = len(right)
    a = [row[:] + [b] for row, b in zip(matrix, right)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(a[r][i]))
        if abs(a[pivot][i]) < 1e-12:
            return None
        a[i], a[pivot] = a[pivot], a[i]
        for r in range(n):
            if r != i:
                f = a[r][i] / a[i][i]
                a[r] = [x - f * y for x, y in zip(a[r], a[i])]
    return [a[i][n] / a[i][i] for i in range(n)]


def fit(names, points):
    """Coefficients that make relative errors small, and the largest error."""
    rows = []
    for p, h, value in points:
        scale = 1.0 / value if value else 1.0
        rows.append(([TERMS[n](p, h) * scale for n in names], value * scale))
    # columns of one size: the matrix is else too far from regular
    size = [max(abs(r[0][i]) for r in rows) or 1.0 for i in range(len(names))]
    rows = [([x / s for x, s in zip(r, size)], y) for r, y in rows]
    n = len(names)
    matrix = [[sum(r[i] * r[k] for r, _ in rows) for k in range(n)] for i in range(n)]
    found = solve(matrix, [sum(r[i] * y for r, y in rows) for i in range(n)])
    if found is None or any(c < -1e-9 for c in found):
        return None, math.inf
    error = max(abs(sum(c * x for c, x in zip(found, r)) - y) for r, y in rows)
    return [c / s for c, s in zip(found, size)], error


def terms(points):
    """(text, names, error): what the values grow by."""
    if all(v == 0 for _, _, v in points):
        return "0", [], 0.0
    vary = len({h for _, h, _ in points}) > 1
    usable = [n for n in TERMS if vary or "pages" not in n]
    best = (None, [], math.inf)
    for count in range(1, 4):
        for names in itertools.combinations(usable, count):
            found, error = fit(names, points)
            if found is not None and error < best[2]:
                best = (found, list(names), error)
        if best[2] <= TOLERANCE:
            break
    found, names, error = best
    if found is None:
        return "no fit", [], math.inf
    # terms that matter at no point are not named
    kept = [(c, n) for c, n in zip(found, names)
            if any(c * TERMS[n](p, h) > 0.02 * v for p, h, v in points)]
    text = " + ".join(f"{c:.3g}" if n == "1" else f"{c:.3g} {n}" for c, n in kept)
    return text, [n for _, n in kept], error


def leading(points):
    """The term that is largest at the largest job."""
    text, names, error = terms(points)
    return text, names, error
