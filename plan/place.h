// Where things stand in a JSON text: jansson tells places of syntax errors only. The text must have
// been read by jansson without an error; nothing is checked again here.
#ifndef STAGECC_PLAN_PLACE_H
#define STAGECC_PLAN_PLACE_H

#include "base/diag.h"

// All take a place in the text where a value begins (white space before it is skipped) and return
// one; NULL: there is none.
const char *json_place_field(const char *object, const char *key); // the field's value
const char *json_place_element(const char *array);                 // the first
const char *json_place_next(const char *element);                  // the one behind it

// A place that moves forward and counts lines, so that many places cost one walk.
typedef struct JsonPlace {
    const char *at;
    Loc loc;
} JsonPlace;
JsonPlace json_place_begin(const char *file, const char *text);
// The place of `to`, which is not before where `from` stands; NULL: where `from` stands.
JsonPlace json_place_move(JsonPlace from, const char *to);

#endif
