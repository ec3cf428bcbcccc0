/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Build-ids and functions of ELF files, 64-bit of this machine's byte order. Files are
 * read as hostile input: every offset and length is checked against the file.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"

enum {
    FILE_MOST = 1 << 29 /* bytes that are read */
};

struct report_elf {
    const unsigned char *at;
    uint64_t bytes;
    const unsigned char *build_id;
    size_t build_id_bytes;
    /* the table of symbols, and its names; the file's first choice */
    uint64_t symbols_at;
    uint64_t symbols;
    uint64_t names_at;
    uint64_t names_bytes;
};

static bool inside(const struct report_elf *f, uint64_t offset, uint64_t bytes)
{
    return offset <= f->bytes && bytes <= f->bytes - offset;
}

static bool bytes_read(const char *path, struct report_elf *f)
{
    struct stat s;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    bool good = fd >= 0 && fstat(fd, &s) == 0 && S_ISREG(s.st_mode) &&
                s.st_size > (off_t)sizeof(Elf64_Ehdr) && s.st_size <= FILE_MOST;
    if (good) {
        unsigned char *to = report_new((size_t)s.st_size, 1);
        f->at = to;
        ssize_t n = 1;
        while (n > 0 && f->bytes < (uint64_t)s.st_size) {
            n = read(fd, to + f->bytes, (size_t)s.st_size - f->bytes);
            f->bytes += n > 0 ? (uint64_t)n : 0;
        }
        good = f->bytes > sizeof(Elf64_Ehdr);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return good;
}

static void notes_read(struct report_elf *f, uint64_t at, uint64_t end)
{
    while (f->build_id == NULL && end - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        memcpy(&note, f->at + at, sizeof note);
        uint64_t name = at + sizeof note;
        uint64_t text = name + (note.n_namesz + (uint64_t)3) / 4 * 4;
        if (text > end || note.n_descsz > end - text) {
            return;
        }
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 &&
            memcmp(f->at + name, "GNU", 4) == 0) {
            f->build_id = f->at + text;
            f->build_id_bytes = note.n_descsz;
        }
        uint64_t next = text + (note.n_descsz + (uint64_t)3) / 4 * 4;
        if (next > end) {
            return;
        }
        at = next;
    }
}

static void segments_read(struct report_elf *f, const Elf64_Ehdr *h)
{
    for (unsigned i = 0; i < h->e_phnum; i++) {
        Elf64_Phdr p;
        if (h->e_phoff > f->bytes ||
            !inside(f, h->e_phoff + i * sizeof p, sizeof p)) {
            return;
        }
        memcpy(&p, f->at + h->e_phoff + i * sizeof p, sizeof p);
        if (p.p_type == PT_NOTE && inside(f, p.p_offset, p.p_filesz)) {
            notes_read(f, p.p_offset, p.p_offset + p.p_filesz);
        }
    }
}

static bool section_get(const struct report_elf *f, const Elf64_Ehdr *h,
                        uint64_t i, Elf64_Shdr *s)
{
    if (i >= h->e_shnum || h->e_shoff > f->bytes ||
        !inside(f, h->e_shoff + i * sizeof *s, sizeof *s)) {
        return false;
    }
    memcpy(s, f->at + h->e_shoff + i * sizeof *s, sizeof *s);
    return true;
}

/* The full table of symbols before that of dynamic ones. */
static void sections_read(struct report_elf *f, const Elf64_Ehdr *h)
{
    Elf64_Shdr s;
    Elf64_Shdr names;
    bool full = false;
    for (unsigned i = 0; section_get(f, h, i, &s) && !full; i++) {
        if ((s.sh_type == SHT_SYMTAB || s.sh_type == SHT_DYNSYM) &&
            inside(f, s.sh_offset, s.sh_size) &&
            section_get(f, h, s.sh_link, &names) &&
            inside(f, names.sh_offset, names.sh_size)) {
            f->symbols_at = s.sh_offset;
            f->symbols = s.sh_size / sizeof(Elf64_Sym);
            f->names_at = names.sh_offset;
            f->names_bytes = names.sh_size;
            full = s.sh_type == SHT_SYMTAB;
        }
    }
}

struct report_elf *report_elf_open(const char *path)
{
    struct report_elf *f = report_new(1, sizeof *f);
    Elf64_Ehdr h;
    bool good = bytes_read(path, f);
    if (good) {
        memcpy(&h, f->at, sizeof h);
        good = memcmp(h.e_ident, ELFMAG, SELFMAG) == 0 &&
               h.e_ident[EI_CLASS] == ELFCLASS64 &&
               h.e_phentsize == sizeof(Elf64_Phdr) &&
               (h.e_shnum == 0 || h.e_shentsize == sizeof(Elf64_Shdr));
    }
    if (!good) {
        report_elf_close(f);
        return NULL;
    }
    segments_read(f, &h);
    sections_read(f, &h);
    return f;
}

void report_elf_close(struct report_elf *f)
{
    if (f != NULL) {
        free((void *)f->at);
        free(f);
    }
}

bool report_elf_is(const struct report_elf *f, const uint8_t *id, size_t bytes)
{
    return bytes == 0 || f->build_id == NULL ||
           (bytes == f->build_id_bytes && memcmp(id, f->build_id, bytes) == 0);
}

const char *report_elf_symbol(const struct report_elf *f, uint64_t address,
                              uint64_t *offset)
{
    const char *found = NULL;
    for (uint64_t i = 0; i < f->symbols; i++) {
        Elf64_Sym s;
        memcpy(&s, f->at + f->symbols_at + i * sizeof s, sizeof s);
        if (ELF64_ST_TYPE(s.st_info) != STT_FUNC || address < s.st_value ||
            address - s.st_value >= s.st_size || s.st_name >= f->names_bytes) {
            continue;
        }
        const unsigned char *name = f->at + f->names_at + s.st_name;
        if (memchr(name, '\0', f->names_bytes - s.st_name) != NULL) {
            found = (const char *)name;
            *offset = address - s.st_value;
        }
    }
    return found;
}
