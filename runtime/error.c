// Errors of a stage: the table of rt.h, and the one message that a stage remembers.
#include "runtime/rt.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    int status;
    const char *word;
} errors[RT_N_ERRORS] = {[RT_E_NONE] = {0, "none"},
#define X(name, status, word, meaning) [RT_E_##name] = {status, word},
                         RT_ERRORS(X)
#undef X
};

int rt_error_status(rt_error e)
{
    return errors[e].status;
}

const char *rt_error_word(rt_error e)
{
    return errors[e].word;
}

rt_error rt_error_of_status(int status)
{
    for (int e = RT_E_NONE; e < RT_N_ERRORS; e++)
        if (errors[e].status == status)
            return (rt_error)e;
    return RT_E_BUG;
}

int rt_fail(rt_stage *s, rt_error code, const char *format, ...)
{
    if (s->error)
        return (int)s->error;
    va_list ap;
    va_start(ap, format);
    vsnprintf(s->message, sizeof s->message, format, ap);
    va_end(ap);
    s->error = code;
    return (int)code;
}

int rt__fail_why(rt_stage *s, int status, const rt__why *why)
{
    return rt_fail(s, rt_error_of_status(status), "%s", why->text);
}
