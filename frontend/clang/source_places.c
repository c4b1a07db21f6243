// Places for a reader. clang knows two for every token: where it is written and where the outermost
// macro that brings it is used. For layers, which are macros inside macros' arguments, neither is the
// one a user would point at; that one is found in the text.
#include "frontend/clang/source_parts.h"

#include "base/text.h"
#include "frontend/clang/headers.h"

#include <ctype.h>
#include <string.h>

SourceFile *source_file(Source *s, CXFile file)
{
    for (int i = s->files.n; i-- > 0;)
        if (s->files.items[i]->file == file)
            return s->files.items[i];
    SourceFile *f = arena_new(s->arena, SourceFile);
    f->file = file;
    f->name = source_string(s, libclang.getFileName(file));
    f->text = libclang.getFileContents(s->unit, file, &f->size);
    vec_push(s->arena, &s->files, f);
    return f;
}

bool source_is_ours(const Source *s, const char *file)
{
    if (!file)
        return true;
    const char *dir = s->options->header_dir;
    size_t n = dir ? strlen(dir) : 0;
    return str_starts(file, LIBC_DIR "/") ||
           (n && str_starts(file, dir) && str_starts(file + n, "/stagecc/"));
}

static size_t identifier_length(const char *p)
{
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '_')
        n++;
    return n;
}

// Inside `#define NAME ...`: NAME. The directive may go over several lines.
static const char *macro_around(Source *s, const SourceFile *f, unsigned offset)
{
    if (!f->text || offset > f->size)
        return NULL;
    const char *p = f->text + offset;
    while (p > f->text && (p[-1] != '\n' || (p - f->text >= 2 && p[-2] == '\\')))
        p--;
    p += strspn(p, " \t");
    if (*p != '#')
        return NULL;
    p += 1 + strspn(p + 1, " \t");
    if (!str_starts(p, "define"))
        return NULL;
    p += 6 + strspn(p + 6, " \t");
    return arena_strndup(s->arena, p, identifier_length(p));
}

static const SourceFile *file_named(const Source *s, const char *name)
{
    for (int i = 0; i < s->files.n; i++)
        if (s->files.items[i]->name == name || !strcmp(s->files.items[i]->name, name))
            return s->files.items[i];
    return NULL;
}

const char *source_macro_name(Source *s, Loc loc)
{
    const SourceFile *f = file_named(s, loc.file);
    const char *p = f ? f->text : NULL;
    for (int line = 1; p && line < loc.line; line++) {
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    return p ? macro_around(s, f, (unsigned)(p - f->text) + (unsigned)loc.col - 1) : NULL;
}

Spot source_spot(Source *s, CXSourceLocation at)
{
    CXFile written, used;
    unsigned line[2], column[2], offset[2];
    libclang.getExpansionLocation(at, &used, &line[0], &column[0], &offset[0]);
    if (!used)
        return (Spot){0};
    libclang.getSpellingLocation(at, &written, &line[1], &column[1], &offset[1]);
    SourceFile *f = source_file(s, used);
    Spot spot = {{f->name, (int)line[0], (int)column[0]}, {0}, offset[0]};
    if (!written || (written == used && offset[0] == offset[1]))
        return spot;
    SourceFile *w = source_file(s, written);
    Loc loc = {w->name, (int)line[1], (int)column[1]};
    if (source_is_ours(s, w->name) || *w->name == '<')
        return spot;
    if (macro_around(s, w, offset[1]))
        spot.macro = loc;
    else // a token of a macro's argument
        spot = (Spot){loc, {0}, offset[1]};
    return spot;
}

static bool call_before(Source *s, const SourceFile *f, unsigned offset, const char *name,
                        Spot *spot)
{
    if (!f->text || offset > f->size || macro_around(s, f, offset))
        return false;
    const char *p = f->text + offset;
    size_t n = strlen(name);
    while (p > f->text && isspace((unsigned char)p[-1]))
        p--;
    if (p == f->text || *--p != '(')
        return false;
    while (p > f->text && isspace((unsigned char)p[-1]))
        p--;
    if ((size_t)(p - f->text) < n || strncmp(p - n, name, n) != 0)
        return false;
    p -= n;
    if (p > f->text && (isalnum((unsigned char)p[-1]) || p[-1] == '_'))
        return false;
    int line = 1;
    const char *begin = f->text;
    for (const char *c = f->text; c < p; c++)
        if (*c == '\n') {
            line++;
            begin = c + 1;
        }
    *spot = (Spot){{f->name, line, (int)(p - begin) + 1}, {0}, (unsigned)(p - f->text)};
    return true;
}

// The place of NAME in a `#define NAME` of this file.
static bool definition_in(const SourceFile *f, const char *name, size_t n, Loc *at)
{
    int line = 1;
    for (const char *p = f->text; p && *p; line++) {
        const char *begin = p;
        p += strspn(p, " \t");
        if (*p == '#') {
            p += 1 + strspn(p + 1, " \t");
            if (str_starts(p, "define"))
                p += 6 + strspn(p + 6, " \t");
            if (identifier_length(p) == n && !strncmp(p, name, n)) {
                *at = (Loc){f->name, line, (int)(p - begin) + 1};
                return true;
            }
        }
        p = strchr(p, '\n');
        p = p ? p + 1 : NULL;
    }
    return false;
}

void source_find_macro(Source *s, const char *name, Spot *spot)
{
    const SourceFile *f = spot->loc.file ? file_named(s, spot->loc.file) : NULL;
    if (spot->macro.line || !f || !f->text || spot->offset >= f->size)
        return;
    const char *use = f->text + spot->offset;
    size_t n = identifier_length(use);
    if (!n || (n == strlen(name) && !strncmp(use, name, n)))
        return;
    for (int i = 0; i < s->files.n; i++)
        if (!source_is_ours(s, s->files.items[i]->name) &&
            definition_in(s->files.items[i], use, n, &spot->macro))
            return;
}

bool source_call_before(Source *s, CXSourceLocation at, const char *name, Spot *spot)
{
    CXFile file;
    unsigned offset;
    libclang.getSpellingLocation(at, &file, NULL, NULL, &offset);
    return file && call_before(s, source_file(s, file), offset, name, spot);
}

bool source_call_before_offset(Source *s, const char *file, unsigned offset, const char *name,
                               Spot *spot)
{
    const SourceFile *f = file_named(s, file);
    return f && call_before(s, f, offset, name, spot);
}
