/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which epoch a restart takes: the newest that is intact, or the one that the program
 * (recto_restart_select) or the user (RECTO_RESTART_EPOCH, which wins) has chosen.
 *
 * Invariants
 * 1. All ranks work from rank 0's bytes of the manifest; nobody else looks for
 *    files.
 * 2. A candidate is taken or skipped by all ranks alike (one verdict each).
 * 3. A chosen epoch is taken, or none is.
 */
#include "choice.h"

#include <recto.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* ---- the choice ------------------------------------------------------------------- */

int ckpt_choice_read(int64_t *chosen)
{
    uint64_t number = 0;
    *chosen = RECTO_NEWEST;
    if (!base_env_given(BASE_ENV_RESTART_EPOCH) ||
        strcmp(base_env(BASE_ENV_RESTART_EPOCH), "newest") == 0) {
        return 0;
    }
    int status = base_env_u64(BASE_ENV_RESTART_EPOCH, &number);
    *chosen = status == 0 ? (int64_t)number : RECTO_NEWEST;
    return status;
}

int recto_restart_select(int64_t epoch)
{
    if (!ckpt_state.started) {
        return base_error(RECTO_ESTATE,
                          "recto_restart_select before recto_init");
    }
    if (epoch < RECTO_NEWEST) {
        return base_error(RECTO_EINVAL,
                          "recto_restart_select(%lld): give a number, or "
                          "RECTO_NEWEST",
                          (long long)epoch);
    }
    if (!base_env_given(BASE_ENV_RESTART_EPOCH)) {
        ckpt_state.chosen = epoch;
    }
    return 0;
}

const char *ckpt_choice_text(const char *call, char *text, size_t size)
{
    (void)snprintf(text, size, "%s, the newest epoch", call);
    if (ckpt_state.chosen != RECTO_NEWEST) {
        (void)snprintf(text, size, "%s, epoch %lld", call,
                       (long long)ckpt_state.chosen);
    }
    return text;
}

/* ---- the manifest on every rank --------------------------------------------------- */

int ckpt_manifest_share(int status, const struct ckpt_manifest *mine,
                        struct ckpt_manifest **manifest)
{
    char *text = NULL;
    size_t size = 0;
    *manifest = NULL;
    if (status == 0 && mine != NULL) {
        status = ckpt_manifest_print(mine, &text, &size);
    }
    uint64_t bytes = size;
    status = net_verdict(status);
    if (status == 0) {
        status = net_bcast(&bytes, sizeof bytes, 0);
    }
    if (status != 0 || bytes == 0) {
        free(text);
        return status;
    }
    if (net_rank() != 0) {
        text = malloc(bytes);
        status = text != NULL ? 0 : base_error(RECTO_ENOMEM, "manifest");
    }
    status = net_verdict(status);
    if (status == 0) {
        status = net_bcast(text, bytes, 0);
    }
    if (status == 0) {
        status = net_verdict(ckpt_manifest_parse(text, bytes, manifest));
    }
    free(text);
    return status;
}

/* *manifest is NULL for a fresh start. Collective. */
static int manifest_share(struct ckpt_manifest **manifest)
{
    struct ckpt_store *store = &ckpt_state.store;
    int status = 0;
    if (net_rank() == 0) {
        status = ckpt_store_open(store, ckpt_state.path, false);
        status = status == RECTO_ENOENT ? 0 : status;
    }
    return ckpt_manifest_share(status, net_rank() == 0 ? store->manifest : NULL,
                               manifest);
}

static int not_there(const struct ckpt_manifest *m)
{
    char what[128] = "no checkpoint";
    if (m != NULL && m->nepochs > 0) {
        (void)snprintf(what, sizeof what, "%llu epochs from %llu to %llu",
                       (unsigned long long)m->nepochs,
                       (unsigned long long)m->epochs[0].number,
                       (unsigned long long)m->epochs[m->nepochs - 1].number);
    }
    return base_error(RECTO_ENOENT,
                      "epoch %lld was chosen, and %s holds %s: choose one that "
                      "`recto ls` shows",
                      (long long)ckpt_state.chosen, ckpt_state.path, what);
}

/* Index of the chosen epoch; nepochs: it is not there. */
static uint64_t chosen_find(const struct ckpt_manifest *m)
{
    uint64_t i = 0;
    while (i < m->nepochs &&
           m->epochs[i].number != (uint64_t)ckpt_state.chosen) {
        i++;
    }
    return i;
}

int ckpt_choice_open(struct ckpt_manifest **manifest)
{
    int status = manifest_share(manifest);
    struct ckpt_manifest *m = *manifest;
    if (status != 0) {
        return status;
    }
    if (ckpt_state.chosen != RECTO_NEWEST &&
        (m == NULL || chosen_find(m) == m->nepochs)) {
        return not_there(m);
    }
    if (m == NULL || m->nepochs == 0) {
        ckpt_manifest_free(m);
        *manifest = NULL;
        return 0;
    }
    return net_verdict(ckpt_dir_join());
}

/* ---- candidates ----------------------------------------------------------------------- */

static bool damaged(int status)
{
    return status == RECTO_ECORRUPT || status == RECTO_EIO;
}

static bool differs(int status)
{
    return status == RECTO_ECHANGED || status == RECTO_EADDRESS ||
           status == RECTO_ENOENT;
}

static void warn_skipped(const struct ckpt_epoch *e)
{
    if (net_rank() == 0) {
        base_warn("epoch %llu is skipped: %s", (unsigned long long)e->number,
                  recto_last_error());
    }
}

static int none_intact(const struct ckpt_manifest *m)
{
    char last[400];
    (void)snprintf(last, sizeof last, "%s", recto_last_error());
    return base_error(RECTO_ECORRUPT,
                      "%s: none of %llu epochs can be restored; the oldest: %s",
                      ckpt_state.path, (unsigned long long)m->nepochs, last);
}

int ckpt_choice_try(const struct ckpt_manifest *m, ckpt_choice_load load,
                    void *argument)
{
    if (ckpt_state.chosen != RECTO_NEWEST) {
        return load(argument, m, chosen_find(m));
    }
    bool newest = true;
    for (uint64_t i = m->nepochs; i-- > 0;) {
        int status = load(argument, m, i);
        if (!damaged(status) && !(differs(status) && !newest)) {
            return status;
        }
        newest = false;
        warn_skipped(&m->epochs[i]);
    }
    return none_intact(m);
}
