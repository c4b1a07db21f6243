// Which host runs which rank, and on which of its CUDA devices.
#include "base/diag.h"
#include "control/hub.h"

#include <stdlib.h>
#include <string.h>

typedef struct Slot {
    int host, number; // of the host; number: among its slots
} Slot;

// The slot that this device is: "h1", or slot 2 of it: "h1-2". host -1: none.
static Slot slot_of_device(const Hosts *hosts, const char *device)
{
    for (int i = 0; i < hosts->n; i++) {
        size_t n = strlen(hosts->items[i].name);
        if (strncmp(hosts->items[i].name, device, n) != 0)
            continue;
        const char *rest = device + n;
        if (!*rest)
            return (Slot){i, 0};
        if (*rest == '-' && rest[1] && strspn(rest + 1, "0123456789") == strlen(rest + 1))
            return (Slot){i, atoi(rest + 1)};
    }
    return (Slot){-1, 0};
}

static bool on_card(const Plan *plan, int rank)
{
    (void)rank; // all stages are of one backend
    return plan->backend && !strcmp(plan->backend, "cuda");
}

static bool place_by_devices(const Hosts *hosts, const Plan *plan, Slot *slots)
{
    for (int i = 0; i < plan->n_ranks; i++) {
        const PlanRank *r = &plan->ranks[i];
        const PlanStage *s = &plan->stages[r->stage];
        if (s->n_devices != s->replicas || s->devices[r->replica] >= plan->n_device_names)
            return false;
        slots[i] = slot_of_device(hosts, plan->device_names[s->devices[r->replica]]);
        if (slots[i].host < 0 || hosts->items[slots[i].host].cuda != on_card(plan, i))
            return false;
    }
    return true;
}

// As many on each host as it has slots, in order; several stages of a machine in one slot. How many ranks have one.
static int place_in_order(const Hosts *hosts, const Plan *plan, Slot *slots)
{
    int rank = 0, machines = plan_machines_used(plan);
    for (int i = 0; i < hosts->n; i++)
        for (int k = 0; k < hosts->items[i].slots && rank < machines; k++)
            if (hosts->items[i].cuda == on_card(plan, rank))
                slots[rank++] = (Slot){i, k};
    for (; rank >= machines && rank < plan->n_ranks; rank++)
        slots[rank] = slots[rank - machines];
    return rank;
}

static void report_few(const Hosts *hosts, const Plan *plan)
{
    int slots = 0, machines = plan_machines_used(plan);
    bool cuda = on_card(plan, 0), both = cuda;
    for (int i = 0; i < hosts->n; i++) {
        both |= hosts->items[i].cuda;
        slots += hosts->items[i].cuda == cuda ? hosts->items[i].slots : 0;
    }
    error_at((Loc){hosts->items[0].loc.file, 0, 0},
             "the plan has %d %s%s, these hosts have %d slot%s%s: add hosts, or slots=N to a "
             "line",
             machines, plan->n_ranks > plan->n_stages ? "programs" : "stages",
             cuda ? " for CUDA devices" : "", slots, slots == 1 ? "" : "s",
             !both  ? ""
             : cuda ? " with device=cuda"
                    : " with device=cpu");
}

bool hub_place(const Hosts *hosts, const Plan *plan, int *place_of, int *card_of)
{
    Arena a = {0};
    Slot *slots = arena_array(&a, Slot, plan->n_ranks + 1);
    bool good = place_by_devices(hosts, plan, slots) ||
                place_in_order(hosts, plan, slots) == plan->n_ranks;
    for (int i = 0; i < plan->n_ranks && good; i++) {
        place_of[i] = slots[i].host;
        card_of[i] = on_card(plan, i) ? slots[i].number : -1;
    }
    if (!good)
        report_few(hosts, plan);
    arena_release(&a);
    return good;
}
