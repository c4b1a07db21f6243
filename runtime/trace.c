#include "runtime/trace.h"

#include "runtime/report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_EVENTS = 1 << 18 };

typedef struct Event {
    int64_t begin_ns, end_ns, step;
    rt_instr instr;
} Event;

typedef struct rt__trace {
    int n;
    bool full;
    Event events[MAX_EVENTS];
} rt__trace;

int rt__trace_open(rt_stage *s)
{
    if (!s->options.trace)
        return 0;
    s->trace = malloc(sizeof *s->trace);
    if (!s->trace)
        return rt_fail(s, RT_E_MEMORY, "no memory for a trace of %d events", MAX_EVENTS);
    s->trace->n = 0;
    s->trace->full = false;
    return 0;
}

void rt__trace_add(rt_stage *s, const rt_instr *i, int64_t begin_ns, int64_t end_ns)
{
    rt__trace *t = s->trace;
    if (t->n == MAX_EVENTS) {
        t->full = true;
        return;
    }
    t->events[t->n++] = (Event){begin_ns, end_ns, s->step + 1, *i};
}

static void write_event(FILE *f, const rt_stage *s, const Event *e)
{
    fprintf(f,
            ",\n{\"name\": \"%s\", \"cat\": \"%s\", \"ph\": \"X\", \"pid\": %d, \"tid\": %d, "
            "\"ts\": %.3f, \"dur\": %.3f, \"args\": {\"step\": %" PRId64 ", \"mb\": %u",
            rt__opcode_name[e->instr.opcode],
            e->instr.opcode <= RT_RELEASE ? "message" : "work", s->program->stage, s->replica,
            (double)e->begin_ns * 1e-3, (double)(e->end_ns - e->begin_ns) * 1e-3, e->step,
            e->instr.mb);
    if (e->instr.opcode <= RT_RELEASE) {
        char name[128];
        fprintf(f, ", \"edge\": %s",
                rt__json_text(name, sizeof name, s->program->edges[e->instr.edge].name));
    }
    fputs("}}", f);
}

int rt__trace_write(rt_stage *s)
{
    const rt__trace *t = s->trace;
    if (!t)
        return 0;
    FILE *f = fopen(s->options.trace, "w");
    if (f) {
        fprintf(f,
                "{\"displayTimeUnit\": \"ms\", \"complete\": %s, \"traceEvents\": [\n"
                "{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": %d, \"args\": "
                "{\"name\": \"stage %d\"}}",
                t->full ? "false" : "true", s->program->stage, s->program->stage);
        if (s->replicas > 1)
            fprintf(f,
                    ",\n{\"name\": \"thread_name\", \"ph\": \"M\", \"pid\": %d, \"tid\": %d, "
                    "\"args\": {\"name\": \"replica %d\"}}",
                    s->program->stage, s->replica, s->replica);
        for (int i = 0; i < t->n; i++)
            write_event(f, s, &t->events[i]);
        fputs("\n]}\n", f);
    }
    if (!f || ferror(f) | fclose(f))
        return rt_fail(s, RT_E_ENVIRONMENT, "cannot write the trace %s: %s", s->options.trace,
                       strerror(errno));
    return 0;
}

void rt__trace_close(rt_stage *s)
{
    free(s->trace);
    s->trace = NULL;
}
