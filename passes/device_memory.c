// What a device with memory of its own holds of a stage beside its tensors (ir/device.h).
#include "passes/pack.h"
#include "passes/schedule.h"

#include <string.h>

static int64_t input_bytes(const Compile *c)
{
    int64_t bytes = 0;
    for (int i = 0; i < c->graph->nodes.n; i++) {
        const Node *n = c->graph->nodes.items[i];
        if (n->op == OP_INPUT && n->phase == PHASE_FORWARD)
            bytes += (n->bytes + PACK_ALIGN - 1) / PACK_ALIGN * PACK_ALIGN;
    }
    return bytes;
}

int64_t memory_of_device(const Compile *c, const DeviceMemory *device, int64_t parameters,
                         bool loads)
{
    bool bf16 = !strcmp(c->options->dtype, "bf16");
    return device ? device->stage_bytes(parameters, loads ? input_bytes(c) : 0, bf16) : 0;
}

int64_t memory_of_calls(const Compile *c, const Plan *p, const PlanStage *s)
{
    const DeviceMemory *device = memory_device_of(c, s);
    int64_t most[N_CALL_MEMORY] = {0}, sum = 0;
    for (int i = 0; device && i < c->graph->nodes.n; i++) {
        const Node *n = c->graph->nodes.items[i];
        int64_t bytes[N_CALL_MEMORY] = {0};
        if (node_is(n, 'L') || node_stage(p, n) != s->id)
            continue;
        device->kernel_bound(n, bytes);
        for (int k = 0; k < N_CALL_MEMORY; k++)
            most[k] = bytes[k] > most[k] ? bytes[k] : most[k];
    }
    for (int k = 0; k < N_CALL_MEMORY; k++)
        sum += most[k];
    return sum;
}
