// Which host runs which rank.
#include "base/diag.h"
#include "control/hub.h"

#include <string.h>

// The host that has this device: "h1", or slot 2 of it: "h1-2". -1: none.
static int host_of_device(const Hosts *hosts, const char *device)
{
    for (int i = 0; i < hosts->n; i++) {
        size_t n = strlen(hosts->items[i].name);
        if (strncmp(hosts->items[i].name, device, n) != 0)
            continue;
        const char *rest = device + n;
        if (!*rest ||
            (*rest == '-' && rest[1] && strspn(rest + 1, "0123456789") == strlen(rest + 1)))
            return i;
    }
    return -1;
}

static bool place_by_devices(const Hosts *hosts, const Plan *plan, int *place_of)
{
    for (int i = 0; i < plan->n_ranks; i++) {
        const PlanRank *r = &plan->ranks[i];
        const PlanStage *s = &plan->stages[r->stage];
        if (s->n_devices != s->replicas || s->devices[r->replica] >= plan->n_device_names)
            return false;
        place_of[i] = host_of_device(hosts, plan->device_names[s->devices[r->replica]]);
        if (place_of[i] < 0)
            return false;
    }
    return true;
}

bool hub_place(const Hosts *hosts, const Plan *plan, int *place_of)
{
    int slots = 0, rank = 0, machines = plan_machines_used(plan);
    if (place_by_devices(hosts, plan, place_of))
        return true;
    for (int i = 0; i < hosts->n; i++) {
        slots += hosts->items[i].slots;
        for (int k = 0; k < hosts->items[i].slots && rank < machines; k++)
            place_of[rank++] = i;
    }
    for (; rank >= machines && rank < plan->n_ranks; rank++)
        place_of[rank] = place_of[rank - machines]; // another stage of that machine
    if (rank == plan->n_ranks)
        return true;
    error_at((Loc){hosts->items[0].loc.file, 0, 0},
             "the plan has %d %s, these hosts have %d slot%s: add hosts, or slots=N to a "
             "line",
             machines, plan->n_ranks > plan->n_stages ? "programs" : "stages", slots,
             slots > 1 ? "s" : "");
    return false;
}
