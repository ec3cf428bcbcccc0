/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The picture is a private canvas of one byte per pixel, a level from 0 (the
 * coldest) to 255 (the hottest). A .pgm stores the levels as grey, a .png as
 * indices of a palette, so both show the same.
 *
 * +----------------------------+  Margins and the ground behind the numbers are
 * |  field              | |    |  level 0, the numbers level 255.
 * |                     | | 20 |
 * +----------------------------+
 */
#include "picture.h"

#include <errno.h>
#include <png.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "message.h"

enum {
    WIDTH_WANTED = 900, /* of the field, when cells are enlarged */
    WIDTH_MAX = 1600,   /* of the field, when cells are averaged */
    MARGIN = 16,
    BAR_WIDTH = 20,
    TEXT_WIDTH = 88,
    TICKS = 5,
    LEVELS = 256,
    PATH_BYTES = 4096
};

struct canvas {
    size_t width;
    size_t height;
    uint8_t *pixels;
};

/* ---- the field ----------------------------------------------------------- */

/* How cells become pixels: `enlarge` pixels a cell, or `average` cells a
 * pixel; one of them is 1. */
struct scale {
    size_t enlarge;
    size_t average;
    size_t width;
    size_t height;
};

static struct scale scale_for(const struct solver_grid *grid)
{
    struct scale s = {1, 1, 0, 0};
    size_t side = grid->nx > grid->ny ? grid->nx : grid->ny;
    if (side > WIDTH_MAX) {
        s.average = (side + WIDTH_MAX - 1) / WIDTH_MAX;
    } else if (side < WIDTH_WANTED) {
        s.enlarge = WIDTH_WANTED / side;
    }
    s.width = grid->nx * s.enlarge / s.average;
    s.height = grid->ny * s.enlarge / s.average;
    s.width += s.width == 0;
    s.height += s.height == 0;
    return s;
}

static double average(const struct solver_grid *grid, const double *values,
                      size_t side, size_t py, size_t px)
{
    double sum = 0.0;
    size_t cells = 0;
    for (size_t y = py * side; y < (py + 1) * side && y < grid->ny; y++) {
        for (size_t x = px * side; x < (px + 1) * side && x < grid->nx; x++) {
            sum += values[y * grid->nx + x];
            cells++;
        }
    }
    return sum / (double)cells;
}

/* Cell before a pixel's centre and how far past that cell's centre it lies. */
static size_t neighbour(size_t pixel, size_t enlarge, size_t cells,
                        double *part)
{
    double at = ((double)pixel + 0.5) / (double)enlarge - 0.5;
    at = at < 0.0 ? 0.0 : at;
    at = at > (double)(cells - 1) ? (double)(cells - 1) : at;
    size_t cell = (size_t)at;
    cell = cell > cells - 2 ? cells - 2 : cell;
    *part = at - (double)cell;
    return cell;
}

static double interpolate(const struct solver_grid *grid, const double *values,
                          size_t enlarge, size_t py, size_t px)
{
    double down = 0.0;
    double right = 0.0;
    size_t y = neighbour(py, enlarge, grid->ny, &down);
    size_t x = neighbour(px, enlarge, grid->nx, &right);
    const double *row = values + y * grid->nx + x;
    const double *below = row + grid->nx;
    return (1.0 - down) * ((1.0 - right) * row[0] + right * row[1]) +
           down * ((1.0 - right) * below[0] + right * below[1]);
}

static uint8_t level(double value, double low, double high)
{
    double span = high - low;
    double part = span > 0.0 ? (value - low) / span : 0.0;
    part = part < 0.0 ? 0.0 : part;
    part = part > 1.0 ? 1.0 : part;
    return (uint8_t)(part * (LEVELS - 1) + 0.5);
}

static void draw_field(struct canvas *c, const struct scale *s,
                       const struct solver_grid *grid, const double *values,
                       double low, double high)
{
    for (size_t y = 0; y < s->height; y++) {
        uint8_t *row = c->pixels + (y + MARGIN) * c->width + MARGIN;
        for (size_t x = 0; x < s->width; x++) {
            double value = s->average > 1
                               ? average(grid, values, s->average, y, x)
                               : interpolate(grid, values, s->enlarge, y, x);
            row[x] = level(value, low, high);
        }
    }
}

/* ---- the scale beside it ------------------------------------------------- */

/* Glyphs of 5 x 7, a byte a row, the leftmost pixel in bit 4. */
static const struct {
    char character;
    uint8_t rows[7];
} glyphs[] = {
    {'0', {0x0e, 0x11, 0x13, 0x15, 0x19, 0x11, 0x0e}},
    {'1', {0x04, 0x0c, 0x04, 0x04, 0x04, 0x04, 0x0e}},
    {'2', {0x0e, 0x11, 0x01, 0x02, 0x04, 0x08, 0x1f}},
    {'3', {0x1f, 0x02, 0x04, 0x02, 0x01, 0x11, 0x0e}},
    {'4', {0x02, 0x06, 0x0a, 0x12, 0x1f, 0x02, 0x02}},
    {'5', {0x1f, 0x10, 0x1e, 0x01, 0x01, 0x11, 0x0e}},
    {'6', {0x06, 0x08, 0x10, 0x1e, 0x11, 0x11, 0x0e}},
    {'7', {0x1f, 0x01, 0x02, 0x04, 0x08, 0x08, 0x08}},
    {'8', {0x0e, 0x11, 0x11, 0x0e, 0x11, 0x11, 0x0e}},
    {'9', {0x0e, 0x11, 0x11, 0x0f, 0x01, 0x02, 0x0c}},
    {'.', {0x00, 0x00, 0x00, 0x00, 0x00, 0x0c, 0x0c}},
    {'-', {0x00, 0x00, 0x00, 0x1f, 0x00, 0x00, 0x00}},
    {'+', {0x00, 0x04, 0x04, 0x1f, 0x04, 0x04, 0x00}},
    {'e', {0x00, 0x00, 0x0e, 0x11, 0x1f, 0x10, 0x0e}},
};

enum {
    GLYPH_WIDTH = 5,
    GLYPH_HEIGHT = 7,
    GLYPH_ZOOM = 2,
    GLYPH_ADVANCE = (GLYPH_WIDTH + 1) * GLYPH_ZOOM
};

static void draw_glyph(struct canvas *c, size_t left, size_t top,
                       const uint8_t *rows)
{
    for (size_t y = 0; y < (size_t)GLYPH_HEIGHT * GLYPH_ZOOM; y++) {
        for (size_t x = 0; x < (size_t)GLYPH_WIDTH * GLYPH_ZOOM; x++) {
            unsigned bit = GLYPH_WIDTH - 1U - (unsigned)(x / GLYPH_ZOOM);
            bool inside = top + y < c->height && left + x < c->width;
            if (inside && (rows[y / GLYPH_ZOOM] >> bit & 1U) != 0) {
                c->pixels[(top + y) * c->width + left + x] = LEVELS - 1;
            }
        }
    }
}

static void draw_number(struct canvas *c, size_t left, size_t top,
                        double number)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%.4g", number);
    for (const char *t = text; *t != '\0'; t++, left += GLYPH_ADVANCE) {
        for (size_t g = 0; g < sizeof glyphs / sizeof glyphs[0]; g++) {
            if (glyphs[g].character == *t) {
                draw_glyph(c, left, top, glyphs[g].rows);
            }
        }
    }
}

/* A bar from high (top) to low, with numbers beside it. */
static void draw_bar(struct canvas *c, const struct scale *s, double low,
                     double high)
{
    size_t left = MARGIN + s->width + MARGIN;
    size_t last = s->height - 1;
    for (size_t y = 0; y <= last; y++) {
        double part = last > 0 ? 1.0 - (double)y / (double)last : 1.0;
        memset(c->pixels + (y + MARGIN) * c->width + left,
               level(part, 0.0, 1.0), BAR_WIDTH);
    }
    /* Ends of the bar stay visible on the ground: a frame in mid grey. */
    for (size_t y = 0; y <= last; y++) {
        uint8_t *row = c->pixels + (y + MARGIN) * c->width + left;
        bool end = y == 0 || y == last;
        memset(row, LEVELS / 2, end ? BAR_WIDTH : 1);
        row[BAR_WIDTH - 1] = LEVELS / 2;
    }
    size_t ticks =
        last >= (size_t)TICKS * GLYPH_HEIGHT * GLYPH_ZOOM ? TICKS : 2;
    for (size_t t = 0; t < ticks; t++) {
        double part = (double)t / (double)(ticks - 1);
        size_t middle = MARGIN + (size_t)(part * (double)last);
        size_t half = GLYPH_HEIGHT * GLYPH_ZOOM / 2;
        draw_number(c, left + BAR_WIDTH + MARGIN / 2, middle - half,
                    high + part * (low - high));
    }
}

static int draw(struct canvas *c, const struct solver_grid *grid,
                const double *values)
{
    struct scale s = scale_for(grid);
    double low = values[0];
    double high = values[0];
    for (size_t i = 1; i < grid->ny * grid->nx; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    c->width = MARGIN + s.width + MARGIN + BAR_WIDTH + TEXT_WIDTH;
    c->height = MARGIN + s.height + MARGIN;
    c->pixels = calloc(c->height, c->width);
    if (c->pixels == NULL) {
        errno = ENOMEM;
        return -1;
    }
    draw_field(c, &s, grid, values, low, high);
    draw_bar(c, &s, low, high);
    return 0;
}

/* ---- files --------------------------------------------------------------- */

/*
 * From black through violet, red and orange to pale yellow: lightness grows
 * evenly, so equal steps of temperature look equal, in grey and to the colour
 * blind as well. Between these points colours are mixed linearly.
 */
static const uint8_t colours[][3] = {
    {0,   0,   4  },
    {12,  8,   38 },
    {36,  12,  79 },
    {66,  10,  104},
    {93,  18,  110},
    {120, 28,  109},
    {147, 38,  103},
    {174, 48,  92 },
    {199, 62,  76 },
    {221, 81,  58 },
    {237, 105, 37 },
    {248, 133, 15 },
    {252, 165, 10 },
    {250, 198, 45 },
    {242, 230, 97 },
    {252, 255, 164},
};

static void palette_fill(png_color *palette)
{
    const size_t pieces = sizeof colours / sizeof colours[0] - 1;
    for (size_t i = 0; i < LEVELS; i++) {
        double at = (double)(i * pieces) / (LEVELS - 1);
        size_t piece = (size_t)at < pieces ? (size_t)at : pieces - 1;
        double part = at - (double)piece;
        uint8_t mixed[3];
        for (size_t k = 0; k < 3; k++) {
            mixed[k] = (uint8_t)((1.0 - part) * colours[piece][k] +
                                 part * colours[piece + 1][k] + 0.5);
        }
        palette[i] = (png_color){mixed[0], mixed[1], mixed[2]};
    }
}

static int png_write(FILE *file, const struct canvas *c)
{
    png_color palette[LEVELS];
    palette_fill(palette);
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png != NULL ? png_create_info_struct(png) : NULL;
    if (info == NULL || setjmp(png_jmpbuf(png)) != 0) {
        png_destroy_write_struct(&png, &info);
        return -1;
    }
    png_init_io(png, file);
    png_set_IHDR(png, info, (png_uint_32)c->width, (png_uint_32)c->height, 8,
                 PNG_COLOR_TYPE_PALETTE, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_PLTE(png, info, palette, LEVELS);
    png_write_info(png, info);
    for (size_t y = 0; y < c->height; y++) {
        png_write_row(png, c->pixels + y * c->width);
    }
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return 0;
}

static int pgm_write(FILE *file, const struct canvas *c)
{
    size_t bytes = c->width * c->height;
    return fprintf(file, "P5\n%zu %zu\n%d\n", c->width, c->height, LEVELS - 1) <
                       0 ||
                   fwrite(c->pixels, 1, bytes, file) != bytes
               ? -1
               : 0;
}

static int file_fill(const char *path, bool png, const struct canvas *c)
{
    errno = 0;
    FILE *file = fopen(path, "wb");
    if (file == NULL) {
        return -1;
    }
    int result = png ? png_write(file, c) : pgm_write(file, c);
    if (fclose(file) != 0) {
        result = -1;
    }
    return result;
}

int picture_write(const char *file, const struct solver_grid *grid,
                  const double *values)
{
    char path[PATH_BYTES];
    int length = snprintf(path, sizeof path, "%s.tmp", file);
    if (length < 4 || (size_t)length >= sizeof path) {
        return message_fail("%s: name too long", file);
    }
    bool png = strcmp(file + strlen(file) - 4, ".png") == 0;
    struct canvas canvas = {0, 0, NULL};
    int result = draw(&canvas, grid, values);
    if (result == 0 &&
        (file_fill(path, png, &canvas) != 0 || rename(path, file) != 0)) {
        int cause = errno;
        (void)unlink(path);
        errno = cause;
        result = -1;
    }
    free(canvas.pixels);
    if (result != 0) {
        return message_fail("%s: cannot be written: %s", file,
                            errno != 0 ? message_errno() : "libpng failed");
    }
    return 0;
}
