// The frontend for models in C.
//
// A model may come from a stranger, and the parser is a large program that was not written for hostile
// input. So a child process reads the model (model_read): it parses, evaluates and prints the graph
// as IR text. Its environment is empty, its memory and processor time are limited, and it talks to us
// through one pipe: diagnostics, then the text. We show the first and read the second with the
// same reader as any IR file; nothing else of the child is used. What the child could do at worst
// is to report nonsense. The model itself is never compiled or executed: the evaluator walks its
// syntax tree under the limits of machine.h, and what it may include is decided in source.c.
#include "frontend/clang/clang.h"

#include "frontend/frontend.h"

#include "base/text.h"
#include "frontend/clang/read.h"
#include "ir/text.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_CPU_S = 20,
    MAX_WALL_S = 30,
    MAX_REPLY = 1 << 28, // bytes
};
#define MAX_ADDRESS_SPACE (INT64_C(3) << 29)

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 // its shadow memory is larger than any limit
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

// ---- the child: records of a letter (E W N: diagnostics, G: the graph, Z: the end), numbers, bytes

typedef struct Record {
    int32_t kind, line, column, has_file;
    uint32_t file_bytes, text_bytes;
} Record;

static void send_bytes(int fd, const void *bytes, size_t n)
{
    for (const char *p = bytes; n;) {
        ssize_t sent = write(fd, p, n);
        if (sent < 0 && errno != EINTR)
            _exit(EXIT_ENVIRONMENT); // nobody listens any more
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        }
    }
}

static void send_record(int fd, int kind, Loc loc, const char *text, size_t n)
{
    const char *file = loc.file ? loc.file : "";
    Record r = {kind, loc.line, loc.col, loc.file != NULL, (uint32_t)strlen(file), (uint32_t)n};
    send_bytes(fd, &r, sizeof r);
    send_bytes(fd, file, r.file_bytes);
    send_bytes(fd, text, n);
}

static void send_diagnostic(void *user, DiagKind kind, Loc loc, const char *message)
{
    static const char letter[] = {[DIAG_ERROR] = 'E', [DIAG_WARNING] = 'W', [DIAG_NOTE] = 'N'};
    send_record(*(int *)user, letter[kind], loc, message, strlen(message));
}

static void limit(int resource, int64_t most)
{
    struct rlimit r = {(rlim_t)most, (rlim_t)most};
    setrlimit((__rlimit_resource_t)resource, &r);
}

static void restrict_child(void)
{
    clearenv();
    signal(SIGSEGV, SIG_DFL); // a crash of the parser is explained by the parent, not here
    signal(SIGBUS, SIG_DFL);
    signal(SIGABRT, SIG_DFL);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_CPU, MAX_CPU_S);
    if (!SANITIZED)
        limit(RLIMIT_AS, MAX_ADDRESS_SPACE);
}

_Noreturn static void child(int fd, int error_fd, const char *path, const char *text,
                            const ModelOptions *options)
{
    restrict_child();
    dup2(error_fd, STDERR_FILENO); // what libclang says when it crashes
    diag_output(stderr, false);
    diag_reset();
    diag_capture(send_diagnostic, &fd);
    Arena arena = {0};
    Graph *g = model_read(&arena, path, text, options);
    if (g) {
        Text ir = {0};
        ir_print(&ir, g);
        send_record(fd, 'G', NO_LOC, ir.data, ir.length);
    }
    send_record(fd, 'Z', NO_LOC, "", 0);
    _exit(EXIT_DONE);
}

// ---- the parent

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

// Everything the child writes until it closes the pipe. false: it took too long or said too much.
static bool receive(int fd, Text *reply)
{
    int64_t end = now_ms() + INT64_C(1000) * MAX_WALL_S;
    static char buffer[1 << 16];
    for (;;) {
        int64_t left = end - now_ms();
        struct pollfd p = {fd, POLLIN, 0};
        int ready = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return false;
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0;
        text_append(reply, buffer, (size_t)n);
        if (reply->length > MAX_REPLY)
            return false;
    }
}

typedef struct Reply {
    const char *at, *end;
    Arena *arena;
    const char *graph; // IR text; NULL: none
    bool complete;
} Reply;

static bool next_record(Reply *r, Record *record, Loc *loc, const char **text)
{
    if ((size_t)(r->end - r->at) < sizeof *record)
        return false;
    memcpy(record, r->at, sizeof *record);
    size_t left = (size_t)(r->end - r->at) - sizeof *record;
    if (record->file_bytes > left || record->text_bytes > left - record->file_bytes)
        return false;
    r->at += sizeof *record;
    const char *file = arena_strndup(r->arena, r->at, record->file_bytes);
    *loc = (Loc){record->has_file ? file : NULL, record->line, record->column};
    r->at += record->file_bytes;
    *text = arena_strndup(r->arena, r->at, record->text_bytes);
    r->at += record->text_bytes;
    return true;
}

// quiet: this model was read before, with another micro-batch, and its warnings were shown.
static void replay(Reply *r, bool quiet)
{
    Record record;
    Loc loc;
    const char *text;
    bool skip = false;
    while (!r->complete && next_record(r, &record, &loc, &text)) {
        skip = record.kind == 'W' ? quiet : record.kind == 'N' && skip;
        if (skip)
            continue;
        if (record.kind == 'E')
            error_at(loc, "%s", text);
        else if (record.kind == 'W')
            warning_at(loc, "%s", text);
        else if (record.kind == 'N')
            note_at(loc, "%s", text);
        else if (record.kind == 'G')
            r->graph = text;
        else
            r->complete = record.kind == 'Z';
    }
}

static void show_file(int fd)
{
    char buffer[4096];
    ssize_t n;
    lseek(fd, 0, SEEK_SET);
    while ((n = read(fd, buffer, sizeof buffer)) > 0)
        fwrite(buffer, 1, (size_t)n, stderr);
}

// The child ended without saying that it was done.
static void explain_death(const char *path, int status, bool in_time, int error_fd)
{
    if (WIFEXITED(status)) {
        show_file(error_fd); // it has explained itself
        exit(WEXITSTATUS(status) == EXIT_ENVIRONMENT ? EXIT_ENVIRONMENT : EXIT_BUG);
    }
    Loc loc = {path, 0, 0};
    int signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (!in_time || signal == SIGXCPU || signal == SIGKILL)
        error_at(
            loc,
            "reading this model takes too long (more than %d s of processor time, or %d s in all)",
            MAX_CPU_S, MAX_WALL_S);
    else
        error_at(
            loc,
            "the C parser failed on this model: it takes too much memory, or is nested too "
            "deeply (signal %d)",
            signal);
}

static bool read_before(const char *path)
{
    static char last[4096];
    bool again = !strcmp(last, path) && diag_warnings() > 0;
    snprintf(last, sizeof last, "%s", path);
    return again;
}

static Graph *finish(Arena *a, Reply *r, const char *path)
{
    if (!r->graph || diag_errors())
        return NULL;
    Graph *g = ir_read(a, path, r->graph);
    CHECK(g, "frontend", "the graph of %s does not read back", path);
    return g;
}

static Graph *parse(Arena *a, const char *path, const char *text, const ModelOptions *options)
{
    int fd[2], error_fd = memfd_create("stderr", MFD_CLOEXEC);
    if (error_fd < 0 || pipe(fd))
        fatal("cannot start a process to read the model: %s", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        fatal("cannot start a process to read the model: %s", strerror(errno));
    if (!pid) {
        close(fd[0]);
        child(fd[1], error_fd, path, text, options);
    }
    close(fd[1]);
    Text bytes = {0};
    bool in_time = receive(fd[0], &bytes);
    close(fd[0]);
    if (!in_time)
        kill(pid, SIGKILL);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    Reply reply = {bytes.data, bytes.data + bytes.length, a, NULL, false};
    replay(&reply, read_before(path));
    text_release(&bytes);
    if (!reply.complete)
        explain_death(path, status, in_time, error_fd);
    close(error_fd);
    return finish(a, &reply, path);
}

// Anything that C might be: by name, or by what every model begins with.
static bool probe(const char *path, const char *text)
{
    return str_ends(path, ".c") || strstr(text, "stagecc/model.h") || strstr(text, "MODEL(");
}

const Frontend clang_frontend = {"clang", probe, parse};
