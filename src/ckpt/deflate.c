/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A ring of slots between one thread that brings and fetches chunks and those that
 * compress them.
 *
 * Invariants
 * 1. Chunk i is in slot i % nslots; got <= next <= put <= got + nslots.
 * 2. A thread has its slot alone while it is busy; the caller has those that are free
 *    or done.
 * 3. What comes out depends on chunk, level and element alone, not on the threads.
 */
#include "deflate.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/base.h"
#include "shuffle.h"

static void slot_pack(struct ckpt_slot *s, int level)
{
    const char *from = s->in;
    uLongf packed = s->bytes; /* of more there is no use */
    if (s->element > 1) {
        ckpt_shuffle(s->in, s->sorted, s->bytes, s->element);
        from = s->sorted;
    }
    int result = compress2((Bytef *)s->out, &packed, (const Bytef *)from,
                           s->bytes, level);
    s->packed = result == Z_OK && packed < s->bytes ? packed : 0;
}

static void *thread_run(void *argument)
{
    struct ckpt_deflater *d = argument;
    (void)pthread_mutex_lock(&d->mutex);
    for (;;) {
        struct ckpt_slot *s = &d->slots[d->next % d->nslots];
        if (d->end) {
            break;
        }
        if (s->state != CKPT_SLOT_FULL) {
            (void)pthread_cond_wait(&d->full, &d->mutex);
            continue;
        }
        s->state = CKPT_SLOT_BUSY;
        d->next++;
        (void)pthread_mutex_unlock(&d->mutex);
        slot_pack(s, d->level);
        (void)pthread_mutex_lock(&d->mutex);
        s->state = CKPT_SLOT_DONE;
        (void)pthread_cond_signal(&d->done);
    }
    (void)pthread_mutex_unlock(&d->mutex);
    return NULL;
}

static int slots_make(struct ckpt_deflater *d)
{
    bool good = true;
    for (unsigned i = 0; i < d->nslots; i++) {
        struct ckpt_slot *s = &d->slots[i];
        s->in = malloc(CKPT_CHUNK);
        s->sorted = malloc(CKPT_CHUNK);
        s->out = malloc(CKPT_CHUNK);
        good = good && s->in != NULL && s->sorted != NULL && s->out != NULL;
    }
    return good ? 0 : base_error(RECTO_ENOMEM, "buffers of compression");
}

int ckpt_deflater_open(struct ckpt_deflater *d, int level, unsigned threads)
{
    memset(d, 0, sizeof *d);
    threads = threads > CKPT_DEFLATE_THREADS ? CKPT_DEFLATE_THREADS : threads;
    d->level = level;
    d->nslots = 2 * threads;
    (void)pthread_mutex_init(&d->mutex, NULL);
    (void)pthread_cond_init(&d->full, NULL);
    (void)pthread_cond_init(&d->done, NULL);
    int status = slots_make(d);
    while (status == 0 && d->nthreads < threads) {
        int error =
            pthread_create(&d->threads[d->nthreads], NULL, thread_run, d);
        if (error == 0) {
            d->nthreads++;
        } else {
            status = base_error(RECTO_ENOMEM, "threads that compress: %s",
                                base_errno_text(error));
        }
    }
    if (status != 0) {
        ckpt_deflater_close(d);
    }
    return status;
}

void ckpt_deflater_close(struct ckpt_deflater *d)
{
    (void)pthread_mutex_lock(&d->mutex);
    d->end = true;
    (void)pthread_cond_broadcast(&d->full);
    (void)pthread_mutex_unlock(&d->mutex);
    for (unsigned i = 0; i < d->nthreads; i++) {
        (void)pthread_join(d->threads[i], NULL);
    }
    for (unsigned i = 0; i < d->nslots; i++) {
        free(d->slots[i].in);
        free(d->slots[i].sorted);
        free(d->slots[i].out);
    }
    (void)pthread_cond_destroy(&d->full);
    (void)pthread_cond_destroy(&d->done);
    (void)pthread_mutex_destroy(&d->mutex);
}

bool ckpt_deflater_full(const struct ckpt_deflater *d)
{
    return d->put - d->got == d->nslots;
}

char *ckpt_deflater_room(struct ckpt_deflater *d)
{
    return d->slots[d->put % d->nslots].in;
}

void ckpt_deflater_put(struct ckpt_deflater *d, size_t bytes, size_t element,
                       uint64_t number)
{
    struct ckpt_slot *s = &d->slots[d->put % d->nslots];
    RECTO_ASSERT(!ckpt_deflater_full(d) && bytes <= CKPT_CHUNK);
    (void)pthread_mutex_lock(&d->mutex);
    s->bytes = bytes;
    s->element = element;
    s->number = number;
    s->state = CKPT_SLOT_FULL;
    d->put++;
    (void)pthread_cond_signal(&d->full);
    (void)pthread_mutex_unlock(&d->mutex);
}

bool ckpt_deflater_get(struct ckpt_deflater *d, struct ckpt_deflated *chunk)
{
    struct ckpt_slot *s = &d->slots[d->got % d->nslots];
    if (d->got == d->put) {
        return false;
    }
    (void)pthread_mutex_lock(&d->mutex);
    while (s->state != CKPT_SLOT_DONE) {
        (void)pthread_cond_wait(&d->done, &d->mutex);
    }
    s->state = CKPT_SLOT_FREE;
    (void)pthread_mutex_unlock(&d->mutex);
    d->got++;
    bool raw = s->packed == 0;
    *chunk = (struct ckpt_deflated){s->number, raw ? s->in : s->out,
                                    raw ? s->bytes : s->packed, raw};
    return true;
}
