// Source lines for carets are read when the first diagnostic needs them and kept per file.
#include "base/diag.h"

#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_SOURCES = 64, TAB = 8, MAX_SHOWN = 200 };

static struct {
    int errors, warnings;
    FILE *out;
    bool colour, configured;
    DiagSink *sink;
    void *sink_user;
    struct {
        char *file;
        char *owned; // NULL when the text belongs to the caller
        const char *text;
    } source[MAX_SOURCES];
    int n_sources;
} state;

void diag_output(FILE *out, bool colour)
{
    state.out = out;
    state.colour = colour && !getenv("NO_COLOR");
    state.configured = true;
}

static FILE *output(void)
{
    if (!state.configured)
        diag_output(stderr, isatty(STDERR_FILENO));
    return state.out;
}

int diag_errors(void)
{
    return state.errors;
}

int diag_warnings(void)
{
    return state.warnings;
}

void diag_reset(void)
{
    for (int i = 0; i < state.n_sources; i++) {
        free(state.source[i].file);
        free(state.source[i].owned);
    }
    state.errors = state.warnings = state.n_sources = 0;
}

static void remember(const char *file, char *owned, const char *text)
{
    if (state.n_sources == MAX_SOURCES)
        diag_reset();
    state.source[state.n_sources].file = strdup(file);
    state.source[state.n_sources].owned = owned;
    state.source[state.n_sources].text = text;
    state.n_sources++;
}

DiagCapture diag_capture(DiagSink *sink, void *user)
{
    DiagCapture before = {state.sink, state.sink_user};
    diag_restore((DiagCapture){sink, user});
    return before;
}

void diag_restore(DiagCapture before)
{
    state.sink = before.sink;
    state.sink_user = before.user;
}

void diag_source(const char *file, const char *text)
{
    remember(file, NULL, text);
}

static const char *source_text(const char *file)
{
    for (int i = state.n_sources; i-- > 0;)
        if (!strcmp(state.source[i].file, file))
            return state.source[i].text;
    size_t size;
    char *text = file_read(file, &size); // absent or unreadable: no caret, the message stands
    remember(file, text, text);
    return text;
}

static void show_source_line(Loc loc)
{
    const char *s = loc.line > 0 ? source_text(loc.file) : NULL;
    for (int line = 1; s && line < loc.line; line++) {
        s = strchr(s, '\n');
        s = s ? s + 1 : NULL;
    }
    if (!s || !*s)
        return;
    int n = (int)strcspn(s, "\r\n");
    fputs("    ", state.out);
    for (int i = 0; i < n && i < MAX_SHOWN; i++) { // nothing that would command a terminal
        bool control = ((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f;
        fputc(control ? '?' : s[i], state.out);
    }
    fputc('\n', state.out);
    if (loc.col < 1 || loc.col > n + 1 || loc.col > MAX_SHOWN)
        return;
    fputs("    ", state.out);
    for (int i = 0; i < loc.col - 1; i++)
        fputc(s[i] == '\t' ? '\t' : ' ', state.out);
    fprintf(state.out, "%s^%s\n", state.colour ? "\033[1;32m" : "",
            state.colour ? "\033[0m" : "");
}

__attribute__((format(printf, 4, 0))) static void
say(Loc loc, const char *kind, const char *ansi, const char *format, va_list ap)
{
    FILE *out = output();
    const char *bold = state.colour ? "\033[1m" : "", *off = state.colour ? "\033[0m" : "";
    if (!loc.file)
        fprintf(out, "%sstagecc: ", bold);
    else if (loc.line <= 0)
        fprintf(out, "%s%s: ", bold, loc.file);
    else if (loc.col <= 0)
        fprintf(out, "%s%s:%d: ", bold, loc.file, loc.line);
    else
        fprintf(out, "%s%s:%d:%d: ", bold, loc.file, loc.line, loc.col);
    fprintf(out, "%s%s: %s%s", state.colour ? ansi : "", kind, off, bold);
    vfprintf(out, format, ap);
    fprintf(out, "%s\n", off);
    if (loc.file)
        show_source_line(loc);
}

__attribute__((format(printf, 3, 0))) static void report(DiagKind kind, Loc loc,
                                                         const char *format, va_list ap)
{
    static const struct {
        const char *name, *ansi;
    } look[] = {
        [DIAG_ERROR] = {"error", "\033[1;31m"},
        [DIAG_WARNING] = {"warning", "\033[1;35m"},
        [DIAG_NOTE] = {"note", "\033[1;36m"},
    };
    state.errors += kind == DIAG_ERROR;
    state.warnings += kind == DIAG_WARNING;
    if (!state.sink) {
        say(loc, look[kind].name, look[kind].ansi, format, ap);
        return;
    }
    Text message = {0};
    text_vprintf(&message, format, ap);
    state.sink(state.sink_user, kind, loc, message.data ? message.data : "");
    text_release(&message);
}

void error_at_v(Loc loc, const char *format, va_list ap)
{
    report(DIAG_ERROR, loc, format, ap);
}

void error_at(Loc loc, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    error_at_v(loc, format, ap);
    va_end(ap);
}

void warning_at(Loc loc, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    report(DIAG_WARNING, loc, format, ap);
    va_end(ap);
}

void note_at(Loc loc, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    report(DIAG_NOTE, loc, format, ap);
    va_end(ap);
}

void fatal(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say(NO_LOC, "fatal", "\033[1;31m", format, ap);
    va_end(ap);
    exit(EXIT_ENVIRONMENT);
}

void bug_at(const char *file, int line, const char *room, const char *format, ...)
{
    fprintf(output(), "stagecc: internal error in %s (%s:%d): ", room, file, line);
    va_list ap;
    va_start(ap, format);
    vfprintf(state.out, format, ap);
    va_end(ap);
    fputs("\nThis is a bug in stagecc, not in your model. Please report it with the command "
          "line.\n",
          state.out);
    exit(EXIT_BUG);
}
