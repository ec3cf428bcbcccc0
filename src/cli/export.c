/* SPDX-License-Identifier: BSD-3-Clause */
/* `recto export`: an epoch as a plain HDF5 file. */
#include "base/base.h"
#include "ckpt/view.h"
#include "cli.h"

enum cli_exit cli_export(const struct cli_request *r)
{
    struct ckpt_view view;
    struct cli_progress progress;
    uint64_t index = 0;
    if (!cli_epoch_index(r, &index)) {
        return CLI_NO_CHECKPOINT;
    }
    const struct ckpt_epoch *e = &r->manifest->epochs[index];
    uint64_t bytes = cli_epoch_bytes(e);
    int status = ckpt_view_open(&view, &r->dir, r->manifest, index);
    if (status == 0) {
        cli_progress_begin(&progress, "exporting", bytes);
        status = ckpt_export(&view, r->file, r->deflate, &progress.told);
        cli_progress_end(&progress);
        ckpt_view_close(&view);
    }
    if (status != 0) {
        (void)fprintf(stderr, "%s\n", recto_last_error());
        return status == RECTO_EEXIST || status == RECTO_EINVAL ? CLI_USAGE
                                                                : CLI_DAMAGED;
    }
    if (r->json) {
        (void)printf("{\"epoch\": %llu, \"file\": ",
                     (unsigned long long)e->number);
        cli_json_string(stdout, r->file);
        (void)printf(", \"objects\": %llu, \"bytes\": %llu}\n",
                     (unsigned long long)e->nobjects,
                     (unsigned long long)bytes);
    } else {
        char size[32];
        (void)printf("%s: epoch %llu, %llu objects, %s\n", r->file,
                     (unsigned long long)e->number,
                     (unsigned long long)e->nobjects, cli_size(bytes, size));
    }
    return CLI_GOOD;
}
