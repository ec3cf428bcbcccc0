/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory of each rank that those who share with it map: see net.h. */
#include <recto/error.h>
#include <recto/vm.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"
#include "net/net.h"

static int map(struct net_memory *m, int rank, const int *fds)
{
    int fd = m->fd;
    int r = rank != net_rank() ? net_fd_open(rank, fds[rank], &fd) : 0;
    if (r == 0) {
        r = recto_vm_map(fd, 0, m->bytes, NULL, RECTO_VM_WRITE,
                         &m->views[rank]);
        if (rank != net_rank()) {
            close(fd);
        }
    }
    return r;
}

int net_memory_create(struct net_memory *m, const char *label, size_t bytes)
{
    size_t n = (size_t)net_size();
    int *fds = calloc(n, sizeof *fds);
    *m = (struct net_memory){
        .fd = -1, .bytes = (bytes + 4095) / 4096 * 4096, .ranks = net_size()};
    m->views = calloc(n, sizeof *m->views);
    int r = m->views != NULL && fds != NULL
                ? recto_vm_memory_create(label, m->bytes, &m->fd)
                : base_error(RECTO_ENOMEM, "%s", label);
    r = net_verdict(r);
    r = r == 0 ? net_allgather(&m->fd, sizeof m->fd, fds) : r;
    for (int i = 0; r == 0 && i < m->ranks; i++) {
        r = i == net_rank() || net_shares(i) ? map(m, i, fds) : 0;
    }
    free(fds);
    return net_verdict(r);
}

void net_memory_free(struct net_memory *m)
{
    for (int i = 0; m->views != NULL && i < m->ranks; i++) {
        if (m->views[i] != NULL) {
            recto_vm_unmap(m->views[i], m->bytes);
        }
    }
    if (m->views != NULL && m->fd >= 0) {
        close(m->fd);
    }
    free(m->views);
    memset(m, 0, sizeof *m);
}
