/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages of release consistency, and waits for their answers: rel_far.c and
 * rel_tell.c. See there.
 */
#ifndef RECTO_SRC_REL_MESSAGE_H
#define RECTO_SRC_REL_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#include "coherence/release.h"
#include "net/net.h"

enum rel_message {
    MSG_FETCH,     /* a = first page, b = wait, c = number, d = where to */
    MSG_PAGE,      /* the same, back; data = the pages, or none */
    MSG_GOT,       /* b = wait: they have been got */
    MSG_DIFF_OUT,  /* as DIFF, from a thread to its service thread; d = home */
    MSG_DIFF,      /* a = offset in the sender's staging, b = wait, c = bytes;
                      data = the records, or none */
    MSG_DIFF_HERE, /* the same: they have been got; source = the writer */
    MSG_TELL, /* to the own service thread: sends the releasing thread's list */
    MSG_NOTICE,  /* c = rank that tells, d = writer; data = pages */
    MSG_NOTICED, /* the same, back to the rank that tells */
    MSG_TOLD,    /* b = wait: differences are home, and all have been told */
    MSG_ATOMIC,  /* flags = operation, a = offset, b = wait, c, d = operands */
    MSG_ANSWER   /* b = wait, c = old value */
};

/* One thing that was awaited is there; the last wakes the waiter. `token` is the
 * address of a struct rel_wait of this process. */
void rel_wait_settle(uint64_t token);

void rel_post(int target, enum rel_message type, struct net_msg msg);
/* The service thread only. */
void rel_post_data(int target, enum rel_message type, struct net_msg msg,
                   const void *data, size_t bytes);

/* ---- rel_tell.c, on the service thread ----------------------------------------------- */

void rel_tell_receive(const struct net_msg *msg);
/* Notices for this rank. */
void rel_notice_receive(const struct net_msg *msg);
/* Notices that this rank sent have arrived. */
void rel_noticed_receive(struct rel_segment *m, const struct net_msg *msg);

int rel_tell_start(void); /* RECTO_ENOMEM */
void rel_tell_forget(void);

#endif
