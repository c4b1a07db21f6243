// Shell commands on this and on other hosts, with an end to every wait. A host that is this machine
// (host_is_local) needs no ssh, those of a Slurm allocation (SLURM_JOB_ID) are reached by srun. Several
// may run at once.
#ifndef STAGECC_CONTROL_REMOTE_H
#define STAGECC_CONTROL_REMOTE_H

#include "base/arena.h"
#include "base/text.h"

#include <stdbool.h>
#include <sys/types.h>

typedef struct Remote {
    const char *host;
    pid_t pid;                 // 0: not started, or its end was seen
    int in_fd, out_fd, err_fd; // in_fd: of remote_connect alone, else -1
    Text out, err;             // what it has printed so far
    int status;                // exit status once it has ended
} Remote;

typedef enum RemoteEnd {
    REMOTE_ENDED, // status is its exit status
    REMOTE_LINE,  // goes on, and has printed a line
    REMOTE_TIMEOUT,
    REMOTE_INTERRUPTED, // SIGINT or SIGTERM came
} RemoteEnd;

// Runs a POSIX shell script without single quotes and line ends on a host, with the file `input`
// (NULL: nothing) as its standard input. false: errno says why there is no process.
bool remote_start(Arena *a, Remote *r, const char *host, const char *script, const char *input);
// The same with pipes to talk through, in_fd and out_fd, which are the caller's from then on.
bool remote_connect(Arena *a, Remote *r, const char *host, const char *script);
// Until it ends, or (first_line) has printed a line, or the time is over.
RemoteEnd remote_wait(Remote *r, double seconds, bool first_line);
// Take what stands on its standard error now.
void remote_read_err(Remote *r);
// Asks it to end if it runs still: of several, all before the first is waited for.
void remote_stop(const Remote *r);
// Ends it if it runs still, and forgets what it printed.
void remote_end(Remote *r);
// Where other hosts reach this one by TCP: what ssh's configuration makes of its name.
const char *remote_address(Arena *a, const char *host);
// ssh or srun, or what STAGECC_SSH names in place of both.
const char *remote_shell(void);
// ssh's own exit status where it could not reach a host.
enum { REMOTE_UNREACHABLE = 255 };

// Tells the user how a command went wrong (`what`: "measuring its speed"); the exit status of that.
int remote_failed(Arena *a, const Remote *r, RemoteEnd end, const char *what);
// The last line that says something; programs of ours say there what went wrong.
const char *remote_last_line(Arena *a, const char *text);

// From here on SIGINT and SIGTERM are told by remote_wait instead of ending the process.
void remote_catch_signals(void);

#endif
