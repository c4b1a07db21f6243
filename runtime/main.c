// A stage program from main's arguments to its exit status.
#include "runtime/image.h"
#include "runtime/machine.h"
#include "runtime/profile.h"
#include "runtime/report.h"
#include "runtime/segment.h"
#include "runtime/signals.h"

#include <stdio.h>
#include <stdlib.h>

static void print_version(const rt_program *p)
{
    printf("stage %d of %d of %s\n"
           "stagecc runtime %s, version %d of its interface\n"
           "backend %s, %s, %d thread%s, plan %s\n",
           p->stage, p->n_stages, p->model, STAGECC_VERSION, RT_ABI,
           p->backend ? p->backend->name : "ref", p->isa, p->threads, p->threads > 1 ? "s" : "",
           p->plan_hash);
}

// The library kernels alone: no arena, no data, no other stages.
static int probe(rt_stage *s)
{
    const rt_backend *b = s->program->backend;
    if (!b || !b->probe)
        return rt_fail(s, RT_E_INPUT, "--probe: this program has no library kernels");
    int error = rt__machine_check(s);
    return error ? error : b->probe(s, s->options.probe);
}

static int job_descriptor(void)
{
    const char *fd = getenv("STAGECC_JOB_FD");
    return fd && *fd ? atoi(fd) : -1;
}

// Which replica of its stage this process is; 0 where nobody says so.
static int replica_of(const rt_program *program)
{
    const char *text = getenv("STAGECC_REPLICA");
    int replica = text ? atoi(text) : 0;
    return replica > 0 && replica < rt__n_replicas(program) ? replica : 0;
}

static void run(rt_stage *s)
{
    if (!rt__profile_open(s) && !rt__stage_open(s, job_descriptor()))
        rt__run(s);
    rt__profile_close(s);
    if (s->error && s->error != RT_E_INTERRUPTED)
        rt__abort(s);
}

int rt_main(int argc, char **argv, const rt_program *program)
{
    rt_stage s;
    rt__why why;
    rt__stage_init(&s, program, replica_of(program));
    rt__report_open(&s);
    if (rt__options_parse(&s.options, argc, argv, &why)) {
        rt_fail(&s, RT_E_INPUT, "%s", why.text);
    } else if (s.options.help) {
        rt__options_help(program);
        return 0;
    } else if (s.options.version) {
        print_version(program);
        return 0;
    } else if (s.options.tensors) {
        rt__image_describe(&s, s.options.tensors);
    } else {
        rt__machine_environment(program, argv);
        rt__signals_install();
        if (s.options.check)
            rt__machine_check(&s);
        else if (s.options.probe)
            probe(&s);
        else
            run(&s);
    }
    if (s.error)
        rt__report_error(&s);
    rt__stage_close(&s);
    return rt_error_status(s.error);
}
