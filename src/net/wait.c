/* SPDX-License-Identifier: BSD-3-Clause */
/* Waiting and waking by futex: the only blocking calls of a fault handler. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <recto/error.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "net/state.h"

int net_futex_wait(const uint32_t *word, uint32_t value, uint64_t timeout_ns,
                   bool shared)
{
    int saved = errno;
    struct timespec limit = {(time_t)(timeout_ns / 1000000000U),
                             (long)(timeout_ns % 1000000000U)};
    int op = shared ? FUTEX_WAIT : FUTEX_WAIT_PRIVATE;
    long r = syscall(SYS_futex, word, op, value, timeout_ns > 0 ? &limit : NULL,
                     NULL, 0);
    int result = r < 0 && errno == ETIMEDOUT ? RECTO_EPEER : 0;
    errno = saved;
    return result;
}

void net_futex_wake(const uint32_t *word, int count, bool shared)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, shared ? FUTEX_WAKE : FUTEX_WAKE_PRIVATE,
                  count, NULL, NULL, 0);
    errno = saved;
}

void net_futex_wait_bits(const uint32_t *word, uint32_t value, uint32_t bits)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, FUTEX_WAIT_BITSET, value, NULL, NULL, bits);
    errno = saved;
}

void net_futex_wake_bits(const uint32_t *word, uint32_t bits)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, FUTEX_WAKE_BITSET, INT_MAX, NULL, NULL,
                  bits);
    errno = saved;
}

uint64_t net_timeout(void)
{
    return net.timeout;
}
