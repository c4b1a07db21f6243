// The plan as a jansson value; private to this room.
#ifndef STAGECC_PLAN_JSON_H
#define STAGECC_PLAN_JSON_H

#include "plan/plan.h"

#include <jansson.h>

// A new reference. everything: with predicted seconds, names of files and other things that the
// programs do not depend on.
json_t *plan_json(const Plan *p, bool everything);

#endif
