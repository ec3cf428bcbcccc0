/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto ls --local`: which pieces of epochs that are not in the shared folder yet lie in
 * folders of nodes (RECTO_CKPT_LOCAL), and what can be had from them.
 */
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "ckpt/share.h"
#include "cli.h"

struct listing {
    const char *run;
    const struct ckpt_dir *dir;
    struct ckpt_holdings all;
    size_t room;
    bool damaged; /* a piece of the run was refused */
};

static int room_make(struct listing *l)
{
    size_t room = 2 * l->room + 16;
    if (l->all.count < l->room) {
        return 0;
    }
    struct ckpt_holding *items = realloc(l->all.items, room * sizeof *items);
    if (items == NULL) {
        return base_error(RECTO_ENOMEM, "list of pieces");
    }
    l->all.items = items;
    l->room = room;
    return 0;
}

static int piece_note(const char *name, void *argument)
{
    struct listing *l = argument;
    struct ckpt_share share;
    enum ckpt_piece_kind kind;
    if (!ckpt_share_named(name, l->run, &kind) || kind == CKPT_PIECE_KINDS) {
        return 0;
    }
    int status = room_make(l);
    if (status != 0) {
        return status;
    }
    if (ckpt_share_open(&share, l->dir, name) != 0) {
        base_error_print();
        l->damaged = true;
        return 0;
    }
    if (ckpt_share_verify(&share) != 0) {
        base_error_print();
        l->damaged = true;
    } else if (strcmp(share.head.run, l->run) == 0) {
        ckpt_share_holding(&share, kind, &l->all.items[l->all.count++]);
    }
    ckpt_share_close(&share);
    return 0;
}

static int folder_list(struct listing *l, const char *path)
{
    struct ckpt_dir dir;
    int status = ckpt_io_dir_open(&dir, path, false);
    if (status != 0) {
        return status == RECTO_ENOENT
                   ? base_error(RECTO_ENOENT,
                                "no folder %s; give one that is there", path)
                   : status;
    }
    l->dir = &dir;
    status = ckpt_folder_scan(&dir, piece_note, l);
    ckpt_io_dir_close(&dir);
    return status;
}

/* ---- printing ----------------------------------------------------------------------- */

/* How many nodes' pieces of a kind are there. */
static unsigned count_of(const struct listing *l, size_t e,
                         enum ckpt_piece_kind kind)
{
    unsigned n = 0;
    for (unsigned node = 0; node < l->all.items[e].ring.nodes; node++) {
        n += ckpt_holdings_find(&l->all, e, kind, node) >= 0;
    }
    return n;
}

static bool first_of(const struct listing *l, size_t e)
{
    for (size_t i = 0; i < e; i++) {
        if (strcmp(l->all.items[i].uuid, l->all.items[e].uuid) == 0) {
            return false;
        }
    }
    return true;
}

static void epoch_print(const struct listing *l, size_t e, bool json,
                        bool first)
{
    const struct ckpt_holding *h = &l->all.items[e];
    unsigned shares = count_of(l, e, CKPT_PIECE_SHARE);
    unsigned copies = count_of(l, e, CKPT_PIECE_COPY);
    unsigned parity = count_of(l, e, CKPT_PIECE_PARITY);
    const char *whole = ckpt_holdings_lacks(&l->all, e) < 0 ? "yes" : "no";
    if (json) {
        (void)printf("%s\n  {\"epoch\": %llu, \"uuid\": \"%s\", \"nodes\": %u, "
                     "\"local\": %u, \"partner\": %u, \"set\": %u, "
                     "\"whole\": %s}",
                     first ? "" : ",", (unsigned long long)h->number, h->uuid,
                     h->ring.nodes, shares, copies, parity,
                     whole[0] == 'y' ? "true" : "false");
        return;
    }
    (void)printf("%8llu  %5u  %5u  %7u  %5u  %s\n",
                 (unsigned long long)h->number, h->ring.nodes, shares, copies,
                 parity, whole);
}

static int by_number(const void *a, const void *b)
{
    const struct ckpt_holding *x = a;
    const struct ckpt_holding *y = b;
    return (x->number > y->number) - (x->number < y->number);
}

static void all_print(const struct listing *l, bool json)
{
    bool first = true;
    if (l->all.count > 0) {
        qsort(l->all.items, l->all.count, sizeof *l->all.items, by_number);
    }
    if (!json) {
        (void)printf("\nPieces in folders of nodes:\n%8s  %5s  %5s  %7s  %5s  "
                     "%s\n",
                     "EPOCH", "NODES", "LOCAL", "PARTNER", "SET", "WHOLE");
    }
    for (size_t e = 0; e < l->all.count; e++) {
        if (first_of(l, e)) {
            epoch_print(l, e, json, first);
            first = false;
        }
    }
}

enum cli_exit cli_local(const struct cli_request *r)
{
    struct listing l = {.run = r->manifest->run};
    int status = 0;
    for (size_t i = 0; i < r->nlocals && status == 0; i++) {
        status = folder_list(&l, r->locals[i]);
    }
    if (status != 0) {
        base_error_print();
        l.damaged = true;
    }
    all_print(&l, r->json);
    free(l.all.items);
    return l.damaged ? CLI_DAMAGED : CLI_GOOD;
}
