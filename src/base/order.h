/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Order that other processes hand on. Two threads of a rank may be ordered by way
 * of another rank: one releases a word in memory that the ranks share, a thread of
 * the other rank acquires it and releases another word, which the second thread
 * acquires. ThreadSanitizer sees one process and misses the part in between. So who
 * releases such a word calls base_order_out before, who acquires one calls
 * base_order_in after: as if each release of this process to others came before each
 * acquire from them that follows it. That may hide a race, and never makes one up.
 *
 * Without ThreadSanitizer they are nothing.
 */
#ifndef RECTO_SRC_BASE_ORDER_H
#define RECTO_SRC_BASE_ORDER_H

#if defined(__SANITIZE_THREAD__)
#    define BASE_ORDER 1
#elif defined(__has_feature)
#    if __has_feature(thread_sanitizer)
#        define BASE_ORDER 1
#    endif
#endif

#ifdef BASE_ORDER
void __tsan_acquire(void *address); /* of ThreadSanitizer's run-time */
void __tsan_release(void *address);
extern char base_order_word;
#endif

static inline void base_order_out(void)
{
#ifdef BASE_ORDER
    __tsan_release(&base_order_word);
#endif
}

static inline void base_order_in(void)
{
#ifdef BASE_ORDER
    __tsan_acquire(&base_order_word);
#endif
}

#endif
