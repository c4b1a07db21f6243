// The C library as a model sees it: small headers of stagecc's own that declare what the evaluator
// knows and nothing else. So a model means the same on every machine, nothing of the system can
// be read, and <math.h> costs nothing.
#ifndef STAGECC_FRONTEND_CLANG_HEADERS_H
#define STAGECC_FRONTEND_CLANG_HEADERS_H

#include "base/text.h"

#define LIBC_DIR "/stagecc-libc" // exists in the parser's file system only

int headers_count(void);
const char *headers_name(int i); // "math.h"
void headers_text(int i, Text *out);

#endif
