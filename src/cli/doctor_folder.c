/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto doctor`: the folders of checkpoints, the shared one and the nodes' own. Nothing is
 * written there.
 */
#include <errno.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/base.h"
#include "cli.h"
#include "doctor.h"

enum {
    LUSTRE = 0x0bd00bd0, /* not in linux/magic.h */
    GPFS = 0x47504653,
    BEEGFS = 0x19830326,
    SMALL = 1 << 30 /* bytes that are few for checkpoints */
};

static const struct file_system {
    unsigned long magic;
    const char *name;
    bool lasts;         /* survives the machine's end */
    const char *remedy; /* NULL: nothing to say */
} systems[] = {
    {NFS_SUPER_MAGIC,       "NFS",     true,
     "one server takes all ranks' writes: a parallel file system is faster; mount it hard "
     "(soft mounts lose writes)"                  },
    {TMPFS_MAGIC,           "tmpfs",   false, NULL},
    {RAMFS_MAGIC,           "ramfs",   false, NULL},
    {OVERLAYFS_SUPER_MAGIC, "overlay", true,  NULL},
    {EXT4_SUPER_MAGIC,      "ext4",    true,  NULL},
    {XFS_SUPER_MAGIC,       "XFS",     true,  NULL},
    {BTRFS_SUPER_MAGIC,     "Btrfs",   true,  NULL},
    {CEPH_SUPER_MAGIC,      "CephFS",  true,  NULL},
    {FUSE_SUPER_MAGIC,      "FUSE",    true,  NULL},
    {LUSTRE,                "Lustre",  true,  NULL},
    {GPFS,                  "GPFS",    true,  NULL},
    {BEEGFS,                "BeeGFS",  true,  NULL}
};

static const struct file_system *system_of(unsigned long magic)
{
    for (size_t i = 0; i < sizeof systems / sizeof systems[0]; i++) {
        if (systems[i].magic == magic) {
            return &systems[i];
        }
    }
    return NULL;
}

/* The folder, or the nearest one above it that is there. */
static void there(const char *path, char *found, size_t size)
{
    struct stat s;
    (void)snprintf(found, size, "%s", path);
    while (stat(found, &s) != 0 && errno == ENOENT) {
        char *slash = strrchr(found, '/');
        if (slash == NULL) {
            (void)snprintf(found, size, ".");
            return;
        }
        slash[slash == found] = '\0'; /* "/" stays */
    }
}

static void space(struct doctor *d, const char *name, const char *found,
                  bool own)
{
    struct statfs s;
    char left[32];
    char magic[32];
    if (statfs(found, &s) != 0) {
        return;
    }
    const struct file_system *system = system_of((unsigned long)s.f_type);
    uint64_t free_bytes = (uint64_t)s.f_bavail * (uint64_t)s.f_bsize;
    bool fleeting = system != NULL && !system->lasts && !own;
    const char *remedy =
        fleeting ? "it is lost with the machine: choose a folder on a disk"
        : free_bytes < SMALL ? "make room: two full epochs and more must fit"
        : system != NULL && !own ? system->remedy
                                 : NULL;
    (void)snprintf(magic, sizeof magic, "type %#lx", (unsigned long)s.f_type);
    doctor_add(d, remedy != NULL ? DOCTOR_NOTE : DOCTOR_GOOD, name, remedy,
               "%s, %s free", system != NULL ? system->name : magic,
               cli_size(free_bytes, left));
}

static void folder(struct doctor *d, const char *name, const char *path,
                   bool own)
{
    char found[PATH_MAX];
    struct stat s;
    there(path, found, sizeof found);
    bool exists = strcmp(path, found) == 0;
    if (stat(found, &s) != 0) {
        doctor_add(d, DOCTOR_PROBLEM, name,
                   "give a path that this user may reach", "%s: %s", path,
                   base_errno_text(errno));
        return;
    }
    if (!S_ISDIR(s.st_mode)) {
        doctor_add(d, DOCTOR_PROBLEM, name, "give a folder",
                   "%s: %s is no folder", path, found);
        return;
    }
    if (access(found, W_OK | X_OK) != 0) {
        doctor_add(d, DOCTOR_PROBLEM, name,
                   "give a folder that this user may write to", "%s: %s: %s",
                   path, found, base_errno_text(errno));
        return;
    }
    doctor_add(d, DOCTOR_GOOD, name, NULL, "%s, %s", path,
               exists ? "writable" : "will be made by the first checkpoint");
    space(d, name, found, own);
}

void doctor_folders(struct doctor *d)
{
    const char *local = base_env(BASE_ENV_CKPT_LOCAL);
    folder(d, "checkpoints",
           d->folder != NULL ? d->folder : base_env(BASE_ENV_CKPT_DIR), false);
    if (local[0] != '\0') {
        char path[PATH_MAX]; /* up to the folder whose name has %d in it */
        const char *number = strstr(local, "%d");
        (void)snprintf(path, sizeof path, "%.*s",
                       number != NULL ? (int)(number - local) : PATH_MAX - 1,
                       local);
        char *slash = number != NULL ? strrchr(path, '/') : NULL;
        if (slash != NULL) {
            slash[slash == path] = '\0';
        }
        folder(d, "local folder", path, true);
    }
}
