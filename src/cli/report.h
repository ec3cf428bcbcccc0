/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `recto report`: what is read of traces, and what becomes of it.
 *
 *   report.c          the command line
 *   report_read.c     files -> events, segments, modules of each rank
 *   report_sum.c      what they add up to: ranks, segments, sites, barriers, sharing
 *   report_pages.c    pages and who writes which part of them
 *   report_locks.c    waits and holds of locks, waits for events and semaphores
 *   report_lines.c    program counters -> lines of source, by addr2line(1)
 *   report_elf.c      build-ids and symbols, where that is not to be had
 *   report_words.c    names, index ranges, what strikes most
 *   report_text.c, report_json.c, report_html.c, report_svg.c, report_perfetto.c
 *                     what is told of it
 *
 * Traces are not trusted: whatever is in them, a report is made or refused.
 *
 * Times are nanoseconds since the first rank's start, on rank 0's clock.
 */
#ifndef RECTO_SRC_CLI_REPORT_H
#define RECTO_SRC_CLI_REPORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/trace.h"

enum {
    REPORT_NONE = 0xffffffff, /* no segment, no site */
    REPORT_PAGE = 4096,
    REPORT_SITE_TEXT = 320
};

/* ---- what is read ------------------------------------------------------------------- */

struct report_event {
    uint64_t start;
    uint64_t ns;
    uint64_t at;
    uint64_t pc;
    uint64_t bytes;
    uint64_t page;    /* of the segment */
    uint32_t segment; /* index of a report_segment, REPORT_NONE */
    uint32_t site;    /* index of a report_site, REPORT_NONE */
    uint32_t low;     /* bytes of the page; both the fault's own byte */
    uint32_t high;
    int32_t peer;
    uint32_t pages;
    uint16_t thread;
    uint8_t kind;
    uint8_t what;
    uint8_t flags;
};

/* Where a segment lay in a rank's memory, and when. */
struct report_place {
    uint64_t base;
    uint64_t bytes;
    uint64_t birth;
    uint64_t death;
    uint32_t segment;
};

struct report_module {
    struct trace_module m;
    uint32_t file; /* index of a report_file */
};

struct report_rank {
    struct trace_header h;
    const char *path; /* of its trace */
    uint64_t started;
    uint64_t ended; /* 0: not in order */
    uint64_t dropped;
    uint64_t torn; /* slots that are no records */
    bool cut;      /* the file is shorter than it should be */
    struct report_event *events;
    uint64_t nevents;
    struct report_place *places;
    size_t nplaces;
    struct report_module *modules;
    size_t nmodules;
    uint32_t *threads; /* by their small numbers */
    size_t nthreads;
};

/* ---- what it adds up to ---------------------------------------------------------------- */

struct report_numbers {
    uint64_t faults[TRACE_FAULTS];
    uint64_t fault_ns;
    uint64_t in_bytes;
    uint64_t out_bytes;
    uint64_t takes;
    uint64_t wait_ns; /* for locks */
    uint64_t hold_ns;
    uint64_t tries; /* that failed */
    uint64_t waits; /* for events, semaphores, conditions */
    uint64_t told_ns;
    uint64_t barriers;
    uint64_t barrier_ns;
    uint64_t late_ns; /* in barriers, until the last rank came */
    uint64_t last;    /* barriers to which it came last */
    uint64_t stops;
    uint64_t stop_ns;
    uint64_t flights;
    uint64_t flight_ns;
    uint64_t flight_bytes;
    uint64_t restart_ns;
    uint64_t recovers;
    uint64_t recover_ns;
};

/* Of all ranks; of one name and size, however often it was allocated. */
struct report_segment {
    struct trace_segment s;
    struct report_numbers n;
    uint64_t pages;         /* that it has */
    uint64_t pages_faulted; /* that were faulted on */
};

/* A file of the program. */
struct report_file {
    char path[TRACE_TEXT];
    uint8_t build_id[TRACE_BUILD_ID];
    uint32_t build_id_bytes;
};

/* A place in the program. */
struct report_site {
    uint32_t file;    /* REPORT_NONE: in none that is known */
    uint64_t address; /* in it */
    uint64_t count;
    uint64_t ns;
    uint64_t faults;
    bool returns;                /* it is behind a call */
    char text[REPORT_SITE_TEXT]; /* "step (solve.c:120)", "a.out+0x1234" */
};

/* What a rank did to a page. */
struct report_part {
    int32_t rank;
    uint64_t faults;
    uint64_t writes; /* faults that write, and changes sent home */
    uint64_t ns;
    uint32_t low; /* bytes written; low > high: none */
    uint32_t high;
    uint32_t site; /* of most of the writes, else of most faults */
};

struct report_page {
    uint32_t segment;
    uint64_t page;
    uint64_t faults;
    uint64_t ns;
    size_t first; /* its parts */
    size_t count;
    size_t writers;     /* report_part_writes */
    bool false_sharing; /* ranks write it often, no two the same bytes */
};

/* A lock, an event, a semaphore. */
struct report_lock {
    uint64_t id;
    uint32_t what;  /* enum trace_lock */
    uint64_t takes; /* of events and semaphores: waits */
    uint64_t tries; /* that failed */
    uint64_t wait_ns;
    uint64_t wait_most;
    uint64_t hold_ns;
    uint64_t holds;
    uint32_t ranks;
    uint32_t site; /* where most was waited */
};

struct report {
    struct report_rank *ranks; /* ascending; those whose files are here */
    size_t nranks;
    int32_t size; /* ranks of the run */
    uint64_t run;
    uint64_t origin; /* rank 0's clock at time 0 */
    int64_t real;    /* CLOCK_REALTIME there, ns */
    uint64_t end;
    uint64_t nevents;
    struct report_segment *segments;
    size_t nsegments;
    struct report_file *files;
    size_t nfiles;
    struct report_site *sites;
    size_t nsites;
    struct report_numbers all;
    struct report_numbers *of_rank; /* nranks */
    struct report_part *parts;
    size_t nparts;
    struct report_page *pages; /* descending time */
    size_t npages;
    uint64_t false_pages;
    struct report_lock *locks; /* descending wait */
    size_t nlocks;
    /* bytes[to * groups + from]: copied from homes; ranks in `groups` of equal size */
    uint64_t *shared;
    size_t groups;
    size_t group;    /* ranks in each */
    char **problems; /* what a reader should know of the files */
    size_t nproblems;
};

/* ---- report_read.c -------------------------------------------------------------------- */

/* Reads files, and for a name FILE that is none all FILE.NUMBER; of several runs the one
 * that began last. Says on stderr what is wrong with those that cannot be used; false:
 * none can. */
bool report_read(struct report *r, char **paths, size_t count);
void report_free(struct report *r);
/* Adds one; takes the format's text. */
void report_problem(struct report *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* realloc for one more of `size` bytes, in steps; ends the program without memory. */
void *report_grow(void *list, size_t count, size_t size);
/* calloc, the same. */
void *report_new(size_t count, size_t size);
/* A text for a reader, for free(3); what is longer than a sentence is cut off. */
char *report_sentence(const char *format, va_list ap)
    __attribute__((format(printf, 1, 0)));
/* For comparisons: ascending. */
static inline int report_order(uint64_t a, uint64_t b)
{
    return (a > b) - (a < b);
}
/* qsort and bsearch of lists that may be NULL when they are empty. */
void report_sort(void *list, size_t count, size_t size,
                 int (*order)(const void *, const void *));
void *report_find(const void *key, const void *list, size_t count, size_t size,
                  int (*order)(const void *, const void *));

/* ---- the sums --------------------------------------------------------------------------- */

void report_sum(struct report *r);
void report_pages(struct report *r);
void report_locks(struct report *r);
uint64_t report_faults(const struct report_numbers *n);
/* Again and again, not only to begin with? */
static inline bool report_part_writes(const struct report_part *p)
{
    return p->writes > 1;
}

/* ---- report_lines.c, report_elf.c ---------------------------------------------------------- */

/* Finds the texts of sites. */
void report_lines(struct report *r);

/* Symbols of a file. */
struct report_elf;
/* NULL: no ELF file that can be used. */
struct report_elf *report_elf_open(const char *path);
void report_elf_close(struct report_elf *elf);
/* Does its build-id say that it is this one? True, too, if one of them has none. */
bool report_elf_is(const struct report_elf *elf, const uint8_t *id,
                   size_t bytes);
/* The function at an address, and how far behind its start; NULL: unknown. */
const char *report_elf_symbol(const struct report_elf *elf, uint64_t address,
                              uint64_t *offset);

/* ---- what is told ---------------------------------------------------------------------------- */

/* "u[3][0..511]", "bytes 0..7": the elements of a segment that lie in these bytes of a
 * page. Into at least 160 bytes. */
const char *report_range(const struct report *r, uint32_t segment,
                         uint64_t page, uint32_t low, uint32_t high,
                         char *text);
/* "1.25 ms" into at least 32 bytes. */
const char *report_time(uint64_t ns, char *text);
const char *report_site(const struct report *r, uint32_t site);
const char *report_lock_name(const struct report_lock *lock, char *text);
/* Not an event or a semaphore? */
bool report_is_lock(const struct report_lock *lock);
const char *report_fault_name(unsigned what);

/* From its start to its end, or the last event of all. */
uint64_t report_rank_time(const struct report *r, size_t rank);
/* Sites by descending time, those of one line united; free the list. */
struct report_site *report_sites_hot(const struct report *r, size_t *count);

/* What strikes most, a sentence each, worst first; free() each and the list. */
char **report_findings(const struct report *r, size_t *count);

void report_text(const struct report *r, FILE *out);
void report_json(const struct report *r, FILE *out);
void report_html(const struct report *r, FILE *out);
void report_perfetto(const struct report *r, FILE *out);

/* report_svg.c: drawings; `title` is for who does not see them. */
void report_svg_ranks(const struct report *r, FILE *out);
void report_svg_heat(const struct report *r, uint32_t segment, FILE *out);
void report_svg_checkpoints(const struct report *r, FILE *out);
/* Text with HTML's own characters escaped. */
void report_html_text(FILE *out, const char *text);

#endif
