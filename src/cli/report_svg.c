/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The drawings of a report's page, as SVG in it. What is drawn is counted in cells of a
 * grid first, so that the size of a drawing does not grow with the trace. Cells of one
 * level are one path; neighbours are joined. Colours are classes of the page's style
 * sheet, which knows dark mode and print.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "report.h"

enum {
    COLUMNS = 160, /* of time */
    ROWS_MOST = 64,
    LEVELS = 6,
    WIDTH = 960, /* units of the drawing; text beside the grid included */
    LEFT = 170,
    NAME = 14, /* height of a line of text */
    LANE = 22,
    RANKS_MOST = 64,
    AXIS = 22
};

static double column_width(void)
{
    return (double)(WIDTH - LEFT - 10) / COLUMNS;
}

static size_t column_of(const struct report *r, uint64_t time)
{
    double at = r->end > 0 ? (double)time / (double)r->end * COLUMNS : 0;
    return at < COLUMNS ? (size_t)at : COLUMNS - 1;
}

static void svg_begin(FILE *out, int height, const char *title)
{
    (void)fprintf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"",
                  WIDTH, height);
    report_html_text(out, title);
    (void)fputs("\">\n", out);
}

/* Ticks of time under a grid. */
static void axis(FILE *out, const struct report *r, int top)
{
    enum {
        TICKS = 5
    };
    char text[32];
    for (int i = 0; i <= TICKS; i++) {
        double x = LEFT + (double)(WIDTH - LEFT - 10) * i / TICKS;
        (void)fprintf(out,
                      "<path class=\"t\" d=\"M%.1f %dv4\"/><text x=\"%.1f\" "
                      "y=\"%d\" text-anchor=\"%s\">",
                      x, top, x, top + 16, i == TICKS ? "end" : "middle");
        report_html_text(
            out,
            i == 0 ? "0" : report_time(r->end / TICKS * (uint64_t)i, text));
        (void)fputs("</text>\n", out);
    }
}

/* ---- heat maps -------------------------------------------------------------------------- */

/* Height of a row. */
static int row_height(size_t rows)
{
    return rows <= 8 ? 16 : rows <= 24 ? 11 : 7;
}

/* Faults in each cell. */
static void heat_count(const struct report *r, uint32_t segment,
                       uint64_t pages_in_row, uint32_t *cells)
{
    for (size_t i = 0; i < r->nranks; i++) {
        const struct report_rank *k = &r->ranks[i];
        for (uint64_t j = 0; j < k->nevents; j++) {
            const struct report_event *e = &k->events[j];
            uint64_t row = e->page / pages_in_row;
            if (e->kind == TRACE_FAULT && e->segment == segment &&
                row < ROWS_MOST) {
                cells[row * COLUMNS + column_of(r, e->start)]++;
            }
        }
    }
}

/* 0 for none, else 1 for few to LEVELS for `most`: by orders of magnitude. */
static unsigned level_of(uint32_t count, uint32_t most)
{
    if (count == 0 || most < 2) {
        return count == 0 ? 0 : LEVELS / 2;
    }
    return 1 + (unsigned)((LEVELS - 1) * log(count) / log(most) + 1e-9);
}

/* Cells of one level. */
struct level {
    unsigned level;
    uint32_t most; /* of all cells */
    uint32_t low;  /* of these */
    uint32_t high;
    bool any;
};

/* How many cells in a row have the level. */
static size_t level_run(struct level *l, const uint32_t *cells, size_t most)
{
    size_t n = 0;
    while (n < most && level_of(cells[n], l->most) == l->level) {
        l->low = cells[n] < l->low ? cells[n] : l->low;
        l->high = cells[n] > l->high ? cells[n] : l->high;
        n++;
    }
    return n;
}

static void level_row(FILE *out, struct level *l, const uint32_t *cells, int y,
                      int height)
{
    double w = column_width();
    for (size_t x = 0; x < COLUMNS;) {
        size_t n = level_run(l, cells + x, COLUMNS - x);
        if (n > 0) {
            (void)fprintf(out, "%sM%.1f %dh%.1fv%dH%.1fz",
                          l->any ? "" : "<path d=\"", LEFT + w * (double)x, y,
                          w * (double)n, height, LEFT + w * (double)x);
            l->any = true;
        }
        x += n > 0 ? n : 1;
    }
}

static void level_draw(FILE *out, const uint32_t *cells, size_t rows,
                       uint32_t most, unsigned level)
{
    struct level l = {.level = level, .most = most, .low = UINT32_MAX};
    int h = row_height(rows);
    for (size_t y = 0; y < rows; y++) {
        level_row(out, &l, cells + y * COLUMNS, (int)y * h, h);
    }
    if (l.any) {
        (void)fprintf(out,
                      "\" class=\"h%u\"><title>%" PRIu32 " to %" PRIu32
                      " faults</title></path>\n",
                      level, l.low, l.high);
    }
}

static void row_names(FILE *out, const struct report *r, uint32_t segment,
                      uint64_t pages_in_row, size_t rows)
{
    char range[160];
    size_t h = (size_t)row_height(rows);
    size_t step = rows <= 8 ? 1 : (rows + 7) / 8;
    for (size_t y = 0; y < rows; y += step) {
        (void)fprintf(out, "<text x=\"%d\" y=\"%zu\" text-anchor=\"end\">",
                      LEFT - 8, y * h + (h < NAME ? h + 2 : NAME - 2));
        (void)report_range(r, segment, y * pages_in_row, 0, 0, range);
        const char *index = strchr(range, '[');
        report_html_text(out, index != NULL ? index : range);
        (void)fputs("</text>\n", out);
    }
}

void report_svg_heat(const struct report *r, uint32_t segment, FILE *out)
{
    const struct report_segment *s = &r->segments[segment];
    uint64_t in_row = (s->pages + ROWS_MOST - 1) / ROWS_MOST;
    size_t rows = (size_t)((s->pages + in_row - 1) / in_row);
    uint32_t *cells = report_new((size_t)ROWS_MOST * COLUMNS, sizeof *cells);
    uint32_t most = 0;
    char title[512];
    heat_count(r, segment, in_row, cells);
    for (size_t i = 0; i < (size_t)ROWS_MOST * COLUMNS; i++) {
        most = cells[i] > most ? cells[i] : most;
    }
    (void)snprintf(title, sizeof title,
                   "Faults on %.200s by page, from above, and time, to the "
                   "right; at most %" PRIu32 " in a cell",
                   s->s.name, most);
    int height = (int)rows * row_height(rows);
    svg_begin(out, height + AXIS, title);
    (void)fprintf(out,
                  "<rect class=\"g\" x=\"%d\" y=\"0\" width=\"%d\" "
                  "height=\"%d\"/>\n",
                  LEFT, WIDTH - LEFT - 10, height);
    for (unsigned level = 1; level <= LEVELS; level++) {
        level_draw(out, cells, rows, most, level);
    }
    row_names(out, r, segment, in_row, rows);
    axis(out, r, height);
    (void)fprintf(out,
                  "</svg>\n<p class=\"s\">A row is %" PRIu64
                  " page%s, a cell at most %" PRIu32
                  " fault%s: the darker (in dark mode the brighter), the "
                  "more.</p>\n",
                  in_row, in_row == 1 ? "" : "s", most, most == 1 ? "" : "s");
    free(cells);
}

/* ---- the ranks' time ------------------------------------------------------------------------- */

/* What a rank does in a column, of several at once the first. */
enum doing {
    DOING_STOP,
    DOING_FAULT,
    DOING_LOCK,
    DOING_BARRIER,
    DOINGS
};

static int doing(const struct report_event *e)
{
    switch ((enum trace_kind)e->kind) {
    case TRACE_FAULT: return DOING_FAULT;
    case TRACE_TAKE:
    case TRACE_WAIT: return DOING_LOCK;
    case TRACE_BARRIER: return DOING_BARRIER;
    case TRACE_STOP:
    case TRACE_RECOVER:
    case TRACE_RESTART: return DOING_STOP;
    default: return -1;
    }
}

/* The part of each column that an event takes. */
static void spread(const struct report *r, const struct report_event *e,
                   double *shares)
{
    double each = (double)r->end / COLUMNS;
    double from = (double)e->start / each;
    double to = (double)(e->start + e->ns) / each;
    size_t last = column_of(r, e->start + e->ns);
    for (size_t x = column_of(r, e->start); x <= last; x++) {
        double low = from > (double)x ? from : (double)x;
        double high = to < (double)x + 1 ? to : (double)x + 1;
        shares[x] += high > low ? high - low : 0;
    }
}

static void lane_count(const struct report *r, size_t first, size_t end,
                       double (*shares)[COLUMNS])
{
    for (size_t i = first; i < end; i++) {
        const struct report_rank *k = &r->ranks[i];
        for (uint64_t j = 0; j < k->nevents && r->end > 0; j++) {
            int d = doing(&k->events[j]);
            if (d >= 0) {
                spread(r, &k->events[j], shares[d]);
            }
        }
    }
    /* several threads may do more than all of the time: scaled to it */
    for (size_t x = 0; x < COLUMNS; x++) {
        double sum = 0;
        for (int d = 0; d < DOINGS; d++) {
            shares[d][x] /= (double)(end - first);
            sum += shares[d][x];
        }
        for (int d = 0; d < DOINGS && sum > 1; d++) {
            shares[d][x] /= sum;
        }
    }
}

static void lane_draw(FILE *out, double (*shares)[COLUMNS], int top)
{
    static const char *const titles[DOINGS] = {
        "checkpoint or restart", "page faults", "locks, events, semaphores",
        "barriers"};
    double below[COLUMNS] = {0};
    double w = column_width();
    double height = LANE - 4;
    for (int d = 0; d < DOINGS; d++) {
        bool any = false;
        for (size_t x = 0; x < COLUMNS; x++) {
            double share = shares[d][x];
            if (share < 0.005) {
                continue;
            }
            double y = top + height * (1 - below[x] - share);
            (void)fprintf(out, "%sM%.1f %.1fh%.1fv%.1fH%.1fz",
                          any ? "" : "<path d=\"", LEFT + w * (double)x, y, w,
                          height * share, LEFT + w * (double)x);
            below[x] += share;
            any = true;
        }
        if (any) {
            (void)fprintf(out, "\" class=\"d%d\"><title>%s</title></path>\n", d,
                          titles[d]);
        }
    }
}

void report_svg_ranks(const struct report *r, FILE *out)
{
    size_t group = (r->nranks + RANKS_MOST - 1) / RANKS_MOST;
    size_t lanes = (r->nranks + group - 1) / group;
    double(*shares)[COLUMNS] = report_new(DOINGS, sizeof *shares);
    svg_begin(out, (int)lanes * LANE + AXIS,
              "What each rank did, from left to right: the height of a colour "
              "is the part of the time that it took");
    for (size_t i = 0; i < lanes; i++) {
        size_t first = i * group;
        size_t end = first + group < r->nranks ? first + group : r->nranks;
        int top = (int)i * LANE;
        memset(shares, 0, DOINGS * sizeof *shares);
        lane_count(r, first, end, shares);
        (void)fprintf(out,
                      "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">rank %d",
                      LEFT - 8, top + LANE - 8, r->ranks[first].h.rank);
        if (end - first > 1) {
            (void)fprintf(out, " to %d", r->ranks[end - 1].h.rank);
        }
        (void)fprintf(out,
                      "</text><rect class=\"g\" x=\"%d\" y=\"%d\" "
                      "width=\"%d\" height=\"%d\"/>\n",
                      LEFT, top, WIDTH - LEFT - 10, LANE - 4);
        lane_draw(out, shares, top);
    }
    axis(out, r, (int)lanes * LANE);
    (void)fputs("</svg>\n", out);
    free(shares);
}

/* ---- checkpoints ---------------------------------------------------------------------------------- */

/* Does the program wait for it? */
static bool stops(const struct report_event *e)
{
    return e->kind == TRACE_STOP || e->kind == TRACE_RESTART ||
           e->kind == TRACE_RECOVER;
}

static const char *bar_class(const struct report_event *e)
{
    return stops(e)                       ? "d0"
           : e->kind == TRACE_COMPACT     ? "d5"
           : (e->flags & TRACE_FULL) != 0 ? "d6"
                                          : "d4";
}

static const char *bar_name(const struct report_event *e)
{
    return e->kind == TRACE_STOP      ? "stop"
           : e->kind == TRACE_RESTART ? "restart"
           : e->kind == TRACE_RECOVER ? "recover"
           : e->kind == TRACE_COMPACT ? "compaction"
                                      : "writing";
}

/* What the program waits for is drawn above. */
static bool bar_wanted(const struct report_event *e, bool *above)
{
    *above = stops(e);
    return *above || e->kind == TRACE_FLIGHT || e->kind == TRACE_COMPACT;
}

static void bar(FILE *out, const struct report *r, const struct report_event *e,
                int top)
{
    char time[32];
    double scale = (double)(WIDTH - LEFT - 10) / (double)r->end;
    double w = (double)e->ns * scale;
    (void)fprintf(out,
                  "<rect class=\"%s\" x=\"%.2f\" y=\"%d\" width=\"%.2f\" "
                  "height=\"%d\"><title>%s, ",
                  bar_class(e), LEFT + (double)e->start * scale, top,
                  w > 0.8 ? w : 0.8, LANE / 2 - 2, bar_name(e));
    if (e->at > 0) {
        (void)fprintf(out, "epoch %" PRIu64 ", ", e->at - 1);
    }
    report_html_text(out, report_time(e->ns, time));
    (void)fputs("</title></rect>\n", out);
}

static void lane_begin(FILE *out, int32_t rank, int top)
{
    (void)fprintf(out,
                  "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">rank "
                  "%d</text><rect class=\"g\" x=\"%d\" y=\"%d\" "
                  "width=\"%d\" height=\"%d\"/>\n",
                  LEFT - 8, top + LANE - 8, rank, LEFT, top, WIDTH - LEFT - 10,
                  LANE - 4);
}

void report_svg_checkpoints(const struct report *r, FILE *out)
{
    enum {
        BARS_MOST = 2000 /* of a rank */
    };
    size_t lanes = r->nranks < RANKS_MOST ? r->nranks : RANKS_MOST;
    svg_begin(out, (int)lanes * LANE + AXIS,
              "Checkpoints of each rank: above the time that the program was "
              "stopped, below the time that was written beside it");
    for (size_t i = 0; i < lanes; i++) {
        const struct report_rank *k = &r->ranks[i];
        int top = (int)i * LANE;
        int bars = 0;
        lane_begin(out, k->h.rank, top);
        for (uint64_t j = 0; j < k->nevents && bars < BARS_MOST; j++) {
            bool above = false;
            if (bar_wanted(&k->events[j], &above) && r->end > 0) {
                bar(out, r, &k->events[j], above ? top : top + LANE / 2 - 2);
                bars++;
            }
        }
    }
    axis(out, r, (int)lanes * LANE);
    (void)fputs("</svg>\n", out);
}
