/* SPDX-License-Identifier: BSD-3-Clause */
/* sync: barriers, locks, atomics (recto.h); here their life cycle. */
#ifndef RECTO_SRC_SYNC_H
#define RECTO_SRC_SYNC_H

int sync_init(void);      /* collective, before the service thread starts */
void sync_finalize(void); /* after the service thread ended */

#endif
