/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base: errors carry a complete message and keep errno; the signal-safe
 * formatter agrees with snprintf on its subset and never writes past its
 * buffer; environment variables fall back to their default, numbers are
 * checked, and unknown RECTO_ names are warned about.
 */
#include <base/base.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- errors -------------------------------------------------------------- */

static const struct {
    int code;
    const char *name;
    const char *text;
} errors[] = {
#define ERROR_ROW(name, value, text) {name, #name, text},
    RECTO_ERROR_LIST(ERROR_ROW)
#undef ERROR_ROW
};
enum {
    ERROR_COUNT = sizeof errors / sizeof errors[0]
};

START_TEST(every_error_has_a_name_a_text_and_a_value_of_its_own)
{
    for (size_t i = 0; i < ERROR_COUNT; i++) {
        ck_assert_int_lt(errors[i].code, 0);
        ck_assert_str_eq(base_error_name(errors[i].code), errors[i].name);
        ck_assert_str_eq(recto_strerror(errors[i].code), errors[i].text);
        for (size_t j = 0; j < i; j++) {
            ck_assert_int_ne(errors[i].code, errors[j].code);
            ck_assert_str_ne(errors[i].text, errors[j].text);
        }
    }
    ck_assert_str_eq(recto_strerror(0), "success");
    ck_assert_ptr_nonnull(recto_strerror(INT_MIN));
    ck_assert_ptr_nonnull(recto_strerror(1));
    ck_assert_str_eq(base_error_name(-9999), "RECTO_E?");
}
END_TEST

START_TEST(an_error_message_says_who_what_and_which_code)
{
    ck_assert_str_eq(recto_last_error(), "");
    ck_assert_int_eq(base_error(RECTO_EINVAL, "size %d is odd", 3),
                     RECTO_EINVAL);
    ck_assert_str_eq(recto_last_error(), "recto: size 3 is odd (RECTO_EINVAL)");
    base_identity(3, "n2");
    ck_assert_int_eq(base_rank(), 3);
    ck_assert_str_eq(base_host(), "n2");
    errno = ENOSPC;
    base_error(RECTO_EIO, "open /ckpt/e12.h5: %s", strerror(errno));
    ck_assert_int_eq(errno, ENOSPC);
    ck_assert_str_eq(recto_last_error(),
                     "recto: rank 3 on n2: open /ckpt/e12.h5: No space left on "
                     "device (RECTO_EIO)");
    ck_assert_int_eq(base_error(0, "not an error"), 0);
    ck_assert_ptr_nonnull(strstr(recto_last_error(), "e12.h5"));
    base_error_set("recto: rank 1 on n1: as it was (RECTO_EIO)");
    ck_assert_str_eq(recto_last_error(),
                     "recto: rank 1 on n1: as it was (RECTO_EIO)");
}
END_TEST

START_TEST(a_message_that_is_too_long_is_cut_before_the_code)
{
    char text[4096];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    base_error(RECTO_ENOMEM, "%s", text);
    const char *message = recto_last_error();
    ck_assert_uint_lt(strlen(message), 1024);
    ck_assert_str_eq(message + strlen(message) - 14, "(RECTO_ENOMEM)");
}
END_TEST

static void *other_thread(void *message)
{
    snprintf(message, 64, "%s", recto_last_error());
    base_error(RECTO_EBUSY, "other");
    return NULL;
}

START_TEST(each_thread_has_its_own_last_error)
{
    char seen[64] = "?";
    pthread_t thread;
    base_error(RECTO_EINVAL, "mine");
    ck_assert_int_eq(pthread_create(&thread, NULL, other_thread, seen), 0);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_str_eq(seen, "");
    ck_assert_str_eq(recto_last_error(), "recto: mine (RECTO_EINVAL)");
}
END_TEST

/* ---- base_format ----------------------------------------------------------- */

static size_t __attribute__((format(printf, 3, 4)))
format(char *buffer, size_t size, const char *text, ...)
{
    va_list ap;
    va_start(ap, text);
    size_t n = base_format(buffer, size, text, ap);
    va_end(ap);
    return n;
}

/* Formats with both and compares text and length. */
#define SAME(...)                                                              \
    do {                                                                       \
        char ours[256];                                                        \
        char theirs[256];                                                      \
        size_t n = format(ours, sizeof ours, __VA_ARGS__);                     \
        int m = snprintf(theirs, sizeof theirs, __VA_ARGS__);                  \
        ck_assert_str_eq(ours, theirs);                                        \
        ck_assert_int_eq((int)n, m);                                           \
    } while (0)

START_TEST(format_agrees_with_snprintf)
{
    static const long longs[] = {
        0, 1, -1, 9, 10, -10, INT_MAX, INT_MIN, 4294967296, LONG_MAX, LONG_MIN};
    SAME("plain");
    SAME("100 %%|%c|%s|%s|", 'x', "a string", "");
    SAME("%p %p", (void *)&longs, (void *)1);
    for (size_t i = 0; i < sizeof longs / sizeof longs[0]; i++) {
        long v = longs[i];
        SAME("%d|%u|%x|", (int)v, (unsigned)v, (unsigned)v);
        SAME("%ld|%lu|%lx|%zu|", v, (unsigned long)v, (unsigned long)v,
             (size_t)v);
        SAME("%lld|%llu|%llx|", (long long)v, (unsigned long long)v,
             (unsigned long long)v);
        SAME("%" PRId64 "|%" PRIu64 "|%" PRIx64, (int64_t)v, (uint64_t)v,
             (uint64_t)v);
    }
    SAME("%d %s %lu %c %x", -5, "mixed", 7UL, 'c', 255U);
}
END_TEST

START_TEST(format_cuts_at_the_size_and_ends_with_a_zero)
{
    static const char whole[] = "ab-123cdxyz";
    for (size_t size = 1; size < 16; size++) {
        char buffer[16];
        size_t kept = size - 1 < strlen(whole) ? size - 1 : strlen(whole);
        memset(buffer, '#', sizeof buffer);
        size_t n = format(buffer, size, "ab%dcd%s", -123, "xyz");
        ck_assert_uint_eq(n, kept);
        ck_assert_int_eq(memcmp(buffer, whole, kept), 0);
        ck_assert_int_eq(buffer[kept], '\0');
        for (size_t i = size; i < sizeof buffer; i++) {
            ck_assert_int_eq(buffer[i], '#');
        }
    }
}
END_TEST

START_TEST(format_survives_a_null_string)
{
    const char *volatile none = NULL;
    char buffer[16];
    format(buffer, sizeof buffer, "<%s>", none);
    ck_assert_str_eq(buffer, "<(null)>");
}
END_TEST

/* ---- environment ------------------------------------------------------------ */

START_TEST(a_variable_unset_or_empty_has_its_default)
{
    unsetenv("RECTO_CKPT_FULL");
    ck_assert_str_eq(base_env(BASE_ENV_CKPT_FULL), "16");
    setenv("RECTO_CKPT_FULL", "", 1);
    ck_assert_str_eq(base_env(BASE_ENV_CKPT_FULL), "16");
    setenv("RECTO_CKPT_FULL", "4", 1);
    ck_assert_str_eq(base_env(BASE_ENV_CKPT_FULL), "4");
    for (int id = 0; id < BASE_ENV_COUNT; id++) {
        ck_assert_int_eq(strncmp(base_env_name(id), "RECTO_", 6), 0);
        unsetenv(base_env_name(id));
        ck_assert_ptr_nonnull(base_env(id));
    }
}
END_TEST

START_TEST(a_choice_is_one_of_its_words)
{
    static const char *const good[] = {"usr1", "term", "off"};
    static const char *const bad[] = {"usr",  "usr12", "|",  "usr1|term",
                                      "off|", " off",  "OFF"};
    unsigned choice = 77;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("RECTO_STOP_SIGNAL", bad[i], 1);
        ck_assert_int_eq(base_env_choice(BASE_ENV_STOP_SIGNAL, &choice),
                         RECTO_EINVAL);
        ck_assert_ptr_nonnull(strstr(recto_last_error(), "usr1, term or off"));
        ck_assert_uint_eq(choice, 77); /* set only on success */
    }
    for (unsigned i = 0; i < sizeof good / sizeof good[0]; i++) {
        setenv("RECTO_STOP_SIGNAL", good[i], 1);
        ck_assert_int_eq(base_env_choice(BASE_ENV_STOP_SIGNAL, &choice), 0);
        ck_assert_uint_eq(choice, i);
    }
    unsetenv("RECTO_STOP_SIGNAL");
    ck_assert_int_eq(base_env_choice(BASE_ENV_STOP_SIGNAL, &choice), 0);
    ck_assert_uint_eq(choice, 0);
}
END_TEST

START_TEST(a_number_is_whole_and_fits)
{
    static const char *const bad[] = {
        "-1", "+1", "1x", "x", " 1", "1 ", "1.5", "0x", "18446744073709551616"};
    uint64_t value = 77;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("RECTO_HOLD", bad[i], 1);
        ck_assert_int_eq(base_env_u64(BASE_ENV_HOLD, &value), RECTO_EINVAL);
        ck_assert_ptr_nonnull(strstr(recto_last_error(), "RECTO_HOLD"));
        ck_assert_ptr_nonnull(strstr(recto_last_error(), bad[i]));
        ck_assert_uint_eq(value, 77); /* set only on success */
    }
    setenv("RECTO_MAX_MAPPINGS", "18446744073709551615", 1);
    ck_assert_int_eq(base_env_u64(BASE_ENV_MAX_MAPPINGS, &value), 0);
    ck_assert_uint_eq(value, UINT64_MAX);
    unsetenv("RECTO_MAX_MAPPINGS");
    unsetenv("RECTO_HOLD");
    ck_assert_int_eq(base_env_u64(BASE_ENV_HOLD, &value), 0);
    ck_assert_uint_eq(value, 100);
}
END_TEST

/* Runs `action` and returns what it wrote to stderr. */
static const char *stderr_of(void (*action)(void))
{
    static char text[4096];
    char path[] = "/tmp/recto-test-XXXXXX";
    int file = mkstemp(path);
    ck_assert_int_ge(file, 0);
    unlink(path);
    int saved = dup(STDERR_FILENO);
    ck_assert_int_ge(dup2(file, STDERR_FILENO), 0);
    action();
    ck_assert_int_ge(dup2(saved, STDERR_FILENO), 0);
    ssize_t n = pread(file, text, sizeof text - 1, 0);
    ck_assert_int_ge(n, 0);
    text[n] = '\0';
    close(saved);
    close(file);
    return text;
}

START_TEST(unknown_variables_are_warned_about_once_each)
{
    unsetenv("RECTO_QUIET");
    setenv("RECTO_NODE", "rank", 1);
    ck_assert_str_eq(stderr_of(base_env_check), "");
    setenv("RECTO_NODES", "rank", 1); /* longer than a known one */
    setenv("RECTO_NOD", "rank", 1);   /* shorter */
    setenv("XRECTO_NODES", "rank", 1);
    const char *text = stderr_of(base_env_check);
    ck_assert_ptr_nonnull(strstr(text, "recto: "));
    ck_assert_ptr_nonnull(strstr(text, "RECTO_NODES: is it RECTO_NODE?\n"));
    ck_assert_ptr_nonnull(strstr(text, "RECTO_NOD: is it RECTO_NODE?\n"));
    ck_assert_ptr_null(strstr(text, "XRECTO"));
    size_t lines = 0;
    for (const char *c = text; *c != '\0'; c++) {
        lines += *c == '\n';
    }
    ck_assert_uint_eq(lines, 2);
    setenv("RECTO_QUIET", "1", 1);
    ck_assert_str_eq(stderr_of(base_env_check), "");
}
END_TEST

/* "RECTO_X=value": is it accepted? */
static bool taken(enum base_env id, const char *value)
{
    setenv(base_env_name(id), value, 1);
    bool good = base_env_good(id) == 0;
    unsetenv(base_env_name(id));
    return good;
}

START_TEST(what_the_table_lists_is_taken_and_nothing_else)
{
    static const struct {
        enum base_env id;
        const char *value;
        bool good;
    } values[] = {
        {BASE_ENV_CKPT_FULL,     "0",           false},
        {BASE_ENV_CKPT_FULL,     "1",           true },
        {BASE_ENV_CKPT_FULL,     "500",         true },
        {BASE_ENV_CKPT_FULL,     "501",         false},
        {BASE_ENV_CKPT_COMPACT,  "0",           true },
        {BASE_ENV_CKPT_COMPACT,  "109",         false},
        {BASE_ENV_CKPT_COMPACT,  "110",         true },
        {BASE_ENV_CACHE,         "0",           true },
        {BASE_ENV_CACHE,         "65535",       false},
        {BASE_ENV_CACHE,         "64K",         true },
        {BASE_ENV_CACHE,         "64k",         false},
        {BASE_ENV_CACHE,         "16777216T",   false},
        {BASE_ENV_NODE,          "rank",        true },
        {BASE_ENV_NODE,          "3",           true },
        {BASE_ENV_NODE,          "0",           false},
        {BASE_ENV_NODE,          "ranks",       false},
        {BASE_ENV_STATS,         "2",           false},
        {BASE_ENV_VM,            "auto",        true },
        {BASE_ENV_VM,            "magic",       false},
        {BASE_ENV_RESTART_EPOCH, "newest",      true },
        {BASE_ENV_RESTART_EPOCH, "-1",          false},
        {BASE_ENV_CKPT_DIR,      "any/ folder", true }
    };
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        ck_assert_msg(taken(values[i].id, values[i].value) == values[i].good,
                      "%s=%s", base_env_name(values[i].id), values[i].value);
    }
    for (int id = 0; id < BASE_ENV_COUNT; id++) {
        unsetenv(base_env_name(id));
        ck_assert_msg(base_env_good(id) == 0 || base_env(id)[0] == '\0',
                      "the default of %s", base_env_name(id));
    }
}
END_TEST

START_TEST(an_error_says_what_is_allowed)
{
    char text[BASE_ENV_ALLOWED];
    ck_assert_str_eq(base_env_allowed(BASE_ENV_NODE, text),
                     "auto, rank or a whole number from 1 to 2147483647");
    ck_assert_str_eq(
        base_env_allowed(BASE_ENV_CACHE, text),
        "0 or a number of bytes (K, M, G, T: KiB to TiB) from 65536");
    ck_assert_str_eq(base_env_allowed(BASE_ENV_CKPT_DIR, text), "FOLDER");
    ck_assert(!taken(BASE_ENV_CKPT_FULL, "501"));
    ck_assert_ptr_nonnull(
        strstr(recto_last_error(),
               "RECTO_CKPT_FULL=501: give a whole number from 1 to 500"));
}
END_TEST

START_TEST(an_unknown_name_brings_the_nearest_known_one)
{
    static const char *const names[][2] = {
        {"RECTO_CKPT_DIRS",                                                       "RECTO_CKPT_DIR"     }, /* one more */
        {"RECTO_TRANPSORT",                                                       "RECTO_TRANSPORT"    }, /* swapped */
        {"RECTO_WM",                                                              "RECTO_VM"           }, /* another */
        {"RECTO_CKPT_INTERVL",                                                    "RECTO_CKPT_INTERVAL"}, /* one less */
        {"RECTO_ckpt_full",                                                       NULL                 },
        {"RECTO_XYZZY",                                                           NULL                 },
        {"RECTO_",                                                                NULL                 },
        {"RECTO_A_NAME_THAT_IS_LONGER_THAN_ALL_THAT_ARE_KNOWN_AND_THAN_ITS_ROOM",
         NULL                                                                                          }
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char name[BASE_ENV_NAME];
        const char *nearest = "";
        size_t at = 0;
        setenv(names[i][0], "1", 1);
        ck_assert(base_env_unknown(&at, name, &nearest));
        ck_assert_uint_eq(strncmp(name, names[i][0], BASE_ENV_NAME - 1), 0);
        ck_assert_pstr_eq(nearest, names[i][1]);
        ck_assert(!base_env_unknown(&at, name, &nearest));
        unsetenv(names[i][0]);
    }
    setenv("RECTO_ROOT", "/opt/recto", 1); /* find_package's */
    size_t at = 0;
    char name[BASE_ENV_NAME];
    const char *nearest = NULL;
    ck_assert(!base_env_unknown(&at, name, &nearest));
}
END_TEST

/* ---- the ends of a process ---------------------------------------------------- */

START_TEST(fatal_aborts)
{
    base_fatal("page %lu of %s", 7UL, "grid");
}
END_TEST

START_TEST(time_goes_forward)
{
    uint64_t before = base_now();
    usleep(2000);
    uint64_t after = base_now();
    ck_assert_uint_ge(after - before, 2000000);
    ck_assert_uint_lt(after - before, UINT64_C(60000000000));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("base");
    TCase *tests = tcase_create("base");
    tcase_add_test(tests, every_error_has_a_name_a_text_and_a_value_of_its_own);
    tcase_add_test(tests, an_error_message_says_who_what_and_which_code);
    tcase_add_test(tests, a_message_that_is_too_long_is_cut_before_the_code);
    tcase_add_test(tests, each_thread_has_its_own_last_error);
    tcase_add_test(tests, format_agrees_with_snprintf);
    tcase_add_test(tests, format_cuts_at_the_size_and_ends_with_a_zero);
    tcase_add_test(tests, format_survives_a_null_string);
    tcase_add_test(tests, a_variable_unset_or_empty_has_its_default);
    tcase_add_test(tests, a_choice_is_one_of_its_words);
    tcase_add_test(tests, a_number_is_whole_and_fits);
    tcase_add_test(tests, what_the_table_lists_is_taken_and_nothing_else);
    tcase_add_test(tests, an_error_says_what_is_allowed);
    tcase_add_test(tests, an_unknown_name_brings_the_nearest_known_one);
    tcase_add_test(tests, unknown_variables_are_warned_about_once_each);
    tcase_add_test_raise_signal(tests, fatal_aborts, SIGABRT);
    tcase_add_test(tests, time_goes_forward);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed > 0;
}
