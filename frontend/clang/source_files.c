// What a model may read: nothing but what it may include.
//
// clang gets a file system of its own (`-ivfsoverlay`, redirect-only) in which only these directories
// exist: the model's, those behind -I, stagecc's headers, and LIBC_DIR with the headers of
// headers.c, which are files in memory. `#include "/etc/hostname"` or a path with enough `..` in it
// is a file that does not exist, whatever macro the path comes from. What the overlay cannot see is
// a symbolic link below one of these directories: so every file that was included is resolved
// afterwards, and where one leads out or is no regular file, that is the only thing reported and
// nothing of the parse is used. `#embed` leaves no such trace and is refused by its tokens.
#include "frontend/clang/source_parts.h"

#include "base/text.h"
#include "frontend/clang/headers.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

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
        vec_push(s->arena, &dirs, arena_printf(s->arena, "%s/stagecc", o->header_dir));
    return dirs;
}

static int memory_file(Source *s, const char *name, const Text *text)
{
    int fd = memfd_create(name, 0);
    if (fd < 0 || write(fd, text->data, text->length) != (ssize_t)text->length)
        fatal("cannot make a file in memory");
    vec_push(s->arena, &s->memory_files, fd);
    return fd;
}

static void put_headers(Source *s, Text *out)
{
    text_puts(out, "{\"type\":\"directory\",\"name\":\"" LIBC_DIR "\",\"contents\":[");
    for (int i = 0; i < headers_count(); i++) {
        Text header = {0};
        headers_text(i, &header);
        text_printf(out,
                    "%s{\"type\":\"file\",\"name\":\"%s\",\"use-external-name\":false,"
                    "\"external-contents\":\"/proc/self/fd/%d\"}",
                    i ? "," : "", headers_name(i), memory_file(s, headers_name(i), &header));
        text_release(&header);
    }
    text_puts(out, "]}");
}

// The overlay as a file in memory.
const char *source_overlay(Source *s)
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
    put_headers(s, &out);
    text_puts(&out, "]}");
    int fd = memory_file(s, "overlay", &out);
    text_release(&out);
    return arena_printf(s->arena, "/proc/self/fd/%d", fd);
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
    const char *name = source_file(in->s, file)->name;
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

static bool includes_fit(Source *s)
{
    Inclusions in = {.s = s, .good = true};
    Names dirs = allowed_dirs(s);
    for (int i = 0; i < dirs.n; i++) {
        char real[PATH_MAX];
        if (realpath(dirs.items[i], real))
            vec_push(s->arena, &in.roots, arena_strdup(s->arena, real));
    }
    libclang.getInclusions(s->unit, check_inclusion, &in);
    return in.good;
}

// `# embed`, however it is spelled: the tokens say so.
static bool embeds_nothing(Source *s, const SourceFile *f)
{
    if (!f->text || source_is_ours(s, f->name))
        return true;
    CXSourceRange all =
        libclang.getRange(libclang.getLocationForOffset(s->unit, f->file, 0),
                          libclang.getLocationForOffset(s->unit, f->file, (unsigned)f->size));
    CXToken *tokens = NULL;
    unsigned n = 0, at = 0;
    libclang.tokenize(s->unit, all, &tokens, &n);
    for (unsigned i = 0; i + 1 < n && !at; i++) {
        if (libclang.getTokenKind(tokens[i]) != CXToken_Punctuation)
            continue;
        CXString hash = libclang.getTokenSpelling(s->unit, tokens[i]);
        const char *text = libclang.getCString(hash);
        bool directive = text && (!strcmp(text, "#") || !strcmp(text, "%:"));
        libclang.disposeString(hash);
        if (directive &&
            !strcmp(source_string(s, libclang.getTokenSpelling(s->unit, tokens[i + 1])),
                    "embed"))
            at = i + 1;
    }
    if (at)
        error_at(source_spot(s, libclang.getTokenLocation(s->unit, tokens[at])).loc,
                 "#embed is not supported in models");
    libclang.disposeTokens(s->unit, tokens, n);
    return !at;
}

bool source_inclusions_fit(Source *s)
{
    bool good = includes_fit(s);
    for (int i = 0; good && i < s->files.n; i++)
        good = embeds_nothing(s, s->files.items[i]);
    return good;
}
