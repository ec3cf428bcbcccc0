/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto doctor`: what the kernel says of this machine and of the limits of this shell,
 * and Recto's own settings.
 */
#include <recto.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/base.h"
#include "cli.h"
#include "doctor.h"

enum {
    WORTH = 64 << 20 /* bytes of /dev/shm that Open MPI may want on a machine */
};

/* ---- Recto and the system ------------------------------------------------------------- */

static void build(struct doctor *d)
{
    const char *kind = "";
#ifdef RECTO_DEBUG
    kind = ", checks its invariants (RECTO_DEBUG): slow";
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    const char *sanitizer = ", with a sanitizer: slow";
#else
    const char *sanitizer = "";
#endif
    bool slow = kind[0] != '\0' || sanitizer[0] != '\0';
    doctor_add(d, slow ? DOCTOR_NOTE : DOCTOR_GOOD, "recto",
               slow ? "build the preset release for production" : NULL,
               "%d.%d.%d, compiled by %s%s%s", RECTO_VERSION_MAJOR,
               RECTO_VERSION_MINOR, RECTO_VERSION_PATCH,
#ifdef __clang__
               "clang " __clang_version__,
#else
               "gcc " __VERSION__,
#endif
               kind, sanitizer);
}

static void system_name(struct doctor *d)
{
    struct utsname u;
    char line[256] = "";
    FILE *file = fopen("/etc/os-release", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL &&
           strncmp(line, "PRETTY_NAME=", 12) != 0) {
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    char *name = line[0] == 'P' ? line + 12 + (line[12] == '"') : line;
    name[strcspn(name, "\"\n")] = '\0';
    if (uname(&u) == 0) {
        doctor_add(d, DOCTOR_GOOD, "system", NULL, "%s %s, %s, %s", u.sysname,
                   u.release, u.machine, name);
    }
}

static void processors(struct doctor *d)
{
    cpu_set_t *set = CPU_ALLOC(65536);
    size_t size = CPU_ALLOC_SIZE(65536);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    int mine = set != NULL && sched_getaffinity(0, size, set) == 0
                   ? CPU_COUNT_S(size, set)
                   : (int)online;
    CPU_FREE(set);
    bool few = mine < online;
    doctor_add(d, few ? DOCTOR_NOTE : DOCTOR_GOOD, "processors",
               few ? "this shell is bound to some: start jobs from one that is "
                     "not, or by the batch system"
                   : NULL,
               "%d of %ld", mine, online);
}

/* "MemTotal:  8000 kB": bytes, 0 if there is none. */
static uint64_t meminfo(const char *key)
{
    char line[256];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            kib = strtoull(line + strlen(key), NULL, 10);
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
    return kib << 10;
}

static void memory(struct doctor *d)
{
    char all[32];
    char left[32];
    doctor_add(d, DOCTOR_GOOD, "memory", NULL, "%s, %s available",
               cli_size(meminfo("MemTotal:"), all),
               cli_size(meminfo("MemAvailable:"), left));
    char line[64];
    bool strict = doctor_line("/proc/sys/vm/overcommit_memory", line,
                              sizeof line)[0] == '2';
    doctor_add(d, strict ? DOCTOR_NOTE : DOCTOR_GOOD, "overcommit",
               strict ? "large mappings may be refused: sysctl "
                        "vm.overcommit_memory=0"
                      : NULL,
               "vm.overcommit_memory=%s", line);
}

static void mappings(struct doctor *d)
{
    char line[64];
    unsigned long n = strtoul(
        doctor_line("/proc/sys/vm/max_map_count", line, sizeof line), NULL, 10);
    bool few = n < 65530;
    doctor_add(d, few ? DOCTOR_NOTE : DOCTOR_GOOD, "map limit",
               few ? "with the back end mprotect pages lose rights early and "
                     "fault again: sysctl vm.max_map_count=1048576"
                   : NULL,
               "vm.max_map_count=%lu (counts for the back end mprotect)", n);
    doctor_line("/proc/sys/vm/unprivileged_userfaultfd", line, sizeof line);
    doctor_add(d, DOCTOR_GOOD, "userfaultfd", NULL,
               "vm.unprivileged_userfaultfd=%s (0 will do)",
               line[0] != '\0' ? line : "not there");
}

/* ---- limits of processes ---------------------------------------------------------------- */

static const char *limit_text(rlim_t limit, char *text)
{
    return limit == RLIM_INFINITY ? "unlimited" : cli_size(limit, text);
}

static void limit(struct doctor *d, int which, const char *name,
                  const char *remedy)
{
    struct rlimit l;
    char text[32];
    if (getrlimit(which, &l) == 0) {
        bool bad = remedy != NULL && l.rlim_cur != RLIM_INFINITY;
        doctor_add(d, bad ? DOCTOR_PROBLEM : DOCTOR_GOOD, name,
                   bad ? remedy : NULL, "%s", limit_text(l.rlim_cur, text));
    }
}

static void limits(struct doctor *d)
{
    bool pins = access("/sys/class/infiniband", F_OK) == 0;
    limit(d, RLIMIT_AS, "address space",
          "Recto maps shared memory at high addresses, twice: ulimit -v "
          "unlimited");
    limit(d, RLIMIT_FSIZE, "file size",
          "it bounds shared arrays, too: ulimit -f unlimited");
    limit(d, RLIMIT_MEMLOCK, "locked memory",
          pins ? "the network registers memory: ulimit -l unlimited, in "
                 "/etc/security/limits.d and for Slurm's daemons"
               : NULL);
    limit(d, RLIMIT_CORE, "core files", NULL);
}

/* ---- what MPI and time stand on --------------------------------------------------------- */

static void shm(struct doctor *d)
{
    struct statvfs s;
    char all[32];
    char left[32];
    if (statvfs("/dev/shm", &s) != 0) {
        doctor_add(d, DOCTOR_NOTE, "/dev/shm",
                   "MPI may want it for ranks of one machine: mount a tmpfs",
                   "not there");
        return;
    }
    uint64_t free_bytes = (uint64_t)s.f_bavail * s.f_frsize;
    bool small = free_bytes < WORTH;
    doctor_add(d, small ? DOCTOR_NOTE : DOCTOR_GOOD, "/dev/shm",
               small ? "MPI may want more for ranks of one machine: remove old "
                       "files there; in a container --shm-size=1g"
                     : NULL,
               "%s, %s free (Recto's own memory is not there)",
               cli_size((uint64_t)s.f_blocks * s.f_frsize, all),
               cli_size(free_bytes, left));
}

static void clock_source(struct doctor *d)
{
    static const char path[] =
        "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    static const char *const fast[] = {"tsc", "arch_sys_counter", "kvm-clock",
                                       "hyperv_clocksource_tsc_page"};
    char line[64];
    bool known = doctor_line(path, line, sizeof line)[0] == '\0';
    for (size_t i = 0; i < sizeof fast / sizeof fast[0]; i++) {
        known = known || strcmp(line, fast[i]) == 0;
    }
    doctor_add(d, known ? DOCTOR_GOOD : DOCTOR_NOTE, "clock",
               known ? NULL
                     : "each look at the time is a system call: find out why "
                       "the kernel gave up tsc (dmesg | grep -i clocksource)",
               "%s", line[0] != '\0' ? line : "unknown");
}

/* ---- Recto's settings ------------------------------------------------------------------- */

static void settings(struct doctor *d)
{
    char name[BASE_ENV_NAME];
    const char *nearest = NULL;
    size_t at = 0;
    for (int i = 0; i < BASE_ENV_COUNT; i++) {
        enum base_env id = (enum base_env)i;
        if (cli_env_good(id) != 0) {
            doctor_add(d, DOCTOR_PROBLEM, "environment",
                       "set it as said; recto env lists all", "%s",
                       cli_last_error());
        } else if (base_env_given(id)) {
            doctor_add(d, DOCTOR_GOOD, "environment", NULL, "%s=%s",
                       base_env_name(id), base_env(id));
        }
    }
    while (base_env_unknown(&at, name, &nearest)) {
        doctor_add(d, DOCTOR_NOTE, "environment",
                   "it has no effect; recto env lists those that have",
                   "%s is unknown%s%s%s", name,
                   nearest != NULL ? ": is it " : "",
                   nearest != NULL ? nearest : "", nearest != NULL ? "?" : "");
    }
}

void doctor_machine(struct doctor *d)
{
    build(d);
    system_name(d);
    processors(d);
    memory(d);
    mappings(d);
    limits(d);
    shm(d);
    clock_source(d);
    settings(d);
}
