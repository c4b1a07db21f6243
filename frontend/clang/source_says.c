// clang's own diagnostics in our style, without what they say about the inside of our headers, and
// with a hint where a model's author cannot know what clang means.
#include "frontend/clang/source_parts.h"

#include "base/text.h"
#include "frontend/clang/headers.h"

#include <string.h>

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
    const char *name = source_string(f->s, libclang.getCursorSpelling(field));
    if (!str_starts(name, "stagecc_"))
        text_printf(f->out, " .%s", name);
    return CXVisit_Continue;
}

static enum CXChildVisitResult find_struct(CXCursor c, CXCursor parent, CXClientData data)
{
    (void)parent;
    FieldNames *f = data;
    if (libclang.getCursorKind(c) == CXCursor_StructDecl &&
        !strcmp(source_string(f->s, libclang.getCursorSpelling(c)), f->type))
        libclang.Type_visitFields(libclang.getCursorType(c), put_field, f);
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
    libclang.visitChildren(libclang.getTranslationUnitCursor(s->unit), find_struct, &f);
    if (names.data)
        note_at(loc, "the options are%s", names.data);
    text_release(&names);
}

static void show_notes(Source *s, CXDiagnostic d)
{
    CXDiagnosticSet notes = libclang.getChildDiagnostics(d);
    for (unsigned i = 0; i < libclang.getNumDiagnosticsInSet(notes); i++) {
        CXDiagnostic note = libclang.getDiagnosticInSet(notes, i);
        Spot spot = source_spot(s, libclang.getDiagnosticLocation(note));
        const char *message = source_string(s, libclang.getDiagnosticSpelling(note));
        bool expansion = str_starts(message, "expanded from macro");
        if (spot.macro.line && expansion)
            spot.loc = spot.macro;
        bool noise = str_starts(message, "in file included from");
        if (!noise && !source_is_ours(s, spot.loc.file))
            note_at(spot.loc, "%s", message);
        libclang.disposeDiagnostic(note);
    }
}

static void show_diagnostic(Source *s, CXDiagnostic d)
{
    enum CXDiagnosticSeverity severity = libclang.getDiagnosticSeverity(d);
    if (severity < CXDiagnostic_Warning)
        return;
    const char *message = source_string(s, libclang.getDiagnosticSpelling(d));
    Spot spot = source_spot(s, libclang.getDiagnosticLocation(d));
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

bool source_show_diagnostics(Source *s)
{
    int before = diag_errors();
    for (unsigned i = 0; i < libclang.getNumDiagnostics(s->unit); i++) {
        CXDiagnostic d = libclang.getDiagnostic(s->unit, i);
        show_diagnostic(s, d);
        libclang.disposeDiagnostic(d);
    }
    return diag_errors() == before;
}
