// What must hold of every graph after every pass. A violation is a bug of the pass before.
#ifndef STAGECC_IR_VERIFY_H
#define STAGECC_IR_VERIFY_H

#include "base/text.h"
#include "ir/graph.h"

// true: well-formed. Else `why` gets one line per violation: inputs before users, arity and
// attributes as in the tables, types as the shape rules say, unique names, phases in order,
// groups contiguous.
bool ir_verify(const Graph *g, Text *why);

// The same, one call per violation; n is NULL where it concerns no single node.
typedef void VerifyReport(void *user, const Node *n, const char *message);
bool ir_verify_each(const Graph *g, VerifyReport *report, void *user);

#endif
