// Diagnostics that look like clang's: place, text, source line, caret, notes.
//
//   model.c:12:9: error: conv2d: x has 3 channels, groups = 2 does not divide them
//       x = conv2d(x, 64, .kernel = 3, .groups = 2);
//           ^
//   model.c:9:16: note: this tensor was made here
//
// Three kinds of trouble, three ways to say it:
//   error_at/note_at  the input is wrong (exit 1): go on, report more, check diag_errors() later
//   fatal             the environment is wrong (exit 2): disk, memory, a missing library
//   BUG, CHECK        stagecc is wrong (exit 70): names the room or pass
#ifndef STAGECC_BASE_DIAG_H
#define STAGECC_BASE_DIAG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

// The exit statuses of every command (docs/cli.md).
typedef enum ExitStatus {
    EXIT_DONE = 0,
    EXIT_INPUT = 1,       // the input is wrong
    EXIT_ENVIRONMENT = 2, // missing library, disk, network
    EXIT_NO_PLAN = 3,     // no feasible plan, or it does not fit the device
    EXIT_PEER = 4,        // a peer or host failed
    EXIT_LOSS = 5,        // the loss is not finite
    EXIT_BUG = 70,
    EXIT_INTERRUPTED = 130,
} ExitStatus;

// A place in a user's file. line 0: the file as a whole; file NULL: no place is known.
typedef struct Loc {
    const char *file; // as the user spelled it; lives as long as the graph
    int line, col;    // from 1
} Loc;

#define NO_LOC ((Loc){NULL, 0, 0})

void error_at(Loc loc, const char *format, ...) __attribute__((format(printf, 2, 3)));
void warning_at(Loc loc, const char *format, ...) __attribute__((format(printf, 2, 3)));
void note_at(Loc loc, const char *format, ...) __attribute__((format(printf, 2, 3)));
void error_at_v(Loc loc, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));

int diag_errors(void);   // errors reported since the start or the last diag_reset
int diag_warnings(void); // likewise warnings
void diag_reset(void);   // forget counts and cached source lines
// Where diagnostics go (stderr unless told) and whether they are coloured (never under NO_COLOR).
void diag_output(FILE *out, bool colour);
// Hand diagnostics to a function instead (NULL: to the output again): a process that reads for
// another one. They are counted all the same.
typedef enum DiagKind { DIAG_ERROR, DIAG_WARNING, DIAG_NOTE } DiagKind;
typedef void DiagSink(void *user, DiagKind kind, Loc loc, const char *message);
typedef struct DiagCapture {
    DiagSink *sink;
    void *user;
} DiagCapture;
DiagCapture diag_capture(DiagSink *sink,
                         void *user); // gives who got them before: captures nest
void diag_restore(DiagCapture before);
// Text of a file that exists in memory only, so that carets can be drawn (text must outlive use).
void diag_source(const char *file, const char *text);

_Noreturn void fatal(const char *format, ...) __attribute__((format(printf, 1, 2)));
_Noreturn void bug_at(const char *file, int line, const char *room, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

#define BUG(room, ...) bug_at(__FILE__, __LINE__, room, __VA_ARGS__)
#define CHECK(condition, room, ...)                                                            \
    do {                                                                                       \
        if (!(condition))                                                                      \
            BUG(room, __VA_ARGS__);                                                            \
    } while (0)

#endif
