/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waiting for one event: a word that a thread spins on for a while, then sleeps
 * on by futex. The waiter says that it sleeps, so that who ends the wait enters
 * the kernel only for a sleeper.
 */
#ifndef RECTO_SRC_SYNC_WAIT_H
#define RECTO_SRC_SYNC_WAIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint32_t sync_word;

/* One turn of a spin loop. */
static inline void sync_pause(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void sync_word_start(sync_word *word); /* before anybody else sees it */
/* Until sync_word_end; an acquire. `shared`: the word lies in memory shared
 * inside the machine. */
void sync_word_wait(sync_word *word, bool shared);
/* The same for at most about timeout_ns (0: no limit); false: it did not end, and may be
 * waited for again. */
bool sync_word_wait_for(sync_word *word, bool shared, uint64_t timeout_ns);
/* Ends the wait; a release. *word may be gone when it returns. */
void sync_word_end(sync_word *word, bool shared);

#endif
