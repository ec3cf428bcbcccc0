/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The matrix of a code is the identity over the rows of parity. Any k rows of it are
 * independent, since any square part of a Cauchy matrix is; so the inverse of the rows
 * that are left gives the data from the pieces that are left, and a row of parity
 * times the inverse gives that parity.
 */
#include "erasure.h"

#include <isa-l/erasure_code.h>
#include <string.h>

#include "base/base.h"

enum {
    TABLE = 32 /* bytes of ISA-L's table for a coefficient */
};

/* Row i of the whole matrix. */
static void row_of(const struct ckpt_erasure *code, unsigned i,
                   unsigned char *row)
{
    memset(row, 0, code->k);
    if (i < code->k) {
        row[i] = 1;
    } else {
        memcpy(row, code->rows[i - code->k], code->k);
    }
}

int ckpt_erasure_open(struct ckpt_erasure *code, unsigned k, unsigned m)
{
    if (k == 0 || k > CKPT_ERASURE_DATA || m == 0 || m > CKPT_ERASURE_PARITY) {
        return base_error(RECTO_EINVAL,
                          "erasure code of %u + %u pieces: 1 to %d of data and "
                          "1 to %d of parity are possible",
                          k, m, CKPT_ERASURE_DATA, CKPT_ERASURE_PARITY);
    }
    *code = (struct ckpt_erasure){.k = k, .m = m};
    for (unsigned j = 0; j < k; j++) {
        /* 1 / (x_i + y_j), all x_i and y_j different; over the first row's */
        unsigned char first = (unsigned char)(k ^ j);
        for (unsigned i = 0; i < m; i++) {
            code->rows[i][j] =
                gf_mul(first, gf_inv((unsigned char)((k + i) ^ j)));
        }
    }
    return 0;
}

/* out[r] += rows[r][j] * in */
static void multiply_add(unsigned char (*rows)[TABLE], unsigned count,
                         const void *in, void *const *out, size_t length)
{
    /* ISA-L takes an int; pieces may be larger */
    const size_t most = (size_t)1 << 30;
    for (size_t done = 0; done < length; done += most) {
        size_t n = length - done < most ? length - done : most;
        unsigned char *to[CKPT_ERASURE_PARITY];
        for (unsigned r = 0; r < count; r++) {
            to[r] = (unsigned char *)out[r] + done;
        }
        ec_encode_data_update((int)n, 1, (int)count, 0, rows[0],
                              (unsigned char *)in + done, to);
    }
}

/* The tables of column j of some rows. */
static void column(const unsigned char (*rows)[CKPT_ERASURE_DATA],
                   unsigned count, unsigned j, unsigned char (*tables)[TABLE])
{
    for (unsigned r = 0; r < count; r++) {
        gf_vect_mul_init(rows[r][j], tables[r]);
    }
}

void ckpt_erasure_add(const struct ckpt_erasure *code, unsigned data,
                      const void *bytes, void *const *parity, size_t length)
{
    unsigned char tables[CKPT_ERASURE_PARITY][TABLE];
    column(code->rows, code->m, data, tables);
    multiply_add(tables, code->m, bytes, parity, length);
}

int ckpt_erasure_plan_make(const struct ckpt_erasure *code, const bool *there,
                           struct ckpt_erasure_plan *plan)
{
    enum {
        SIZE = CKPT_ERASURE_DATA * CKPT_ERASURE_DATA
    };
    unsigned char left[SIZE];
    unsigned char inverse[SIZE];
    unsigned k = code->k;
    unsigned n = 0;
    *plan = (struct ckpt_erasure_plan){.k = k};
    for (unsigned i = 0; i < k + code->m; i++) {
        if (there[i] && n < k) {
            row_of(code, i, left + (size_t)n * k);
            plan->from[n++] = i;
        } else if (!there[i] && plan->lost < code->m) {
            plan->to[plan->lost++] = i;
        } else if (!there[i]) {
            return RECTO_ENOENT;
        }
    }
    if (n < k || gf_invert_matrix(left, inverse, (int)k) != 0) {
        return RECTO_ENOENT;
    }
    for (unsigned l = 0; l < plan->lost; l++) {
        unsigned char row[CKPT_ERASURE_DATA];
        row_of(code, plan->to[l], row);
        for (unsigned j = 0; j < k; j++) {
            for (unsigned t = 0; t < k; t++) {
                plan->rows[l][j] ^= gf_mul(row[t], inverse[(size_t)t * k + j]);
            }
        }
    }
    return 0;
}

void ckpt_erasure_rebuild(const struct ckpt_erasure_plan *plan, unsigned i,
                          const void *bytes, void *const *lost, size_t length)
{
    unsigned char tables[CKPT_ERASURE_PARITY][TABLE];
    if (plan->lost > 0) {
        column(plan->rows, plan->lost, i, tables);
        multiply_add(tables, plan->lost, bytes, lost, length);
    }
}
