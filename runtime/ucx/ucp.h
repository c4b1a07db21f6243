// UCX, loaded when a stage has a neighbour on another host: programs that stay on one need nothing of
// it. `ucp.am_send_nbx(…)` is ucp_am_send_nbx.
#ifndef STAGECC_RUNTIME_UCX_UCP_H
#define STAGECC_RUNTIME_UCX_UCP_H

#include <stdbool.h>
#include <ucp/api/ucp.h>

typedef struct Ucp {
#define FUNCTION(name) __typeof__(&ucp_##name) name;
#include "runtime/ucx/ucp.def"
#undef FUNCTION
    __typeof__(&ucs_status_string) status_string;
} Ucp;

extern Ucp ucp; // filled by ucp_load

// false: *why says what is missing.
bool ucp_load(const char **why);

#endif
