// What a user is told when a command on a host went wrong: host, reason and remedy.
#include "base/diag.h"
#include "control/hostfile.h"
#include "control/remote.h"

#include <stdio.h>
#include <string.h>

const char *remote_last_line(Arena *a, const char *text)
{
    size_t end = text ? strlen(text) : 0;
    while (end && strchr(" \r\n", text[end - 1]))
        end--;
    size_t begin = end;
    while (begin && text[begin - 1] != '\n' && text[begin - 1] != '\r')
        begin--;
    return end ? arena_strndup(a, text + begin, end - begin) : "it gave no reason";
}

static int unreachable(const Remote *r, const char *what, const char *why)
{
    error_at(NO_LOC, "cannot reach %s by ssh (%s): %s", r->host, what, why);
    note_at(NO_LOC,
            "`%s %s true` must work without a question (an ssh key in "
            "~/.ssh/authorized_keys there)",
            remote_shell(), r->host);
    return EXIT_PEER;
}

static int cannot_start(const Remote *r, const char *why)
{
    if (str_starts(why, "cannot start ")) // here: ssh, or sh
        error_at(NO_LOC, "%s; apt-get install openssh-client, or set STAGECC_SSH", why);
    else if (strstr(why, "shared librar"))
        error_at(NO_LOC,
                 "%s: %s; apt-get install libdnnl2 libjansson4 libgomp1 there (Debian's names)",
                 r->host, why);
    else if (r->status == 126 || strstr(why, "xec format"))
        error_at(NO_LOC,
                 "%s: %s; programs of this host do not run there (another processor, or "
                 "TMPDIR where nothing may be executed)",
                 r->host, why);
    else
        error_at(NO_LOC, "%s: %s; is it installed there?", r->host, why);
    return EXIT_ENVIRONMENT;
}

int remote_failed(Arena *a, const Remote *r, RemoteEnd end, const char *what)
{
    const char *why = remote_last_line(a, r->err.data);
    if (end == REMOTE_INTERRUPTED) {
        fputs("stagecc: interrupted\n", stderr);
        return EXIT_INTERRUPTED;
    }
    if (end == REMOTE_TIMEOUT || r->status == 124) {
        error_at(NO_LOC, "%s: %s has taken too long; is the host busy, or the model too large?",
                 r->host, what);
        return EXIT_PEER;
    }
    if (r->status == REMOTE_UNREACHABLE && !host_is_local(r->host))
        return unreachable(r, what, why);
    if (r->status == 126 || r->status == 127)
        return cannot_start(r, why);
    error_at(NO_LOC, "%s: %s failed: %s", r->host, what, why);
    return r->status == EXIT_ENVIRONMENT ? EXIT_ENVIRONMENT : EXIT_PEER;
}
