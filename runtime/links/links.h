// stagecc-links: what a host and the links of its devices give, as `stagecc devices` wants to know.
// A program of its own, small enough to be sent to a host. Each mode prints one line of JSON.
//   stagecc-links host               cores, free memory
//   stagecc-links memory PAIRS SPIN  hand-over and bandwidth between stages of this host
//   stagecc-links listen TOKEN       waits for one `connect`; first prints {"port": N}
//   stagecc-links connect TOKEN ADDRESS PORT   latency and bandwidth of a TCP connection
#ifndef STAGECC_RUNTIME_LINKS_H
#define STAGECC_RUNTIME_LINKS_H

#include <stdint.h>

// A median, and how far 80 % of the samples lie apart, relative to it.
typedef struct Figure {
    double median, spread;
} Figure;
Figure figure_of(double *samples, int n); // sorts them; n > 0

// Prints to stderr and ends the process with status 1.
_Noreturn void links_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
double links_now_s(void);
// {"latency_s": …, "latency_spread": …, "bytes_per_s": …, "bandwidth_spread": …}
void links_print(Figure latency, double bytes, Figure seconds);

void links_host(void);
void links_memory(int pairs, int spin);
void links_listen(const char *token);
void links_connect(const char *token, const char *address, const char *port);

#endif
