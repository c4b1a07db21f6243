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
    const char *backend = plan_backend(plan, &plan->stages[plan->ranks[rank].stage]);
    return backend && !strcmp(backend, "cuda");
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

// The next of its kind, in the order of the file; false: there is none.
static bool next_slot(const Hosts *hosts, bool cuda, Slot *at)
{
    for (; at->host < hosts->n; *at = (Slot){at->host + 1, -1}) {
        const Host *h = &hosts->items[at->host];
        if (h->cuda == cuda && ++at->number < h->slots)
            return true;
    }
    return false;
}

// As many on each host as it has slots of their kind, in order; several stages of a machine in one slot. How many ranks
// have one.
static int place_in_order(const Hosts *hosts, const Plan *plan, Slot *slots)
{
    int rank = 0, machines = plan_machines_used(plan);
    Slot at[] = {{0, -1}, {0, -1}}; // of processors, of CUDA devices
    for (; rank < machines; rank++) {
        bool cuda = on_card(plan, rank);
        if (!next_slot(hosts, cuda, &at[cuda]))
            return rank;
        slots[rank] = at[cuda];
    }
    for (; rank >= machines && rank < plan->n_ranks; rank++)
        slots[rank] = slots[rank - machines];
    return rank;
}

static int wanted(const Plan *plan, bool cuda)
{
    int n = 0;
    for (int i = 0; i < plan_machines_used(plan); i++)
        n += on_card(plan, i) == cuda;
    return n;
}

static int offered(const Hosts *hosts, bool cuda)
{
    int n = 0;
    for (int i = 0; i < hosts->n; i++)
        n += hosts->items[i].cuda == cuda ? hosts->items[i].slots : 0;
    return n;
}

static void report_few(const Hosts *hosts, const Plan *plan)
{
    bool cuda = wanted(plan, true) > offered(hosts, true);
    bool mixed = wanted(plan, true) && wanted(plan, false);
    bool both = cuda || offered(hosts, true);
    int machines = wanted(plan, cuda), slots = offered(hosts, cuda);
    error_at((Loc){hosts->items[0].loc.file, 0, 0},
             "the plan has %d %s%s, these hosts have %d slot%s%s: add hosts, or slots=N to a "
             "line",
             machines, plan->n_ranks > plan->n_stages ? "programs" : "stages",
             cuda    ? " for CUDA devices"
             : mixed ? " for processors"
                     : "",
             slots, slots == 1 ? "" : "s",
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
