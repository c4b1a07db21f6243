// What diagnostics say, as text: between capture_begin and capture_end, of the file `f` with this text.
#ifndef STAGECC_TESTS_CAPTURE_H
#define STAGECC_TESTS_CAPTURE_H

#include "base/diag.h"

#include <stdio.h>

typedef struct Capture {
    char *text;
    size_t size;
    FILE *file;
} Capture;

static inline void capture_begin(Capture *c, const char *source)
{
    *c = (Capture){.text = NULL};
    c->file = open_memstream(&c->text, &c->size);
    diag_output(c->file, false);
    diag_source("f", source);
}

static inline char *capture_end(Capture *c) // malloc'd
{
    fclose(c->file);
    diag_output(stderr, false);
    diag_reset();
    return c->text;
}

#endif
