/* SPDX-License-Identifier: BSD-3-Clause */
/* obs: what Recto tells about itself. */
#ifndef RECTO_SRC_OBS_H
#define RECTO_SRC_OBS_H

#include <recto.h>

/* With RECTO_STATS=1 on any rank, prints the counters of all ranks on rank 0's
 * stderr. Collective. */
int obs_table(const recto_counters *mine);

#endif
