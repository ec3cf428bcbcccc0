/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads the files of a trace (base/trace.h).
 *
 * Invariants
 * 1. Nothing in a file is used as an index, a length or a text before it was checked.
 * 2. Slots that are no records are counted and passed over: a rank that died leaves
 *    some, a file that was cut off ends earlier.
 * 3. One run is told of, that which began last; files of others are refused. A node may
 *    have some left of an earlier run whose ranks were others.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "report.h"

enum {
    SENTENCE = 1024, /* bytes */
    RANKS_MOST = 1 << 20,
    THREADS_MOST = 1024, /* of a rank; more are counted as the first */
    PLACES_MOST = 4096,
    MODULES_MOST = 1024,
    MISSING_TEXT = 320 /* of the numbers of missing ranks */
};
#define TIME_MOST (UINT64_MAX / 8) /* later is damage */

void *report_new(size_t count, size_t size)
{
    void *p = calloc(count > 0 ? count : 1, size);
    if (p == NULL) {
        (void)fprintf(stderr, "recto report: out of memory\n");
        exit(1); /* NOLINT(concurrency-mt-unsafe): one thread */
    }
    return p;
}

/* Doubles at powers of two. */
void *report_grow(void *list, size_t count, size_t size)
{
    if (count > 0 && (count & (count - 1)) != 0) {
        return list;
    }
    void *more = realloc(list, (count > 0 ? 2 * count : 1) * size);
    if (more == NULL) {
        free(list);
        (void)fprintf(stderr, "recto report: out of memory\n");
        exit(1); /* NOLINT(concurrency-mt-unsafe): one thread */
    }
    return more;
}

void report_sort(void *list, size_t count, size_t size,
                 int (*order)(const void *, const void *))
{
    if (count > 1) {
        qsort(list, count, size, order);
    }
}

void *report_find(const void *key, const void *list, size_t count, size_t size,
                  int (*order)(const void *, const void *))
{
    return count > 0 ? bsearch(key, list, count, size, order) : NULL;
}

char *report_sentence(const char *format, va_list ap)
{
    char *text = report_new(SENTENCE, 1);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): the caller started it */
    (void)vsnprintf(text, SENTENCE, format, ap);
    return text;
}

void report_problem(struct report *r, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    char *text = report_sentence(format, ap);
    va_end(ap);
    r->problems = report_grow(r->problems, r->nproblems, sizeof *r->problems);
    r->problems[r->nproblems++] = text;
}

/* ---- bytes ---------------------------------------------------------------------------- */

struct bytes {
    unsigned char *at;
    uint64_t count;
};

/* NULL, or what is wrong. */
static const char *bytes_read(const char *path, struct bytes *b)
{
    struct stat s = {.st_size = 0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const char *wrong = fd < 0 || fstat(fd, &s) != 0 ? strerrordesc_np(errno)
                        : !S_ISREG(s.st_mode)        ? "not a file"
                        : s.st_size < TRACE_HEADER   ? "too short for a trace"
                                                     : NULL;
    if (wrong == NULL) {
        b->at = report_new((size_t)s.st_size, 1);
        while (b->count < (uint64_t)s.st_size) {
            ssize_t n =
                read(fd, b->at + b->count, (size_t)s.st_size - b->count);
            if (n <= 0) {
                break;
            }
            b->count += (uint64_t)n;
        }
        wrong = b->count < TRACE_HEADER ? "cannot be read" : NULL;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return wrong;
}

static const char *header_wrong(const struct trace_header *h)
{
    return memcmp(h->magic, TRACE_MAGIC, sizeof h->magic) != 0 ? "not a trace"
           : h->order != TRACE_ORDER
               ? "written on a machine of other byte order"
           : h->major != TRACE_MAJOR
               ? "of a version that this recto cannot read"
           : h->slot_bytes != TRACE_SLOT || h->page_bytes != REPORT_PAGE ||
                   h->size < 1 || h->size > RANKS_MOST || h->rank < 0 ||
                   h->rank >= h->size || h->started > TIME_MOST ||
                   h->ended > TIME_MOST ||
                   h->clock_offset > (int64_t)(TIME_MOST / 2) ||
                   h->clock_offset < -(int64_t)(TIME_MOST / 2) ||
                   (int64_t)h->started + h->clock_offset < 0
               ? "damaged"
               : NULL;
}

/* ---- records --------------------------------------------------------------------------- */

struct reader {
    struct report *r;
    struct report_rank *rank;
    const unsigned char *slots;
    uint64_t count;
    size_t seen; /* place of the last event */
};

static void slot_get(const struct reader *in, uint64_t i,
                     struct trace_slot *slot)
{
    memcpy(slot, in->slots + i * TRACE_SLOT, sizeof *slot);
}

/* Its slots, checked, and its payload; 0: it is none. */
static uint64_t payload_get(const struct reader *in, uint64_t i, void *payload,
                            size_t bytes)
{
    struct trace_slot slot;
    slot_get(in, i, &slot);
    uint64_t has = slot.u.definition.bytes;
    uint64_t more = (bytes + TRACE_BODY - 1) / TRACE_BODY;
    if (has != bytes || more >= in->count - i) {
        return 0;
    }
    for (uint64_t k = 0; k < more; k++) {
        size_t rest = bytes - (size_t)k * TRACE_BODY;
        slot_get(in, i + 1 + k, &slot);
        if (atomic_load(&slot.kind) != TRACE_MORE) {
            return 0;
        }
        memcpy((char *)payload + k * TRACE_BODY, slot.u.body,
               rest < TRACE_BODY ? rest : TRACE_BODY);
    }
    return more;
}

static uint32_t segment_of(struct report *r, const struct trace_segment *s)
{
    for (size_t i = 0; i < r->nsegments; i++) {
        if (r->segments[i].s.bytes == s->bytes &&
            strcmp(r->segments[i].s.name, s->name) == 0) {
            return (uint32_t)i;
        }
    }
    r->segments = report_grow(r->segments, r->nsegments, sizeof *r->segments);
    r->segments[r->nsegments] = (struct report_segment){
        .s = *s, .pages = (s->bytes + REPORT_PAGE - 1) / REPORT_PAGE};
    return (uint32_t)r->nsegments++;
}

/* Dimensions that make up its bytes, or one of them all. */
static void segment_check(struct trace_segment *s)
{
    uint64_t bytes = s->element;
    s->name[sizeof s->name - 1] = '\0';
    s->type[sizeof s->type - 1] = '\0';
    bool good = s->ndims >= 1 && s->ndims <= RECTO_DIMS_MAX && bytes > 0;
    for (uint32_t i = 0; good && i < s->ndims; i++) {
        good = s->dims[i] > 0 && bytes <= s->bytes / s->dims[i];
        bytes *= s->dims[i];
    }
    if (!good || bytes != s->bytes) {
        s->ndims = 1;
        s->element = 1;
        s->dims[0] = s->bytes;
        (void)snprintf(s->type, sizeof s->type, "?");
    }
}

static uint64_t segment_read(struct reader *in, uint64_t i)
{
    struct trace_segment s;
    struct report_rank *k = in->rank;
    uint64_t more = payload_get(in, i, &s, sizeof s);
    if (more == 0 || s.bytes == 0 || s.bytes > UINT64_MAX - s.base ||
        k->nplaces >= PLACES_MOST) {
        k->torn++;
        return more;
    }
    segment_check(&s);
    k->places = report_grow(k->places, k->nplaces, sizeof *k->places);
    k->places[k->nplaces++] =
        (struct report_place){.base = s.base,
                              .bytes = s.bytes,
                              .birth = s.birth,
                              .death = UINT64_MAX,
                              .segment = segment_of(in->r, &s)};
    return more;
}

static uint32_t file_of(struct report *r, const struct trace_module *m)
{
    for (size_t i = 0; i < r->nfiles; i++) {
        const struct report_file *f = &r->files[i];
        if (f->build_id_bytes == m->build_id_bytes &&
            memcmp(f->build_id, m->build_id, m->build_id_bytes) == 0 &&
            strcmp(f->path, m->path) == 0) {
            return (uint32_t)i;
        }
    }
    r->files = report_grow(r->files, r->nfiles, sizeof *r->files);
    struct report_file *f = &r->files[r->nfiles];
    memset(f, 0, sizeof *f);
    f->build_id_bytes = m->build_id_bytes;
    memcpy(f->build_id, m->build_id, sizeof f->build_id);
    memcpy(f->path, m->path, sizeof f->path);
    return (uint32_t)r->nfiles++;
}

static uint64_t module_read(struct reader *in, uint64_t i)
{
    struct trace_module m;
    struct report_rank *k = in->rank;
    uint64_t more = payload_get(in, i, &m, sizeof m);
    if (more == 0 || m.low >= m.high || m.build_id_bytes > TRACE_BUILD_ID ||
        k->nmodules >= MODULES_MOST) {
        k->torn++;
        return more;
    }
    m.path[sizeof m.path - 1] = '\0';
    k->modules = report_grow(k->modules, k->nmodules, sizeof *k->modules);
    k->modules[k->nmodules++] =
        (struct report_module){.m = m, .file = file_of(in->r, &m)};
    return more;
}

static uint16_t thread_of(struct report_rank *k, uint32_t thread)
{
    for (size_t i = 0; i < k->nthreads; i++) {
        if (k->threads[i] == thread) {
            return (uint16_t)i;
        }
    }
    if (k->nthreads == THREADS_MOST) {
        return 0;
    }
    k->threads = report_grow(k->threads, k->nthreads, sizeof *k->threads);
    k->threads[k->nthreads] = thread;
    return (uint16_t)k->nthreads++;
}

static bool has_address(unsigned kind)
{
    return kind == TRACE_FAULT || kind == TRACE_IN || kind == TRACE_OUT;
}

static bool place_holds(const struct report_place *p, uint64_t at,
                        uint64_t time)
{
    return at - p->base < p->bytes && time >= p->birth && time <= p->death;
}

/* The segment at an address, at a time of the rank's own clock. */
static const struct report_place *place_at(struct reader *in, uint64_t at,
                                           uint64_t time)
{
    const struct report_rank *k = in->rank;
    /* the rest of the last page belongs to it */
    if (in->seen < k->nplaces && place_holds(&k->places[in->seen], at, time)) {
        return &k->places[in->seen];
    }
    for (size_t i = k->nplaces; i-- > 0;) {
        if (place_holds(&k->places[i], at, time)) {
            in->seen = i;
            return &k->places[i];
        }
    }
    return NULL;
}

static void address_find(struct reader *in, struct report_event *e,
                         uint64_t time)
{
    const struct report_place *p = place_at(in, e->at, time);
    if (p == NULL) {
        return;
    }
    e->segment = p->segment;
    e->page = (e->at - p->base) / REPORT_PAGE;
    if (e->kind == TRACE_FAULT) {
        e->low = e->high = (uint32_t)(e->at % REPORT_PAGE);
    } else if (e->high >= REPORT_PAGE || e->low > e->high) {
        e->low = 0;
        e->high = REPORT_PAGE - 1;
    }
}

static void segment_end(struct reader *in, uint64_t at, uint64_t time)
{
    const struct report_place *p = place_at(in, at, time);
    if (p != NULL) {
        in->rank->places[p - in->rank->places].death = time;
    }
}

/* To rank 0's clock, for now without the origin taken off. */
static bool event_read(struct reader *in, const struct trace_slot *slot,
                       unsigned kind)
{
    struct report_rank *k = in->rank;
    const struct trace_event *e = &slot->u.event;
    if (e->start < k->h.started || e->start > TIME_MOST || e->ns > TIME_MOST) {
        return false;
    }
    if (kind == TRACE_SEGMENT_END) {
        segment_end(in, e->at, e->start);
        return true;
    }
    k->events = report_grow(k->events, k->nevents, sizeof *k->events);
    struct report_event *to = &k->events[k->nevents++];
    *to = (struct report_event){.start = e->start + (uint64_t)k->h.clock_offset,
                                .ns = e->ns,
                                .at = e->at,
                                .pc = e->pc,
                                .bytes = e->bytes,
                                .segment = REPORT_NONE,
                                .site = REPORT_NONE,
                                .low = e->low,
                                .high = e->high,
                                .peer = e->peer,
                                .pages = e->pages,
                                .thread = thread_of(k, slot->thread),
                                .kind = (uint8_t)kind,
                                .what = slot->what,
                                .flags = slot->flags};
    if (has_address(kind)) {
        address_find(in, to, e->start);
    }
    return true;
}

static bool what_good(unsigned kind, unsigned what)
{
    return kind == TRACE_FAULT ? what < TRACE_FAULTS
           : kind == TRACE_TAKE || kind == TRACE_GIVE || kind == TRACE_WAIT ||
                   kind == TRACE_TRY
               ? what < TRACE_LOCKS
               : true;
}

static void slots_read(struct reader *in)
{
    for (uint64_t i = 0; i < in->count; i++) {
        struct trace_slot slot;
        slot_get(in, i, &slot);
        unsigned kind = atomic_load(&slot.kind);
        if (kind == TRACE_SEGMENT) {
            i += segment_read(in, i);
        } else if (kind == TRACE_MODULE) {
            i += module_read(in, i);
        } else if (kind <= TRACE_MORE || kind >= TRACE_KINDS ||
                   !what_good(kind, slot.what) ||
                   !event_read(in, &slot, kind)) {
            in->rank->torn++;
        }
    }
}

/* ---- files ------------------------------------------------------------------------------- */

static bool rank_known(const struct report *r, int32_t rank)
{
    for (size_t i = 0; i < r->nranks; i++) {
        if (r->ranks[i].h.rank == rank) {
            return true;
        }
    }
    return false;
}

/* How many slots there are to read. */
static uint64_t slots_count(struct report_rank *k, uint64_t bytes)
{
    uint64_t claimed = atomic_load(&k->h.claimed);
    uint64_t there = (bytes - TRACE_HEADER) / TRACE_SLOT;
    uint64_t most = claimed < k->h.slots ? claimed : k->h.slots;
    k->dropped = claimed > k->h.slots ? claimed - k->h.slots : 0;
    k->cut = there < most;
    return k->cut ? there : most;
}

static void rank_read(struct report *r, const char *path, const struct bytes *b)
{
    r->ranks = report_grow(r->ranks, r->nranks, sizeof *r->ranks);
    struct report_rank *k = &r->ranks[r->nranks++];
    memset(k, 0, sizeof *k);
    memcpy(&k->h, b->at, sizeof k->h);
    k->path = path;
    k->h.host[sizeof k->h.host - 1] = '\0';
    k->h.program[sizeof k->h.program - 1] = '\0';
    struct reader in = {.r = r,
                        .rank = k,
                        .slots = b->at + TRACE_HEADER,
                        .count = slots_count(k, b->count)};
    slots_read(&in);
}

/* Its header alone: of a later run than those before? */
static void run_choose(struct report *r, const char *path)
{
    struct trace_header h;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd >= 0 && read(fd, &h, sizeof h) == (ssize_t)sizeof h &&
        header_wrong(&h) == NULL &&
        (r->size == 0 || h.started_real > r->real)) {
        r->run = h.run;
        r->size = h.size;
        r->real = h.started_real;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void file_read(struct report *r, const char *path)
{
    struct bytes b = {NULL, 0};
    struct trace_header h;
    const char *wrong = bytes_read(path, &b);
    if (wrong == NULL) {
        memcpy(&h, b.at, sizeof h);
        wrong = header_wrong(&h);
    }
    if (wrong == NULL) {
        wrong = h.run != r->run || h.size != r->size ? "of another run"
                : rank_known(r, h.rank) ? "of a rank that another file is of"
                                        : NULL;
    }
    if (wrong != NULL) {
        (void)fprintf(stderr, "recto report: %s: %s\n", path, wrong);
        report_problem(r, "%s was not used: %s.", path, wrong);
    } else {
        rank_read(r, path, &b);
    }
    free(b.at);
}

/* ---- names ------------------------------------------------------------------------------- */

struct names {
    char **list;
    size_t count;
};

static void name_add(struct names *names, char *name)
{
    names->list = report_grow(names->list, names->count, sizeof *names->list);
    names->list[names->count++] = name;
}

/* "name.12" of a folder's entries for "name". */
static bool is_part(const char *entry, const char *name)
{
    size_t n = strlen(name);
    return strncmp(entry, name, n) == 0 && entry[n] == '.' &&
           entry[n + 1] != '\0' &&
           entry[n + 1 + strspn(entry + n + 1, "0123456789")] == '\0';
}

static int by_length(const void *a, const void *b)
{
    const char *x = *(char *const *)a;
    const char *y = *(char *const *)b;
    size_t m = strlen(x);
    size_t n = strlen(y);
    return m != n ? (m > n) - (m < n) : strcmp(x, y);
}

/* All files of a name. The paths are kept for good. */
static void parts_find(struct names *names, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    char *folder = slash == path
                       ? strdup("/")
                       : strndup(slash != NULL ? path : ".",
                                 slash != NULL ? (size_t)(slash - path) : 1);
    DIR *dir = folder != NULL ? opendir(folder) : NULL;
    size_t before = names->count;
    struct dirent *e = NULL;
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of its own */
    while (dir != NULL && (e = readdir(dir)) != NULL) {
        if (is_part(e->d_name, name)) {
            size_t bytes = strlen(folder) + strlen(e->d_name) + 2;
            char *found = report_new(bytes, 1);
            (void)snprintf(found, bytes, "%s/%s", folder, e->d_name);
            name_add(names, found);
        }
    }
    if (dir != NULL) {
        (void)closedir(dir);
    }
    free(folder);
    if (names->count == before) {
        (void)fprintf(stderr, "recto report: %s: no such trace\n", path);
    } else {
        report_sort(names->list + before, names->count - before,
                    sizeof *names->list, by_length);
    }
}

/* ---- all of them --------------------------------------------------------------------------- */

static int by_rank(const void *a, const void *b)
{
    const struct report_rank *x = a;
    const struct report_rank *y = b;
    return (x->h.rank > y->h.rank) - (x->h.rank < y->h.rank);
}

static uint64_t on_rank_0(const struct report_rank *k, uint64_t time)
{
    return time + (uint64_t)k->h.clock_offset;
}

static void origin_set(struct report *r)
{
    r->origin = UINT64_MAX;
    for (size_t i = 0; i < r->nranks; i++) {
        uint64_t start = on_rank_0(&r->ranks[i], r->ranks[i].h.started);
        if (start < r->origin) {
            r->origin = start;
            r->real = r->ranks[i].h.started_real;
        }
    }
    for (size_t i = 0; i < r->nranks; i++) {
        struct report_rank *k = &r->ranks[i];
        k->started = on_rank_0(k, k->h.started) - r->origin;
        k->ended = k->h.ended >= k->h.started && k->h.ended != 0
                       ? on_rank_0(k, k->h.ended) - r->origin
                       : 0;
        r->end = k->ended > r->end ? k->ended : r->end;
        for (uint64_t j = 0; j < k->nevents; j++) {
            struct report_event *e = &k->events[j];
            e->start -= r->origin;
            uint64_t end = e->start + e->ns;
            r->end = end > r->end ? end : r->end;
        }
        r->nevents += k->nevents;
    }
}

/* "1, 3-5": the ranks whose files are not here, ascending as those that are. */
static const char *missing_name(const struct report *r, char *text)
{
    size_t n = 0;
    int32_t next = 0;
    for (size_t i = 0; i <= r->nranks; i++) {
        int32_t here = i < r->nranks ? r->ranks[i].h.rank : r->size;
        if (here > next && n + 32 > MISSING_TEXT) {
            (void)snprintf(text + n, MISSING_TEXT - n, ", ...");
            return text;
        }
        if (here > next) {
            n += (size_t)snprintf(text + n, MISSING_TEXT - n, "%s%d",
                                  n > 0 ? ", " : "", next);
        }
        if (here > next + 1) {
            n += (size_t)snprintf(text + n, MISSING_TEXT - n, "-%d", here - 1);
        }
        next = here + 1;
    }
    return text;
}

static void problems_find(struct report *r)
{
    if ((int64_t)r->nranks < r->size) {
        char missing[MISSING_TEXT];
        report_problem(r,
                       "%zu of %d ranks' files are here; what follows is of "
                       "these alone. Missing: %s.",
                       r->nranks, r->size, missing_name(r, missing));
    }
    for (size_t i = 0; i < r->nranks; i++) {
        const struct report_rank *k = &r->ranks[i];
        if (k->ended == 0) {
            report_problem(r, "Rank %d did not end in order.", k->h.rank);
        }
        if (k->cut) {
            report_problem(r, "%s is cut off: what it lost is missing below.",
                           k->path);
        }
        if (k->dropped > 0) {
            report_problem(r,
                           "The trace of rank %d was full: its last %" PRIu64
                           " records are missing (%s).",
                           k->h.rank, k->dropped,
                           base_env_name(BASE_ENV_TRACE_SIZE));
        }
        if (k->torn > 0) {
            report_problem(
                r, "%s has %" PRIu64 " slots that are no whole records.",
                k->path, k->torn);
        }
    }
}

bool report_read(struct report *r, char **paths, size_t count)
{
    struct names names = {NULL, 0};
    memset(r, 0, sizeof *r);
    for (size_t i = 0; i < count; i++) {
        struct stat s;
        if (stat(paths[i], &s) == 0) {
            name_add(&names, paths[i]);
        } else {
            parts_find(&names, paths[i]);
        }
    }
    for (size_t i = 0; i < names.count; i++) {
        run_choose(r, names.list[i]);
    }
    for (size_t i = 0; i < names.count; i++) {
        file_read(r, names.list[i]);
    }
    free(names.list);
    if (r->nranks == 0) {
        return false;
    }
    report_sort(r->ranks, r->nranks, sizeof *r->ranks, by_rank);
    origin_set(r);
    problems_find(r);
    return true;
}

void report_free(struct report *r)
{
    for (size_t i = 0; i < r->nranks; i++) {
        free(r->ranks[i].events);
        free(r->ranks[i].places);
        free(r->ranks[i].modules);
        free(r->ranks[i].threads);
    }
    for (size_t i = 0; i < r->nproblems; i++) {
        free(r->problems[i]);
    }
    free(r->ranks);
    free(r->segments);
    free(r->files);
    free(r->sites);
    free(r->of_rank);
    free(r->parts);
    free(r->pages);
    free(r->locks);
    free(r->shared);
    free(r->problems);
    memset(r, 0, sizeof *r);
}
