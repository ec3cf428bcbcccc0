/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Edge lists: blocks of bytes, lines, vertices' numbers. See edges.h.
 *
 * The part of a worker begins and ends anywhere. A line belongs to the part in
 * which its first byte lies: a worker skips to the first line that begins in
 * its part, and reads its last line to the end, though that lies in the next.
 */
#include "edges.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "team.h"

enum {
    BLOCK = 1 << 20, /* bytes read at a time */
    SHOWN = 40       /* bytes of a wrong line in its message */
};

/* Vertices by id: open addressing, at most half full. */
struct names {
    struct name {
        uint64_t id;
        uint32_t number; /* from 1; 0: empty */
    } * slots;
    size_t mask;
};

struct reader {
    struct edges *e;
    int fd;
    uint64_t offset;      /* of the file: what follows the block */
    char *block;          /* BLOCK bytes */
    const char *at, *end; /* what of it is not read yet */
    struct names names;
    size_t room;     /* of e->list */
    size_t ids_room; /* of e->id */
};

static int bad(struct edges *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int bad(struct edges *e, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(e->wrong, sizeof e->wrong, format, arguments);
    va_end(arguments);
    return -1;
}

/* ---- bytes --------------------------------------------------------------- */

/* The next block: 1; 0 at the end of the file; -1. */
static int refill(struct reader *r)
{
    ssize_t got = 0;
    do {
        got = pread(r->fd, r->block, BLOCK, (off_t)r->offset);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return bad(r->e, "cannot be read: %s", program_errno());
    }
    r->at = r->block;
    r->end = r->block + got;
    r->offset += (uint64_t)got;
    return got > 0;
}

/* The byte that comes next, or -1 at the end of the file, -2 after an error. */
static int peek(struct reader *r)
{
    if (r->at == r->end) {
        int got = refill(r);
        if (got <= 0) {
            return got - 1;
        }
    }
    return (unsigned char)*r->at;
}

/* Of the byte that comes next. */
static uint64_t position(const struct reader *r)
{
    return r->offset - (uint64_t)(r->end - r->at);
}

/* Goes behind the end of the line. false: an error. */
static bool skip_line(struct reader *r)
{
    for (;;) {
        int byte = peek(r);
        if (byte < 0) {
            return byte == -1;
        }
        const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
        if (newline != NULL) {
            r->at = newline + 1;
            return true;
        }
        r->at = r->end;
    }
}

static int skip_blanks(struct reader *r)
{
    int byte = peek(r);
    while (byte == ' ' || byte == '\t' || byte == '\r') {
        r->at++;
        byte = peek(r);
    }
    return byte;
}

/* ---- vertices ------------------------------------------------------------ */

static int names_grow(struct names *names)
{
    size_t size = names->slots != NULL ? 2 * (names->mask + 1) : 1 << 12;
    struct name *slots = calloc(size, sizeof *slots);
    if (slots == NULL) {
        return -1;
    }
    for (size_t i = 0; names->slots != NULL && i <= names->mask; i++) {
        if (names->slots[i].number != 0) {
            size_t at = team_mix(names->slots[i].id) & (size - 1);
            while (slots[at].number != 0) {
                at = (at + 1) & (size - 1);
            }
            slots[at] = names->slots[i];
        }
    }
    free(names->slots);
    *names = (struct names){slots, size - 1};
    return 0;
}

/* A vertex that was not seen before. */
static int name_new(struct reader *r, struct name *slot, uint64_t id)
{
    struct edges *e = r->e;
    if (e->ids >= UINT32_MAX - 1) {
        return bad(e, "more than 2^32 vertices in a worker's part: give more "
                      "workers");
    }
    if (e->ids == r->ids_room) {
        size_t room = r->ids_room > 0 ? 2 * r->ids_room : 1 << 11;
        uint64_t *ids = realloc(e->id, room * sizeof *ids);
        if (ids == NULL) {
            return bad(e, "out of memory");
        }
        e->id = ids;
        r->ids_room = room;
    }
    e->id[e->ids++] = id;
    *slot = (struct name){id, (uint32_t)e->ids};
    return 0;
}

static int number_of(struct reader *r, uint64_t id, uint32_t *number)
{
    struct names *names = &r->names;
    if (names->slots == NULL || 2 * r->e->ids > names->mask) {
        if (names_grow(names) != 0) {
            return bad(r->e, "out of memory");
        }
    }
    struct name *slot = &names->slots[team_mix(id) & names->mask];
    while (slot->number != 0 && slot->id != id) {
        slot = slot < names->slots + names->mask ? slot + 1 : names->slots;
    }
    if (slot->number == 0 && name_new(r, slot, id) != 0) {
        return -1;
    }
    *number = slot->number - 1;
    return 0;
}

/* ---- lines --------------------------------------------------------------- */

static int keep(struct reader *r, uint64_t from, uint64_t to)
{
    struct edges *e = r->e;
    if (e->count == r->room) {
        size_t room = r->room > 0 ? 2 * r->room : 1 << 12;
        struct edge *list = realloc(e->list, room * sizeof *list);
        if (list == NULL) {
            return bad(e, "out of memory");
        }
        e->list = list;
        r->room = room;
    }
    struct edge *edge = &e->list[e->count];
    if (number_of(r, from, &edge->from) != 0 ||
        number_of(r, to, &edge->to) != 0) {
        return -1;
    }
    e->count++;
    return 0;
}

/* The line as a message shows it, from the file anew. */
static int bad_line(struct reader *r, uint64_t begin, const char *what)
{
    char line[SHOWN + 1];
    ssize_t got = pread(r->fd, line, SHOWN, (off_t)begin);
    size_t length = got > 0 ? (size_t)got : 0;
    for (size_t i = 0; i < length; i++) {
        if (line[i] == '\n' || line[i] == '\r') {
            length = i;
        } else if (line[i] == '\t') {
            line[i] = ' ';
        } else if (line[i] < ' ' || line[i] > '~') {
            line[i] = '?';
        }
    }
    r->e->at_line = true;
    return bad(r->e, "%s, not \"%.*s\"%s", what, (int)length, line,
               length == SHOWN ? "..." : "");
}

/* A whole number that ends with its line or with a blank. */
static bool number(struct reader *r, uint64_t *value)
{
    uint64_t v = 0;
    int byte = peek(r);
    if (byte < '0' || byte > '9') {
        return false;
    }
    while (byte >= '0' && byte <= '9') {
        uint64_t digit = (uint64_t)byte - '0';
        if (v > (UINT64_MAX - digit) / 10) {
            return false;
        }
        v = 10 * v + digit;
        r->at++;
        byte = r->at < r->end ? (unsigned char)*r->at : peek(r);
    }
    *value = v;
    return byte < 0 || byte == ' ' || byte == '\t' || byte == '\r' ||
           byte == '\n';
}

/* One line. 0, or -1. */
static int line(struct reader *r)
{
    uint64_t begin = position(r);
    r->e->lines++;
    int byte = skip_blanks(r);
    if (byte == '#' || byte == '%') {
        return skip_line(r) ? 0 : -1;
    }
    if (byte >= 0 && byte != '\n') {
        uint64_t from = 0;
        uint64_t to = 0;
        bool two = number(r, &from);
        (void)skip_blanks(r);
        two = two && number(r, &to);
        byte = skip_blanks(r);
        if (byte == -2) {
            return -1;
        }
        if (!two) {
            return bad_line(r, begin,
                            "expected \"FROM TO\", whole numbers from 0 to "
                            "2^64 - 1");
        }
        if (byte >= 0 && byte != '\n') {
            return bad_line(r, begin,
                            "expected \"FROM TO\" and no more (edges have no "
                            "weights here)");
        }
        if (keep(r, from, to) != 0) {
            return -1;
        }
    }
    if (byte == '\n') {
        r->at++;
    }
    return byte == -2 ? -1 : 0;
}

static int read_lines(struct reader *r, int part, int parts)
{
    uint64_t share = r->e->bytes / (uint64_t)parts + 1;
    uint64_t first = share * (uint64_t)part;
    uint64_t last = first + share;
    /* a line begins here if the byte before ends another */
    r->offset = first > 0 ? first - 1 : 0;
    if (first > 0 && !skip_line(r)) {
        return -1;
    }
    for (;;) {
        int byte = peek(r);
        if (byte == -2) {
            return -1;
        }
        if (byte == -1 || position(r) >= last) {
            return 0;
        }
        if (line(r) != 0) {
            return -1;
        }
    }
}

int edges_read(struct edges *e, const char *file, int part, int parts)
{
    struct reader r = {.e = e};
    struct stat status;
    int result = 0;
    *e = (struct edges){0};
    r.fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (r.fd < 0 || fstat(r.fd, &status) != 0) {
        result = bad(e, "%s", program_errno());
    } else if (!S_ISREG(status.st_mode)) {
        result = bad(e, "not a regular file, of which every worker can read "
                        "its part");
    } else if ((r.block = malloc(BLOCK)) == NULL) {
        result = bad(e, "out of memory");
    } else {
        e->bytes = (uint64_t)status.st_size;
        result = read_lines(&r, part, parts);
    }
    if (r.fd >= 0) {
        (void)close(r.fd);
    }
    free(r.block);
    free(r.names.slots);
    return result;
}

void edges_free(struct edges *e)
{
    free(e->list);
    free(e->id);
    e->list = NULL;
    e->id = NULL;
}
