// Errors of a model: the place, the macro's line if there is one, and who called.
#include "frontend/clang/machine.h"

enum { CALLS_SHOWN = 4 };

static void note_macro(Machine *m, const Spot *spot)
{
    if (!spot->macro.line)
        return;
    const char *name = source_macro_name(m->source, spot->macro);
    note_at(spot->macro, "expanded from macro `%s`", name ? name : "?");
}

void explain(Machine *m, const Ast *at)
{
    note_macro(m, &at->spot);
    int shown = 0, left = 0;
    Loc last = {0};
    for (Frame *f = m->frame; f && f->caller; f = f->caller) {
        Loc loc = f->called.loc;
        bool again = loc.line == last.line && loc.col == last.col; // recursion
        if (again || shown == CALLS_SHOWN) {
            left++;
            continue;
        }
        note_at(loc, "`%s` was called from here", f->function->name);
        note_macro(m, &f->called);
        last = loc;
        shown++;
    }
    if (left)
        note_at(NO_LOC, "and %d more call%s", left, left == 1 ? "" : "s");
}

__attribute__((format(printf, 3, 0))) static void say(Machine *m, Ast *at, const char *format,
                                                      va_list ap)
{
    if (at->complained || m->stop)
        return;
    at->complained = true;
    error_at_v(at->spot.loc, format, ap);
    explain(m, at);
    if (diag_errors() >= MAX_ERRORS)
        m->stop = true;
}

Value complain(Machine *m, Ast *at, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say(m, at, format, ap);
    va_end(ap);
    return POISON;
}

Value give_up(Machine *m, Ast *at, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    say(m, at, format, ap);
    va_end(ap);
    m->stop = true;
    return POISON;
}
