// Asking a master: what `stagecc status`, `rescale` and others do.
#ifndef STAGECC_CONTROL_ASK_H
#define STAGECC_CONTROL_ASK_H

#include "base/arena.h"
#include "control/keys.h"

#include <jansson.h>

// "h1", "h1:7070", "tcp://h1:7070": as an endpoint, with the default port. NULL: reported.
const char *master_endpoint(Arena *a, const char *address);
// Sends a command to the master whose own key this is, and waits a few seconds for its answer. Exit status: the
// answer's, or EXIT_PEER where none came (reported). *answer: its JSON, the caller's; NULL: there is none.
int master_ask(const char *endpoint, const Key *key, const json_t *command, json_t **answer);

#endif
