/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * space's limits: in trees that look like those of real machines the least of what
 * each limit leaves is found, pages of files are not counted as used, and whatever
 * is missing, unlimited or outside a container's view is no limit.
 */
#include <check.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <space/limits.h>

#define MIB ((uint64_t)1 << 20)

static char root[] = "/tmp/recto-limits-XXXXXX";

static void put(const char *path, const char *text)
{
    char name[PATH_MAX];
    snprintf(name, sizeof name, "%s%s", root, path);
    for (char *slash = strchr(name + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ck_assert(mkdir(name, 0700) == 0 || errno == EEXIST);
        *slash = '/';
    }
    FILE *f = fopen(name, "w");
    ck_assert_ptr_nonnull(f);
    fputs(text, f);
    ck_assert_int_eq(fclose(f), 0);
}

static void tree_make(void)
{
    memcpy(strrchr(root, '-') + 1, "XXXXXX", 6);
    ck_assert_ptr_nonnull(mkdtemp(root));
    put("/proc/meminfo", "MemTotal:        1048576 kB\n"
                         "MemFree:          100000 kB\n"
                         "MemAvailable:     524288 kB\n"
                         "SwapTotal:        262144 kB\n");
}

static void tree_remove(void)
{
    char command[PATH_MAX];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    ck_assert_int_eq(system(command), 0); /* NOLINT(cert-env33-c) */
}

static void expect(uint64_t bytes, uint64_t limit, const char *name,
                   uint64_t total)
{
    struct space_limits limits;
    struct space_room room;
    space_limits_open(&limits, root);
    space_limits_room(&limits, &room);
    ck_assert_uint_eq(room.bytes, bytes);
    ck_assert_uint_eq(room.limit, limit);
    ck_assert_str_eq(room.name, name);
    ck_assert_uint_eq(space_limits_total(&limits), total);
    space_limits_close(&limits);
    space_limits_close(&limits); /* twice is harmless */
}

static const char meminfo[] = "MemAvailable of /proc/meminfo";
static const char v2_mount[] =
    "20 1 0:19 / /sys rw - sysfs sysfs rw\n"
    "25 20 0:22 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";

START_TEST(a_machine_without_cgroups)
{
    tree_make();
    expect(512 * MIB, 1024 * MIB, meminfo, 1280 * MIB);
    tree_remove();
}
END_TEST

/* Slurm: the job's folder has the limit, the step's and the task's have none. */
START_TEST(a_limit_above_the_own_cgroup_of_v2)
{
    tree_make();
    put("/proc/self/cgroup", "0::/system.slice/job_7/step_0/task_1\n");
    put("/proc/self/mountinfo", v2_mount);
    put("/sys/fs/cgroup/system.slice/job_7/memory.max", "209715200\n");
    put("/sys/fs/cgroup/system.slice/job_7/memory.current", "104857600\n");
    put("/sys/fs/cgroup/system.slice/job_7/memory.stat",
        "anon 1048576\nfile 62914560\nkernel 0\nshmem 20971520\n"
        "inactive_anon 4096\nactive_anon 0\ninactive_file 31457280\n"
        "active_file 10485760\nunevictable 0\n");
    put("/sys/fs/cgroup/system.slice/job_7/step_0/memory.max", "max\n");
    put("/sys/fs/cgroup/system.slice/job_7/step_0/task_1/memory.max", "max\n");
    /* 200 MiB less 100 used, of which 40 are pages of files */
    expect(140 * MIB, 200 * MIB, "/sys/fs/cgroup/system.slice/job_7",
           200 * MIB);
    tree_remove();
}
END_TEST

START_TEST(the_least_of_several_limits_and_one_that_is_passed)
{
    tree_make();
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/proc/self/mountinfo", v2_mount);
    put("/sys/fs/cgroup/a/memory.max", "104857600\n");
    put("/sys/fs/cgroup/a/memory.current", "94371840\n");
    put("/sys/fs/cgroup/a/b/memory.max", "52428800\n");
    put("/sys/fs/cgroup/a/b/memory.current", "1048576\n");
    expect(10 * MIB, 100 * MIB, "/sys/fs/cgroup/a", 50 * MIB);
    put("/sys/fs/cgroup/a/b/memory.current", "52432896\n");
    expect(0, 50 * MIB, "/sys/fs/cgroup/a/b", 50 * MIB);
    tree_remove();
}
END_TEST

START_TEST(cgroups_of_v1)
{
    tree_make();
    put("/proc/self/cgroup", "9:name=systemd:/x\n"
                             "4:cpu,memory:/docker/c1\n"
                             "0::/x\n");
    put("/proc/self/mountinfo",
        "35 31 0:32 / /cg/pids rw - cgroup cgroup rw,pids\n"
        "36 31 0:33 / /cg/memory rw,relatime - cgroup cgroup rw,cpu,memory\n");
    put("/cg/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/cg/memory/docker/c1/memory.limit_in_bytes", "104857600\n");
    put("/cg/memory/docker/c1/memory.usage_in_bytes", "52428800\n");
    put("/cg/memory/docker/c1/memory.stat",
        "cache 0\nactive_file 99999999\ntotal_inactive_file 20971520\n"
        "total_active_file 0\n");
    expect(70 * MIB, 100 * MIB, "/cg/memory/docker/c1", 100 * MIB);
    tree_remove();
}
END_TEST

/* A container: the mount shows its own part of the hierarchy only. */
START_TEST(a_path_outside_what_is_mounted)
{
    static const char *const paths[] = {"0::/docker/c1\n", "0::/../elsewhere\n",
                                        "0::/\n"};
    for (size_t i = 0; i < 3; i++) {
        tree_make();
        put("/proc/self/cgroup", paths[i]);
        put("/proc/self/mountinfo",
            "25 20 0:22 /docker/c1 /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
        put("/sys/fs/cgroup/memory.max", "104857600\n");
        put("/sys/fs/cgroup/memory.current", "0\n");
        expect(100 * MIB, 100 * MIB, "/sys/fs/cgroup", 100 * MIB);
        tree_remove();
    }
}
END_TEST

START_TEST(nothing_is_known)
{
    tree_make();
    tree_remove();
    expect(UINT64_MAX, UINT64_MAX, meminfo, UINT64_MAX);
}
END_TEST

START_TEST(this_machine_has_memory)
{
    struct space_limits limits;
    struct space_room room;
    space_limits_open(&limits, "");
    space_limits_room(&limits, &room);
    ck_assert_uint_gt(room.bytes, 0);
    ck_assert_uint_le(room.bytes, room.limit);
    ck_assert_uint_lt(space_limits_total(&limits), UINT64_MAX);
    space_limits_close(&limits);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("limits");
    TCase *all = tcase_create("limits");
    tcase_add_test(all, a_machine_without_cgroups);
    tcase_add_test(all, a_limit_above_the_own_cgroup_of_v2);
    tcase_add_test(all, the_least_of_several_limits_and_one_that_is_passed);
    tcase_add_test(all, cgroups_of_v1);
    tcase_add_test(all, a_path_outside_what_is_mounted);
    tcase_add_test(all, nothing_is_known);
    tcase_add_test(all, this_machine_has_memory);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
