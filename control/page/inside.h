// Between the files of the page, and for their tests.
#ifndef STAGECC_CONTROL_PAGE_INSIDE_H
#define STAGECC_CONTROL_PAGE_INSIDE_H

#include "base/text.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

// html.c: the files of control/page that a browser asks for; the last one's url is NULL.
typedef struct PageFile {
    const char *url, *type, *begin, *end; // the text, and the 0 behind it
} PageFile;
extern const PageFile page_files[];

enum { PAGE_HOST = 256 };

// listen.c. A socket that listens, and what it is called.
typedef struct PagePlace {
    int fd;
    bool loopback;        // nobody but this machine reaches it
    char address[300];    // "http://127.0.0.1:7071/"
    char name[PAGE_HOST]; // the host as it was asked for
} PagePlace;
bool page_listen(PagePlace *place, const char *listen); // false: reported
// May a request to this place name this host? host: of the header `Host`, NULL: there is none.
bool page_host_good(const PagePlace *place, const char *host);

// metrics.c. What the status says, for Prometheus; what it does not say is left out.
void page_metrics(Text *out, const json_t *status);

// page.c. The clock of the time that a client has; tests put their own in its place.
extern double (*page_seconds)(void);

#endif
