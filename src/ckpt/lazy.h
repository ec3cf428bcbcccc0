/* SPDX-License-Identifier: BSD-3-Clause */
/* lazy: shared memory that is loaded while the program goes on. */
#ifndef RECTO_SRC_CKPT_LAZY_H
#define RECTO_SRC_CKPT_LAZY_H

#include "load.h"

/* Reads the setting. RECTO_EINVAL. Local. */
int ckpt_lazy_init(void);
/* The call of recto_restart, as the ranks compare it. */
const char *ckpt_lazy_text(void);
/* Is this restart to be a lazy one? Not when the last one found damage. After
 * ckpt_choice_open. Collective if RECTO_RESTART=lazy, one verdict. */
int ckpt_lazy_decide(bool *wanted);

/* Does the part's memory come late? */
static inline bool ckpt_lazy_part(const struct ckpt_job *job,
                                  const struct ckpt_part *part)
{
    return job->lazy && part->segment != NULL && part->segment->lazy;
}

/* Takes the chain over if parts come late. RECTO_ENOMEM. Local. */
int ckpt_lazy_hold(struct load *l);
/* The restart failed after all. */
void ckpt_lazy_drop(void);
/* The chain's epoch is restored: takes the job over and has the rest loaded by a thread
 * of its own. Collective if a part comes late, else 0. */
int ckpt_lazy_start(struct ckpt_job *job);
/* Takes the manifest over if it is still needed: NULL, else returns it. */
struct ckpt_manifest *ckpt_lazy_keep(struct ckpt_manifest *manifest);
/* Waits until all pages of all ranks are loaded. Collective if any came late. */
void ckpt_lazy_land(void);

#endif
