// Fields of plan.json, each checked as it is read; private to this room. The first error is reported with
// the place of the field, and nothing after it is looked at.
#ifndef STAGECC_PLAN_READER_H
#define STAGECC_PLAN_READER_H

#include "base/arena.h"
#include "plan/json.h"

typedef struct Reader {
    Arena *arena;
    const char *file;
    bool good; // false after the first error: the fields after it make no sense
    int n_machines;
    bool shared;     // several stages on each machine
    bool *taken;     // [n_machines] by a stage
    char where[128]; // "stages[2]"
} Reader;

// `key`, of the object in `where`, is wrong; NULL: all of it.
void reader_bad(Reader *r, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void reader_at(Reader *r, const char *list, int i); // what follows is of this entry
int64_t reader_get_int(Reader *r, const json_t *o, const char *key, int64_t low, int64_t high);
int reader_get_small(Reader *r, const json_t *o, const char *key, int low, int high);
int64_t reader_get_bytes(Reader *r, const json_t *o, const char *key);
double reader_get_seconds(Reader *r, const json_t *o, const char *key);
bool reader_get_bool(Reader *r, const json_t *o, const char *key);
// Fields that plans of older versions lack are 0.
double reader_get_seconds_or_0(Reader *r, const json_t *o, const char *key);
int64_t reader_get_bytes_or_0(Reader *r, const json_t *o, const char *key);
const char *reader_get_text(Reader *r, const json_t *o, const char *key);
const char *reader_get_text_or_null(Reader *r, const json_t *o, const char *key);
// How many entries, 0 after an error.
int reader_get_list(Reader *r, const json_t *o, const char *key, int low, int high,
                    json_t **list);

// plan/read_machines.c
void read_machines(Reader *r, const json_t *root, Plan *p); // levels, bandwidths, names
void read_devices(Reader *r, const json_t *stage, PlanStage *s);

#endif
