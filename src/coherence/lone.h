/* SPDX-License-Identifier: BSD-3-Clause */
/* lone: rights to pages that come late, where there is one domain. */
#ifndef RECTO_SRC_LONE_H
#define RECTO_SRC_LONE_H

struct space_segment;

int lone_attach(struct space_segment *s); /* collective, as the next */
void lone_detach(struct space_segment *s);

#endif
