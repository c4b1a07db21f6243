// Parsing with libclang, so that a model can read nothing but what it may include.
//
// clang gets a file system of its own (`-ivfsoverlay`, redirect-only) in which only these directories
// exist: the model's, those behind -I, stagecc's headers, and LIBC_DIR with the headers of
// headers.c, which are files in memory. `#include "/etc/hostname"` or a path with enough `..` in it
// is a file that does not exist, whatever macro the path comes from. What the overlay cannot see is
// a symbolic link below one of these directories: so every file that was included is resolved
// afterwards, and where one leads out or is no regular file, that is the only thing reported and
// nothing of the parse is used. `#embed` leaves no such trace and is refused by its tokens.
#include "frontend/clang/source.h"

#include "base/text.h"
#include "frontend/clang/headers.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct SourceFile {
    CXFile file;
    const char *name, *text;
    size_t size;
} SourceFile;

const char *source_string(Source *s, CXString string)
{
    const char *text = clang_getCString(string);
    const char *copy = arena_strdup(s->arena, text ? text : "");
    clang_disposeString(string);
    return copy;
}

// ---- the file system that clang sees

// Absolute, without "." and "..": as clang's overlay looks names up.
static const char *absolute(Arena *a, const char *path)
{
    char cwd[PATH_MAX];
    if (*path != '/' && !getcwd(cwd, sizeof cwd))
        return NULL;
    char *from = arena_printf(a, "%s/%s", *path == '/' ? "" : cwd, path);
    char *out = arena_alloc(a, strlen(from) + 2), *end = out;
    for (char *part = strtok(from, "/"); part; part = strtok(NULL, "/")) {
        if (!strcmp(part, "."))
            continue;
        if (!strcmp(part, "..")) {
            while (end > out && *--end != '/')
                ;
            *end = 0;
            continue;
        }
        *end++ = '/';
        end = stpcpy(end, part);
    }
    return end == out ? "/" : out;
}

static const char *directory_of(Arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? arena_strndup(a, path, (size_t)(slash - path) + 1) : ".";
}

static void put_quoted(Text *out, const char *s)
{
    text_puts(out, "\"");
    for (; *s; s++) {
        if ((unsigned char)*s < ' ')
            text_printf(out, "\\x%02x", (unsigned char)*s);
        else
            text_printf(out, *s == '"' || *s == '\\' ? "\\%c" : "%c", *s);
    }
    text_puts(out, "\"");
}

typedef VEC(const char *) Names;

// The directories whose files a model may include, as given (not resolved).
static Names allowed_dirs(Source *s)
{
    Names dirs = {0};
    const ModelOptions *o = s->options;
    vec_push(s->arena, &dirs, directory_of(s->arena, s->path));
    for (int i = 0; i < o->n_include_dirs; i++)
        vec_push(s->arena, &dirs, o->include_dirs[i]);
    if (o->header_dir)
        vec_push(s->arena, &dirs, o->header_dir);
    return dirs;
}

static int memory_file(const char *name, const Text *text)
{
    int fd = memfd_create(name, 0);
    if (fd < 0 || write(fd, text->data, text->length) != (ssize_t)text->length)
        fatal("cannot make a file in memory");
    return fd;
}

static void put_headers(Text *out)
{
    text_puts(out, "{\"type\":\"directory\",\"name\":\"" LIBC_DIR "\",\"contents\":[");
    for (int i = 0; i < headers_count(); i++) {
        Text header = {0};
        headers_text(i, &header);
        text_printf(out,
                    "%s{\"type\":\"file\",\"name\":\"%s\",\"use-external-name\":false,"
                    "\"external-contents\":\"/proc/self/fd/%d\"}",
                    i ? "," : "", headers_name(i), memory_file(headers_name(i), &header));
        text_release(&header);
    }
    text_puts(out, "]}");
}

// The overlay as a file in memory. The descriptors live as long as the process, which parses once.
static const char *overlay(Source *s)
{
    Text out = {0};
    text_puts(&out, "{\"version\":0,\"redirecting-with\":\"redirect-only\",\"roots\":[");
    Names dirs = allowed_dirs(s);
    for (int i = 0; i < dirs.n; i++) {
        const char *dir = absolute(s->arena, dirs.items[i]);
        if (!dir)
            continue;
        text_puts(&out, "{\"type\":\"directory-remap\",\"name\":");
        put_quoted(&out, dir);
        text_puts(&out, ",\"external-contents\":");
        put_quoted(&out, dir);
        text_puts(&out, "},");
    }
    put_headers(&out);
    text_puts(&out, "]}");
    int fd = memory_file("overlay", &out);
    text_release(&out);
    return arena_printf(s->arena, "/proc/self/fd/%d", fd);
}

// ---- places

static SourceFile *file_of(Source *s, CXFile file)
{
    for (int i = s->files.n; i-- > 0;)
        if (s->files.items[i]->file == file)
            return s->files.items[i];
    SourceFile *f = arena_new(s->arena, SourceFile);
    f->file = file;
    f->name = source_string(s, clang_getFileName(file));
    f->text = clang_getFileContents(s->unit, file, &f->size);
    vec_push(s->arena, &s->files, f);
    return f;
}

bool source_is_ours(const Source *s, const char *file)
{
    if (!file)
        return true;
    const char *dir = s->options->header_dir;
    return str_starts(file, LIBC_DIR "/") || (dir && *dir && str_starts(file, dir));
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
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '_')
        n++;
    return arena_strndup(s->arena, p, n);
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
    clang_getExpansionLocation(at, &used, &line[0], &column[0], &offset[0]);
    if (!used)
        return (Spot){0};
    clang_getSpellingLocation(at, &written, &line[1], &column[1], &offset[1]);
    SourceFile *f = file_of(s, used);
    Spot spot = {{f->name, (int)line[0], (int)column[0]}, {0}, offset[0]};
    if (!written || (written == used && offset[0] == offset[1]))
        return spot;
    SourceFile *w = file_of(s, written);
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
    if ((size_t)(p - f->text) < n || strncmp(p - n, name, n))
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

bool source_call_before(Source *s, CXSourceLocation at, const char *name, Spot *spot)
{
    CXFile file;
    unsigned offset;
    clang_getSpellingLocation(at, &file, NULL, NULL, &offset);
    return file && call_before(s, file_of(s, file), offset, name, spot);
}

bool source_call_before_offset(Source *s, const char *file, unsigned offset, const char *name,
                               Spot *spot)
{
    const SourceFile *f = file_named(s, file);
    return f && call_before(s, f, offset, name, spot);
}

// ---- what was included

typedef struct Inclusions {
    Source *s;
    Names roots; // resolved
    bool good;
} Inclusions;

static bool below(const Names *roots, const char *path)
{
    for (int i = 0; i < roots->n; i++) {
        size_t n = strlen(roots->items[i]);
        if (!strncmp(path, roots->items[i], n) && (path[n] == '/' || path[n - 1] == '/'))
            return true;
    }
    return false;
}

static void check_inclusion(CXFile file, CXSourceLocation *stack, unsigned depth,
                            CXClientData data)
{
    Inclusions *in = data;
    const char *name = file_of(in->s, file)->name;
    if (depth == 0 || !in->good || str_starts(name, LIBC_DIR "/"))
        return;
    char real[PATH_MAX];
    struct stat st;
    bool found = realpath(name, real) != NULL;
    if (found && below(&in->roots, real) && !stat(real, &st) && S_ISREG(st.st_mode))
        return;
    in->good = false;
    error_at(source_spot(in->s, stack[0]).loc,
             "`%s` is a link to a place that a model may not read, or no regular file", name);
}

static bool inclusions_fit(Source *s)
{
    Inclusions in = {.s = s, .good = true};
    Names dirs = allowed_dirs(s);
    for (int i = 0; i < dirs.n; i++) {
        char real[PATH_MAX];
        if (realpath(dirs.items[i], real))
            vec_push(s->arena, &in.roots, arena_strdup(s->arena, real));
    }
    clang_getInclusions(s->unit, check_inclusion, &in);
    return in.good;
}

// `# embed`, however it is spelled: the tokens say so.
static bool embeds_nothing(Source *s, const SourceFile *f)
{
    if (!f->text || source_is_ours(s, f->name))
        return true;
    CXSourceRange all =
        clang_getRange(clang_getLocationForOffset(s->unit, f->file, 0),
                       clang_getLocationForOffset(s->unit, f->file, (unsigned)f->size));
    CXToken *tokens = NULL;
    unsigned n = 0, at = 0;
    clang_tokenize(s->unit, all, &tokens, &n);
    for (unsigned i = 0; i + 1 < n && !at; i++) {
        if (clang_getTokenKind(tokens[i]) != CXToken_Punctuation)
            continue;
        CXString hash = clang_getTokenSpelling(s->unit, tokens[i]);
        const char *text = clang_getCString(hash);
        bool directive = text && (!strcmp(text, "#") || !strcmp(text, "%:"));
        clang_disposeString(hash);
        if (directive &&
            !strcmp(source_string(s, clang_getTokenSpelling(s->unit, tokens[i + 1])), "embed"))
            at = i + 1;
    }
    if (at)
        error_at(source_spot(s, clang_getTokenLocation(s->unit, tokens[at])).loc,
                 "#embed is not supported in models");
    clang_disposeTokens(s->unit, tokens, n);
    return !at;
}

// ---- clang's own diagnostics

static void note_known_headers(Source *s, Loc loc)
{
    Text known = {0};
    for (int i = 0; i < headers_count(); i++)
        text_printf(&known, " %s", headers_name(i));
    note_at(loc,
            "a model may include files below its own directory and below -I directories, "
            "and of the C library%s",
            known.data);
    text_release(&known);
    (void)s;
}

typedef struct FieldNames {
    Source *s;
    const char *type;
    Text *out;
} FieldNames;

static enum CXVisitorResult put_field(CXCursor field, CXClientData data)
{
    FieldNames *f = data;
    const char *name = source_string(f->s, clang_getCursorSpelling(field));
    if (!str_starts(name, "stagecc_"))
        text_printf(f->out, " .%s", name);
    return CXVisit_Continue;
}

static enum CXChildVisitResult find_struct(CXCursor c, CXCursor parent, CXClientData data)
{
    (void)parent;
    FieldNames *f = data;
    if (clang_getCursorKind(c) == CXCursor_StructDecl &&
        !strcmp(source_string(f->s, clang_getCursorSpelling(c)), f->type))
        clang_Type_visitFields(clang_getCursorType(c), put_field, f);
    return CXChildVisit_Continue;
}

// "... any field in type 'struct stagecc_conv2d'": which options there are.
static void note_options(Source *s, Loc loc, const char *message)
{
    static const char begin[] = "'struct stagecc_";
    const char *type = strstr(message, begin);
    if (!strstr(message, "field designator") || !type)
        return;
    type += strlen("'struct ");
    Text names = {0};
    FieldNames f = {s, arena_strndup(s->arena, type, strcspn(type, "'")), &names};
    clang_visitChildren(clang_getTranslationUnitCursor(s->unit), find_struct, &f);
    if (names.data)
        note_at(loc, "the options are%s", names.data);
    text_release(&names);
}

static void show_notes(Source *s, CXDiagnostic d)
{
    CXDiagnosticSet notes = clang_getChildDiagnostics(d);
    for (unsigned i = 0; i < clang_getNumDiagnosticsInSet(notes); i++) {
        CXDiagnostic note = clang_getDiagnosticInSet(notes, i);
        Spot spot = source_spot(s, clang_getDiagnosticLocation(note));
        const char *message = source_string(s, clang_getDiagnosticSpelling(note));
        bool expansion = str_starts(message, "expanded from macro");
        if (spot.macro.line && expansion)
            spot.loc = spot.macro;
        bool noise = str_starts(message, "in file included from");
        if (!noise && !source_is_ours(s, spot.loc.file))
            note_at(spot.loc, "%s", message);
        clang_disposeDiagnostic(note);
    }
}

static void show_diagnostic(Source *s, CXDiagnostic d)
{
    enum CXDiagnosticSeverity severity = clang_getDiagnosticSeverity(d);
    if (severity < CXDiagnostic_Warning)
        return;
    const char *message = source_string(s, clang_getDiagnosticSpelling(d));
    Spot spot = source_spot(s, clang_getDiagnosticLocation(d));
    if (severity == CXDiagnostic_Warning) {
        warning_at(spot.loc, "%s", message);
        show_notes(s, d);
        return;
    }
    error_at(spot.loc, "%s", message);
    if (strstr(message, "stagecc_options_have_names"))
        note_at(spot.loc, "options are given by name, as in conv2d(x, 64, .kernel = 3)");
    if (str_ends(message, "file not found"))
        note_known_headers(s, spot.loc);
    note_options(s, spot.loc, message);
    show_notes(s, d);
}

static bool show_diagnostics(Source *s)
{
    int before = diag_errors();
    for (unsigned i = 0; i < clang_getNumDiagnostics(s->unit); i++) {
        CXDiagnostic d = clang_getDiagnostic(s->unit, i);
        show_diagnostic(s, d);
        clang_disposeDiagnostic(d);
    }
    return diag_errors() == before;
}

// ---- the parse

static Names arguments(Source *s)
{
    static const char *const fixed[] = {
        "-xc",
        "-std=gnu17",
        "-nostdinc",
        "-Wall",
        "-Wno-unused-function",
        "-Wno-uninitialized",
        "-Wno-missing-braces",
        "-Wno-division-by-zero",
        "-Wno-comment",
        "-Werror=incompatible-pointer-types",
        "-Werror=int-conversion",
        "-Werror=implicit-function-declaration",
        "-Werror=return-type",
        "-D__STAGECC__=1",
        "-ferror-limit=20",
        "-isystem",
        LIBC_DIR,
    };
    Names args = {0};
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
        vec_push(s->arena, &args, fixed[i]);
    const ModelOptions *o = s->options;
    if (o->header_dir) {
        vec_push(s->arena, &args, "-isystem");
        vec_push(s->arena, &args, o->header_dir);
    }
    for (int i = 0; i < o->n_include_dirs; i++)
        vec_push(s->arena, &args, arena_printf(s->arena, "-I%s", o->include_dirs[i]));
    for (int i = 0; i < o->n_defines; i++)
        vec_push(s->arena, &args, arena_printf(s->arena, "-D%s", o->defines[i]));
    vec_push(s->arena, &args, "-ivfsoverlay");
    vec_push(s->arena, &args, overlay(s));
    return args;
}

bool source_parse(Source *s, Arena *arena, const char *path, const char *text,
                  const ModelOptions *options)
{
    // A name that could be read as an option of clang's is no longer one behind "./".
    const char *name = *path == '-' || *path == '@' ? arena_printf(arena, "./%s", path) : path;
    *s = (Source){.arena = arena, .path = name, .text = text, .options = options};
    s->index = clang_createIndex(0, 0);
    Names args = arguments(s);
    struct CXUnsavedFile main_file = {name, text, strlen(text)};
    enum CXErrorCode code = clang_parseTranslationUnit2(
        s->index, name, args.items, args.n, &main_file, 1, CXTranslationUnit_None, &s->unit);
    if (code || !s->unit) {
        error_at(
            (Loc){path, 0, 0},
            "the C parser failed on this model: it takes too much memory, or is nested too "
            "deeply (error %d)",
            code);
        return false;
    }
    if (!inclusions_fit(s))
        return false;
    for (int i = 0; i < s->files.n; i++)
        if (!embeds_nothing(s, s->files.items[i]))
            return false;
    return show_diagnostics(s);
}

void source_release(Source *s)
{
    if (s->unit)
        clang_disposeTranslationUnit(s->unit);
    clang_disposeIndex(s->index);
}
