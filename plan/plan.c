// Questions about a plan, and its hash.
#include "plan/plan.h"

#include "base/text.h"
#include "plan/json.h"

#include <stdlib.h>
#include <string.h>

int plan_stage_of_unit(const Plan *p, int unit)
{
    int low = 0, high = p->n_stages - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (p->stages[middle].last_unit < unit)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int64_t plan_stage_bytes(const PlanStage *s)
{
    return s->persistent_bytes + s->in_flight * s->slot_bytes + s->scratch_bytes +
           s->edge_bytes + s->library_bytes;
}

// Predictions differ from run to run; the programs do not.
uint64_t plan_hash(const Plan *p)
{
    json_t *root = plan_json(p, false);
    char *text = json_dumps(root, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    uint64_t h = str_hash(text, strlen(text));
    free(text);
    json_decref(root);
    return h;
}
