/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Allocation of segments: recto_alloc, recto_array, recto_free.
 *
 *   agree on the call -> is there memory? -> identifier -> memory of each
 *   domain -> versos -> reserve -> recto at the agreed address -> window ->
 *   range -> protocol
 *
 * Invariants
 * 1. Every step that can fail on one rank ends with a verdict of all, so all
 *    ranks go on or all undo what they did, in reverse order.
 * 2. Behind the pages a domain's memory holds its marks (dirty.c), the
 *    homes of pages (touch.c), then what the protocol keeps there.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "space/lazy.h"
#include "space/moved.h"
#include "space/snapshot.h"
#include "space/table.h"
#include "space/touch.h"

static const struct space_protocol *protocol;

/* ---- arguments --------------------------------------------------------------- */

static int attr_check(const recto_attr *attr)
{
    if (attr->consistency < RECTO_CONSISTENCY_DEFAULT ||
        attr->consistency > RECTO_SEQUENTIAL) {
        return base_error(RECTO_EINVAL, "attr.consistency %d is unknown",
                          attr->consistency);
    }
    if (attr->placement != RECTO_BLOCK && attr->placement != RECTO_CYCLIC &&
        attr->placement != RECTO_FIRST_TOUCH &&
        attr->placement < RECTO_AT_BASE) {
        return base_error(RECTO_EINVAL, "attr.placement %d is unknown",
                          attr->placement);
    }
    if (attr->granule % SPACE_PAGE != 0) {
        return base_error(RECTO_EINVAL,
                          "attr.granule %zu is not a multiple of %d",
                          attr->granule, SPACE_PAGE);
    }
    if ((attr->flags & ~(unsigned)(RECTO_NO_CHECKPOINT | RECTO_SPARSE)) != 0) {
        return base_error(RECTO_EINVAL, "attr.flags 0x%x are unknown",
                          attr->flags);
    }
    return 0;
}

/* Number of bytes of the array in s, into s->bytes. */
static int dims_check(struct space_segment *s, const uint64_t *dims)
{
    uint64_t bytes = recto_type_size(s->type);
    if (bytes == 0) {
        return base_error(RECTO_EINVAL, "\"%s\": unknown type %d", s->name,
                          (int)s->type);
    }
    if (s->ndims < 1 || s->ndims > RECTO_DIMS_MAX || dims == NULL) {
        return base_error(RECTO_EINVAL, "\"%s\": %d dimensions, not 1 to %d",
                          s->name, s->ndims, RECTO_DIMS_MAX);
    }
    for (int i = 0; i < s->ndims; i++) {
        s->dims[i] = dims[i];
        if (dims[i] == 0 || bytes > (UINT64_MAX / 2) / dims[i]) {
            return base_error(RECTO_EINVAL,
                              "\"%s\": dimension %d of %" PRIu64
                              " makes its size zero or too large",
                              s->name, i, dims[i]);
        }
        bytes *= dims[i];
    }
    s->bytes = bytes;
    s->pages = (bytes + SPACE_PAGE - 1) / SPACE_PAGE;
    return 0;
}

/* What the call looks like, for agreement and messages. */
static void call_text(char *text, size_t size, const struct space_segment *s)
{
    int n = snprintf(text, size, "recto_array(\"%s\", %s", s->name,
                     base_type_name(s->type));
    for (int i = 0; i < s->ndims && i < RECTO_DIMS_MAX; i++) {
        n += snprintf(text + n, size - (size_t)n, "%s%" PRIu64,
                      i == 0 ? ", " : " x ", s->dims[i]);
    }
    snprintf(text + n, size - (size_t)n,
             ", {consistency %d, placement %d, granule %zu, flags %u}) with "
             "%s=%s%s",
             s->attr.consistency, s->attr.placement, s->attr.granule,
             s->attr.flags, base_env_name(BASE_ENV_COMMIT),
             space_commit_name(s), s->lazy ? ", to be loaded lazily" : "");
}

static int call_agree(struct space_segment *s, const char *name,
                      const uint64_t *dims)
{
    char text[640];
    int r = base_name_check(name);
    if (r == 0) {
        snprintf(s->name, sizeof s->name, "%s", name);
        r = dims_check(s, dims);
    }
    r = r == 0 ? attr_check(&s->attr) : r;
    if (r == 0 && space_segment_find(name) != NULL) {
        r = base_error(RECTO_EEXIST, "\"%s\" is allocated already", name);
    }
    call_text(text, sizeof text, s);
    r = net_agree(NET_CALL_ALLOC, r, text);
    s->homed = r == 0 ? space_homed_bytes(s) : 0;
    return r == 0 && space_commit_of(s) != SPACE_SPARSE ? space_commit_check(s)
                                                        : r;
}

/* ---- memory -------------------------------------------------------------------- */

static uint64_t pages_up(uint64_t bytes)
{
    return (bytes + SPACE_PAGE - 1) / SPACE_PAGE * SPACE_PAGE;
}

/* pages | marks of writes | of the snapshot | of a lazy restart | homes by first touch |
 * the protocol's */
uint64_t space_snapshot_offset(const struct space_segment *s)
{
    return s->pages * SPACE_PAGE + pages_up(space_dirty_bytes(s));
}

uint64_t space_lazy_offset(const struct space_segment *s)
{
    return space_snapshot_offset(s) + pages_up(space_snapshot_bytes(s));
}

uint64_t space_touch_offset(const struct space_segment *s)
{
    return space_lazy_offset(s) + pages_up(space_lazy_bytes(s));
}

static size_t extra_offset(const struct space_segment *s)
{
    return space_touch_offset(s) + pages_up(space_touch_bytes(s));
}

uint64_t space_verso_bytes(const struct space_segment *s)
{
    return extra_offset(s) + pages_up(s->extra_bytes);
}

char *space_extra(const struct space_segment *s, int domain)
{
    return s->versos[domain] == NULL ? NULL
                                     : s->versos[domain] + extra_offset(s);
}

static bool leads(void)
{
    return net_domain_leader(net_domain()) == net_rank();
}

/* Every rank learns the descriptors of all domains' memory. */
static int memory_create(struct space_segment *s, int *fds)
{
    int fd = -1;
    int r = 0;
    if (leads()) {
        char label[64];
        snprintf(label, sizeof label, "recto:%.50s", s->name);
        r = recto_vm_memory_create(label, space_verso_bytes(s), &fd);
    }
    s->fd = fd;
    r = net_verdict(r);
    return r == 0 ? net_allgather(&fd, sizeof fd, fds) : r;
}

static int verso_map(struct space_segment *s, int domain, const int *fds)
{
    int leader = net_domain_leader(domain);
    void *view = NULL;
    int fd = domain == net_domain() ? s->fd : -1;
    int r = fd < 0 ? net_fd_open(leader, fds[leader], &fd) : 0;
    r = r == 0 ? recto_vm_map(fd, 0, space_verso_bytes(s), NULL, RECTO_VM_WRITE,
                              &view)
               : r;
    if (domain == net_domain()) {
        s->fd = fd;
    } else if (fd >= 0) {
        close(fd);
    }
    s->versos[domain] = view;
    return r;
}

static int versos_map(struct space_segment *s, const int *fds)
{
    int r = 0;
    for (int d = 0; d < net_domains() && r == 0; d++) {
        if (net_shares(net_domain_leader(d))) {
            r = verso_map(s, d, fds);
        }
    }
    return net_verdict(r);
}

/* Does the method of tracking do without rights of single pages? Then all are there from
 * the start, and hidden while a restart loads them. */
static bool tracks_plainly(void)
{
    return strcmp(recto_vm_dirty_method(), "fault") != 0;
}

/* The recto's range. With several domains the pages start without rights and,
 * if eager, the runs homed in my domain are granted. */
static int range_create(struct space_segment *s)
{
    bool whole = net_domains() == 1 && (s->eager || tracks_plainly());
    /* A home keeps its pages readable but in sequential memory. */
    bool keeps = s->attr.consistency == RECTO_RELEASE;
    int r = recto_vm_range_create(s->recto, s->pages * SPACE_PAGE,
                                  RECTO_VM_NONE, &s->range);
    r = r == 0 ? recto_vm_range_memory(s->range, s->fd, 0) : r;
    if (r == 0) {
        space_dirty_share(s);
        recto_vm_dirty_before(s->range, space_before_writes, s);
    }
    if (r == 0 && whole) {
        return recto_vm_own_all(s->range);
    }
    for (int rank = 0; r == 0 && s->eager && rank < net_size(); rank++) {
        uint64_t first = 0;
        uint64_t count = 0;
        while (r == 0 && net_domain_of(rank) == net_domain() &&
               space_home_run(s, rank, first + count, &first, &count)) {
            r = keeps ? recto_vm_own(s->range, first, count)
                      : recto_vm_unprot(s->range, first, count, RECTO_VM_WRITE);
        }
    }
    return r;
}

static void segment_free(struct space_segment *s)
{
    space_homes_move(s, NULL); /* which the range hears of */
    if (s->range != NULL) {
        recto_vm_range_destroy(s->range);
    }
    if (s->recto != NULL) {
        recto_vm_unmap(s->recto, s->pages * SPACE_PAGE);
    }
    for (int d = 0; s->versos != NULL && d < net_domains(); d++) {
        if (s->versos[d] != NULL) {
            recto_vm_unmap(s->versos[d], space_verso_bytes(s));
        }
    }
    if (s->fd >= 0) {
        close(s->fd);
    }
    space_claims_free(s);
    free(s->versos);
    free(s);
}

/* What I home is known, and had if it must be. */
static int memory_ready(struct space_segment *s)
{
    int r = space_claims_create(s);
    return r == 0 ? space_commit_reserve(s) : r;
}

static int segment_build(struct space_segment *s)
{
    int *fds = calloc((size_t)net_size(), sizeof *fds);
    s->versos = calloc((size_t)net_domains(), sizeof *s->versos);
    int r = fds != NULL && s->versos != NULL
                ? space_table_id(&s->id)
                : base_error(RECTO_ENOMEM, "\"%s\"", s->name);
    r = net_verdict(r);
    r = r == 0 ? memory_create(s, fds) : r;
    r = r == 0 ? versos_map(s, fds) : r;
    free(fds);
    r = r == 0 ? net_verdict(memory_ready(s)) : r;
    r = r == 0 ? space_address_map(s) : r;
    r = r == 0 ? net_window_create(s->versos[net_domain()],
                                   s->pages * SPACE_PAGE, &s->window)
               : r;
    if (r != 0) {
        return r;
    }
    r = net_verdict(range_create(s));
    r = r == 0 ? protocol->attach(s) : r;
    if (r != 0) {
        net_window_free(s->window);
    }
    return r;
}

/* ---- the public calls ---------------------------------------------------------- */

/* Homes in runs shorter than this are granted when first touched: granting
 * them at once would take a kernel mapping each. */
enum {
    EAGER_RUN = 64,
    TOUCH_PAGES = 16 /* touched together */
};

/* Pages per granule, and may homes be granted their pages at once? */
static void granule_set(struct space_segment *s)
{
    bool touch = space_touches(s);
    s->granule_pages = s->attr.granule >= SPACE_PAGE
                           ? s->attr.granule / SPACE_PAGE
                       : touch ? TOUCH_PAGES
                               : 1;
    bool fine =
        s->attr.placement == RECTO_CYCLIC && s->granule_pages < EAGER_RUN;
    s->eager = !s->lazy && (net_domains() == 1 || (!fine && !touch));
}

static struct space_segment *segment_new(const recto_attr *attr, bool heap)
{
    struct space_segment *s = calloc(1, sizeof *s);
    if (s == NULL) {
        (void)net_agree(NET_CALL_ALLOC, base_error(RECTO_ENOMEM, "a segment"),
                        "");
        return NULL;
    }
    s->fd = -1;
    s->attr = attr != NULL ? *attr : (recto_attr){0};
    if (s->attr.consistency == RECTO_CONSISTENCY_DEFAULT) {
        s->attr.consistency = RECTO_RELEASE;
    }
    s->heap = heap;
    s->lazy = space_lazy_may(s);
    granule_set(s);
    return s;
}

/* `status`: what came of the agreement on s. Frees s on failure. */
static int segment_add(struct space_segment *s, int status)
{
    s->extra_bytes = status == 0 ? protocol->memory(s) : 0;
    int r = status == 0 ? segment_build(s) : status;
    if (r != 0) {
        segment_free(s);
        return r;
    }
    space_shortage_lock();
    space_table_add(s);
    space_shortage_unlock();
    /* nobody asks a home for a page before that home knows the segment */
    return net_verdict(0);
}

void *recto_array(const char *name, recto_type type, int ndims,
                  const uint64_t *dims, const recto_attr *attr)
{
    if (protocol == NULL) {
        base_error(RECTO_ESTATE, "recto_array before recto_init");
        return NULL;
    }
    struct space_segment *s = segment_new(attr, false);
    if (s == NULL) {
        return NULL;
    }
    s->type = type;
    s->ndims = ndims;
    return segment_add(s, call_agree(s, name, dims)) == 0 ? s->recto : NULL;
}

int space_heap_create(uint64_t bytes, size_t granule,
                      struct space_segment **heap)
{
    /* In one domain homes only divide the work of a checkpoint. */
    recto_attr attr = {.placement =
                           net_domains() > 1 ? RECTO_FIRST_TOUCH : RECTO_CYCLIC,
                       .granule = granule};
    struct space_segment *s = segment_new(&attr, true);
    char text[640];
    if (s == NULL) {
        return RECTO_ENOMEM;
    }
    s->type = RECTO_BYTE;
    s->ndims = 1;
    memcpy(s->name, BASE_HEAP_NAME, sizeof BASE_HEAP_NAME);
    int r = dims_check(s, &bytes);
    call_text(text, sizeof text, s);
    r = segment_add(s, net_agree(NET_CALL_ALLOC, r, text));
    *heap = r == 0 ? s : NULL;
    return r;
}

void *recto_alloc(const char *name, uint64_t bytes, const recto_attr *attr)
{
    return recto_array(name, RECTO_BYTE, 1, &bytes, attr);
}

static int segment_end(struct space_segment *s)
{
    protocol->detach(s);
    space_shortage_lock();
    space_table_remove(s);
    space_shortage_unlock();
    int r = net_window_free(s->window);
    segment_free(s);
    return r;
}

int recto_free(void *p)
{
    if (protocol == NULL) {
        return base_error(RECTO_ESTATE, "recto_free before recto_init");
    }
    char text[RECTO_NAME_MAX + 32];
    struct space_segment *s = space_segment_at(p);
    int r = 0;
    if (s != NULL && s->heap) {
        r = base_error(RECTO_EINVAL,
                       "recto_free(%p): memory of recto_malloc is given back "
                       "by recto_mfree",
                       p);
    } else if (s == NULL || s->recto != (char *)p) {
        r = base_error(RECTO_ENOENT,
                       "recto_free(%p): not the start of shared "
                       "memory",
                       p);
    }
    snprintf(text, sizeof text, "recto_free(\"%s\")",
             s != NULL ? s->name : "?");
    r = net_agree(NET_CALL_FREE, r, text);
    if (r == 0) {
        space_land();
    }
    return r == 0 ? segment_end(s) : r;
}

int recto_home(const void *p)
{
    struct space_segment *s = space_segment_at(p);
    if (s == NULL) {
        return base_error(RECTO_ENOENT, "recto_home(%p): not shared memory", p);
    }
    return space_home_ask(s,
                          (uint64_t)((const char *)p - s->recto) / SPACE_PAGE);
}

int recto_is_shared(const void *p)
{
    return space_segment_at(p) != NULL;
}

int space_init(const struct space_protocol *with)
{
    if (recto_vm_page_size() != SPACE_PAGE) {
        return base_error(RECTO_EUNSUPPORTED,
                          "pages of %zu bytes: Recto needs a kernel with pages "
                          "of %d",
                          recto_vm_page_size(), SPACE_PAGE);
    }
    protocol = with;
    space_touch_init();
    int r = space_commit_init();
    return r == 0 ? space_shortage_start() : r;
}

int space_finalize(void)
{
    int r = 0;
    while (space_segment_first() != NULL) {
        int s = segment_end(space_segment_first());
        r = r == 0 ? s : r;
    }
    space_snapshot_destroy();
    space_table_clear();
    space_shortage_stop();
    space_commit_end();
    protocol = NULL;
    return r;
}
