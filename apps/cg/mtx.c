/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reading Matrix Market files: header, comments, sizes, then one entry a line.
 * Entries of this rank's rows are collected as they come and then put in order.
 *
 * Whatever depends on the whole file (its form, whether it is symmetric) every
 * rank finds by itself; what depends on rows (the diagonal) their rank alone.
 */
#include "mtx.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct entry {
    uint32_t row; /* from the part's first row */
    uint32_t column;
    double value;
};

struct reader {
    FILE *file;
    const char *name;
    size_t line; /* number of the line in `text` */
    char *text;
    size_t size;
    bool pattern;
    bool symmetric;
    struct entry *entries; /* of this rank's rows */
    size_t count;
    size_t room;
    double skew;  /* see `weigh` */
    double scale; /* what skew is to be measured by */
    char *wrong;
};

/* ---- lines --------------------------------------------------------------- */

static int bad(struct reader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int bad(struct reader *r, const char *format, ...)
{
    char what[PROGRAM_LINE / 2];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    if (r->line > 0) {
        (void)snprintf(r->wrong, PROGRAM_LINE, "%.200s:%zu: %s", r->name,
                       r->line, what);
    } else {
        (void)snprintf(r->wrong, PROGRAM_LINE, "%.200s: %s", r->name, what);
    }
    return -1;
}

/* The next line that is not empty: 1; 0 at the end; -1. */
static int next_line(struct reader *r)
{
    ssize_t length = 0;
    while ((length = getline(&r->text, &r->size, r->file)) >= 0) {
        r->line++;
        if (strlen(r->text) != (size_t)length) {
            return bad(r, "a zero byte: not a text file");
        }
        if (r->text[strspn(r->text, " \t\r\n")] != '\0') {
            return 1;
        }
    }
    if (ferror(r->file)) {
        return bad(r, "cannot be read: %s", program_errno());
    }
    return feof(r->file) ? 0 : bad(r, "out of memory");
}

/* A whole number at *text, which moves on; -1 if there is none. */
static long long number(char **text)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(*text, &end, 10);
    if (end == *text || errno != 0 || value < 0 ||
        (*end != '\0' && !isspace((unsigned char)*end))) {
        return -1;
    }
    *text = end;
    return value;
}

static bool ends(const char *text)
{
    return text[strspn(text, " \t\r\n")] == '\0';
}

/* ---- header and sizes ---------------------------------------------------- */

static int read_header(struct reader *r)
{
    int got = next_line(r);
    if (got < 0) {
        return -1;
    }
    char word[5][32];
    if (got == 0 ||
        sscanf(r->text, "%31s %31s %31s %31s %31s", word[0], word[1], word[2],
               word[3], word[4]) != 5 ||
        strcasecmp(word[0], "%%MatrixMarket") != 0 ||
        strcasecmp(word[1], "matrix") != 0) {
        return bad(r, "not a Matrix Market file: it must begin with "
                      "\"%%%%MatrixMarket matrix coordinate real symmetric\"");
    }
    if (strcasecmp(word[2], "coordinate") != 0) {
        return bad(r, "the format is %s: give a sparse (coordinate) one",
                   word[2]);
    }
    r->pattern = strcasecmp(word[3], "pattern") == 0;
    if (!r->pattern && strcasecmp(word[3], "real") != 0 &&
        strcasecmp(word[3], "integer") != 0) {
        return bad(r, "the values are %s: give real, integer or pattern",
                   word[3]);
    }
    r->symmetric = strcasecmp(word[4], "symmetric") == 0;
    if (!r->symmetric && strcasecmp(word[4], "general") != 0) {
        return bad(r,
                   "the matrix is %s: conjugate gradients need a symmetric "
                   "one",
                   word[4]);
    }
    return 0;
}

/* Comments, then "ROWS COLUMNS ENTRIES". */
static int read_sizes(struct reader *r, struct mtx_matrix *m)
{
    static const char smallest[] = "% smallest eigenvalue ";
    int got = 0;
    while ((got = next_line(r)) == 1 && r->text[0] == '%') {
        if (strncmp(r->text, smallest, sizeof smallest - 1) == 0) {
            double value = strtod(r->text + sizeof smallest - 1, NULL);
            m->smallest = isfinite(value) && value > 0.0 ? value : 0.0;
        }
    }
    if (got < 0) {
        return -1;
    }
    char *text = r->text;
    long long rows = got == 1 ? number(&text) : -1;
    long long columns = rows >= 0 ? number(&text) : -1;
    long long entries = columns >= 0 ? number(&text) : -1;
    if (entries < 0 || !ends(text)) {
        return bad(r, "expected the line \"ROWS COLUMNS ENTRIES\"");
    }
    if (rows != columns || rows < 1 || rows >= INT32_MAX) {
        return bad(r, "the matrix is %lld x %lld: give a square one", rows,
                   columns);
    }
    m->n = (size_t)rows;
    m->entries = (size_t)entries;
    return 0;
}

/* ---- entries ------------------------------------------------------------- */

static int keep(struct reader *r, size_t row, size_t column, double value,
                const struct program_part *rows)
{
    if (row < rows->first || row >= rows->last) {
        return 0;
    }
    if (r->count == r->room) {
        size_t room = r->room > 0 ? 2 * r->room : 1 << 12;
        struct entry *entries = realloc(r->entries, room * sizeof *entries);
        if (entries == NULL) {
            return bad(r, "out of memory");
        }
        r->entries = entries;
        r->room = room;
    }
    r->entries[r->count++] =
        (struct entry){(uint32_t)(row - rows->first), (uint32_t)column, value};
    return 0;
}

/*
 * Is a general matrix symmetric? Each value is multiplied by a random number
 * that is one for (i, j) and its negative for (j, i): all of them add up to
 * nothing if it is, and hardly if it is not, in whatever order they come.
 */
static void weigh(struct reader *r, uint64_t i, uint64_t j, double value)
{
    uint64_t low = i < j ? i : j;
    uint64_t z = (low + 1) * UINT64_C(0x9e3779b97f4a7c15) + (i ^ j);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    double weight = 1.0 + (double)((z ^ (z >> 31)) >> 11) * 0x1p-53;
    r->skew += i < j ? weight * value : -weight * value;
    r->scale += fabs(value);
}

/* One line: "ROW COLUMN [VALUE]", from 1. */
static int read_entry(struct reader *r, const struct mtx_matrix *m)
{
    char *text = r->text;
    long long i = number(&text);
    long long j = i >= 0 ? number(&text) : -1;
    double value = -1.0; /* an edge of the graph */
    bool valued = true;
    if (!r->pattern && j >= 0) {
        char *end = NULL;
        value = strtod(text, &end);
        valued = end != text && isfinite(value);
        text = end;
    }
    if (j < 0 || !valued || !ends(text)) {
        return bad(r, "expected \"ROW COLUMN%s\"", r->pattern ? "" : " VALUE");
    }
    if (i < 1 || j < 1 || (size_t)i > m->n || (size_t)j > m->n) {
        return bad(r, "entry (%lld, %lld) lies outside %zu x %zu", i, j, m->n,
                   m->n);
    }
    if (r->symmetric && j > i) {
        return bad(r,
                   "entry (%lld, %lld) lies above the diagonal: a symmetric "
                   "file holds the lower half",
                   i, j);
    }
    size_t row = (size_t)i - 1;
    size_t column = (size_t)j - 1;
    if (row == column) {
        /* a graph's loops count nothing, its diagonal is made by finish_row */
        return r->pattern ? 0 : keep(r, row, column, value, &m->rows);
    }
    if (!r->symmetric) {
        weigh(r, row, column, value);
    } else if (keep(r, column, row, value, &m->rows) != 0) {
        return -1;
    }
    return keep(r, row, column, value, &m->rows);
}

static int read_entries(struct reader *r, const struct mtx_matrix *m)
{
    for (size_t k = 0; k < m->entries; k++) {
        int got = next_line(r);
        if (got < 0) {
            return -1;
        }
        if (got == 0) {
            return bad(r, "the file ends after %zu of %zu entries", k,
                       m->entries);
        }
        if (read_entry(r, m) != 0) {
            return -1;
        }
    }
    int got = next_line(r);
    if (got != 0) {
        return got < 0 ? -1
                       : bad(r, "more than the %zu entries that were announced",
                             m->entries);
    }
    r->line = 0; /* what follows is said of the whole file */
    if (fabs(r->skew) > 1e-10 * r->scale) {
        return bad(r, "the matrix is not symmetric: conjugate gradients need "
                      "a symmetric one");
    }
    for (size_t row = m->rows.first; r->pattern && row < m->rows.last; row++) {
        if (keep(r, row, row, 0.0, &m->rows) != 0) {
            return -1;
        }
    }
    return 0;
}

/* ---- rows ---------------------------------------------------------------- */

static int by_column(const void *a, const void *b)
{
    uint32_t left = ((const struct entry *)a)->column;
    uint32_t right = ((const struct entry *)b)->column;
    return left < right ? -1 : left > right;
}

/* The row's entries, sorted, to the end `at` of the matrix; equal ones are
 * added. Returns the new end, or 0 if the diagonal is not positive. */
static size_t finish_row(struct mtx_matrix *m, bool pattern,
                         const struct entry *entries, size_t count, size_t at,
                         size_t row)
{
    size_t first = at;
    double *diagonal = NULL;
    double sum = 0.0;
    for (size_t k = 0; k < count; k++) {
        sum += entries[k].value;
        if (at > first && m->column[at - 1] == entries[k].column) {
            m->value[at - 1] += entries[k].value;
            continue;
        }
        m->column[at] = entries[k].column;
        m->value[at] = entries[k].value;
        if (entries[k].column == row) {
            diagonal = &m->value[at];
        }
        at++;
    }
    if (diagonal != NULL && pattern) {
        *diagonal = 1.0 - sum;
    }
    return diagonal != NULL && *diagonal > 0.0 ? at : 0;
}

static int make_rows(struct reader *r, struct mtx_matrix *m)
{
    size_t rows = m->rows.last - m->rows.first;
    struct entry *sorted = malloc((r->count + 1) * sizeof *sorted);
    m->start = calloc(rows + 2, sizeof *m->start);
    m->column = malloc((r->count + 1) * sizeof *m->column);
    m->value = malloc((r->count + 1) * sizeof *m->value);
    if (sorted == NULL || m->start == NULL || m->column == NULL ||
        m->value == NULL) {
        free(sorted);
        return bad(r, "out of memory");
    }
    /* start[row + 1] counts its entries, then is where the next one goes */
    for (size_t k = 0; k < r->count; k++) {
        m->start[r->entries[k].row + 2]++;
    }
    for (size_t row = 0; row < rows; row++) {
        m->start[row + 2] += m->start[row + 1];
    }
    for (size_t k = 0; k < r->count; k++) {
        sorted[m->start[r->entries[k].row + 1]++] = r->entries[k];
    }
    size_t from = 0;
    size_t at = 0;
    for (size_t row = 0; row < rows; row++) {
        size_t count = m->start[row + 1] - from;
        qsort(sorted + from, count, sizeof *sorted, by_column);
        size_t end = finish_row(m, r->pattern, sorted + from, count, at,
                                m->rows.first + row);
        if (end == 0) {
            free(sorted);
            return bad(r,
                       "row %zu has no positive diagonal: the matrix is not "
                       "positive definite",
                       m->rows.first + row + 1);
        }
        from += count;
        m->start[row] = at;
        at = end;
    }
    m->start[rows] = at;
    free(sorted);
    return 0;
}

int mtx_read(const char *file, int rank, int ranks, struct mtx_matrix *m,
             char *wrong)
{
    struct reader r = {.name = file, .wrong = wrong};
    *m = (struct mtx_matrix){0};
    r.file = fopen(file, "r");
    if (r.file == NULL) {
        return bad(&r, "%s", program_errno());
    }
    int result = read_header(&r);
    if (result == 0) {
        result = read_sizes(&r, m);
    }
    if (result == 0) {
        m->rows = program_part(m->n, sizeof(double), rank, ranks);
        result = read_entries(&r, m);
    }
    if (result == 0) {
        result = make_rows(&r, m);
        m->smallest = r.pattern ? 1.0 : m->smallest;
    }
    (void)fclose(r.file);
    free(r.text);
    free(r.entries);
    return result;
}

void mtx_free(struct mtx_matrix *m)
{
    free(m->start);
    free(m->column);
    free(m->value);
    m->start = NULL;
    m->column = NULL;
    m->value = NULL;
}
