// Everything a user may choose when compiling: one row per option in options.def, so that the
// command line, TRAIN(...) in a model and plan.json know the same names.
#ifndef STAGECC_PLAN_OPTIONS_H
#define STAGECC_PLAN_OPTIONS_H

#include "base/diag.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct Options {
#define OPTION_INT(field, name, low, high, fallback, meaning) int64_t field;
#define OPTION_REAL(field, name, low, high, fallback, meaning) double field;
#define OPTION_WORD(field, name, words, fallback, meaning) const char *field;
#include "plan/options.def"
    uint64_t
        set; // bit i: row i was given by the user (command line beats TRAIN beats fallback)
} Options;

typedef enum OptionSource { FROM_MODEL, FROM_COMMAND_LINE, FROM_PLAN } OptionSource;

Options options_default(void);
// Set one by its name ("lr", "micro-batches"; TRAIN writes '_' for '-'). false: the error was
// reported at loc (unknown name, not a number, out of range with the range, not one of the words).
// A value FROM_MODEL never replaces one FROM_COMMAND_LINE.
bool options_set(Options *o, const char *name, const char *value, OptionSource from, Loc loc);
bool options_known(const char *name);
bool options_given(const Options *o, const char *name); // set by anyone, not the fallback
// Rules between options: the batch divides into micro-batches, the schedule can clip. false: reported.
bool options_check(const Options *o);

// Walk the table: i from 0 until NULL. Value as text lands in buffer (at least 64 bytes).
const char *option_name(int i);
const char *option_meaning(int i);
const char *option_value(const Options *o, int i, char *buffer);
bool option_is_number(int i);

#endif
